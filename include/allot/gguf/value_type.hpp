// SPDX-License-Identifier: MIT
/// \file
/// The types of metadata values, and the C++ types that they are read as.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iosfwd>
#include <string_view>
#include <type_traits>

namespace allot::gguf {

/// The type of a metadata value, as in the file.
enum class ValueType : std::uint32_t {
  uint8 = 0,
  int8 = 1,
  uint16 = 2,
  int16 = 3,
  uint32 = 4,
  int32 = 5,
  float32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  uint64 = 10,
  int64 = 11,
  float64 = 12,
};

inline constexpr std::uint32_t value_type_count = 13;  ///< types, numbered from 0

/// Returns a type's name: `uint32`.
[[nodiscard]] constexpr std::string_view to_text(ValueType type) noexcept {
  constexpr std::string_view names[value_type_count] = {
      "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
      "bool",  "string", "array",  "uint64", "int64",  "float64"};
  return names[static_cast<std::uint32_t>(type)];
}

/// Writes the type's name: `uint32`.
template <class Traits>
std::basic_ostream<char, Traits>& operator<<(std::basic_ostream<char, Traits>& out,
                                             ValueType type) {
  return out << to_text(type);
}

/// Returns the bytes of a fixed-size value in the file; 0 for strings and arrays.
[[nodiscard]] constexpr std::uint32_t fixed_size(ValueType type) noexcept {
  constexpr std::uint32_t sizes[value_type_count] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return sizes[static_cast<std::uint32_t>(type)];
}

namespace detail {

template <class Type>
[[nodiscard]] Type load(const std::byte* from) noexcept {
  if constexpr (std::is_same_v<Type, bool>) {
    return *from != std::byte{0};
  } else {
    Type value;
    std::memcpy(&value, from, sizeof(Type));
    return value;
  }
}

/// Reads the length before a string or an array: 32 bits in version 1, otherwise 64.
[[nodiscard]] inline std::uint64_t load_length(const std::byte* from, bool wide) noexcept {
  return wide ? load<std::uint64_t>(from) : load<std::uint32_t>(from);
}

inline constexpr auto no_type = static_cast<ValueType>(value_type_count);
template <class Type>
inline constexpr ValueType type_of = no_type;
template <>
inline constexpr ValueType type_of<std::uint8_t> = ValueType::uint8;
template <>
inline constexpr ValueType type_of<std::int8_t> = ValueType::int8;
template <>
inline constexpr ValueType type_of<std::uint16_t> = ValueType::uint16;
template <>
inline constexpr ValueType type_of<std::int16_t> = ValueType::int16;
template <>
inline constexpr ValueType type_of<std::uint32_t> = ValueType::uint32;
template <>
inline constexpr ValueType type_of<std::int32_t> = ValueType::int32;
template <>
inline constexpr ValueType type_of<float> = ValueType::float32;
template <>
inline constexpr ValueType type_of<bool> = ValueType::boolean;
template <>
inline constexpr ValueType type_of<std::string_view> = ValueType::string;
template <>
inline constexpr ValueType type_of<std::uint64_t> = ValueType::uint64;
template <>
inline constexpr ValueType type_of<std::int64_t> = ValueType::int64;
template <>
inline constexpr ValueType type_of<double> = ValueType::float64;

}  // namespace detail

/// Calls `f` with a value of the type, if it is a number or boolean type.
template <class Visitor>
void with_number_type(ValueType type, Visitor&& f) {
  if (type == ValueType::uint8) f(std::uint8_t{});
  if (type == ValueType::int8) f(std::int8_t{});
  if (type == ValueType::uint16) f(std::uint16_t{});
  if (type == ValueType::int16) f(std::int16_t{});
  if (type == ValueType::uint32) f(std::uint32_t{});
  if (type == ValueType::int32) f(std::int32_t{});
  if (type == ValueType::float32) f(float{});
  if (type == ValueType::boolean) f(bool{});
  if (type == ValueType::uint64) f(std::uint64_t{});
  if (type == ValueType::int64) f(std::int64_t{});
  if (type == ValueType::float64) f(double{});
}

/// A C++ type that a metadata value can be read as.
template <class Type>
concept ReadableValue = (detail::type_of<Type> != detail::no_type);

}  // namespace allot::gguf
