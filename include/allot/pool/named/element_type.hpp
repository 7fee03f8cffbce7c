// SPDX-License-Identifier: MIT
/// \file
/// The type of a buffer's contents, at run time, and a resize that names it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace allot {

namespace detail {

/// Returns a type's name as the compiler spells it.
template <class Type>
[[nodiscard]] constexpr std::string_view type_name() noexcept {
  const std::string_view text =
      __PRETTY_FUNCTION__;  // "... [with Type = float; ...]", "[Type = float]"
  const std::size_t first = text.find("Type = ") + 7;
  return text.substr(first, text.find_first_of(";]", first) - first);
}

/// Its address identifies a type, also without RTTI.
template <class Type>
inline constexpr char type_mark = 0;

/// The type of a buffer's elements.
struct ElementType {
  const char* mark;
  std::string_view name;
  std::uint64_t bytes;

  template <class Type>
  [[nodiscard]] static ElementType of() noexcept {
    return {&type_mark<Type>, type_name<Type>(), sizeof(Type)};
  }
  friend bool operator==(const ElementType& a, const ElementType& b) noexcept {
    return a.mark == b.mark;
  }
};

}  // namespace detail

/// One resize of `NamedBuffers::resize_all`.
struct BufferResize {
  std::string_view name;     ///< of the buffer
  detail::ElementType type;  ///< of its elements
  std::uint64_t elements;    ///< that it shall have
};

}  // namespace allot
