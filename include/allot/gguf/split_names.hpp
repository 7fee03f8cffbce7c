// SPDX-License-Identifier: MIT
/// \file
/// The file names and keys of a split model. Source: llama.cpp, tools/gguf-split.
#pragma once

#include <allot/core/deferred_containers.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace allot::gguf {

inline constexpr const char* split_no_key = "split.no";        ///< the shard's number, from 0
inline constexpr const char* split_count_key = "split.count";  ///< how many shards there are
inline constexpr const char* split_tensors_key =
    "split.tensors.count";  ///< how many tensors all shards have

/// Returns whether a key describes a model's shards, not the model.
[[nodiscard]] inline bool is_split_key(std::string_view key) noexcept {
  return key == split_no_key || key == split_count_key || key == split_tensors_key;
}

/// Returns the ending of every shard's name: `-of-00009.gguf`.
[[nodiscard]] inline std::string split_ending(std::uint16_t count) {
  char ending[32];
  std::snprintf(ending, sizeof ending, "-of-%05u.gguf", static_cast<unsigned>(count));
  return ending;
}

/// `PREFIX-00002-of-00009.gguf`. \param number  from 0
[[nodiscard]] inline std::string split_path(std::string_view prefix, std::uint16_t number,
                                            std::uint16_t count) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "-%05u", number + 1U);
  return std::string{prefix} + digits + split_ending(count);
}

/// Returns what precedes the shard number in a name; nothing if it is not a name of one of `count`
/// shards. The case of letters behind it does not matter: `-00001-of-00009.GGUF`.
template <class Owner = void>
[[nodiscard]] DeferredOptional<std::string_view, Owner> split_prefix(std::string_view path,
                                                                     std::uint16_t count) {
  const std::string ending = split_ending(count);
  const std::size_t tail = ending.size() + std::string_view{"-00001"}.size();
  const std::size_t name = path.size() - (path.rfind('/') + 1);
  if (name < tail) return std::nullopt;
  for (std::size_t i = 0; i < ending.size(); ++i) {
    const char c = path[path.size() - ending.size() + i];
    if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != ending[i]) return std::nullopt;
  }
  return path.substr(0, path.size() - tail);
}

}  // namespace allot::gguf
