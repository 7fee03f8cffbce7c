// SPDX-License-Identifier: MIT
/// \file
/// The key-value metadata of a GGUF file, as views into its metadata section: nothing is copied,
/// and reading a value allocates nothing. Numbers are always in the host's byte order.
///
///     metadata["general.architecture"].as<std::string_view>();
///     metadata["tokenizer.ggml.scores"].array().values<float>()[7];
///     const gguf::Strings tokens = metadata["tokenizer.ggml.tokens"].array().strings();
///     tokens[7];                                // builds an index once for the file
#pragma once

#include <allot/core/deferred.hpp>
#include <allot/gguf/array.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/gguf/value_type.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace allot::gguf {

namespace detail {
template <class InputType>
class Parser;
}

/// One metadata value: a view, valid as long as its `File`.
class Value {
 public:
  /// For the reader. \param raw  the value as in the file, from its first byte on
  Value(std::string_view key, ValueType type, const std::byte* raw, bool wide,
        StringIndexes& indexes) noexcept
      : key_{key}, type_{type}, raw_{raw}, wide_{wide}, indexes_{&indexes} {}

  /// Returns the key that it belongs to.
  [[nodiscard]] std::string_view key() const noexcept { return key_; }
  /// Returns the type that the file says.
  [[nodiscard]] ValueType type() const noexcept { return type_; }

  /// Returns the value as `Type`, which must be the type in the file.
  /// Throws: `std::invalid_argument` naming both types.
  template <ReadableValue Type>
  [[nodiscard]] Type as() const {
    expect(detail::type_of<Type>);
    if constexpr (std::is_same_v<Type, std::string_view>) {
      return *Strings::Iterator{raw_, 1, wide_};
    } else {
      return detail::load<Type>(raw_);
    }
  }

  /// Throws: `std::invalid_argument` if it is not an array.
  [[nodiscard]] Array array() const {
    expect(ValueType::array);
    return {key_, raw_, wide_, *indexes_};
  }

  /// Returns a value of any integer type that is not negative; otherwise nothing.
  template <class = void>
  [[nodiscard]] std::optional<std::uint64_t> as_count() const noexcept {
    switch (type_) {
      case ValueType::uint8:
        return std::uint64_t{detail::load<std::uint8_t>(raw_)};
      case ValueType::uint16:
        return std::uint64_t{detail::load<std::uint16_t>(raw_)};
      case ValueType::uint32:
        return std::uint64_t{detail::load<std::uint32_t>(raw_)};
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
  template <class = void>
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
  /// Returns the name at an index, for `NameIndex`.
  struct NameAt {
    const Metadata* self;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      return self->values_[place].key();
    }
  };

 public:
  /// Returns null if there is no such key. Complexity: constant.
  template <class Owner = void>
  [[nodiscard]] const Value* find(std::string_view key) const noexcept {
    const auto found = places_.find(key, NameAt{&deferred<Owner>(*this)});
    return found ? &values_[*found] : nullptr;
  }

  /// Throws: `std::out_of_range` naming the key if there is none.
  template <class = void>
  [[nodiscard]] const Value& operator[](std::string_view key) const {
    if (const Value* value = find(key)) return *value;
    throw std::out_of_range{"the file has no metadata " + std::string{key}};
  }

  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
  template <class Owner = void>
  [[nodiscard]] auto begin() const noexcept {
    return deferred<Owner>(values_).begin();
  }
  template <class Owner = void>
  [[nodiscard]] auto end() const noexcept {
    return deferred<Owner>(values_).end();
  }

 private:
  template <class InputType>
  friend class detail::Parser;

  std::vector<Value> values_;
  NameIndex places_;
  std::vector<StringIndexes> indexes_;  // the parser makes one; its address is fixed
};

}  // namespace allot::gguf
