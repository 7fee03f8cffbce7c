// SPDX-License-Identifier: MIT
/// \file
/// What named buffers throw. Names that are not there are `std::out_of_range`, types and sizes
/// that do not match `std::invalid_argument`; both say what there is.
///
/// | error           | thrown when                                       | base             |
/// |-----------------|---------------------------------------------------|------------------|
/// | `LimitExceeded` | a buffer, or all together, would exceed a limit   | `std::bad_alloc` |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/pool/named/config.hpp>
#include <allot/pool/named/element_type.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot {

/// More bytes than a limit allows; nothing has changed. All figures in bytes.
class LimitExceeded : public std::bad_alloc {
 public:
  /// \param used  what is taken already, of a limit over all buffers
  LimitExceeded(const std::string& what_it_is, std::uint64_t requested, std::uint64_t used,
                std::uint64_t limit, const char* advice) noexcept
      : requested_{requested}, used_{used}, limit_{limit} {
    text_ << what_it_is.c_str() << ": " << ReadableBytes{requested}.c_str() << " (" << requested
          << " bytes)";
    if (used != 0) {
      text_ << " more, where " << ReadableBytes{used}.c_str() << " (" << used
            << " bytes) are taken,";
    }
    text_ << " exceed the limit of " << ReadableBytes{limit}.c_str() << " (" << limit << " bytes); "
          << advice;
  }

  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

  [[nodiscard]] std::uint64_t requested() const noexcept { return requested_; }
  [[nodiscard]] std::uint64_t used() const noexcept { return used_; }
  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }

 private:
  std::uint64_t requested_;
  std::uint64_t used_;
  std::uint64_t limit_;
  FixedText<512> text_;
};

namespace detail {

/// In quotes; a very long one cut off, so that messages keep their numbers.
[[nodiscard]] inline std::string in_quotes(std::string_view name) {
  return "\"" + std::string{name.substr(0, 96)} + (name.size() > 96 ? "...\"" : "\"");
}

/// Insertions, deletions and replacements of a character that make `b` of `a` (Levenshtein 1966).
[[nodiscard]] inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = smaller(replaced, smaller(row[j], row[j - 1]) + 1);
    }
  }
  return row[b.size()];
}

/// The three names nearest to one that is not there, nearest first. `names` is a
/// `NameTable`.
template <class Names>
[[nodiscard]] std::string nearest_names(std::string_view name, const Names& names) {
  struct Near {
    std::size_t distance = std::numeric_limits<std::size_t>::max();
    std::string_view name;
  };
  Near nearest[3];
  names.for_each([&](const auto& entry) {
    Near next{edit_distance(name, entry.name), entry.name};
    for (Near& near : nearest) {
      const bool is_nearer =
          next.distance != near.distance ? next.distance < near.distance : next.name < near.name;
      if (is_nearer) std::swap(near, next);
    }
  });
  std::string text;
  for (const Near& near : nearest) {
    if (near.distance == Near{}.distance) break;
    text += (text.empty() ? "" : ", ") + in_quotes(near.name);
  }
  return text;
}

template <class Names>
[[noreturn]] void throw_unknown_buffer(std::string_view name, const Names& names) {
  std::string text = "no buffer is named " + in_quotes(name);
  if (names.empty()) {
    text += ": there is none at all; add it first";
  } else {
    text += "; of " + std::to_string(names.size()) + (names.size() == 1 ? " buffer" : " buffers") +
            " the nearest: " + nearest_names(name, names);
  }
  throw std::out_of_range{text};
}

[[noreturn]] inline void throw_wrong_type(std::string_view name, const ElementType& held,
                                          const ElementType& wanted) {
  throw std::invalid_argument{"buffer " + in_quotes(name) + " holds " + std::string{held.name} +
                              " (" + std::to_string(held.bytes) + " bytes), not " +
                              std::string{wanted.name} + " (" + std::to_string(wanted.bytes) +
                              " bytes); ask for what it holds"};
}

[[nodiscard]] inline std::string described(const ElementType& type, std::uint64_t elements,
                                           const BufferConfig& config) {
  return std::to_string(elements) + " elements of " + std::to_string(config.bytes_per_element) +
         " bytes of " + std::string{type.name};
}

[[noreturn]] inline void throw_duplicate_buffer(std::string_view name, const ElementType& held,
                                                std::uint64_t held_elements,
                                                const BufferConfig& held_config,
                                                const ElementType& wanted,
                                                std::uint64_t wanted_elements,
                                                const BufferConfig& wanted_config) {
  const std::string there = described(held, held_elements, held_config);
  const std::string asked = described(wanted, wanted_elements, wanted_config);
  throw std::invalid_argument{
      "buffer " + in_quotes(name) + " exists, added with " + there +
      (there == asked ? "; it cannot be added with another growth, minimum, maximum or readback"
                      : "; it cannot be added with " + asked) +
      ": free it first, or ensure its capacity"};
}

[[noreturn]] inline void throw_no_readback(std::string_view name) {
  throw std::invalid_argument{"buffer " + in_quotes(name) +
                              " allows no asynchronous readback; set "
                              "BufferConfig::asynchronous_readback, or read without a stream"};
}

[[noreturn]] inline void throw_beyond_buffer(std::string_view name, std::uint64_t first,
                                             std::uint64_t count, std::uint64_t capacity) {
  throw std::out_of_range{"buffer " + in_quotes(name) + ": " + std::to_string(count) + " from " +
                          std::to_string(first) + " on reach beyond its " +
                          std::to_string(capacity) + "; ensure that capacity first"};
}

}  // namespace detail

}  // namespace allot
