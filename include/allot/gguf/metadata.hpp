// SPDX-License-Identifier: MIT
/// \file
/// The key-value metadata of a GGUF file, as views into its metadata section: nothing is copied,
/// and reading a value allocates nothing. Numbers are in the host's byte order whatever the file's.
///
///     metadata["general.architecture"].as<std::string_view>();
///     metadata["tokenizer.ggml.scores"].array().values<float>()[7];
///     const gguf::Strings tokens = metadata["tokenizer.ggml.tokens"].array().strings();
///     tokens[7];                                // builds an index once for the file
#pragma once

#include <allot/gguf/name_index.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <mutex>
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

/// Where the strings of arrays begin, found out when one is asked for by its number. One for a
/// whole file; several threads may ask at once.
class StringIndexes {
 public:
  /// Positions relative to the array's first string.
  using Index = std::vector<std::uint64_t>;

  /// Complexity: constant, and linear in the array the first time.
  [[nodiscard]] const Index& of(const std::byte* first, std::uint64_t count, bool wide) {
    const std::scoped_lock lock{mutex_};
    Index& index = indexes_[first];
    if (index.empty()) {
      Index built(static_cast<std::size_t>(count));
      std::uint64_t at = 0;
      for (std::uint64_t& position : built) {
        position = at;
        at += (wide ? 8 : 4) + detail::load_length(first + at, wide);
      }
      index.swap(built);
    }
    return index;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<const std::byte*, Index> indexes_;  // its references stay valid
};

/// The strings of an array: a forward range, nothing copied; and by number, through an index that
/// the first such access builds for all views of the array.
class Strings {
 public:
  Strings(const std::byte* first, std::uint64_t count, bool wide, StringIndexes& indexes) noexcept
      : first_{first}, count_{count}, wide_{wide}, indexes_{&indexes} {}

  class Iterator {
   public:
    using value_type = std::string_view;
    using reference = std::string_view;
    using pointer = void;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::forward_iterator_tag;
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
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

  /// Requires: `i < size()`. Complexity: constant; the first time for an array linear, and one
  /// allocation of 8 bytes a string, which the file keeps. Several threads may ask at once.
  [[nodiscard]] std::string_view operator[](std::uint64_t i) const {
    const StringIndexes::Index* index = index_.load();
    if (index == nullptr) index_.store(index = &indexes_->of(first_, count_, wide_));
    return *Iterator{first_ + (*index)[static_cast<std::size_t>(i)], 1, wide_};
  }

  /// All of them, as a list of one's own. Complexity: linear; one allocation.
  [[nodiscard]] std::vector<std::string_view> to_vector() const {
    std::vector<std::string_view> all;
    all.reserve(static_cast<std::size_t>(count_));
    for (const std::string_view text : *this) all.push_back(text);
    return all;
  }

 private:
  /// Set once; a view may be copied while another thread sets it.
  class IndexPointer {
   public:
    IndexPointer() = default;
    IndexPointer(const IndexPointer& other) noexcept : pointer_{other.load()} {}
    IndexPointer& operator=(const IndexPointer& other) noexcept {
      store(other.load());
      return *this;
    }
    [[nodiscard]] const StringIndexes::Index* load() const noexcept {
      return pointer_.load(std::memory_order_acquire);
    }
    void store(const StringIndexes::Index* index) noexcept {
      pointer_.store(index, std::memory_order_release);
    }

   private:
    std::atomic<const StringIndexes::Index*> pointer_ = nullptr;
  };

  const std::byte* first_;
  std::uint64_t count_;
  bool wide_;
  StringIndexes* indexes_;
  mutable IndexPointer index_;
};

class Arrays;

/// An array value.
class Array {
 public:
  Array(std::string_view key, const std::byte* raw, bool wide, StringIndexes& indexes) noexcept
      : key_{key}, raw_{raw}, wide_{wide}, indexes_{&indexes} {}

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
    return {first(), size(), wide_, *indexes_};
  }

  /// The elements as arrays, of types of their own; at most four are one in the other.
  /// Throws: `std::invalid_argument` naming the type that they have.
  [[nodiscard]] Arrays arrays() const;

 private:
  friend class Arrays;

  [[nodiscard]] const std::byte* first() const noexcept { return raw_ + (wide_ ? 12 : 8); }

  /// Where the array ends. Complexity: linear in strings and arrays, else constant.
  [[nodiscard]] const std::byte* last() const noexcept;

  void expect(ValueType wanted) const {
    if (element_type() == wanted) return;
    throw std::invalid_argument{"metadata " + std::string{key_} + " is an array of " +
                                std::string{to_text(element_type())} + ", not of " +
                                std::string{to_text(wanted)}};
  }

  std::string_view key_;
  const std::byte* raw_;
  bool wide_;
  StringIndexes* indexes_;
};

/// The arrays of an array, one after the other: a forward range, nothing copied.
class Arrays {
 public:
  Arrays(const Array& first, std::uint64_t count) noexcept : first_{first}, count_{count} {}

  class Iterator {
   public:
    using value_type = Array;
    using reference = Array;
    using pointer = void;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::forward_iterator_tag;
    using iterator_category = std::input_iterator_tag;

    Iterator() = default;
    Iterator(const Array& at, std::uint64_t left) noexcept : at_{at}, left_{left} {}

    /// Requires: not the end.
    [[nodiscard]] Array operator*() const noexcept { return *at_; }
    /// Complexity: linear in the strings and arrays of the array that it passes over.
    Iterator& operator++() noexcept {
      at_->raw_ = at_->last();
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
    std::optional<Array> at_;
    std::uint64_t left_ = 0;
  };

  [[nodiscard]] Iterator begin() const noexcept { return {first_, count_}; }
  [[nodiscard]] Iterator end() const noexcept { return {first_, 0}; }
  [[nodiscard]] std::uint64_t size() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

 private:
  Array first_;
  std::uint64_t count_;
};

inline Arrays Array::arrays() const {
  expect(ValueType::array);
  return {Array{key_, first(), wide_, *indexes_}, size()};
}

// The reader allows no more than four arrays in one another.
inline const std::byte* Array::last() const noexcept {
  const std::byte* at = first();
  std::uint64_t left = size();
  if (element_type() == ValueType::string) {
    for (; left != 0; --left) at += (wide_ ? 8 : 4) + detail::load_length(at, wide_);
    return at;
  }
  if (element_type() == ValueType::array) {
    for (; left != 0; --left) at = Array{key_, at, wide_, *indexes_}.last();
    return at;
  }
  return at + left * fixed_size(element_type());
}

/// One metadata value: a view, valid as long as its `File`.
class Value {
 public:
  Value(std::string_view key, ValueType type, const std::byte* raw, bool wide,
        StringIndexes& indexes) noexcept
      : key_{key}, type_{type}, raw_{raw}, wide_{wide}, indexes_{&indexes} {}

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
    return {key_, raw_, wide_, *indexes_};
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
  StringIndexes* indexes_;
};

/// All key-value pairs of a file, in file order.
class Metadata {
  /// The name at a place, for the index.
  struct NameAt {
    const Metadata* self;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      return self->values_[place].key();
    }
  };

 public:
  /// Complexity: constant. Nothing where there is no such key.
  [[nodiscard]] const Value* find(std::string_view key) const noexcept {
    const auto found = places_.find(key, NameAt{this});
    return found ? &values_[*found] : nullptr;
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

  void reserve(std::size_t count) {
    values_.reserve(count);
    places_.reserve(count);
  }

  /// False where the key is there already.
  [[nodiscard]] bool add(std::string_view key, ValueType type, const std::byte* raw, bool wide) {
    if (!places_.add(key, values_.size(), NameAt{this})) return false;
    values_.emplace_back(key, type, raw, wide, *indexes_);
    return true;
  }

  std::vector<Value> values_;
  NameIndex places_;
  std::unique_ptr<StringIndexes> indexes_ = std::make_unique<StringIndexes>();
};

}  // namespace allot::gguf
