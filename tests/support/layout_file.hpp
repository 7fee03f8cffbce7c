// SPDX-License-Identifier: MIT
/// \file
/// Real models' tables of tensors, as sparse files of their real sizes.
#pragma once

#include <allot/gguf/file.hpp>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>

namespace allot::test {

/// Heads of a layout of data/layouts, which has none of its own.
struct Layout {
  const char* name;
  std::uint32_t layers;
  std::uint32_t heads;
  std::uint32_t kv_heads;
  std::uint32_t key_length;
  std::uint32_t value_length;
};

template <class T>
void put_number(std::string& bytes, T number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}
inline void put_key(std::string& bytes, const std::string& key, std::uint32_t value) {
  put_number(bytes, std::uint64_t{key.size()});
  bytes += key;
  put_number(bytes, std::uint32_t{4});  // a number of 32 bits
  put_number(bytes, value);
}

/// Writes a layout as a sparse file, with the keys that say how many heads there are.
inline std::filesystem::path write_layout(const std::filesystem::path& data, const Layout& layout,
                                          const std::filesystem::path& folder) {
  const std::string command = "python3 '" + (data / ".." / "tools" / "mk_sparse_gguf.py").string() +
                              "' '" +
                              (data / "layouts" / (std::string{layout.name} + ".csv")).string() +
                              "' '" + (folder / "m.gguf").string() + "' >/dev/null";
  if (std::system(command.c_str()) != 0)
    throw std::runtime_error{"python3 and mk_sparse_gguf.py are needed for " +
                             std::string{layout.name}};
  const bool is_split = !std::filesystem::exists(folder / "m.gguf");
  const std::filesystem::path path = folder / (is_split ? "m-00001-of-00009.gguf" : "m.gguf");
  std::uint64_t data_offset = 0;
  {
    const gguf::File file{path};
    data_offset = file.shards().front().data_offset();
  }
  std::string head(data_offset, '\0');
  std::ifstream{path, std::ios::binary}.read(head.data(),
                                             static_cast<std::streamsize>(head.size()));
  std::string keys;
  const std::pair<const char*, std::uint32_t> numbers[] = {
      {"block_count", layout.layers},
      {"attention.head_count", layout.heads},
      {"attention.head_count_kv", layout.kv_heads},
      {"attention.key_length", layout.key_length},
      {"attention.value_length", layout.value_length}};
  for (const auto& [key, value] : numbers) put_key(keys, std::string{"llama."} + key, value);
  // One more, so that all of them together are a multiple of the alignment.
  const std::string last = "test.";
  put_key(keys, last + std::string((64 - (keys.size() + last.size() + 16) % 32) % 32, 'x'), 0);
  std::uint64_t count = 0;
  std::memcpy(&count, head.data() + 16, sizeof count);
  count += std::size(numbers) + 1;
  std::memcpy(head.data() + 16, &count, sizeof count);
  head.insert(24, keys);
  const auto size = std::filesystem::file_size(path) + keys.size();
  std::ofstream{path, std::ios::binary}.write(head.data(),
                                              static_cast<std::streamsize>(head.size()));
  std::filesystem::resize_file(path, size);
  return path;
}

}  // namespace allot::test
