// SPDX-License-Identifier: MIT
#include "numbers.hpp"

#include <allot/core/checked.hpp>

#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

namespace {

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// Returns the digits at the start of `text`, and removes them from it.
std::string_view take_digits(std::string_view& text) noexcept {
  std::size_t length = 0;
  while (length < text.size() && is_digit(text[length])) ++length;
  const std::string_view digits = text.substr(0, length);
  text.remove_prefix(length);
  return digits;
}

/// Returns nothing if the digits are none, or a number of 2^64 or more.
std::optional<std::uint64_t> number_of(std::string_view digits) {
  const FieldNumber number = read_field_number(digits);
  return number.problem.empty() ? std::optional{number.value} : std::nullopt;
}

/// Returns the bytes of a unit; nothing if there is no such unit.
std::optional<std::uint64_t> unit_of(std::string_view text) {
  std::string unit{text};
  for (char& c : unit) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (unit.empty() || unit == "b") return 1;
  const std::size_t power = std::string_view{"kmgt"}.find(unit[0]);
  if (power == std::string_view::npos) return std::nullopt;
  const std::string_view rest = std::string_view{unit}.substr(1);
  if (!rest.empty() && rest != "ib" && rest != "b") return std::nullopt;
  std::uint64_t bytes = 1;
  for (std::size_t i = 0; i <= power; ++i) bytes *= rest == "b" ? 1000 : 1024;
  return bytes;
}

/// Returns `unit` times 0.DIGITS, rounded down; digits beyond the 18th make no byte.
std::uint64_t fraction_of(std::string_view digits, std::uint64_t unit) noexcept {
  __extension__ using Wide = unsigned __int128;
  Wide parts = 0;
  Wide whole = 1;
  for (const char digit : digits.substr(0, 18)) {
    parts = parts * 10 + static_cast<unsigned>(digit - '0');
    whole *= 10;
  }
  return static_cast<std::uint64_t>(unit * parts / whole);
}

[[noreturn]] void fail(std::string_view text, const std::string& why) {
  throw std::invalid_argument{"\"" + std::string{text} + "\" " + why};
}

}  // namespace

std::uint64_t read_size(std::string_view text) {
  std::string_view rest = text;
  if (rest.starts_with('-') || rest.starts_with('+'))
    fail(text, "has a sign; a size is a number of bytes, or of units as in 512MiB");
  const std::string_view digits = take_digits(rest);
  std::string_view decimals;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    decimals = take_digits(rest);
    if (decimals.empty()) rest = "?";
  }
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  const auto unit = unit_of(rest);
  if (digits.empty() || !unit) {
    fail(text,
         "is not a size; use a number of bytes, or of units as in 512MiB, 1.5G (1024s) or 24GB "
         "(1000s)");
  }
  const auto number = number_of(digits);
  const auto whole = number ? allot::checked_multiply(*number, *unit) : std::nullopt;
  const auto bytes =
      whole ? allot::checked_add(*whole, fraction_of(decimals, *unit)) : std::nullopt;
  if (!bytes) fail(text, "is more than 2^64 - 1 bytes");
  return *bytes;
}

std::uint64_t read_number(std::string_view text, std::uint64_t least, std::uint64_t most) {
  const std::string allowed =
      most == std::numeric_limits<std::uint64_t>::max()
          ? "a whole number" + (least == 0 ? "" : " from " + std::to_string(least) + " on")
          : "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
  std::string_view rest = text;
  const std::string_view digits = take_digits(rest);
  if (!rest.empty() || digits.empty()) fail(text, "is not " + allowed);
  const auto number = number_of(digits);
  if (!number || *number < least || *number > most) fail(text, "is not " + allowed);
  return *number;
}

FieldNumber read_field_number(std::string_view text, int base, unsigned bits) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error == std::errc::invalid_argument || end != text.data() + text.size())
    return {0, "is not a whole number of at least 0"};
  if (error != std::errc{} || (bits < 64 && value >> bits != 0))
    return {0, "is too large for " + std::to_string(bits) + " bits"};
  return {value};
}
