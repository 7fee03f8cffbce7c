// SPDX-License-Identifier: MIT
/// \file
/// `EntryList`: a doubly linked list through one of its entries' own links: it allocates nothing.
/// What a pool uses of Boost.Intrusive's list, in a twentieth of what that costs the compiler; for
/// `pooled_buffer.hpp`, which every user of a pool includes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace allot::detail {

/// An entry's place in a list.
template <class Entry>
struct EntryLinks {
  Entry* previous = nullptr;
  Entry* next = nullptr;
};

/// Does not own its entries. Copies would share them.
template <class Entry, EntryLinks<Entry> Entry::*links>
class EntryList {
 public:
  EntryList() noexcept = default;
  EntryList(EntryList&& other) noexcept { append(other); }
  EntryList& operator=(EntryList&&) = delete;
  ~EntryList() = default;

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  /// Null if it is empty.
  [[nodiscard]] Entry* first() const noexcept { return first_; }
  [[nodiscard]] Entry* last() const noexcept { return last_; }
  /// Null after the last one.
  [[nodiscard]] static Entry* after(const Entry& entry) noexcept { return (entry.*links).next; }

  void push_back(Entry& entry) noexcept {
    (entry.*links) = {last_, nullptr};
    (last_ == nullptr ? first_ : (last_->*links).next) = &entry;
    last_ = &entry;
  }

  /// Requires: the entry is in it.
  void erase(Entry& entry) noexcept {
    const EntryLinks<Entry> old = entry.*links;
    (old.previous == nullptr ? first_ : (old.previous->*links).next) = old.next;
    (old.next == nullptr ? last_ : (old.next->*links).previous) = old.previous;
  }

  /// Moves all entries of another list to the end.
  void append(EntryList& other) noexcept {
    if (other.empty()) return;
    (other.first_->*links).previous = last_;
    (last_ == nullptr ? first_ : (last_->*links).next) = other.first_;
    last_ = other.last_;
    other.first_ = other.last_ = nullptr;
  }

  /// Complexity: linear.
  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t entries = 0;
    for (const Entry* entry = first_; entry != nullptr; entry = after(*entry)) ++entries;
    return entries;
  }

 private:
  Entry* first_ = nullptr;
  Entry* last_ = nullptr;
};

}  // namespace allot::detail
