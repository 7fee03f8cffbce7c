// SPDX-License-Identifier: MIT
/// \file
/// How the files of a split model are named, and their keys. Source: llama.cpp, tools/gguf-split.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>

namespace allot::gguf {

inline constexpr const char* split_no_key = "split.no";
inline constexpr const char* split_count_key = "split.count";
inline constexpr const char* split_tensors_key = "split.tensors.count";

/// `PREFIX-00002-of-00009.gguf`. \param number  from 0
[[nodiscard]] inline std::filesystem::path split_path(const std::filesystem::path& prefix,
                                                      std::uint16_t number, std::uint16_t count) {
  char ending[40];
  std::snprintf(ending, sizeof ending, "-%05u-of-%05u.gguf", number + 1U,
                static_cast<unsigned>(count));
  std::filesystem::path path = prefix;
  path += ending;
  return path;
}

}  // namespace allot::gguf
