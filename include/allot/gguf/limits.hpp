// SPDX-License-Identifier: MIT
/// \file
/// What a file may hold at the most: the specification's limits, and ggml's where it sets none.
#pragma once

#include <allot/core/units.hpp>

#include <cstdint>

namespace allot::gguf::limits {

inline constexpr std::uint64_t key_bytes = 65'535;
inline constexpr std::uint64_t string_bytes = std::uint64_t{1} << 30;
inline constexpr std::uint64_t array_elements = std::uint64_t{1} << 30;
inline constexpr std::uint32_t array_nesting = 4;
inline constexpr std::uint64_t tensor_name_bytes = 64;
inline constexpr std::uint32_t dimensions = 4;
inline constexpr std::uint64_t alignment = MiB;
/// Of tensors, and of metadata pairs: the least file that has more is over 24 GB without its data.
inline constexpr std::uint64_t names = std::uint64_t{1} << 31;

}  // namespace allot::gguf::limits
