// SPDX-License-Identifier: MIT
/// \file
/// The arrays of metadata as ranges: `Elements` of numbers, `Strings`, and `Arrays` of arrays.
/// Copies nothing.
#pragma once

#include <allot/gguf/string_indexes.hpp>
#include <allot/gguf/value_type.hpp>

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace allot::gguf {

/// The elements of an array of numbers or booleans: a random access range, without copying. Its
/// iterators return values: in the file they need not be aligned.
template <ReadableValue Type>
class Elements {
 public:
  using value_type = Type;

  /// For the reader: a view of `count` elements, from any alignment on.
  Elements(const std::byte* first, std::uint64_t count) noexcept : first_{first}, count_{count} {}

  class Iterator {
   public:
    using value_type = Type;
    using reference = Type;
    using pointer = void;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::random_access_iterator_tag;
    using iterator_category = std::input_iterator_tag;

    Iterator() = default;
    /// For `Elements`: at an element.
    explicit Iterator(const std::byte* at) noexcept : at_{at} {}

    [[nodiscard]] Type operator*() const noexcept { return detail::load<Type>(at_); }
    [[nodiscard]] Type operator[](difference_type n) const noexcept { return *(*this + n); }
    Iterator& operator+=(difference_type n) noexcept {
      at_ += n * width;
      return *this;
    }
    Iterator& operator-=(difference_type n) noexcept { return *this += -n; }
    Iterator& operator++() noexcept { return *this += 1; }
    Iterator& operator--() noexcept { return *this -= 1; }
    Iterator operator++(int) noexcept {
      const Iterator before = *this;
      ++*this;
      return before;
    }
    Iterator operator--(int) noexcept {
      const Iterator before = *this;
      --*this;
      return before;
    }
    friend Iterator operator+(Iterator i, difference_type n) noexcept { return i += n; }
    friend Iterator operator+(difference_type n, Iterator i) noexcept { return i += n; }
    friend Iterator operator-(Iterator i, difference_type n) noexcept { return i -= n; }
    friend difference_type operator-(const Iterator& a, const Iterator& b) noexcept {
      return (a.at_ - b.at_) / width;
    }
    friend bool operator==(const Iterator&, const Iterator&) noexcept = default;
    friend auto operator<=>(const Iterator&, const Iterator&) noexcept = default;

   private:
    const std::byte* at_ = nullptr;
  };

  [[nodiscard]] Iterator begin() const noexcept { return Iterator{first_}; }
  [[nodiscard]] Iterator end() const noexcept {
    return begin() + static_cast<std::ptrdiff_t>(count_);
  }
  [[nodiscard]] std::uint64_t size() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// Requires: `i < size()`.
  [[nodiscard]] Type operator[](std::integral auto i) const noexcept {
    return begin()[static_cast<std::ptrdiff_t>(i)];
  }
  /// Returns a copy of the elements. Complexity: linear. Throws: `std::bad_alloc`.
  [[nodiscard]] std::vector<Type> to_vector() const {
    std::vector<Type> values(static_cast<std::size_t>(count_));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = (*this)[i];
    return values;
  }

 private:
  static constexpr std::ptrdiff_t width = fixed_size(detail::type_of<Type>);

  const std::byte* first_;
  std::uint64_t count_;
};

/// The strings of an array: a forward range, without copying. Access by number goes through an
/// index that the first such access builds for all views of the array.
class Strings {
 public:
  /// For the reader. \param wide  lengths have 64 bits, not 32
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
    /// For `Strings`: at a string, with `left` to go.
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

  /// Requires: `i < size()`. Complexity: constant; the first call for an array is linear and makes
  /// one allocation of 8 bytes a string, which the file keeps. Several threads may call it at once.
  [[nodiscard]] std::string_view operator[](std::integral auto i) const {
    const std::uint64_t* index = index_.load();
    if (index == nullptr) index_.store(index = indexes_->of(first_, count_, wide_));
    return *Iterator{first_ + index[static_cast<std::size_t>(i)], 1, wide_};
  }

  /// Copies them into a vector: as views, or as `std::string`.
  /// Complexity: linear; one allocation for the vector.
  template <class Text = std::string_view>
  [[nodiscard]] std::vector<Text> to_vector() const {
    std::vector<Text> all;
    all.reserve(static_cast<std::size_t>(count_));
    for (const std::string_view text : *this) all.emplace_back(text);
    return all;
  }

 private:
  /// Set once; a view may be copied while another thread sets it. Uses the compiler's atomics, so
  /// that a reader of numbers does not pay for `<atomic>`.
  class IndexPointer {
   public:
    IndexPointer() = default;
    IndexPointer(const IndexPointer& other) noexcept : pointer_{other.load()} {}
    IndexPointer& operator=(const IndexPointer& other) noexcept {
      store(other.load());
      return *this;
    }
    [[nodiscard]] const std::uint64_t* load() const noexcept {
      return __atomic_load_n(&pointer_, __ATOMIC_ACQUIRE);
    }
    void store(const std::uint64_t* index) noexcept {
      __atomic_store_n(&pointer_, index, __ATOMIC_RELEASE);
    }

   private:
    const std::uint64_t* pointer_ = nullptr;
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
  /// For the reader. \param raw  the array's element type, length and elements, as in the file
  Array(std::string_view key, const std::byte* raw, bool wide, StringIndexes& indexes) noexcept
      : key_{key}, raw_{raw}, wide_{wide}, indexes_{&indexes} {}

  /// Returns the type of its elements.
  [[nodiscard]] ValueType element_type() const noexcept {
    return static_cast<ValueType>(detail::load<std::uint32_t>(raw_));
  }
  [[nodiscard]] std::uint64_t size() const noexcept { return detail::load_length(raw_ + 4, wide_); }

  /// Returns the elements as `Type`, which must be the type in the file.
  /// Throws: `std::invalid_argument` naming both types.
  template <ReadableValue Type>
  requires(!std::is_same_v<Type, std::string_view>) [[nodiscard]] Elements<Type> values() const {
    expect(detail::type_of<Type>);
    return {first(), size()};
  }

  /// Returns the elements as strings. Throws: `std::invalid_argument` naming their type.
  [[nodiscard]] Strings strings() const {
    expect(ValueType::string);
    return {first(), size(), wide_, *indexes_};
  }

  /// Returns the elements as arrays, each with its own type; at most four levels deep.
  /// Throws: `std::invalid_argument` naming their type.
  [[nodiscard]] Arrays arrays() const;

 private:
  friend class Arrays;
  Array() = default;

  [[nodiscard]] const std::byte* first() const noexcept { return raw_ + (wide_ ? 12 : 8); }

  /// Returns the end of the array. Complexity: linear for strings and arrays, otherwise constant.
  [[nodiscard]] const std::byte* last() const noexcept;

  void expect(ValueType wanted) const {
    if (element_type() == wanted) return;
    throw std::invalid_argument{"metadata " + std::string{key_} + " is an array of " +
                                std::string{to_text(element_type())} + ", not of " +
                                std::string{to_text(wanted)}};
  }

  std::string_view key_;
  const std::byte* raw_ = nullptr;
  bool wide_ = true;
  StringIndexes* indexes_ = nullptr;
};

/// The arrays of an array: a forward range, without copying.
class Arrays {
 public:
  /// For the reader: `count` arrays, one after another.
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
    /// For `Arrays`: at an array, with `left` to go.
    Iterator(const Array& at, std::uint64_t left) noexcept : at_{at}, left_{left} {}

    /// Requires: this is not the end.
    [[nodiscard]] Array operator*() const noexcept { return at_; }
    /// Complexity: linear in the strings and arrays of the array that it skips.
    Iterator& operator++() noexcept {
      at_.raw_ = at_.last();
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
    Array at_;
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

// The reader allows at most four levels of arrays.
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

}  // namespace allot::gguf
