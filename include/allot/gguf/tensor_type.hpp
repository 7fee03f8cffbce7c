// SPDX-License-Identifier: MIT
/// \file
/// The tensor types of GGUF: ids, names, and how many bytes a block of elements takes.
/// Source: ggml's type table (ggml.h, ggml.c). Ids that ggml removed are refused, as are unknown
/// ones.
#pragma once

#include <allot/core/deferred_containers.hpp>

#include <array>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace allot::gguf {

/// The id of a tensor's type, as in the file.
enum class TensorType : std::uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q8_1 = 9,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  Q8_K = 15,
  IQ2_XXS = 16,
  IQ2_XS = 17,
  IQ3_XXS = 18,
  IQ1_S = 19,
  IQ4_NL = 20,
  IQ3_S = 21,
  IQ2_S = 22,
  IQ4_XS = 23,
  I8 = 24,
  I16 = 25,
  I32 = 26,
  I64 = 27,
  F64 = 28,
  IQ1_M = 29,
  BF16 = 30,
  TQ1_0 = 34,
  TQ2_0 = 35,
  MXFP4 = 39,
  NVFP4 = 40,
  Q1_0 = 41,
  Q2_0 = 42,
};

/// A block is the smallest run of elements that is stored as a unit.
struct TypeInfo {
  TensorType type;               ///< as the file has its number
  std::string_view name;         ///< as ggml has it: `Q4_K`
  std::uint32_t block_elements;  ///< of one block
  std::uint32_t block_bytes;     ///< of one block
};

/// Every live type, by id.
inline constexpr std::array<TypeInfo, 35> tensor_types{{
    {TensorType::F32, "F32", 1, 4},
    {TensorType::F16, "F16", 1, 2},
    {TensorType::Q4_0, "Q4_0", 32, 18},
    {TensorType::Q4_1, "Q4_1", 32, 20},
    {TensorType::Q5_0, "Q5_0", 32, 22},
    {TensorType::Q5_1, "Q5_1", 32, 24},
    {TensorType::Q8_0, "Q8_0", 32, 34},
    {TensorType::Q8_1, "Q8_1", 32, 36},
    {TensorType::Q2_K, "Q2_K", 256, 84},
    {TensorType::Q3_K, "Q3_K", 256, 110},
    {TensorType::Q4_K, "Q4_K", 256, 144},
    {TensorType::Q5_K, "Q5_K", 256, 176},
    {TensorType::Q6_K, "Q6_K", 256, 210},
    {TensorType::Q8_K, "Q8_K", 256, 292},
    {TensorType::IQ2_XXS, "IQ2_XXS", 256, 66},
    {TensorType::IQ2_XS, "IQ2_XS", 256, 74},
    {TensorType::IQ3_XXS, "IQ3_XXS", 256, 98},
    {TensorType::IQ1_S, "IQ1_S", 256, 50},
    {TensorType::IQ4_NL, "IQ4_NL", 32, 18},
    {TensorType::IQ3_S, "IQ3_S", 256, 110},
    {TensorType::IQ2_S, "IQ2_S", 256, 82},
    {TensorType::IQ4_XS, "IQ4_XS", 256, 136},
    {TensorType::I8, "I8", 1, 1},
    {TensorType::I16, "I16", 1, 2},
    {TensorType::I32, "I32", 1, 4},
    {TensorType::I64, "I64", 1, 8},
    {TensorType::F64, "F64", 1, 8},
    {TensorType::IQ1_M, "IQ1_M", 256, 56},
    {TensorType::BF16, "BF16", 1, 2},
    {TensorType::TQ1_0, "TQ1_0", 256, 54},
    {TensorType::TQ2_0, "TQ2_0", 256, 66},
    {TensorType::MXFP4, "MXFP4", 32, 17},
    {TensorType::NVFP4, "NVFP4", 64, 36},
    {TensorType::Q1_0, "Q1_0", 128, 18},
    {TensorType::Q2_0, "Q2_0", 64, 18},
}};

namespace detail {

/// By id: the index in `tensor_types`, or their number if the id is not a type.
inline constexpr auto type_places = [] {
  std::array<std::uint8_t, 43> places{};
  places.fill(tensor_types.size());
  for (std::uint8_t i = 0; i < tensor_types.size(); ++i)
    places[static_cast<std::uint32_t>(tensor_types[i].type)] = i;
  return places;
}();

/// Returns null if the id is not a type.
[[nodiscard]] constexpr const TypeInfo* type_at(std::uint32_t id) noexcept {
  if (id >= type_places.size() || type_places[id] == tensor_types.size()) return nullptr;
  return &tensor_types[type_places[id]];
}

}  // namespace detail

/// Returns the type of an id, a `std::optional<TypeInfo>`, or nothing if the id is unknown or was
/// removed. Complexity: constant.
template <class Owner = void>
[[nodiscard]] constexpr DeferredOptional<TypeInfo, Owner> find_type(std::uint32_t id) noexcept {
  if (const TypeInfo* const info = detail::type_at(id)) return *info;
  return std::nullopt;
}

/// Returns whether an id was once a type and has been removed from GGUF.
[[nodiscard]] constexpr bool is_removed_type(std::uint32_t id) noexcept {
  return id == 4 || id == 5 || id == 31 || id == 32 || id == 33 || id == 36 || id == 37 || id == 38;
}

/// Requires: `type` is one of the enumerators, as for every tensor of a `File`; for others the
/// name is "?" and a block has zero bytes. Complexity: constant.
[[nodiscard]] constexpr TypeInfo type_info(TensorType type) noexcept {
  const TypeInfo* const info = detail::type_at(static_cast<std::uint32_t>(type));
  return info != nullptr ? *info : TypeInfo{type, "?", 1, 0};
}

/// The same for a number from outside: a block has at least one byte.
/// Throws: `std::invalid_argument` for a number that is not a type.
[[nodiscard]] inline TypeInfo checked_type_info(TensorType type) {
  if (const TypeInfo* const info = detail::type_at(static_cast<std::uint32_t>(type))) return *info;
  throw std::invalid_argument{std::to_string(static_cast<std::uint32_t>(type)) +
                              " is not the number of a tensor type; check numbers from outside "
                              "with `gguf::find_type`"};
}

/// Returns a type's name: `Q4_K`; `?` for a number that is not a type.
[[nodiscard]] constexpr std::string_view type_name(TensorType type) noexcept {
  return type_info(type).name;
}

/// Writes the type's name: `Q4_K`. For {fmt} and `std::format`: `allot/gguf/format.hpp`.
template <class Traits>
std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                             TensorType type) {
  return out << type_name(type);
}

}  // namespace allot::gguf
