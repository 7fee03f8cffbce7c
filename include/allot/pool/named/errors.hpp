// SPDX-License-Identifier: MIT
/// \file
/// The errors of named buffers. An unknown name is a `std::out_of_range`; a type or size that does
/// not match is a `std::invalid_argument`; both messages name what exists.
///
/// | error           | thrown when                                       | base             |
/// |-----------------|---------------------------------------------------|------------------|
/// | `LimitExceeded` | a buffer, or all together, would exceed a limit   | `std::bad_alloc` |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/pool/named/config.hpp>
#include <allot/pool/named/element_type.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot {

/// A request for more bytes than a limit allows; nothing has changed. All figures in bytes.
class LimitExceeded : public std::bad_alloc {
 public:
  /// \param used  the bytes taken already, for a limit over all buffers; else 0
  LimitExceeded(const std::string& what_it_is, std::uint64_t requested, std::uint64_t used,
                std::uint64_t limit, const char* advice) noexcept
      : requested_{requested}, used_{used}, limit_{limit} {
    text_ << what_it_is.c_str() << ": " << ReadableBytes{requested}.c_str() << " (" << requested
          << " bytes)";
    if (used != 0) {
      text_ << " more, with " << ReadableBytes{used}.c_str() << " (" << used
            << " bytes) already taken,";
    }
    text_ << " exceed the limit of " << ReadableBytes{limit}.c_str() << " (" << limit << " bytes); "
          << advice;
  }

  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

  /// Returns the bytes that were asked for, or to which the buffer's minimum raised them.
  [[nodiscard]] std::uint64_t requested() const noexcept { return requested_; }
  /// Returns the bytes in use.
  [[nodiscard]] std::uint64_t used() const noexcept { return used_; }
  /// Returns the most bytes that may be used.
  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }

 private:
  std::uint64_t requested_;
  std::uint64_t used_;
  std::uint64_t limit_;
  FixedText<512> text_;
};

namespace detail {

/// Quotes a name; cuts off a very long one, so that messages keep their numbers.
[[nodiscard]] inline std::string in_quotes(std::string_view name) {
  return "\"" + std::string{name.substr(0, 96)} + (name.size() > 96 ? "...\"" : "\"");
}

/// Counts the insertions, deletions and replacements of a character that turn `a` into `b`
/// (Levenshtein 1966).
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

/// Returns the three names nearest to an unknown one, nearest first. `names` is a `NameTable`.
template <class Names>
[[nodiscard]] std::string nearest_names(std::string_view name, const Names& names) {
  struct Near {
    std::size_t distance = largest_of<std::size_t>;
    std::string_view name;
  };
  Near nearest[3];
  names.for_each([&](const auto& entry) {
    Near next{edit_distance(name, entry.name), entry.name};
    for (Near& held : nearest) {
      const bool is_nearer =
          next.distance != held.distance ? next.distance < held.distance : next.name < held.name;
      if (is_nearer) std::swap(held, next);
    }
  });
  std::string text;
  for (const Near& held : nearest) {
    if (held.distance == Near{}.distance) break;
    text += (text.empty() ? "" : ", ") + in_quotes(held.name);
  }
  return text;
}

template <class Names>
[[noreturn]] void throw_unknown_buffer(std::string_view name, const Names& names) {
  std::string text = "no buffer is named " + in_quotes(name);
  if (names.empty()) {
    text += ": there are no buffers yet; add it first";
  } else {
    text += "; the nearest of " + std::to_string(names.size()) +
            (names.size() == 1 ? " buffer: " : " buffers: ") + nearest_names(name, names);
  }
  throw std::out_of_range{text};
}

/// Throws the exception that is being handled again; an `OutOfMemory` as one for `asked` bytes, if
/// the buffer's minimum raised them to `bytes`.
[[noreturn]] inline void rethrow_raised(std::uint64_t asked, std::uint64_t bytes) {
  try {
    throw;
  } catch (const OutOfMemory& error) {
    if (asked == bytes) throw;
    throw OutOfMemory{error.reason(), asked,           error.alignment(),
                      error.free(),   error.largest(), error.capacity(),
                      error.limit(),  error.cached(),  larger(error.rounded(), bytes)};
  }
}

[[noreturn]] inline void throw_wrong_type(std::string_view name, const ElementType& held,
                                          const ElementType& wanted) {
  throw std::invalid_argument{"buffer " + in_quotes(name) + " holds " + std::string{held.name} +
                              " (" + std::to_string(held.bytes) + " bytes), not " +
                              std::string{wanted.name} + " (" + std::to_string(wanted.bytes) +
                              " bytes); use the type that it holds"};
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
      "buffer " + in_quotes(name) + " was added with " + there +
      (there == asked
           ? "; it cannot be added again with another growth, minimum, maximum or readback"
           : "; it cannot be added again with " + asked) +
      ": free it first, or call ensure_capacity"};
}

[[noreturn]] inline void throw_no_readback(std::string_view name) {
  throw std::invalid_argument{"buffer " + in_quotes(name) +
                              " does not allow asynchronous readback; set "
                              "BufferConfig::asynchronous_readback, or read without a stream"};
}

[[noreturn]] inline void throw_beyond_buffer(std::string_view name, std::uint64_t first,
                                             std::uint64_t count, std::uint64_t capacity) {
  throw std::out_of_range{"buffer " + in_quotes(name) + ": " + std::to_string(count) + " from " +
                          std::to_string(first) + " on exceed its capacity of " +
                          std::to_string(capacity) + "; call ensure_capacity first"};
}

}  // namespace detail

}  // namespace allot
