// SPDX-License-Identifier: MIT
/// \file
/// Checks an arena's arguments: converts bytes to units, or throws an error that says what is
/// wrong. Without exceptions, an invalid argument becomes an empty result instead.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>

#include <cstdint>

#if defined(__cpp_exceptions)
#include <stdexcept>
#endif

namespace allot::detail {

/// A request in units.
struct RequestedUnits {
  std::uint64_t size;  ///< zero if no arena accepts the request
  std::uint64_t alignment;
};

/// Converts bytes to units, rounding up. Returns zero for zero bytes and for a size that overflows.
/// \param unit  bytes, a power of two
[[nodiscard]] constexpr std::uint64_t units_above(std::uint64_t bytes,
                                                  std::uint64_t unit) noexcept {
  return bytes > ~std::uint64_t{0} - (unit - 1) ? 0 : (bytes + (unit - 1)) / unit;
}

/// Converts bytes to units, rounding down to a multiple of `granularity`.
[[nodiscard]] constexpr std::uint64_t whole_units(std::uint64_t bytes, std::uint64_t unit,
                                                  std::uint64_t granularity) noexcept {
  return bytes / unit / granularity * granularity;
}

#if defined(__cpp_exceptions)

using Message = FixedText<512>;  // one size for all: each takes time to compile

[[noreturn]] inline void throw_bad_alignment(std::uint64_t alignment) {
  throw std::invalid_argument{
      Message{}
          .fill_in("an alignment of # bytes is not a power of two; use 1, 2, 4, ...", {alignment})
          .c_str()};
}

[[noreturn]] inline void throw_bad_size(std::uint64_t bytes) {
  throw std::invalid_argument{
      Message{}
          .fill_in("cannot allocate # bytes: a block has at least one byte, and its size in whole "
                   "units fits 64 bits",
                   {bytes})
          .c_str()};
}

[[noreturn]] inline void throw_too_small(std::uint64_t bytes, std::uint64_t unit) {
  throw std::invalid_argument{
      Message{}
          .fill_in("a capacity of # bytes is less than one unit (# bytes); give at least one unit",
                   {bytes, unit})
          .c_str()};
}

/// \param wide_name  the name of a strategy for longer ranges, or null
[[noreturn]] inline void throw_too_long(std::uint64_t bytes, std::uint64_t unit,
                                        std::uint64_t most_units, const char* wide_name) {
  Message text;
  text.fill_in("an arena of # bytes has # units of # bytes, and its strategy takes at most #; use ",
               {bytes, bytes / unit, unit, most_units});
  if (wide_name != nullptr) text << wide_name << ", which takes any number, or ";
  throw std::length_error{(text << "larger units").c_str()};
}

[[noreturn]] inline void throw_cannot_shrink(std::uint64_t size, std::uint64_t bytes) {
  throw std::invalid_argument{
      Message{}
          .fill_in("cannot shrink a block of # bytes to # bytes; use try_expand for more",
                   {size, bytes})
          .c_str()};
}

[[noreturn]] inline void throw_cannot_grow(std::uint64_t capacity, std::uint64_t bytes) {
  throw std::invalid_argument{
      Message{}
          .fill_in("cannot grow an arena of # bytes to # bytes; give the new capacity, not the "
                   "difference",
                   {capacity, bytes})
          .c_str()};
}

[[noreturn]] inline void throw_no_chunk(std::uint64_t budget, std::uint64_t chunk) {
  throw std::invalid_argument{
      Message{}
          .fill_in(
              "a budget of # bytes is less than one chunk of # bytes; give at least one chunk: "
              "the first stays",
              {budget, chunk})
          .c_str()};
}

[[noreturn]] inline void throw_foreign_mark() {
  throw std::invalid_argument{
      "the mark belongs to another arena; release to a mark that this arena made"};
}

/// Throws: `std::invalid_argument` for an alignment that is not a power of two.
[[nodiscard]] inline Request request_of(std::uint64_t bytes, std::uint64_t alignment) {
  if (!is_power_of_two(alignment)) throw_bad_alignment(alignment);
  return {.bytes = bytes, .alignment = alignment};
}

/// Throws: `std::invalid_argument` for zero bytes, an alignment that is not a power of two, and a
/// size that overflows. Without exceptions, returns zero units instead.
[[nodiscard]] inline RequestedUnits units_of(const Request& request, std::uint64_t unit) {
  const std::uint64_t alignment = request.alignment == 0 ? unit : request.alignment;
  const std::uint64_t size = units_above(request.bytes, unit);
  if (!is_power_of_two(alignment)) throw_bad_alignment(alignment);
  if (size == 0) throw_bad_size(request.bytes);
  return {size, larger(alignment, unit) / unit};
}

#else

/// Turns an alignment that is not a power of two into a request of zero bytes, which no arena
/// accepts.
[[nodiscard]] constexpr Request request_of(std::uint64_t bytes, std::uint64_t alignment) noexcept {
  return {.bytes = is_power_of_two(alignment) ? bytes : 0, .alignment = alignment};
}

[[nodiscard]] constexpr RequestedUnits units_of(const Request& request,
                                                std::uint64_t unit) noexcept {
  const std::uint64_t alignment = request.alignment == 0 ? unit : request.alignment;
  if (!is_power_of_two(alignment)) return {0, 1};
  return {units_above(request.bytes, unit), larger(alignment, unit) / unit};
}

#endif

/// Calls `function()` and returns false if it threw. Without exceptions it always returns true: the
/// program ends if the host runs out of memory.
template <class Function>
[[nodiscard]] bool completes(Function&& function) noexcept {
#if defined(__cpp_exceptions)
  try {
    function();
    return true;
  } catch (...) {
    return false;
  }
#else
  function();
  return true;
#endif
}

}  // namespace allot::detail
