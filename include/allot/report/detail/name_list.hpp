// SPDX-License-Identifier: MIT
/// \file
/// `NameList`: numbers different names from 1, in memory that is taken when it is made.
#pragma once

#include <allot/report/trace_records.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace allot::report::detail {

class NameList {
 public:
  /// \param names  how many, of 32 bytes in the mean
  explicit NameList(std::uint32_t names)
      : ends_{0},
        text_(std::size_t{names} * 32),
        numbers_(names == 0 ? 0 : std::bit_ceil(std::size_t{names} * 2)),
        most_{names} {
    ends_.reserve(std::size_t{names} + 1);
  }

  /// Returns the number of a name, which may be new; 0 if there is no room for it. A name is cut
  /// after `most_text` bytes. Complexity: linear in the name's length, and constant in the mean.
  [[nodiscard]] std::uint32_t number_of(std::string_view name) noexcept {
    name = name.substr(0, most_text);
    const std::size_t mask = numbers_.size() - 1;
    for (std::size_t i = hash_of(name); !numbers_.empty(); ++i) {
      std::uint32_t& number = numbers_[i & mask];
      if (number == 0) {
        number = add(name);
        return number;
      }
      if (text_of(number) == name) return number;
    }
    return 0;
  }

  /// Returns how many there are: the last one's number. Complexity: constant.
  [[nodiscard]] std::uint32_t size() const noexcept {
    return static_cast<std::uint32_t>(ends_.size() - 1);
  }

  /// Requires: `number` is from 1 to `size()`.
  [[nodiscard]] std::string_view text_of(std::uint32_t number) const noexcept {
    return std::string_view{text_.data(), text_.size()}.substr(ends_[number - 1],
                                                               ends_[number] - ends_[number - 1]);
  }

 private:
  [[nodiscard]] std::uint32_t add(std::string_view name) noexcept {
    if (size() == most_ || name.size() > text_.size() - ends_.back()) return 0;
    name.copy(text_.data() + ends_.back(), name.size());
    ends_.push_back(ends_.back() + name.size());
    return size();
  }

  /// FNV-1a.
  [[nodiscard]] static std::size_t hash_of(std::string_view name) noexcept {
    std::uint64_t hash = 0xcbf2'9ce4'8422'2325U;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100'0000'01b3U;
    return static_cast<std::size_t>(hash ^ hash >> 32);
  }

  std::vector<std::size_t> ends_;  // of each name in the text
  std::vector<char> text_;
  std::vector<std::uint32_t> numbers_;  // by their hashes; 0: free
  std::uint32_t most_;
};

}  // namespace allot::report::detail
