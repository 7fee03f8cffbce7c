// SPDX-License-Identifier: MIT
// What the writer accepts, the reader reads back identical; a file that is read, copied by the
// writer, reads the same.
#include <allot/gguf/writer/writer.hpp>

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <variant>

#include "walk.hpp"

namespace {

using namespace allot;

void copy_tensors(const gguf::File& file, gguf::Writer& writer) {
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    writer.add_tensor(std::string{tensor.name}, tensor.type, tensor.shape,
                      [&file, &tensor](std::uint64_t offset, std::span<std::byte> piece) {
                        const gguf::Shard& shard = file.shards()[tensor.shard];
                        shard.read(shard.data_offset() + tensor.offset + offset, piece);
                      });
  }
}

void copy_array(const gguf::Value& value, gguf::Writer& writer) {
  const gguf::Array array = value.array();
  fuzz::with_type(array.element_type(), [&]<class T>() {
    if constexpr (std::is_same_v<T, std::string_view>) {
      const auto texts = array.strings().to_vector();
      writer.add_array<std::string_view>(value.key(), std::span{texts});
    } else {
      const auto count = static_cast<std::size_t>(array.size());
      const std::unique_ptr<T[]> values{new T[count]};  // not a vector: that packs truth values
      for (std::size_t i = 0; i < count; ++i) values[i] = array.values<T>()[i];
      writer.add_array<T>(value.key(), std::span<const T>{values.get(), count});
    }
  });
}

/// False where the file holds what the writer cannot write.
bool copy_metadata(const gguf::File& file, gguf::Writer& writer) {
  for (const gguf::Value& value : file.metadata()) {
    if (value.type() != gguf::ValueType::array) {
      fuzz::with_type(value.type(), [&]<class T>() { writer.add(value.key(), value.as<T>()); });
    } else if (value.array().element_type() != gguf::ValueType::array) {
      copy_array(value, writer);
    } else {
      return false;
    }
  }
  return true;
}

template <class T>
bool same_value(T a, T b) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return a == b;
  } else {
    return fuzz::bits_of(a) == fuzz::bits_of(b);
  }
}

bool same_array(const gguf::Array& a, const gguf::Array& b) {
  if (a.element_type() != b.element_type() || a.size() != b.size()) return false;
  bool same = true;
  fuzz::with_type(a.element_type(), [&]<class T>() {
    if constexpr (std::is_same_v<T, std::string_view>) {
      same = a.strings().to_vector() == b.strings().to_vector();
    } else {
      for (std::uint64_t i = 0; i < a.size(); ++i)
        same = same && same_value(a.values<T>()[i], b.values<T>()[i]);
    }
  });
  return same;
}

bool same_values(const gguf::Value& a, const gguf::Value& b) {
  if (a.key() != b.key() || a.type() != b.type()) return false;
  if (a.type() == gguf::ValueType::array) return same_array(a.array(), b.array());
  bool same = false;
  fuzz::with_type(a.type(), [&]<class T>() { same = same_value(a.as<T>(), b.as<T>()); });
  return same;
}

std::vector<std::byte> bytes_of(const gguf::File& file, const gguf::TensorInfo& tensor) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes));
  const gguf::Shard& shard = file.shards()[tensor.shard];
  shard.read(shard.data_offset() + tensor.offset, bytes);
  return bytes;
}

void check_same(const gguf::File& a, const gguf::File& b) {
  fuzz::require(a.metadata().size() == b.metadata().size(), "a copy has as many pairs");
  for (auto left = a.metadata().begin(), right = b.metadata().begin(); left != a.metadata().end();
       ++left, ++right) {
    fuzz::require(same_values(*left, *right), "a copy has the same pairs in the same order");
  }
  fuzz::require(a.tensors().size() == b.tensors().size(), "a copy has as many tensors");
  for (std::size_t i = 0; i < a.tensors().size(); ++i) {
    const gguf::TensorInfo& left = a.tensors()[i];
    const gguf::TensorInfo& right = b.tensors()[i];
    fuzz::require(left.name == right.name && left.type == right.type && left.shape == right.shape &&
                      left.bytes == right.bytes,
                  "a copy describes its tensors alike");
    fuzz::require(bytes_of(a, left) == bytes_of(b, right), "a copy has the same tensor data");
  }
}

void check_copy(const std::filesystem::path& path, const std::filesystem::path& copy) {
  std::optional<gguf::File> file;
  try {
    file.emplace(path);
  } catch (const gguf::ParseError&) {
    return;
  }
  gguf::Writer writer;
  if (!copy_metadata(*file, writer)) return;
  copy_tensors(*file, writer);
  writer.write(copy);
  const gguf::File read{copy};
  fuzz::walk(read);
  check_same(*file, read);
}

/// A pair or a tensor that the writer took, to be found again.
struct Taken {
  std::string name;
  std::function<bool(const gguf::File&)> is_there;
};

constexpr std::array<std::string_view, 6> names{
    "general.alignment", "general.architecture", "a", "blk.0.attn_q.weight", "split.no", ""};

std::string name_from(fuzz::Choices& choices) {
  const std::uint8_t choice = choices.number<std::uint8_t>();
  if (choice < names.size()) return std::string{names[choice]};
  return std::string{choices.text(choice % 80U)};
}

template <class T>
T value_from(fuzz::Choices& choices) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return choices.text(choices.number<std::uint8_t>());
  } else if constexpr (std::is_same_v<T, bool>) {
    return choices.flag();
  } else {
    return choices.number<T>();
  }
}

/// Calls `call`; false where the writer refuses, which leaves it as it was.
bool accepts(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument&) {
    return false;
  }
  return true;
}

void add_value(fuzz::Choices& choices, gguf::Writer& writer, std::vector<Taken>& taken) {
  const std::string key = name_from(choices);
  const auto type = static_cast<gguf::ValueType>(choices.below(gguf::value_type_count));
  fuzz::with_type(type, [&]<class T>() {
    const T value = value_from<T>(choices);
    if (!accepts([&] { writer.add(key, value); })) return;
    taken.push_back({key, [key, value](const gguf::File& file) {
                       return same_value(file.metadata()[key].as<T>(), value);
                     }});
  });
}

void add_array(fuzz::Choices& choices, gguf::Writer& writer, std::vector<Taken>& taken) {
  const std::string key = name_from(choices);
  const auto type = static_cast<gguf::ValueType>(choices.below(gguf::value_type_count));
  const std::size_t count = choices.below(20);
  fuzz::with_type(type, [&]<class T>() {
    std::array<T, 20> values{};
    for (std::size_t i = 0; i < count; ++i) values[i] = value_from<T>(choices);
    if (!accepts([&] { writer.add_array<T>(key, std::span<const T>{values}.first(count)); }))
      return;
    taken.push_back({key, [key, values, count](const gguf::File& file) {
                       const gguf::Array array = file.metadata()[key].array();
                       if (array.size() != count) return false;
                       std::size_t i = 0;
                       bool same = true;
                       if constexpr (std::is_same_v<T, std::string_view>) {
                         for (const auto text : array.strings()) same = same && text == values[i++];
                       } else {
                         for (; i < count; ++i)
                           same = same && same_value(array.values<T>()[i], values[i]);
                       }
                       return same;
                     }});
  });
}

constexpr std::array<std::uint64_t, 8> extents{
    0, 1, 32, 256, 1ULL << 32, 1ULL << 62, (1ULL << 63) - 1, ~0ULL};

/// Larger files are not written: what is too much here says nothing of the writer.
constexpr std::uint64_t most_data = 1 << 16;

gguf::Shape shape_from(fuzz::Choices& choices) {
  gguf::Shape shape;
  shape.rank = choices.below(5);
  for (std::uint32_t i = 0; i < shape.rank; ++i) {
    const std::uint8_t choice = choices.number<std::uint8_t>();
    shape.extent[i] = choice < extents.size() ? extents[choice]
                      : choice < 0xf0         ? choice * 8U
                                              : choices.number<std::uint64_t>();
  }
  return shape;
}

void add_tensor(fuzz::Choices& choices, gguf::Writer& writer, std::vector<Taken>& taken,
                std::uint64_t& data_bytes) {
  const std::string name = name_from(choices);
  const gguf::TypeInfo type = gguf::tensor_types[choices.below(gguf::tensor_types.size())];
  const gguf::Shape shape = shape_from(choices);
  const auto start = choices.number<std::uint8_t>();
  const auto fill = [start](std::uint64_t offset, std::span<std::byte> piece) {
    for (std::byte& byte : piece) byte = static_cast<std::byte>(start + 7 * offset++);
  };
  if (!accepts([&] { writer.add_tensor(name, type.type, shape, fill); })) return;
  const fuzz::Wide bytes = fuzz::bytes_of({name, type.type, shape, 0, 0, 0});
  data_bytes = bytes > most_data ? most_data + 1 : data_bytes + static_cast<std::uint64_t>(bytes);
  taken.push_back({name, [name, type, shape, fill, bytes](const gguf::File& file) {
                     const gguf::TensorInfo* const tensor = file.find(name);
                     if (tensor == nullptr || tensor->type != type.type || tensor->shape != shape ||
                         tensor->bytes != bytes) {
                       return false;
                     }
                     std::vector<std::byte> expected(static_cast<std::size_t>(tensor->bytes));
                     fill(0, expected);
                     return bytes_of(file, *tensor) == expected;
                   }});
}

void check_written(fuzz::Choices choices, const std::filesystem::path& copy) {
  gguf::Writer writer;
  std::vector<Taken> taken;
  std::uint64_t data_bytes = 0;
  while (!choices.is_empty() && taken.size() < 64) {
    switch (choices.below(3)) {
      case 0:
        add_value(choices, writer, taken);
        break;
      case 1:
        add_array(choices, writer, taken);
        break;
      default:
        add_tensor(choices, writer, taken, data_bytes);
    }
    if (data_bytes > most_data) return;
  }
  writer.write(copy);
  const gguf::File file{copy};
  fuzz::walk(file);
  fuzz::require(file.metadata().size() + file.tensors().size() == taken.size(),
                "a file has what was added, and no more");
  for (const Taken& one : taken)
    fuzz::require(one.is_there(file), "what was added is read back identical");
}

/// The one thing that the writer cannot know: under which name its file will be.
bool mentions_shards(std::span<const std::uint8_t> bytes) {
  const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  return text.find("split.count") != std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static fuzz::InputFiles files;
  static const fuzz::InputFolder folder;
  static const fuzz::InputFile copy{folder.path() / "copy.gguf"};
  const std::span input{bytes, size};
  if (mentions_shards(input)) return 0;
  if (size >= 4 && std::memcmp(bytes, "GGUF", 4) == 0) {
    check_copy(files.set(input), copy.path());
  } else {
    check_written(fuzz::Choices{input}, copy.path());
  }
  return 0;
}
