// SPDX-License-Identifier: MIT
/// \file
/// Turns a little-endian GGUF container into a big-endian one, as far as it can be followed: what
/// is malformed stays so in the same place. Its tensor data stay as they are.
#pragma once

#include <allot/gguf/metadata.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace allot::test {

class BigEndian {
 public:
  [[nodiscard]] static std::string of(std::string bytes) {
    BigEndian container{std::move(bytes)};
    container.follow();
    return std::move(container.bytes_);
  }

 private:
  explicit BigEndian(std::string bytes) : bytes_{std::move(bytes)} {}

  void follow() {
    at_ = 4;
    version_ = number<std::uint32_t>();
    const std::uint64_t tensors = length();
    const std::uint64_t pairs = length();
    for (std::uint64_t i = 0; i < pairs && is_good_; ++i) {
      text();
      value(number<std::uint32_t>());
    }
    for (std::uint64_t i = 0; i < tensors && is_good_; ++i) {
      text();
      const auto rank = number<std::uint32_t>();
      for (std::uint32_t k = 0; k < rank && is_good_; ++k) static_cast<void>(length());
      static_cast<void>(number<std::uint32_t>());
      static_cast<void>(number<std::uint64_t>());
    }
  }

  [[nodiscard]] bool holds(std::uint64_t bytes) {
    is_good_ = is_good_ && bytes <= bytes_.size() - std::min(at_, bytes_.size());
    return is_good_;
  }

  template <class T>
  T number() {
    if (!holds(sizeof(T))) return T{};
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    const auto first = bytes_.begin() + static_cast<std::ptrdiff_t>(at_);
    std::reverse(first, first + sizeof value);
    at_ += sizeof value;
    return value;
  }

  std::uint64_t length() {
    return version_ == 1 ? number<std::uint32_t>() : number<std::uint64_t>();
  }

  void text() {
    const std::uint64_t bytes = length();
    if (holds(bytes)) at_ += static_cast<std::size_t>(bytes);
  }

  void value(std::uint32_t type) {
    if (type >= gguf::value_type_count) {
      is_good_ = false;
    } else if (type == 8) {
      text();
    } else if (type == 9) {
      const auto element = number<std::uint32_t>();
      const std::uint64_t count = length();
      for (std::uint64_t i = 0; i < count && is_good_; ++i) value(element);
    } else {
      switch (gguf::fixed_size(static_cast<gguf::ValueType>(type))) {
        case 1:
          number<std::uint8_t>();
          break;
        case 2:
          number<std::uint16_t>();
          break;
        case 4:
          number<std::uint32_t>();
          break;
        default:
          number<std::uint64_t>();
      }
    }
  }

  std::string bytes_;
  std::size_t at_ = 0;
  std::uint32_t version_ = 0;
  bool is_good_ = true;
};

}  // namespace allot::test
