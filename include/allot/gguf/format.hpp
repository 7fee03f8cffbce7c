// SPDX-License-Identifier: MIT
/// \file
/// Formatters of tensor types, value types and shapes: for {fmt}, if its header was included before
/// this one, and for `std::format`, if the library has it.
///
///     #include <fmt/format.h>
///     #include <allot/gguf/format.hpp>
///     fmt::print("{:>6} {}", tensor.type, tensor.shape);
///
/// Not part of `allot.hpp`, as `<format>` takes long to compile. Streams need no header:
/// `std::cout << tensor.type`.
#pragma once

#include <allot/gguf/tensor.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/gguf/value_type.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <version>

#if defined(__cpp_lib_format)
#include <format>
#endif

namespace allot::gguf::detail {

[[nodiscard]] constexpr std::string_view format_text(TensorType type) noexcept {
  return type_name(type);
}
[[nodiscard]] constexpr std::string_view format_text(ValueType type) noexcept {
  return to_text(type);
}
[[nodiscard]] inline std::string format_text(const Shape& shape) {
  if (shape.rank == 0) return "scalar";
  std::string text;
  for (std::uint32_t i = 0; i < shape.rank; ++i)
    text += (i == 0 ? "" : " x ") + std::to_string(shape.extent[i]);
  return text;
}

/// Formats as text, so that `{:>8}` works. A template: without a call nothing of it is compiled.
template <class Type, class TextFormatter>
struct Formatter : TextFormatter {
  template <class Context>
  auto format(const Type& value, Context& context) const {
    const auto text = format_text(value);
    return TextFormatter::format({text.data(), text.size()}, context);
  }
};

}  // namespace allot::gguf::detail

#if defined(__cpp_lib_format)
template <>
struct std::formatter<allot::gguf::TensorType>
    : allot::gguf::detail::Formatter<allot::gguf::TensorType, std::formatter<std::string_view>> {};
template <>
struct std::formatter<allot::gguf::ValueType>
    : allot::gguf::detail::Formatter<allot::gguf::ValueType, std::formatter<std::string_view>> {};
template <>
struct std::formatter<allot::gguf::Shape>
    : allot::gguf::detail::Formatter<allot::gguf::Shape, std::formatter<std::string_view>> {};
#endif

#if defined(FMT_VERSION)
template <>
struct fmt::formatter<allot::gguf::TensorType>
    : allot::gguf::detail::Formatter<allot::gguf::TensorType, fmt::formatter<fmt::string_view>> {};
template <>
struct fmt::formatter<allot::gguf::ValueType>
    : allot::gguf::detail::Formatter<allot::gguf::ValueType, fmt::formatter<fmt::string_view>> {};
template <>
struct fmt::formatter<allot::gguf::Shape>
    : allot::gguf::detail::Formatter<allot::gguf::Shape, fmt::formatter<fmt::string_view>> {};
#endif
