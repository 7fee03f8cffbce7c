// SPDX-License-Identifier: MIT
/// \file
/// `KeyNumbers`: numbers different keys from 0, in the order in which they come.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace allot::report::detail {

/// A hash table of the numbers, with linear probing, at most three quarters full; each key is in a
/// list by its number. 8 bytes a key and 5 to 11 for the table; `std::unordered_map` takes 40.
template <class Key = std::uint64_t>
class KeyNumbers {
 public:
  /// Returns a key's number, which is `size()` if it is new. Complexity: constant in the mean.
  /// Requires: fewer than 2^32 - 1 keys. Throws: `std::bad_alloc`; nothing has changed then.
  [[nodiscard]] std::uint32_t number_of(Key key) {
    if (keys_.size() >= table_.size() / 4 * 3) grow();
    const std::size_t place = place_of(key);
    if (table_[place] == none) {
      keys_.push_back(key);
      table_[place] = static_cast<std::uint32_t>(keys_.size() - 1);
    }
    return table_[place];
  }

  [[nodiscard]] std::size_t size() const noexcept { return keys_.size(); }

 private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  /// Returns where a key is, or where it belongs.
  [[nodiscard]] std::size_t place_of(Key key) const noexcept {
    // Multiplicative hashing (Knuth, 6.4): the upper bits are those that all bits of the key reach.
    const int shift = 64 - std::countr_zero(table_.size());
    auto place = static_cast<std::size_t>((key * 0x9e37'79b9'7f4a'7c15) >> shift);
    while (table_[place] != none && keys_[table_[place]] != key)
      place = (place + 1) & (table_.size() - 1);
    return place;
  }

  void grow() {
    std::vector<std::uint32_t> larger(table_.empty() ? 16 : 2 * table_.size(), none);
    table_.swap(larger);
    for (std::size_t i = 0; i < keys_.size(); ++i)
      table_[place_of(keys_[i])] = static_cast<std::uint32_t>(i);
  }

  std::vector<Key> keys_;             // by number
  std::vector<std::uint32_t> table_;  // of numbers or `none`: none at all, or a power of two
};

}  // namespace allot::report::detail
