// SPDX-License-Identifier: MIT
/// \file
/// `UntypedBuffers`: all of `NamedBuffers` that does not depend on the type of a buffer's contents.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/chrono.hpp>
#include <allot/core/source_location.hpp>
#include <allot/device/device.hpp>
#include <allot/observer/leak_tracker.hpp>
#include <allot/pool/named/byte_budget.hpp>
#include <allot/pool/named/config.hpp>
#include <allot/pool/named/detail/table.hpp>
#include <allot/pool/named/errors.hpp>
#include <allot/pool/named/stats.hpp>
#include <allot/slice.hpp>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot {

/// Bytes that someone else allocated, counted against a limit while this lives.
class ExternalMemory {
 public:
  ExternalMemory() noexcept = default;
  explicit ExternalMemory(std::shared_ptr<const void> counted) noexcept
      : counted_{std::move(counted)} {}
  ExternalMemory(ExternalMemory&&) noexcept = default;
  ExternalMemory& operator=(ExternalMemory&&) noexcept = default;
  ExternalMemory(const ExternalMemory&) = delete;
  ExternalMemory& operator=(const ExternalMemory&) = delete;
  ~ExternalMemory() = default;

 private:
  std::shared_ptr<const void> counted_;
};

/// One of the resizes of `NamedBuffers::resize_all`.
struct BufferResize {
  std::string_view name;
  detail::ElementType type;
  std::uint64_t elements;
};
namespace detail {

template <Device DeviceType, class ArenaType, class Clock>
class UntypedBuffers {
  using Table = BufferTable<DeviceType, ArenaType, Clock>;
  using Memory = typename Table::Memory;
  using Entry = typename Table::Entry;
  using Piece = typename Table::Piece;
  using Stream = typename DeviceType::stream_type;
  using Access = AccessOf<typename ArenaType::memory_type>;

 public:
  UntypedBuffers(const UntypedBuffers&) = delete;
  UntypedBuffers& operator=(const UntypedBuffers&) = delete;

  /// Frees all buffers; memory that handles hold lives on. Buffers that were not freed by name are
  /// reported to the `LeakTracker` of the arena, where it has one.
  ~UntypedBuffers() {
    report_leaks();
    typename Table::Entries entries;  // outlives the lock
    const std::scoped_lock lock{mutex()};
    for (const auto& [name, entry] : table_->entries) {
      table_->budget.give_back(entry.bytes());
      table_->name_bytes -= name.size();
    }
    entries.swap(table_->entries);
  }

  /// Forgets a buffer. Its memory goes back when no handle holds it and its copies are done.
  /// Throws: `std::out_of_range`.
  void free(std::string_view name) {
    std::shared_ptr<Piece> piece;  // outlives the lock
    const std::scoped_lock lock{mutex()};
    piece = forget(table_->find(name));
  }
  /// The same, and its memory goes back only when the stream's work so far is done.
  /// Throws: also what the device throws.
  void free(std::string_view name, Stream& stream) {
    std::shared_ptr<Piece> piece;  // outlives the lock
    const std::scoped_lock lock{mutex()};
    const auto found = table_->find(name);
    table_->transfer(
        stream, false, [&](auto&& f) { f(*found->second.piece); }, [](DeviceType&) {});
    piece = forget(found);
  }
  /// Says how many elements are in use, for `stats`.
  /// Throws: `std::out_of_range` for an unknown name, and beyond the capacity.
  void set_used(std::string_view name, std::uint64_t elements) {
    const std::scoped_lock lock{mutex()};
    Entry& entry = table_->find(name)->second;
    if (elements > entry.capacity) throw_beyond_buffer(name, 0, elements, entry.capacity);
    entry.used = elements;
    entry.last_used = Clock::now();
  }

  [[nodiscard]] bool contains(std::string_view name) const {
    const std::scoped_lock lock{mutex()};
    return table_->entries.find(name) != table_->entries.end();
  }
  /// How many buffers there are.
  [[nodiscard]] std::uint64_t size() const {
    const std::scoped_lock lock{mutex()};
    return table_->entries.size();
  }
  /// Elements that a buffer has room for. Throws: `std::out_of_range`.
  [[nodiscard]] std::uint64_t capacity(std::string_view name) const {
    const std::scoped_lock lock{mutex()};
    return table_->find(name)->second.capacity;
  }
  /// A buffer's configuration, with its bytes per element. Throws: `std::out_of_range`.
  [[nodiscard]] BufferConfig config(std::string_view name) const {
    const std::scoped_lock lock{mutex()};
    return table_->find(name)->second.config;
  }

  /// Counts bytes that someone else allocated against the limit, until what it returns is gone.
  /// Throws: `LimitExceeded`; `std::bad_alloc`.
  [[nodiscard]] ExternalMemory track_external(
      std::string_view name, std::uint64_t bytes,
      const SourceLocation& site = SourceLocation::current()) {
    auto counted = std::make_shared<Counted>();
    const std::scoped_lock lock{mutex()};
    table_->require_left(name, bytes);
    table_->externals.push_front({std::string{name}, bytes, Clock::now(), site});
    table_->name_bytes += name.size();
    counted->table = table_;
    counted->at = table_->externals.begin();
    table_->budget.take(bytes);
    table_->external_bytes += bytes;
    return ExternalMemory{std::move(counted)};
  }

  /// A consistent snapshot; all figures are measured. Complexity: linear in the buffers.
  /// Throws: `std::bad_alloc`.
  [[nodiscard]] NamedBuffersStats stats() const {
    const std::scoped_lock lock{mutex()};
    memory().poll();
    const auto& counts = table_->counts;
    NamedBuffersStats stats{.total_bytes = table_->budget.used(),
                            .external_bytes = table_->external_bytes,
                            .peak_bytes = table_->budget.peak(),
                            .limit_bytes = table_->budget.limit(),
                            .held_bytes = memory().held_bytes(),
                            .waiting_bytes = memory().waiting_bytes(),
                            .allocations = counts.allocations,
                            .frees = counts.frees,
                            .resizes = counts.resizes,
                            .resizes_in_place = counts.resizes_in_place,
                            .transfers = counts.transfers,
                            .transferred_bytes = counts.transferred_bytes,
                            .buffers = {},
                            .arena = memory().arena().usage()};
    stats.buffers.reserve(table_->entries.size());
    const auto now = Clock::now();
    for (const auto& [name, entry] : table_->entries) {
      stats.buffers.push_back({.name = name,
                               .type = entry.type.name,
                               .bytes = entry.bytes(),
                               .bytes_per_element = entry.config.bytes_per_element,
                               .capacity = entry.capacity,
                               .used = entry.used,
                               .resizes = entry.resizes,
                               .transfers = entry.transfers,
                               .age = since(entry.made, now),
                               .since_last_use = since(entry.last_used, now)});
    }
    return stats;
  }

  /// What was not freed by name, and external memory that is still counted; in no order. Empty
  /// once all is freed. Complexity: linear in them, with two allocations.
  /// Throws: `std::bad_alloc`.
  [[nodiscard]] LeakList check_leaks() const {
    LeakList found;
    const std::scoped_lock lock{mutex()};
    found.reserve(table_->entries.size() + table_->externals.size(), table_->name_bytes);
    const auto now = Clock::now();
    for (const auto& [name, entry] : table_->entries) {
      found.add(name, entry.bytes(), since(entry.made, now), entry.site);
    }
    for (const auto& external : table_->externals) {
      found.add(external.name, external.bytes, since(external.made, now), external.site);
    }
    return found;
  }

  /// Calls `f(observer)` of the arena, as `Arena::with_observer`. It must not call this object.
  template <class Function>
  decltype(auto) with_observer(Function&& f) const requires requires(ArenaType& arena) {
    arena.with_observer(std::forward<Function>(f));
  }
  { return memory().arena().with_observer(std::forward<Function>(f)); }

 protected:
  UntypedBuffers(DeviceType device, std::shared_ptr<ArenaType> arena, const MemoryLimit& limit)
      : table_{made_table(std::move(device), std::move(arena), limit)} {}

  [[nodiscard]] Slice<Access> found(std::string_view name, const ElementType& type) {
    const std::scoped_lock lock{mutex()};
    return touched(table_->find(name, type)->second);
  }

  [[nodiscard]] Slice<Access> added(std::string_view name, const ElementType& type,
                                    std::uint64_t alignment, std::uint64_t elements,
                                    const BufferConfig& given, const SourceLocation& site) {
    const BufferConfig config = resolved(name, type, given);
    const std::scoped_lock lock{mutex()};
    if (const auto found = table_->entries.find(name); found != table_->entries.end()) {
      Entry& entry = found->second;
      if (!(entry.type == type) || entry.requested != elements || !(entry.config == config)) {
        throw_duplicate_buffer(name, entry.type, entry.requested, entry.config, type, elements,
                               config);
      }
      return touched(entry);
    }
    return slice_of(table_->add(name, type, alignment, elements, config, site));
  }

  [[nodiscard]] Slice<Access> resized(const BufferResize& resize, Stream* stream) {
    std::vector<typename Table::Resized> all;  // outlives the lock
    const std::scoped_lock lock{mutex()};
    const auto found = table_->find(resize.name, resize.type);
    Entry& entry = found->second;
    if (resize.elements > entry.capacity) {
      all.push_back({.at = found, .needed = resize.elements});
      table_->resize(all, stream != nullptr ? *stream : memory().stream(), stream == nullptr);
    }
    return touched(entry);
  }

  void resize(std::span<const BufferResize> resizes, Stream* stream) {
    std::vector<typename Table::Resized> all;  // outlives the lock
    all.reserve(resizes.size());
    const std::scoped_lock lock{mutex()};
    for (const BufferResize& resize : resizes) {
      all.push_back({.at = table_->find(resize.name, resize.type), .needed = resize.elements});
    }
    require_distinct(all);
    std::erase_if(all, [](const auto& each) { return each.needed <= each.entry().capacity; });
    if (all.empty()) return;
    table_->resize(all, stream != nullptr ? *stream : memory().stream(), stream == nullptr);
  }

  /// `count` elements of the type, from the `first`-th on.
  struct Range {
    ElementType type;
    std::uint64_t first;
    std::uint64_t count;
  };

  /// \param stream  none: one of its own, and waits
  void written(std::string_view name, const Range& range, const void* from, Stream* stream) {
    const std::scoped_lock lock{mutex()};
    Entry& entry = table_->find(name, range.type)->second;
    void* const to = place_of(name, entry, range);
    if (range.count == 0) return;
    const std::uint64_t bytes = range.count * range.type.bytes;
    give(entry, bytes, stream,
         [&](DeviceType& device, Stream& on) { device.copy_to_device(to, from, bytes, on); });
    const std::uint64_t end = (range.first + range.count) * range.type.bytes;
    const std::uint64_t each = entry.config.bytes_per_element;
    entry.used = larger(entry.used, end / each + (end % each != 0 ? 1 : 0));
  }

  /// \param stream  none: one of its own, and waits
  void copied_out(std::string_view name, const Range& range, void* to, Stream* stream) {
    const std::scoped_lock lock{mutex()};
    Entry& entry = table_->find(name, range.type)->second;
    if (stream != nullptr && !entry.config.asynchronous_readback) throw_no_readback(name);
    const void* const from = place_of(name, entry, range);
    if (range.count == 0) return;
    const std::uint64_t bytes = range.count * range.type.bytes;
    give(entry, bytes, stream,
         [&](DeviceType& device, Stream& on) { device.copy_to_host(to, from, bytes, on); });
  }

 private:
  /// External bytes: they outlive the buffers where their owner does.
  struct Counted {
    std::shared_ptr<Table> table;
    typename std::list<typename Table::External>::iterator at{};

    Counted() = default;
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() {
      if (table == nullptr) return;
      const std::scoped_lock lock{table->memory->mutex()};
      table->budget.give_back(at->bytes);
      table->external_bytes -= at->bytes;
      table->name_bytes -= at->name.size();
      table->externals.erase(at);
    }
  };

  [[nodiscard]] static std::shared_ptr<Table> made_table(DeviceType device,
                                                         std::shared_ptr<ArenaType> arena,
                                                         const MemoryLimit& limit) {
    const std::uint64_t bytes =
        limit.of(limit.needs_device() ? device.memory_info() : MemoryInfo{0, 0});
    return std::make_shared<Table>(std::make_shared<Memory>(std::move(device), std::move(arena)),
                                   bytes);
  }

  [[nodiscard]] static std::chrono::nanoseconds since(typename Clock::time_point from,
                                                      typename Clock::time_point now) noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now - from);
  }

  [[nodiscard]] Memory& memory() const noexcept { return *table_->memory; }
  [[nodiscard]] std::mutex& mutex() const noexcept { return memory().mutex(); }

  [[nodiscard]] Slice<Access> slice_of(const Entry& entry) const noexcept {
    return {entry.piece, memory().address(*entry.piece), entry.bytes()};
  }
  [[nodiscard]] Slice<Access> touched(Entry& entry) const noexcept {
    entry.last_used = Clock::now();
    return slice_of(entry);
  }

  /// Its piece must be dropped without the lock.
  [[nodiscard]] std::shared_ptr<Piece> forget(typename Table::Entries::iterator at) noexcept {
    std::shared_ptr<Piece> piece = std::move(at->second.piece);
    table_->budget.give_back(at->second.bytes());
    ++table_->counts.frees;
    table_->name_bytes -= at->first.size();
    table_->entries.erase(at);
    return piece;
  }

  template <class Copy>
  void give(Entry& entry, std::uint64_t bytes, Stream* stream, Copy&& copy) {
    Stream& on = stream != nullptr ? *stream : memory().stream();
    table_->transfer(
        on, stream == nullptr, [&](auto&& f) { f(*entry.piece); },
        [&](DeviceType& device) { copy(device, on); });
    table_->count_transfer(entry, bytes);
    entry.last_used = Clock::now();
  }

  [[nodiscard]] void* place_of(std::string_view name, const Entry& entry,
                               const Range& range) const {
    const std::uint64_t there = entry.bytes() / range.type.bytes;
    if (range.first > there || range.count > there - range.first) {
      throw_beyond_buffer(name, range.first, range.count, there);
    }
    return static_cast<std::byte*>(memory().address(*entry.piece)) + range.first * range.type.bytes;
  }

  void report_leaks() const noexcept {
    if constexpr (reports_leaks<typename ArenaType::observer_type>) {
      try {
        const LeakList leaks = check_leaks();
        memory().arena().with_observer(
            [&](const auto& observer) { detail::report_leaks(observer, leaks.leaks()); });
      } catch (...) {
        // No memory for the report: there is nobody left to tell.
      }
    }
  }

  std::shared_ptr<Table> table_;
};

}  // namespace detail

}  // namespace allot
