// SPDX-License-Identifier: MIT
// Usage: make_seeds OUT [DATA]
//
// Writes what the fuzz targets begin with into OUT/files (reader, writer, plan), OUT/blocks
// (dequantize) and OUT/texts (tool): files of the writer's; and, where the shared test data are in DATA, every file
// there: the small ones as they are, of the others the first 4 KiB, and a small one with the same
// keys, arrays cut short, and the same tensors, cut to a block. The shards of a model are one seed.
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <sstream>

#include "walk.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;

constexpr std::size_t most_bytes = 4 << 10;

std::string read(const fs::path& path, std::size_t most = ~std::size_t{0}) {
  std::ifstream in{path, std::ios::binary};
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str().substr(0, most);
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream{path, std::ios::binary} << bytes;
}

std::string written(const gguf::Writer& writer, const fs::path& folder) {
  const fs::path path = folder / "seed.part";
  writer.write(path);
  std::string bytes = read(path);
  fs::remove(path);
  return bytes;
}

void fill(std::uint64_t offset, std::span<std::byte> piece) {
  for (std::byte& byte : piece) byte = static_cast<std::byte>(offset++ * 37);
}

void add_short_array(const gguf::Value& value, gguf::Writer& writer) {
  constexpr std::size_t most = 4;
  const gguf::Array array = value.array();
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(array.size(), most));
  fuzz::with_type(array.element_type(), [&]<class T>() {
    std::array<T, most> values{};
    if constexpr (std::is_same_v<T, std::string_view>) {
      std::size_t i = 0;
      for (const std::string_view text : array.strings()) {
        if (i == count) break;
        values[i++] = text.substr(0, 40);
      }
    } else {
      for (std::size_t i = 0; i < count; ++i) values[i] = array.values<T>()[i];
    }
    writer.add_array<T>(value.key(), std::span<const T>{values}.first(count));
  });
}

/// The same keys and tensors in a few kilobytes.
std::string shrunk(const gguf::File& file, const fs::path& folder) {
  gguf::Writer writer;
  for (const gguf::Value& value : file.metadata()) {
    if (value.key().starts_with("split.")) continue;
    if (value.type() == gguf::ValueType::array) {
      if (value.array().element_type() != gguf::ValueType::array) add_short_array(value, writer);
      continue;
    }
    fuzz::with_type(value.type(), [&]<class T>() {
      if constexpr (std::is_same_v<T, std::string_view>) {
        writer.add(value.key(), value.as<T>().substr(0, 40));
      } else {
        writer.add(value.key(), value.as<T>());
      }
    });
  }
  std::size_t left = 10;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (left-- == 0) break;
    gguf::Shape shape = tensor.shape;
    const std::uint64_t block = gguf::type_info(tensor.type).block_elements;
    shape.extent[0] = std::min<std::uint64_t>(shape.extent[0], std::max<std::uint64_t>(block, 8));
    for (std::size_t i = 1; i < 4; ++i)
      shape.extent[i] = std::min<std::uint64_t>(shape.extent[i], 2);
    writer.add_tensor(std::string{tensor.name}, tensor.type, shape, fill);
  }
  return written(writer, folder);
}

/// Every value type, arrays of each, and tensors of every type with one block.
void seeds_of_writer(const fs::path& files) {
  for (const std::uint32_t alignment : {1U, 32U, 4096U}) {
    gguf::Writer writer;
    writer.set_alignment(alignment);
    writer.add("general.architecture", "llama");
    writer.add("llama.block_count", std::uint32_t{2});
    writer.add("llama.embedding_length", std::uint32_t{64});
    writer.add("llama.attention.head_count", std::uint32_t{4});
    writer.add("llama.context_length", std::uint32_t{128});
    for (std::uint32_t id = 0; id < gguf::value_type_count; ++id) {
      const auto type = static_cast<gguf::ValueType>(id);
      fuzz::with_type(type, [&]<class T>() {
        const std::string name{gguf::to_text(type)};
        const std::array<T, 3> values{};
        writer.add(name, values[0]);
        writer.add_array<T>(name + ".array", std::span<const T>{values});
      });
    }
    writer.add_tensor("token_embd.weight", gguf::TensorType::F16, {8, 4}, fill);
    writer.add_tensor("blk.0.attn_q.weight", gguf::TensorType::Q4_0, {32, 2}, fill);
    writer.add_tensor("blk.1.attn_k.weight", gguf::TensorType::F32, {4, 2}, fill);
    writer.add_tensor("empty", gguf::TensorType::F32, {0}, fill);
    writer.add_tensor("output.weight", gguf::TensorType::F32, {4, 2, 1, 2}, fill);
    write(files / ("writer-" + std::to_string(alignment)), written(writer, files));
  }
  gguf::Writer writer;
  for (const gguf::TypeInfo& type : gguf::tensor_types)
    writer.add_tensor(std::string{type.name}, type.type, {type.block_elements}, fill);
  write(files / "writer-types", written(writer, files));
}

/// The smallest files with a pair and a tensor, of every version and byte order.
void seeds_by_hand(const fs::path& files) {
  for (const std::uint32_t version : {1U, 2U, 3U}) {
    for (const bool big : {false, true}) {
      std::string bytes = "GGUF";
      const auto put = [&](std::uint64_t number, std::size_t width) {
        for (std::size_t i = 0; i < width; ++i) {
          const std::size_t shift = 8 * (big ? width - 1 - i : i);
          bytes += static_cast<char>(number >> shift & 0xff);
        }
      };
      const std::size_t length = version == 1 ? 4 : 8;
      const auto put_text = [&](std::string_view text) {
        put(text.size(), length);
        bytes += text;
      };
      put(version, 4);
      put(1, length);  // tensors
      put(3, length);  // pairs
      put_text("general.alignment");
      put(4, 4);
      put(32, 4);
      put_text("words");
      put(9, 4);
      put(8, 4);
      put(2, length);
      put_text("one");
      put_text("");
      put_text("nested");
      put(9, 4);
      put(9, 4);
      put(2, length);
      for (std::uint64_t count = 0; count < 2; ++count) {
        put(2, 4);
        put(count, length);
        if (count != 0) put(0x1234, 2);
      }
      put_text("t");
      put(2, 4);
      put(4, length);
      put(2, length);
      put(0, 4);
      put(0, 8);
      bytes.resize((bytes.size() + 31) / 32 * 32);
      bytes.resize(bytes.size() + 32, '\x3f');
      write(files / ("hand-v" + std::to_string(version) + (big ? "-big" : "-little")), bytes);
    }
  }
}

void seeds_of_blocks(const fs::path& blocks) {
  for (std::size_t i = 0; i < gguf::tensor_types.size(); ++i) {
    for (const std::size_t count : {1U, 2U}) {
      std::string bytes{static_cast<char>(i), '\0'};
      for (std::size_t at = 0; at < count * gguf::tensor_types[i].block_bytes; ++at)
        bytes += static_cast<char>(at * 73 + i);
      write(blocks / (std::string{gguf::tensor_types[i].name} + "-" + std::to_string(count)),
            bytes);
    }
  }
}

void seeds_of_texts(const fs::path& texts) {
  write(texts / "plain", "id,lower,upper,size\na,0,2,100\nb,1,3,50\nc,2,4,100\nd,0,9,7\n");
  write(texts / "ends", "size,end,buffer,begin,alignment\n64,1,a,0,16\n3,5,b,1,1\n");
  write(texts / "rules",
        "id,lower,upper,size,offset,may_replace,stream\na,0,2,64,0,,0\nb,1,4,64,,a,1\n"
        "c,3,5,9,,b,0\nd,0,5,40,128,,1\n");
  write(texts / "wrong", "\xef\xbb\xbfid, start,upper,size,gaps,memories\r\nx,1,0,-1,2-3,0 1\r\n");
  write(texts / "own", "# allot-trace 1 capacity=4096\na 0 100 256\na 1 7 16\nf 0\n");
  write(
      texts / "recorded",
      "# allot-trace 2\nstart process=1 sample=1\nname value=1 text=a\nunit value=256\n"
      "allocate time=9 offset=256 bytes=7 alignment=512 name=1\nresize time=9 offset=256 bytes=3\n"
      "refuse time=9 bytes=99 value=1\nfree time=10 offset=256\n");
  write(texts / "recorded-binary", std::string{"\x10\x01"
                                               "allot-trace 2\x01\x01\x03\x02\x01"
                                               "a\x03\x09\x80\x02"
                                               "\x06\xc3\x09\x01\x07\x01\x09\x00\x03\x04\x01\x01",
                                               37});
  write(texts / "azure",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
        "2023-11-16T18:15:46Z,1,2\n2024-02-29 00:00:00+00:00,0,0\n");
  write(texts / "mooncake",
        R"({"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]})"
        "\n"
        R"({"timestamp": 0, "input_length": 1, "output_length": 0, "hash_ids": [46]})"
        "\n");
  write(
      texts / "dump-arena",
      R"({"allot":"arena","version":1,"name":"a","usage":{"capacity":64,"used":16,"free_blocks":1},)"
      R"("blocks":[{"offset":0,"size":16,"used":true,"name":"n"},{"offset":16,"size":48,"used":false}]})");
  write(
      texts / "dump-pool",
      R"({"allot":"buffer_pool","version":1,"name":"","usage":{"used":0,"cached":8},"arenas":[{"name":"x",)"
      R"("device":"hip:0","blocks":[{"offset":0,"size":8,"used":false,"state":"cached"}]}]})");
  write(
      texts / "dump-vma",
      R"({"General":{},"DefaultPools":{"Type 0":{"Blocks":{"0":{"TotalBytes":64,"Suballocations":)"
      R"([{"Offset":0,"Type":"BUFFER","Size":32,"Name":"v"},{"Offset":32,"Type":"FREE","Size":32}]}},)"
      R"("DedicatedAllocations":[{"Type":"IMAGE","Size":9}]}},"CustomPools":{"Type 1":[{"Name":"p",)"
      R"("Blocks":{},"DedicatedAllocations":[{"Type":"IMAGE","Size":9}]}]}})");
  write(texts / "events", "action,addr,size,stream\nalloc,7f00,100,0\nfree_completed,7f00,100,0\n");
  write(texts / "rmm",
        "Thread,Time,Action,Pointer,Size,Stream\n1,0,allocate,0x1,5,0x0\n1,1,free,0x1,5,0x0\n");
  write(
      texts / "umpire-2022",
      R"({"category":"operation","name":"allocate","numeric_args":{"size":128},"string_args":{"pointer":"0x10"}})"
      "\n"
      R"({"category":"operation","name":"reallocate","numeric_args":{"size":9},"string_args":{"current_ptr":"0x10"}})"
      "\n"
      R"({"category":"operation","name":"reallocate","numeric_args":{},"string_args":{"new_ptr":"0x20"}})"
      "\n");
  write(
      texts / "umpire-2019",
      R"({"kind":"replay","event":"allocate","payload":{"size":10},"result":{"memory_ptr":"0x20"}})"
      "\n");
  write(texts / "snapshot", std::string{"\x80\x04}(\x8c\x0d"
                                        "device_traces\x94](](}(\x8c\x06"
                                        "action\x94\x8c\x05"
                                        "alloc\x94"
                                        "\x8c\x04"
                                        "addr\x94\x8a\x03\x01\x02\x03\x8c\x04size\x94K\x09uee]u."});
}

void seeds_of_tensors(const gguf::File& file, const std::string& name, const fs::path& blocks) {
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    std::size_t id = 0;
    while (gguf::tensor_types[id].type != tensor.type) ++id;
    const auto width = std::uint64_t{gguf::tensor_types[id].block_bytes};
    const std::uint64_t count = std::min<std::uint64_t>(tensor.bytes / width, 2);
    const auto data = file.data(tensor).first(static_cast<std::size_t>(count * width));
    std::string bytes{static_cast<char>(id), '\0'};
    bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
    write(blocks / (name + "-" + std::string{tensor.name}), bytes);
  }
}

void seeds_of_data(const fs::path& data, const fs::path& out) {
  const std::regex shard{"(.*)-[0-9]{5}-of-[0-9]{5}\\.gguf"};
  std::map<std::string, std::vector<fs::path>> models;
  for (const auto& entry : fs::recursive_directory_iterator{data / "gguf"}) {
    if (entry.path().extension() != ".gguf") continue;
    std::smatch parts;
    const std::string name = entry.path().filename().string();
    const bool is_shard = std::regex_match(name, parts, shard);
    models[is_shard ? parts[1].str() : name].push_back(entry.path());
  }
  for (auto& [name, paths] : models) {
    std::sort(paths.begin(), paths.end());
    std::string joined;
    for (const fs::path& path : paths)
      joined += (joined.empty() ? "" : std::string{fuzz::InputFiles::border}) + read(path);
    write(out / "files" / name, joined.substr(0, most_bytes));
    if (joined.size() <= most_bytes) continue;
    try {
      write(out / "files" / (name + "-shrunk"), shrunk(gguf::File{paths[0]}, out));
    } catch (const gguf::ParseError&) {  // to be refused, as it is
    }
  }
  for (const std::string name : {"alltypes", "randbits"})
    seeds_of_tensors(gguf::File{data / "dequant" / (name + ".gguf")}, name, out / "blocks");
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 2) {
    std::cerr << "Usage: make_seeds OUT [DATA]\n";
    return 2;
  }
  const fs::path out{arguments[1]};
  fs::create_directories(out / "files");
  fs::create_directories(out / "blocks");
  fs::create_directories(out / "texts");
  seeds_of_writer(out / "files");
  seeds_by_hand(out / "files");
  seeds_of_blocks(out / "blocks");
  seeds_of_texts(out / "texts");
  if (count > 2) seeds_of_data(arguments[2], out);
} catch (const std::exception& error) {
  std::cerr << "make_seeds: " << error.what() << '\n';
  return 1;
}
