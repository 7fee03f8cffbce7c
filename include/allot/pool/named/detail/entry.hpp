// SPDX-License-Identifier: MIT
/// \file
/// The record of one named buffer, and the configurations and sizes that it may have.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/source_location.hpp>
#include <allot/os/chrono.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/named/config.hpp>
#include <allot/pool/named/element_type.hpp>
#include <allot/pool/named/errors.hpp>
#include <allot/pool/named/stats.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace allot::detail {

template <class Piece, class TimePoint>
struct BufferEntry {
  // What a check for leaks reads comes first, beside the name: one or two lines of the cache.
  TimePoint made{};
  SourceLocation site{};
  std::uint64_t capacity = 0;  // elements
  BufferConfig config{};       // with its bytes per element
  ElementType type{};
  std::uint64_t alignment = 1;
  std::uint64_t requested = 0;  // elements, by `add`
  std::uint64_t used = 0;
  std::uint64_t resizes = 0;
  std::uint64_t transfers = 0;
  std::uint64_t resize_number = 0;  // of the last resize that named it
  TimePoint last_used{};
  std::shared_ptr<Piece> piece;

  [[nodiscard]] std::uint64_t bytes_of(std::uint64_t elements) const noexcept {
    return elements * config.bytes_per_element;
  }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_of(capacity); }

  [[nodiscard]] BufferStats stats(const std::string& name, TimePoint now) const {
    return {.name = name,
            .type = type.name,
            .bytes = bytes(),
            .bytes_per_element = config.bytes_per_element,
            .capacity = capacity,
            .used = used,
            .resizes = resizes,
            .transfers = transfers,
            .age = since(made, now),
            .since_last_use = since(last_used, now)};
  }

  [[nodiscard]] static std::chrono::nanoseconds since(TimePoint from, TimePoint now) noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now - from);
  }
};

/// Returns the configuration for a type.
/// Throws: `std::invalid_argument` if an element is not a whole number of these, or no element fits
/// between minimum and maximum.
[[nodiscard]] inline BufferConfig resolve(std::string_view name, const ElementType& type,
                                          const BufferConfig& given) {
  BufferConfig config = given;
  if (config.bytes_per_element == 0) config.bytes_per_element = type.bytes;
  if (config.bytes_per_element % type.bytes != 0) {
    throw std::invalid_argument{
        "buffer " + in_quotes(name) + ": elements of " + std::to_string(config.bytes_per_element) +
        " bytes are not a whole number of " + std::string{type.name} + " (" +
        std::to_string(type.bytes) + " bytes); set BufferConfig::bytes_per_element to a multiple"};
  }
  if (config.minimum > config.maximum || config.largest_capacity() == 0) {
    throw std::invalid_argument{"buffer " + in_quotes(name) + ": no element of " +
                                std::to_string(config.bytes_per_element) +
                                " bytes fits between a minimum of " +
                                std::to_string(config.minimum) + " and a maximum of " +
                                std::to_string(config.maximum) + " bytes; raise the maximum"};
  }
  return config;
}

/// Throws: `LimitExceeded` for more elements than a configuration allows.
inline void require_below_maximum(std::string_view name, const BufferConfig& config,
                                  std::uint64_t elements) {
  if (elements <= config.largest_capacity()) return;
  const auto bytes = checked_multiply(elements, config.bytes_per_element);
  throw LimitExceeded{"buffer " + in_quotes(name) + " of " + std::to_string(elements) + " elements",
                      bytes.value_or(OutOfMemory::unlimited), 0, config.maximum,
                      "ask for fewer, or raise BufferConfig::maximum"};
}

}  // namespace allot::detail
