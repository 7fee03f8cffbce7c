// SPDX-License-Identifier: MIT
/// \file
/// Reads the sizes and numbers of the command line and of files: the one place that says what they may
/// look like.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

/// Reads a size in bytes: `512`, `64KiB`, `1.5G`, `24GB`. K, M, G, T and KiB to TiB count in 1024s;
/// kB, MB, GB, TB in 1000s; upper and lower case mean the same. A fraction of a byte is dropped.
/// Throws: `std::invalid_argument` for anything else: a sign, a comma, another unit, 2^64 or more.
[[nodiscard]] std::uint64_t read_size(std::string_view text);

/// Reads a number without a unit. Throws: `std::invalid_argument` for anything else than digits, and
/// for a number that is not from `least` to `most`.
[[nodiscard]] std::uint64_t read_number(
    std::string_view text, std::uint64_t least = 0,
    std::uint64_t most = std::numeric_limits<std::uint64_t>::max());

/// A number in a file, or why it is none: "is too large for 32 bits".
struct FieldNumber {
  std::uint64_t value = 0;
  std::string problem{};  // empty: none
};

/// Reads a number of a file: digits of the base and nothing else, below 2^bits.
[[nodiscard]] FieldNumber read_field_number(std::string_view text, int base = 10,
                                            unsigned bits = 64);
