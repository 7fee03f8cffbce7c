// SPDX-License-Identifier: MIT
/// \file
/// Compares what files hold: values with values, tensors with tensors.
#pragma once

#include <allot/gguf/file.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace allot::test {

/// A value or the elements of an array as bits: NaN equals itself.
template <class T>
std::uint64_t bits_of(T value) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<std::uint32_t>(value);
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<std::uint64_t>(value);
  } else {
    return static_cast<std::uint64_t>(value);
  }
}

inline bool are_equal(const gguf::Array& a, const gguf::Array& b) {
  if (a.element_type() != b.element_type() || a.size() != b.size()) return false;
  if (a.element_type() == gguf::ValueType::string)
    return std::equal(a.strings().begin(), a.strings().end(), b.strings().begin());
  if (a.element_type() == gguf::ValueType::array) {
    const gguf::Arrays left = a.arrays();
    const gguf::Arrays right = b.arrays();
    return std::equal(left.begin(), left.end(), right.begin(), are_equal);
  }
  bool equal = true;
  gguf::with_number_type(a.element_type(), [&]<class T>(T) {
    for (std::uint64_t i = 0; i < a.size(); ++i)
      equal = equal && bits_of(a.values<T>()[i]) == bits_of(b.values<T>()[i]);
  });
  return equal;
}

inline bool are_equal(const gguf::Value& a, const gguf::Value& b) {
  if (a.key() != b.key() || a.type() != b.type()) return false;
  if (a.type() == gguf::ValueType::array) return are_equal(a.array(), b.array());
  if (a.type() == gguf::ValueType::string)
    return a.as<std::string_view>() == b.as<std::string_view>();
  bool equal = false;
  gguf::with_number_type(a.type(), [&]<class T>(T) {
    equal = bits_of(a.as<T>()) == bits_of(b.as<T>()) && a.as_count() == b.as_count();
  });
  return equal;
}

inline bool are_equal(const gguf::Metadata& a, const gguf::Metadata& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return are_equal(x, y); });
}

/// Name, type, shape and place.
inline bool are_equal(const gguf::TensorInfo& a, const gguf::TensorInfo& b) {
  return a.name == b.name && a.type == b.type && a.shape == b.shape && a.offset == b.offset &&
         a.bytes == b.bytes && a.shard == b.shard;
}

}  // namespace allot::test
