// SPDX-License-Identifier: MIT
/// \file
/// What an arena accepts: bytes from outside become units here, or an error that says what is wrong
/// with them. Without exceptions a bad argument becomes nothing instead.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/fixed_text.hpp>

#include <cstdint>
#include <optional>

#if defined(__cpp_exceptions)
#include <stdexcept>
#endif

namespace allot::detail {

/// A request in units.
struct RequestedUnits {
  std::uint64_t size;
  std::uint64_t alignment;
};

/// Nothing for zero bytes, an alignment that is not a power of two, and a size that overflows.
/// \param unit  bytes, a power of two
[[nodiscard]] constexpr std::optional<RequestedUnits> valid_units(const Request& request,
                                                                  std::uint64_t unit) noexcept {
  const std::uint64_t alignment = request.alignment == 0 ? unit : request.alignment;
  const std::optional<std::uint64_t> raised = checked_add(request.bytes, unit - 1);
  if (!is_power_of_two(alignment) || request.bytes == 0 || !raised) return std::nullopt;
  return RequestedUnits{*raised / unit, larger(alignment, unit) / unit};
}

/// The units in `bytes`, rounded down to a multiple of `granularity`.
[[nodiscard]] constexpr std::uint64_t whole_units(std::uint64_t bytes, std::uint64_t unit,
                                                  std::uint64_t granularity) noexcept {
  return bytes / unit / granularity * granularity;
}

#if defined(__cpp_exceptions)

[[noreturn]] inline void throw_bad_alignment(std::uint64_t alignment) {
  FixedText<160> text;
  text << "an alignment of " << alignment << " bytes is not a power of two; use 1, 2, 4, ...";
  throw std::invalid_argument{text.c_str()};
}

[[noreturn]] inline void throw_bad_size(std::uint64_t bytes) {
  FixedText<160> text;
  text << "cannot allocate " << bytes
       << " bytes: a block has at least one byte, and its size in whole units fits 64 bits";
  throw std::invalid_argument{text.c_str()};
}

[[noreturn]] inline void throw_too_small(std::uint64_t bytes, std::uint64_t unit) {
  FixedText<160> text;
  text << "a capacity of " << bytes << " bytes is less than one unit (" << unit
       << " bytes); give at least one unit";
  throw std::invalid_argument{text.c_str()};
}

/// \param wide_name  a strategy for longer ranges, or null
[[noreturn]] inline void throw_too_long(std::uint64_t bytes, std::uint64_t unit,
                                        std::uint64_t most_units, const char* wide_name) {
  FixedText<320> text;
  text << "an arena of " << bytes << " bytes has " << bytes / unit << " units of " << unit
       << " bytes, and its strategy takes at most " << most_units << "; use ";
  if (wide_name != nullptr) text << wide_name << ", which takes any number, or ";
  text << "larger units";
  throw std::length_error{text.c_str()};
}

[[noreturn]] inline void throw_cannot_shrink(std::uint64_t size, std::uint64_t bytes) {
  FixedText<160> text;
  text << "cannot shrink a block of " << size << " bytes to " << bytes
       << " bytes; use try_expand for more";
  throw std::invalid_argument{text.c_str()};
}

[[noreturn]] inline void throw_cannot_grow(std::uint64_t capacity, std::uint64_t bytes) {
  FixedText<192> text;
  text << "cannot grow an arena of " << capacity << " bytes to " << bytes
       << " bytes; give the new capacity, not the difference";
  throw std::invalid_argument{text.c_str()};
}

[[noreturn]] inline void throw_foreign_mark() {
  throw std::invalid_argument{
      "the mark is of another arena; release to a mark that this arena made"};
}

/// Throws: `std::invalid_argument` for an alignment that is not a power of two.
[[nodiscard]] inline Request request_of(std::uint64_t bytes, std::uint64_t alignment) {
  if (!is_power_of_two(alignment)) throw_bad_alignment(alignment);
  return {.bytes = bytes, .alignment = alignment};
}

/// As `valid_units`.
/// Throws: `std::invalid_argument` where that is nothing.
[[nodiscard]] inline RequestedUnits units_of(const Request& request, std::uint64_t unit) {
  const std::uint64_t alignment = request.alignment == 0 ? unit : request.alignment;
  if (!is_power_of_two(alignment)) throw_bad_alignment(alignment);
  const std::optional<RequestedUnits> units = valid_units(request, unit);
  if (!units) throw_bad_size(request.bytes);
  return *units;
}

/// For members that return nothing rather than throw, but for bad arguments.
[[nodiscard]] inline std::optional<RequestedUnits> units_or_nothing(const Request& request,
                                                                    std::uint64_t unit) {
  return units_of(request, unit);
}

#else

/// An alignment that is not a power of two makes a request that none accepts: one of no bytes.
[[nodiscard]] constexpr Request request_of(std::uint64_t bytes, std::uint64_t alignment) noexcept {
  return {.bytes = is_power_of_two(alignment) ? bytes : 0, .alignment = alignment};
}

[[nodiscard]] constexpr std::optional<RequestedUnits> units_or_nothing(
    const Request& request, std::uint64_t unit) noexcept {
  return valid_units(request, unit);
}

#endif

/// Whether `function()` came to its end: false if it threw. Without exceptions it always does: the
/// program ends where host memory does.
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
