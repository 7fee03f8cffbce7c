// SPDX-License-Identifier: MIT
/// \file
/// The buffers that a pool has cached: by class and stream, and by time of return. Intrusive lists:
/// only a new class or a new stream allocates.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/buffers/detail/entry_list.hpp>
#include <allot/pool/buffers/pooled_buffer.hpp>
#include <allot/pool/buffers/size_classes.hpp>
#include <allot/pool/buffers/stats.hpp>
#include <allot/stream/stream_timeline.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <list>
#include <type_traits>
#include <utility>
#include <vector>

namespace allot::detail {

template <Device DeviceType>
using ClassList = EntryList<PoolEntry<DeviceType>, OfClass>;
template <Device DeviceType>
using AgeList = EntryList<PoolEntry<DeviceType>, OfAge>;

/// One class and its cached buffers: a list for each lane, by time of return.
template <Device DeviceType>
struct PoolClass {
  std::uint64_t units;
  PoolClassStats stats;
  std::uint64_t short_ones = 0;  // buffers smaller than the class
  std::vector<ClassList<DeviceType>> lanes{};

  std::uint64_t in_making = 0;     // acquisitions that hold a reference to this
  std::size_t place = 0;           // among all classes
  PoolClass* next = nullptr;       // of its bucket, if classes are hashed
  std::uint64_t wanted = 0;        // buffers, while a warm-up counts them
  std::uint64_t wanted_bytes = 0;  // the most of any of these
  // While a warm-up makes others, of the cached buffers of at least `kept_bytes` the largest `kept`
  // must stay.
  std::uint64_t kept = 0;
  std::uint64_t kept_bytes = PoolOptions::unlimited;
  // While idle chunks are looked for: the bytes of the smallest that must stay, and how many others
  // have as many.
  std::uint64_t least_kept = PoolOptions::unlimited;
  std::uint64_t surplus = 0;
};

/// Finds classes by their size: in an array if they can be numbered, else in a hash table that is
/// chained through them (<unordered_map> would cost each file that includes this more than all of
/// the pool).
template <Device DeviceType, SizeClasses Classes>
class ClassTable {
  using Class = PoolClass<DeviceType>;
  static constexpr bool is_numbered = requires { Classes::count; };

 public:
  [[nodiscard]] Class* find(std::uint64_t units) const noexcept {
    if constexpr (is_numbered) {
      return index_[Classes::index_of(units)];
    } else {
      if (index_.empty()) return nullptr;
      Class* found = index_[bucket_of(units)];
      while (found != nullptr && found->units != units) found = found->next;
      return found;
    }
  }

  /// Adds a class. Throws: `std::bad_alloc`; nothing has changed.
  [[nodiscard]] Class& add(std::uint64_t units, std::uint64_t unit, std::size_t lanes) {
    auto made = std::make_unique<Class>(Class{.units = units, .stats = {.capacity = units * unit}});
    made->place = classes_.size();
    made->lanes.resize(lanes);
    if constexpr (!is_numbered) make_buckets(classes_.size() + 1);
    classes_.push_back(std::move(made));
    Class& added = *classes_.back();
    if constexpr (is_numbered) {
      index_[Classes::index_of(units)] = &added;
    } else {
      insert(added);
    }
    return added;
  }

  /// Forgets a class without buffers, if classes have no number. Complexity: constant.
  void forget_if_empty(Class& old) noexcept {
    if constexpr (!is_numbered) {
      if (old.stats.in_use + old.stats.cached + old.in_making != 0) return;
      Class** link = &index_[bucket_of(old.units)];
      while (*link != &old) link = &(*link)->next;
      *link = old.next;
      classes_.back()->place = old.place;
      std::swap(classes_[old.place], classes_.back());
      classes_.pop_back();
    }
  }

  [[nodiscard]] const std::vector<std::unique_ptr<Class>>& all() const noexcept { return classes_; }

  /// Returns the figures of all classes, by size. Throws: `std::bad_alloc`.
  [[nodiscard]] std::vector<PoolClassStats> stats() const {
    std::list<PoolClassStats> sorted;  // which sorts itself, without <algorithm>
    for (const auto& each : classes_) sorted.push_back(each->stats);
    sorted.sort([](const auto& a, const auto& b) { return a.capacity < b.capacity; });
    return {sorted.begin(), sorted.end()};
  }

 private:
  [[nodiscard]] std::size_t bucket_of(std::uint64_t units) const noexcept {
    // Fibonacci hashing: the upper bits of the product depend on all bits of the size.
    return static_cast<std::size_t>((units * 0x9E3779B97F4A7C15) >> 32) & (index_.size() - 1);
  }

  void insert(Class& added) noexcept {
    Class*& bucket = index_[bucket_of(added.units)];
    added.next = std::exchange(bucket, &added);
  }

  /// Makes at least as many buckets as classes. Throws: `std::bad_alloc`; nothing has changed.
  void make_buckets(std::size_t classes) {
    if (classes <= index_.size()) return;
    index_ = std::vector<Class*>(std::bit_ceil(2 * classes));
    for (const auto& each : classes_) insert(*each);
  }

  std::vector<std::unique_ptr<Class>> classes_;
  /// The number of possible classes; the buckets of a hash table if classes have no number.
  static constexpr std::size_t most = [] {
    if constexpr (is_numbered) return Classes::count;
    return std::size_t{0};
  }();
  std::conditional_t<is_numbered, Class* [most + 1], std::vector<Class*>> index_ {};
};

template <Device DeviceType, SizeClasses Classes>
class CachedEntries {
 public:
  using Entry = PoolEntry<DeviceType>;
  using Class = PoolClass<DeviceType>;

  /// Returns the class of a size. Throws: `std::bad_alloc` if it is new.
  [[nodiscard]] Class& class_of(std::uint64_t units, std::uint64_t unit) {
    Class* const found = table_.find(units);
    return found != nullptr ? *found : table_.add(units, unit, lanes_);
  }
  void forget_if_empty(Class& old) noexcept { table_.forget_if_empty(old); }

  /// Throws: `std::bad_alloc`.
  void make_room_for_lanes(std::size_t lanes) {
    for (const auto& each : table_.all()) {
      if (each->lanes.size() < lanes) each->lanes.resize(lanes);
    }
    lanes_ = larger(lanes_, lanes);
  }

  /// Returns the best buffer of a class that a stream may use at once: last used there, else one
  /// whose work is known to come before. Does not call the device.
  /// Complexity: constant for the first; linear in the streams. If buffers of the class are smaller
  /// than it: linear in the buffers.
  [[nodiscard]] Entry* find_ready(Class& of, std::uint64_t bytes, std::uint32_t lane,
                                  const StreamTimeline<DeviceType>& timeline) noexcept {
    if (of.stats.cached == 0) return nullptr;
    if (!of.lanes[lane].empty()) {
      if (of.short_ones == 0) [[likely]]
        return &of.lanes[lane].back();
      if (Entry* const least = least_of(of.lanes[lane], bytes)) return least;
    }
    for (const auto& other : of.lanes) {
      Entry* const first = first_of(of, other, bytes);
      if (first != nullptr && timeline.is_ordered(first->returned, lane)) return first;
    }
    return nullptr;
  }

  /// Returns a buffer whose work is done, or null. Asks the device, once for each stream.
  /// Throws: what the device throws.
  [[nodiscard]] Entry* find_done(Class& of, std::uint64_t bytes,
                                 StreamTimeline<DeviceType>& timeline) {
    for (const auto& other : of.lanes) {
      Entry* const first = first_of(of, other, bytes);
      if (first != nullptr && timeline.is_done(first->returned)) return first;
    }
    return nullptr;
  }

  /// Returns the buffer that was returned longest ago, of those that a stream can wait for.
  [[nodiscard]] Entry* find_busy(Class& of, std::uint64_t bytes,
                                 const StreamTimeline<DeviceType>& timeline) noexcept {
    Entry* oldest = nullptr;
    for (const auto& other : of.lanes) {
      Entry* const first = first_of(of, other, bytes);
      if (first == nullptr || !timeline.can_order(first->returned)) continue;
      if (oldest == nullptr || first->returned.time < oldest->returned.time) oldest = first;
    }
    return oldest;
  }

  /// Returns how many cached buffers of a class have at least `bytes` bytes.
  [[nodiscard]] static std::uint64_t count(const Class& of, std::uint64_t bytes) noexcept {
    if (of.short_ones == 0) return of.stats.cached;
    std::uint64_t count = 0;
    for (const auto& list : of.lanes) {
      for (const Entry* entry = list.first(); entry != nullptr; entry = list.after(*entry))
        count += entry->capacity >= bytes ? 1 : 0;
    }
    return count;
  }

  /// Returns true if a warm-up of the class does not need this cached buffer.
  [[nodiscard]] static bool is_surplus(const Entry& entry) noexcept {
    const Class& of = class_of(entry);
    return entry.capacity < of.kept_bytes || count(of, entry.capacity) > of.kept;
  }

  /// Finds out which buffers of a class must stay: see `least_kept`.
  static void count_surplus(Class& of) noexcept {
    of.least_kept = of.kept_bytes;
    of.surplus = 0;
    if (of.kept == 0) return;
    for (const auto& list : of.lanes) {
      for (const Entry* entry = list.first(); entry != nullptr; entry = list.after(*entry)) {
        if (entry->capacity > of.least_kept && count(of, entry->capacity) >= of.kept)
          of.least_kept = entry->capacity;
      }
    }
    const std::uint64_t large = count(of, of.least_kept);
    of.surplus = large - smaller(large, of.kept);
  }

  void add(Entry& entry) noexcept {
    Class& of = class_of(entry);
    of.lanes[entry.lane].push_back(entry);
    by_age_.push_back(entry);
    ++of.stats.cached;
    bytes_ += entry.capacity;
    ++count_;
  }

  void remove(Entry& entry) noexcept {
    Class& of = class_of(entry);
    of.lanes[entry.lane].erase(entry);
    by_age_.erase(entry);
    --of.stats.cached;
    bytes_ -= entry.capacity;
    --count_;
  }

  /// Notes that all work on what was returned on a lane is done: its buffers now belong to no lane.
  void move_to_no_lane(std::uint32_t lane) noexcept {
    for (const auto& each : table_.all()) {
      ClassList<DeviceType>& old = each->lanes[lane];
      for (Entry* entry = old.first(); entry != nullptr; entry = old.after(*entry)) {
        entry->lane = 0;
        entry->returned = {};
      }
      each->lanes[0].append(old);
    }
  }

  [[nodiscard]] static Class& class_of(const Entry& entry) noexcept { return *entry.size_class; }
  /// Longest ago first.
  [[nodiscard]] AgeList<DeviceType>& by_age() noexcept { return by_age_; }
  [[nodiscard]] const auto& classes() const noexcept { return table_.all(); }
  [[nodiscard]] std::vector<PoolClassStats> class_stats() const { return table_.stats(); }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

 private:
  /// Returns the first of a list that has at least `bytes` bytes, or null.
  [[nodiscard]] static Entry* first_of(const Class& of, const ClassList<DeviceType>& list,
                                       std::uint64_t bytes) noexcept {
    Entry* entry = list.first();
    if (of.short_ones == 0) return entry;
    while (entry != nullptr && entry->capacity < bytes) entry = list.after(*entry);
    return entry;
  }

  /// Returns the last of the smallest that have at least `bytes` bytes, or null.
  [[nodiscard]] static Entry* least_of(const ClassList<DeviceType>& list,
                                       std::uint64_t bytes) noexcept {
    Entry* least = nullptr;
    for (Entry* entry = list.first(); entry != nullptr; entry = list.after(*entry)) {
      if (entry->capacity < bytes) continue;
      if (least == nullptr || entry->capacity <= least->capacity) least = entry;
    }
    return least;
  }

  AgeList<DeviceType> by_age_;
  std::size_t lanes_ = 1;
  std::uint64_t bytes_ = 0;
  std::uint64_t count_ = 0;
  ClassTable<DeviceType, Classes> table_;
};

}  // namespace allot::detail
