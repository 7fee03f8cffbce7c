// SPDX-License-Identifier: MIT
/// \file
/// The key-value metadata of a GGUF file, as views into its metadata section: nothing is copied,
/// and reading a value allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace allot::gguf {

/// The type of a metadata value, as in the file.
enum class ValueType : std::uint32_t {
  uint8 = 0,
  int8 = 1,
  uint16 = 2,
  int16 = 3,
  uint32 = 4,
  int32 = 5,
  float32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  uint64 = 10,
  int64 = 11,
  float64 = 12,
};

inline constexpr std::uint32_t value_type_count = 13;

[[nodiscard]] constexpr std::string_view to_text(ValueType type) noexcept {
  constexpr std::string_view names[value_type_count] = {
      "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
      "bool",  "string", "array",  "uint64", "int64",  "float64"};
  return names[static_cast<std::uint32_t>(type)];
}

/// Bytes that a value of a fixed size takes in the file; 0 for strings and arrays.
[[nodiscard]] constexpr std::uint32_t fixed_size(ValueType type) noexcept {
  constexpr std::uint32_t sizes[value_type_count] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return sizes[static_cast<std::uint32_t>(type)];
}

namespace detail {

template <class T>
[[nodiscard]] T load(const std::byte* from) noexcept {
  if constexpr (std::is_same_v<T, bool>) {
    return *from != std::byte{0};
  } else {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
  }
}

/// The length in front of a string or an array: 32 bits in version 1, else 64.
[[nodiscard]] inline std::uint64_t load_length(const std::byte* from, bool wide) noexcept {
  return wide ? load<std::uint64_t>(from) : load<std::uint32_t>(from);
}

template <class T>
inline constexpr std::optional<ValueType> type_of = std::nullopt;
template <>
inline constexpr std::optional<ValueType> type_of<std::uint8_t> = ValueType::uint8;
template <>
inline constexpr std::optional<ValueType> type_of<std::int8_t> = ValueType::int8;
template <>
inline constexpr std::optional<ValueType> type_of<std::uint16_t> = ValueType::uint16;
template <>
inline constexpr std::optional<ValueType> type_of<std::int16_t> = ValueType::int16;
template <>
inline constexpr std::optional<ValueType> type_of<std::uint32_t> = ValueType::uint32;
template <>
inline constexpr std::optional<ValueType> type_of<std::int32_t> = ValueType::int32;
template <>
inline constexpr std::optional<ValueType> type_of<float> = ValueType::float32;
template <>
inline constexpr std::optional<ValueType> type_of<bool> = ValueType::boolean;
template <>
inline constexpr std::optional<ValueType> type_of<std::string_view> = ValueType::string;
template <>
inline constexpr std::optional<ValueType> type_of<std::uint64_t> = ValueType::uint64;
template <>
inline constexpr std::optional<ValueType> type_of<std::int64_t> = ValueType::int64;
template <>
inline constexpr std::optional<ValueType> type_of<double> = ValueType::float64;

}  // namespace detail

/// A C++ type that a metadata value can be read as.
template <class T>
concept ReadableValue = detail::type_of<T>
.has_value();

/// The elements of an array of numbers or truth values: random access, nothing copied.
template <ReadableValue T>
class Elements {
 public:
  Elements(const std::byte* first, std::uint64_t count) noexcept : first_{first}, count_{count} {}

  [[nodiscard]] std::uint64_t size() const noexcept { return count_; }
  /// Requires: `i < size()`.
  [[nodiscard]] T operator[](std::uint64_t i) const noexcept {
    constexpr std::uint32_t width = fixed_size(*detail::type_of<T>);
    return detail::load<T>(first_ + i * width);
  }
  [[nodiscard]] std::vector<T> to_vector() const {
    std::vector<T> values(static_cast<std::size_t>(count_));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = (*this)[i];
    return values;
  }

 private:
  const std::byte* first_;
  std::uint64_t count_;
};

/// The strings of an array, one after the other: a forward range, nothing copied.
class Strings {
 public:
  Strings(const std::byte* first, std::uint64_t count, bool wide) noexcept
      : first_{first}, count_{count}, wide_{wide} {}

  class Iterator {
   public:
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    Iterator() = default;
    Iterator(const std::byte* at, std::uint64_t left, bool wide) noexcept
        : at_{at}, left_{left}, wide_{wide} {}

    [[nodiscard]] std::string_view operator*() const noexcept {
      return {reinterpret_cast<const char*>(at_ + (wide_ ? 8 : 4)),
              static_cast<std::size_t>(detail::load_length(at_, wide_))};
    }
    Iterator& operator++() noexcept {
      at_ += (wide_ ? 8 : 4) + detail::load_length(at_, wide_);
      --left_;
      return *this;
    }
    Iterator operator++(int) noexcept {
      Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) noexcept {
      return a.left_ == b.left_;
    }

   private:
    const std::byte* at_ = nullptr;
    std::uint64_t left_ = 0;
    bool wide_ = true;
  };

  [[nodiscard]] Iterator begin() const noexcept { return {first_, count_, wide_}; }
  [[nodiscard]] Iterator end() const noexcept { return {nullptr, 0, wide_}; }
  [[nodiscard]] std::uint64_t size() const noexcept { return count_; }
  /// All of them, for random access. Complexity: linear; one allocation.
  [[nodiscard]] std::vector<std::string_view> to_vector() const {
    std::vector<std::string_view> all;
    all.reserve(static_cast<std::size_t>(count_));
    for (const std::string_view text : *this) all.push_back(text);
    return all;
  }

 private:
  const std::byte* first_;
  std::uint64_t count_;
  bool wide_;
};

/// An array value.
class Array {
 public:
  Array(std::string_view key, const std::byte* raw, bool wide) noexcept
      : key_{key}, raw_{raw}, wide_{wide} {}

  [[nodiscard]] ValueType element_type() const noexcept {
    return static_cast<ValueType>(detail::load<std::uint32_t>(raw_));
  }
  [[nodiscard]] std::uint64_t size() const noexcept { return detail::load_length(raw_ + 4, wide_); }

  /// The elements as `T`, exactly the type in the file.
  /// Throws: `std::invalid_argument` naming both types.
  template <ReadableValue T>
  requires(!std::is_same_v<T, std::string_view>) [[nodiscard]] Elements<T> values() const {
    expect(*detail::type_of<T>);
    return {first(), size()};
  }

  /// The elements as strings. Throws: `std::invalid_argument` naming the type that they have.
  [[nodiscard]] Strings strings() const {
    expect(ValueType::string);
    return {first(), size(), wide_};
  }

 private:
  [[nodiscard]] const std::byte* first() const noexcept { return raw_ + (wide_ ? 12 : 8); }

  void expect(ValueType wanted) const {
    if (element_type() == wanted) return;
    throw std::invalid_argument{"metadata " + std::string{key_} + " is an array of " +
                                std::string{to_text(element_type())} + ", not of " +
                                std::string{to_text(wanted)}};
  }

  std::string_view key_;
  const std::byte* raw_;
  bool wide_;
};

/// One metadata value: a view, valid as long as its `File`.
class Value {
 public:
  Value(std::string_view key, ValueType type, const std::byte* raw, bool wide) noexcept
      : key_{key}, type_{type}, raw_{raw}, wide_{wide} {}

  [[nodiscard]] std::string_view key() const noexcept { return key_; }
  [[nodiscard]] ValueType type() const noexcept { return type_; }

  /// The value as `T`, exactly the type in the file.
  /// Throws: `std::invalid_argument` naming both types.
  template <ReadableValue T>
  [[nodiscard]] T as() const {
    expect(*detail::type_of<T>);
    if constexpr (std::is_same_v<T, std::string_view>) {
      return *Strings::Iterator{raw_, 1, wide_};
    } else {
      return detail::load<T>(raw_);
    }
  }

  /// Throws: `std::invalid_argument` where it is no array.
  [[nodiscard]] Array array() const {
    expect(ValueType::array);
    return {key_, raw_, wide_};
  }

  /// The value of any whole-number type, where it is one and not negative.
  [[nodiscard]] std::optional<std::uint64_t> as_count() const noexcept {
    switch (type_) {
      case ValueType::uint8:
        return detail::load<std::uint8_t>(raw_);
      case ValueType::uint16:
        return detail::load<std::uint16_t>(raw_);
      case ValueType::uint32:
        return detail::load<std::uint32_t>(raw_);
      case ValueType::uint64:
        return detail::load<std::uint64_t>(raw_);
      case ValueType::int8:
        return not_negative(detail::load<std::int8_t>(raw_));
      case ValueType::int16:
        return not_negative(detail::load<std::int16_t>(raw_));
      case ValueType::int32:
        return not_negative(detail::load<std::int32_t>(raw_));
      case ValueType::int64:
        return not_negative(detail::load<std::int64_t>(raw_));
      default:
        return std::nullopt;
    }
  }

 private:
  [[nodiscard]] static std::optional<std::uint64_t> not_negative(std::int64_t value) noexcept {
    if (value < 0) return std::nullopt;
    return static_cast<std::uint64_t>(value);
  }

  void expect(ValueType wanted) const {
    if (type_ == wanted) return;
    throw std::invalid_argument{"metadata " + std::string{key_} + " is " +
                                std::string{to_text(type_)} + ", not " +
                                std::string{to_text(wanted)}};
  }

  std::string_view key_;
  ValueType type_;
  const std::byte* raw_;
  bool wide_;
};

/// All key-value pairs of a file, in file order.
class Metadata {
 public:
  /// Complexity: constant. Nothing where there is no such key.
  [[nodiscard]] const Value* find(std::string_view key) const noexcept {
    const auto found = places_.find(key);
    return found == places_.end() ? nullptr : &values_[found->second];
  }

  /// Throws: `std::out_of_range` naming the key where there is none.
  [[nodiscard]] const Value& operator[](std::string_view key) const {
    if (const Value* value = find(key)) return *value;
    throw std::out_of_range{"the file has no metadata " + std::string{key}};
  }

  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
  [[nodiscard]] auto begin() const noexcept { return values_.begin(); }
  [[nodiscard]] auto end() const noexcept { return values_.end(); }

 private:
  friend class MetadataParser;

  /// False where the key is there already.
  bool add(const Value& value) {
    if (!places_.emplace(value.key(), values_.size()).second) return false;
    values_.push_back(value);
    return true;
  }

  std::vector<Value> values_;
  std::unordered_map<std::string_view, std::size_t> places_;
};

}  // namespace allot::gguf
