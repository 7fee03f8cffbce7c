// SPDX-License-Identifier: MIT
/// \file
/// Limits on what a file may hold: the specification's, and ggml's if it sets none.
#pragma once

#include <allot/core/units.hpp>

#include <cstdint>

namespace allot::gguf::limits {

inline constexpr std::uint64_t key_bytes = 65'535;                       ///< of a metadata key
inline constexpr std::uint64_t string_bytes = std::uint64_t{1} << 30;    ///< of a string
inline constexpr std::uint64_t array_elements = std::uint64_t{1} << 30;  ///< of one array
inline constexpr std::uint32_t array_nesting = 4;                        ///< arrays within arrays
/// These two only because ggml's structs have no more: a lenient reading has names like keys, and as many
/// dimensions as there are.
inline constexpr std::uint64_t tensor_name_bytes = 64;
inline constexpr std::uint32_t dimensions = 4;   ///< of a tensor
inline constexpr std::uint64_t alignment = MiB;  ///< bytes
/// Of tensors, and of metadata pairs: a file with more has over 24 GB even without its data.
inline constexpr std::uint64_t names = std::uint64_t{1} << 31;

}  // namespace allot::gguf::limits
