// SPDX-License-Identifier: MIT
/// \file
/// `gguf::NestedArray`: arrays of arrays, for `gguf::Writer`.
///
///     const std::uint32_t sizes[] = {1, 2};
///     const gguf::NestedArray rows[] = {gguf::NestedArray{std::span{sizes}}};
///     writer.add_array("some.table", gguf::NestedArray{std::span{rows}});
#pragma once

#include <allot/gguf/limits.hpp>
#include <allot/gguf/value_type.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <vector>

namespace allot::gguf {

/// An array to write: of numbers, truth values, texts, or of such arrays in turn.
class NestedArray {
 public:
  template <ReadableValue T, std::size_t Extent>
  explicit NestedArray(std::span<const T, Extent> values) : element_type_{*detail::type_of<T>} {
    put_header(values.size());
    for (const T& value : values) put(value);
  }
  /// Throws: `std::invalid_argument` where more than four are one in the other.
  explicit NestedArray(std::span<const NestedArray> arrays) : element_type_{ValueType::array} {
    put_header(arrays.size());
    for (const NestedArray& array : arrays) {
      depth_ = std::max(depth_, array.depth_ + 1);
      bytes_.insert(bytes_.end(), array.bytes_.begin(), array.bytes_.end());
    }
    if (depth_ > limits::array_nesting) throw std::invalid_argument{"arrays nested over 4 deep"};
  }

 private:
  friend class Writer;

  void put_bytes(const void* from, std::size_t count) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + count);
    if (count != 0) std::memcpy(bytes_.data() + at, from, count);
  }
  template <class T>
  void put(const T& value) {
    if constexpr (std::is_same_v<T, std::string_view>) {
      put(static_cast<std::uint64_t>(value.size()));
      put_bytes(value.data(), value.size());
    } else {
      put_bytes(&value, sizeof value);
    }
  }
  void put_header(std::size_t count) {
    put(static_cast<std::uint32_t>(element_type_));
    put(static_cast<std::uint64_t>(count));
  }

  ValueType element_type_;
  std::uint32_t depth_ = 1;
  std::vector<std::byte> bytes_;  ///< as in a file of version 3
};

}  // namespace allot::gguf
