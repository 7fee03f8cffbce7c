// SPDX-License-Identifier: MIT
/// \file
/// `NameTable<Value>`: values by name, in no order.
#pragma once

#include <allot/os/smart_pointers.hpp>

#include <bit>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::detail {

/// A hash table chained through its entries, which never move. Looks up without making a string;
/// iterates through an array. (<unordered_map> would cost each file that includes this a quarter of
/// <vector> and <string>.)
template <class Value>
class NameTable {
 public:
  /// A name and its value. Iteration reads the value's first members together with the name.
  struct Entry {
    std::string name;
    Value value{};

   private:
    friend NameTable;
    std::size_t hash = 0;
    std::size_t place = 0;  // among all entries
    Entry* next = nullptr;  // of its bucket
  };

  NameTable() = default;
  NameTable(NameTable&&) noexcept = default;
  NameTable& operator=(NameTable&&) noexcept = default;

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }

  /// Returns null if there is none. Complexity: constant on average.
  [[nodiscard]] Entry* find(std::string_view name) const noexcept {
    if (entries_.empty()) return nullptr;
    const std::size_t hash = hash_of(name);
    Entry* found = buckets_[bucket_of(hash)];
    while (found != nullptr && (found->hash != hash || found->name != name)) found = found->next;
    return found;
  }

  /// Requires: the name is not in the table. Throws: `std::bad_alloc`; nothing has changed.
  Entry& add(std::string_view name) {
    auto made = std::make_unique<Entry>();
    made->name = name;
    made->hash = hash_of(name);
    made->place = entries_.size();
    if (entries_.size() == buckets_.size()) make_buckets(std::bit_ceil(2 * entries_.size() + 8));
    entries_.push_back(std::move(made));
    Entry& added = *entries_.back();
    insert(added);
    return added;
  }

  void erase(Entry& old) noexcept {
    Entry** link = &buckets_[bucket_of(old.hash)];
    while (*link != &old) link = &(*link)->next;
    *link = old.next;
    const std::size_t place = old.place;
    entries_.back()->place = place;
    std::swap(entries_[place], entries_.back());
    entries_.pop_back();
  }

  /// Calls `visitor(entry)` for each.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    for (const auto& entry : entries_) visitor(*entry);
  }

 private:
  [[nodiscard]] static std::size_t hash_of(std::string_view name) noexcept {
    return std::hash<std::string_view>{}(name);
  }
  [[nodiscard]] std::size_t bucket_of(std::size_t hash) const noexcept {
    return hash & (buckets_.size() - 1);
  }

  void insert(Entry& entry) noexcept {
    entry.next = std::exchange(buckets_[bucket_of(entry.hash)], &entry);
  }

  void make_buckets(std::size_t count) {
    buckets_ = std::vector<Entry*>(count);
    for (const auto& entry : entries_) insert(*entry);
  }

  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<Entry*> buckets_;  // a power of two of them
};

}  // namespace allot::detail
