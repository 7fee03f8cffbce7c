// SPDX-License-Identifier: MIT
/// \file
/// `InternTable`: strings of bytes and a number for each, as long as it has users.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/os/random.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace allot::detail {

/// A hash table chained by number. Bytes are compared, not only their hash: two numbers are equal
/// if and only if the bytes are, unless one was hidden. The hash has a secret random key, so that
/// strings cannot be chosen to collide.
template <class Owner = void>
class InternTable {
 public:
  using Number = std::uint32_t;

  static constexpr Number none = 0;  ///< no string's

  /// Throws: `std::runtime_error` if the system has no random numbers.
  InternTable() {
    os::fill_with_random_bits(&secret_, 1);
    secret_ %= prime;
  }

  /// Returns `none` if there is none. Complexity: constant on average, and linear in the bytes.
  [[nodiscard]] Number find(std::string_view bytes) const noexcept {
    if (buckets_.empty()) return none;
    const std::uint64_t hash = hash_of(bytes);
    Number at = buckets_[bucket(hash)];
    while (at != none && (entries_[at].hash != hash || entries_[at].bytes != bytes))
      at = entries_[at].next;
    return at;
  }

  /// Returns the number of a string, which has one user more.
  /// Throws: `std::bad_alloc`; nothing has changed then.
  [[nodiscard]] Number add(std::string_view bytes) {
    if (const Number found = find(bytes); found != none) {
      ++entries_[found].users;
      return found;
    }
    if (entries_.size() >= buckets_.size()) make_buckets(std::bit_ceil(2 * entries_.size() + 8));
    std::string copy{bytes};
    if (free_ == none) {
      entries_.emplace_back();
      free_ = static_cast<Number>(entries_.size() - 1);
    }
    const Number made = free_;
    Entry& entry = entries_[made];
    free_ = entry.next;
    entry = {std::move(copy), hash_of(bytes), 1, none, true};
    link(made);
    return made;
  }

  void retain(Number number) noexcept { ++entries_[number].users; }

  /// Returns true if that was the last user: the number is then free.
  bool release(Number number) noexcept {
    Entry& entry = entries_[number];
    if (--entry.users != 0) return false;
    hide(number);
    entry = Entry{};
    entry.next = std::exchange(free_, number);
    return true;
  }

  /// Makes sure that a number is not found again; its users keep it.
  void hide(Number number) noexcept {
    Entry& entry = entries_[number];
    if (!std::exchange(entry.is_linked, false)) return;
    Number* link = &buckets_[bucket(entry.hash)];
    while (*link != number) link = &entries_[*link].next;
    *link = entry.next;
  }

  [[nodiscard]] std::string_view bytes(Number number) const noexcept {
    return entries_[number].bytes;
  }
  [[nodiscard]] std::uint64_t users(Number number) const noexcept { return entries_[number].users; }
  /// One above the highest number that was ever in use.
  [[nodiscard]] std::size_t end() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    std::string bytes{};
    std::uint64_t hash = 0;
    std::uint64_t users = 0;
    Number next = none;  // of its bucket; of a free one, the next free one
    bool is_linked = false;
  };

  static constexpr std::uint64_t prime = (std::uint64_t{1} << 61) - 1;

  /// The value of a polynomial at the secret point: two strings of n bytes are equal there for at
  /// most n / 4 of all points.
  [[nodiscard]] std::uint64_t hash_of(std::string_view bytes) const noexcept {
    __extension__ using Wide = unsigned __int128;
    std::uint64_t hash = bytes.size() % prime;
    while (!bytes.empty()) {
      std::uint32_t word = 0;
      const std::size_t piece = smaller(bytes.size(), sizeof word);
      std::memcpy(&word, bytes.data(), piece);
      hash = static_cast<std::uint64_t>((static_cast<Wide>(hash) * secret_ + word) % prime);
      bytes.remove_prefix(piece);
    }
    return hash;
  }
  [[nodiscard]] std::size_t bucket(std::uint64_t hash) const noexcept {
    return static_cast<std::size_t>(hash) & (buckets_.size() - 1);
  }

  void link(Number number) noexcept {
    entries_[number].next = std::exchange(buckets_[bucket(entries_[number].hash)], number);
  }

  void make_buckets(std::size_t count) {
    buckets_ = DeferredVector<Number, Owner>(count, none);
    for (Number number = 1; number < entries_.size(); ++number) {
      if (entries_[number].is_linked) link(number);
    }
  }

  DeferredVector<Entry, Owner> entries_{1};  // the first stands for `none`
  DeferredVector<Number, Owner> buckets_;    // a power of two of them
  Number free_ = none;
  std::uint64_t secret_ = 0;
};

}  // namespace allot::detail
