// SPDX-License-Identifier: MIT
/// \file
/// `gguf::NestedArray`: arrays of arrays, for `gguf::Writer`.
///
///     const std::uint32_t sizes[] = {1, 2};
///     const gguf::NestedArray rows[] = {gguf::NestedArray{std::span{sizes}}};
///     writer.add_array("some.table", gguf::NestedArray{std::span{rows}});
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred.hpp>
#include <allot/gguf/limits.hpp>
#include <allot/gguf/value_type.hpp>
#include <allot/gguf/writer/detail/encoder.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>

namespace allot::gguf {

template <class>
class BasicWriter;

/// An array to write: of numbers, booleans, strings, or of such arrays.
class NestedArray {
 public:
  /// Throws: `std::invalid_argument` for a string of more than 2^30 bytes.
  template <ReadableValue Type, std::size_t Extent>
  explicit NestedArray(std::span<const Type, Extent> values)
      : element_type_{detail::type_of<Type>} {
    encoded_.put_header(element_type_, values.size());
    for (const Type& value : values) encoded_.put(value);
  }
  /// Throws: `std::invalid_argument` if they are nested more than four levels deep.
  template <class Owner = void>
  explicit NestedArray(std::span<const NestedArray> arrays) : element_type_{ValueType::array} {
    encoded_.put_header(element_type_, deferred<Owner>(arrays).size());
    for (const NestedArray& array : deferred<Owner>(arrays)) {
      depth_ = larger(depth_, array.depth_ + 1);
      encoded_.append(array.encoded_.bytes());
    }
    if (depth_ > limits::array_nesting)
      throw std::invalid_argument{"arrays are nested more than 4 deep"};
  }

 private:
  template <class>
  friend class BasicWriter;

  ValueType element_type_;
  std::uint32_t depth_ = 1;
  detail::Encoder encoded_{3};
};

}  // namespace allot::gguf
