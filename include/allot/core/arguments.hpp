// SPDX-License-Identifier: MIT
/// \file
/// What an arena accepts: bytes from outside become units here, or an error that says what is wrong
/// with them.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>

namespace allot::detail {

/// A request in units.
struct RequestedUnits {
  std::uint64_t size;
  std::uint64_t alignment;
};

[[noreturn]] inline void throw_bad_alignment(std::uint64_t alignment) {
  throw std::invalid_argument{(FixedText<160>{} << "an alignment of " << alignment
                                                << " bytes is no power of two; use 1, 2, 4, ...")
                                  .c_str()};
}

[[noreturn]] inline void throw_bad_size(std::uint64_t bytes) {
  throw std::invalid_argument{(FixedText<160>{} << "cannot allocate " << bytes
                                                << " bytes: a block has at least one byte, and "
                                                   "its size in whole units fits 64 bits")
                                  .c_str()};
}

[[noreturn]] inline void throw_too_small(std::uint64_t bytes, std::uint64_t unit) {
  throw std::invalid_argument{(FixedText<160>{} << "an arena of " << bytes
                                                << " bytes holds not one unit of " << unit
                                                << " bytes; give it at least one unit")
                                  .c_str()};
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
  throw std::invalid_argument{(FixedText<160>{} << "cannot shrink a block of " << size
                                                << " bytes to " << bytes
                                                << " bytes; use try_expand for more")
                                  .c_str()};
}

[[noreturn]] inline void throw_cannot_grow(std::uint64_t capacity, std::uint64_t bytes) {
  throw std::invalid_argument{(FixedText<192>{}
                               << "cannot grow an arena of " << capacity << " bytes to " << bytes
                               << " bytes; give the new capacity, not the difference")
                                  .c_str()};
}

/// Throws: `std::invalid_argument` for an alignment that is no power of two.
[[nodiscard]] inline Request request_of(std::uint64_t bytes, std::uint64_t alignment) {
  if (!is_power_of_two(alignment)) throw_bad_alignment(alignment);
  return {.bytes = bytes, .alignment = alignment};
}

/// \param unit  bytes, a power of two
/// Throws: `std::invalid_argument` for zero bytes, a bad alignment, and a size that overflows.
[[nodiscard]] inline RequestedUnits units_of(const Request& request, std::uint64_t unit) {
  const std::uint64_t alignment = request.alignment == 0 ? unit : request.alignment;
  if (!is_power_of_two(alignment)) throw_bad_alignment(alignment);
  const std::optional<std::uint64_t> raised = checked_add(request.bytes, unit - 1);
  if (request.bytes == 0 || !raised) throw_bad_size(request.bytes);
  return {*raised / unit, larger(alignment, unit) / unit};
}

/// The units in so many bytes, rounded down to a multiple of `granularity`.
/// Throws: `std::invalid_argument` where that is none.
[[nodiscard]] inline std::uint64_t whole_units(std::uint64_t bytes, std::uint64_t unit,
                                               std::uint64_t granularity) {
  const std::uint64_t units = bytes / unit / granularity * granularity;
  if (units == 0) throw_too_small(bytes, unit * granularity);
  return units;
}

}  // namespace allot::detail
