// SPDX-License-Identifier: MIT
/// \file
/// `detail::Encoder`: encodes numbers, strings and arrays as in a GGUF file of a given version.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/array.hpp>
#include <allot/gguf/limits.hpp>
#include <allot/gguf/value_type.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace allot::gguf::detail {

/// Collects bytes, little-endian. Members throw `std::invalid_argument` for what the format, or its
/// version, cannot hold. They are templates: compiled where something is written.
class Encoder {
 public:
  explicit Encoder(std::uint32_t version) noexcept : version_{version} {}

  [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
  template <class Owner = void>
  [[nodiscard]] DeferredSpan<const std::byte, Owner> bytes() const noexcept {
    return {bytes_.data(), bytes_.size()};
  }

  template <class Owner = void>
  void append(const void* bytes, std::size_t count) {
    auto& all = deferred<Owner>(bytes_);
    const std::size_t at = all.size();
    all.resize(at + count);
    if (count != 0) std::memcpy(all.data() + at, bytes, count);
  }
  template <class Owner = void>
  void append(std::span<const std::byte> bytes) {
    append<Owner>(bytes.data(), bytes.size());
  }
  /// Appends zeros up to a size, or cuts off there.
  template <class Owner = void>
  void resize(std::size_t size) {
    deferred<Owner>(bytes_).resize(size);
  }

  template <class Number>
  requires std::is_arithmetic_v<Number>
  void put(Number number) { append(&number, sizeof number); }
  template <class = void>
  void put(std::string_view text) {
    if (text.size() > limits::string_bytes)
      throw std::invalid_argument{"a string of more than 2^30 bytes"};
    put_length(text.size());
    append(text.data(), text.size());
  }
  template <class = void>
  void put(ValueType type) {
    put(static_cast<std::uint32_t>(type));
  }

  /// Appends a length, count or dimension, which has 32 bits in version 1.
  template <class = void>
  void put_length(std::uint64_t length) {
    if (version_ > 1) return put(length);
    if (length > largest_of<std::uint32_t>) {
      throw std::invalid_argument{std::to_string(length) + " does not fit version 1 of the format"};
    }
    put(static_cast<std::uint32_t>(length));
  }

  template <class = void>
  void put_header(ValueType element, std::uint64_t count) {
    put(element);
    put_length(count);
  }

  // A template, as `BasicWriter` is. Arrays are at most four levels deep.
  template <class = void>
  void put_elements(const Array& array) {
    if (array.element_type() == ValueType::string) {
      for (const std::string_view text : array.strings()) put(text);
    } else if (array.element_type() == ValueType::array) {
      for (const Array inner : array.arrays()) {
        put_header(inner.element_type(), inner.size());
        put_elements(inner);
      }
    } else {
      with_number_type(array.element_type(), [&]<class Number>(Number) {
        const Elements<Number> elements = array.values<Number>();
        for (std::uint64_t i = 0; i < elements.size(); ++i) put(elements[i]);
      });
    }
  }

 private:
  std::uint32_t version_;
  std::vector<std::byte> bytes_;
};

}  // namespace allot::gguf::detail
