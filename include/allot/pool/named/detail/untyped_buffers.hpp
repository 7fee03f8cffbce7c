// SPDX-License-Identifier: MIT
/// \file
/// `UntypedBuffers`: the part of `NamedBuffers` that does not depend on the type of the contents.
///
/// | part             | what it keeps                                                    |
/// |------------------|------------------------------------------------------------------|
/// | `NameTable`      | the buffers by name                                              |
/// | `BufferAccounts` | the bytes under the limit, including external ones               |
/// | `BufferMemory`   | the blocks of the arena, and the copies that touch them          |
/// | `BufferResizing` | how several buffers are resized together                         |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/source_location.hpp>
#include <allot/device/device.hpp>
#include <allot/observer/leak.hpp>
#include <allot/os/mutex.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/named/byte_budget.hpp>
#include <allot/pool/named/config.hpp>
#include <allot/pool/named/detail/accounts.hpp>
#include <allot/pool/named/detail/entry.hpp>
#include <allot/pool/named/detail/memory.hpp>
#include <allot/pool/named/detail/name_table.hpp>
#include <allot/pool/named/detail/resizing.hpp>
#include <allot/pool/named/element_type.hpp>
#include <allot/pool/named/errors.hpp>
#include <allot/pool/named/external_memory.hpp>
#include <allot/pool/named/stats.hpp>
#include <allot/slice.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace allot::detail {

template <Device DeviceType, class ArenaType, class Clock>
class UntypedBuffers {
  using TimePoint = typename Clock::time_point;
  using Memory = BufferMemory<DeviceType, ArenaType>;
  using Piece = typename Memory::Piece;
  using Entry = BufferEntry<Piece, TimePoint>;
  using Named = typename NameTable<Entry>::Entry;
  using Accounts = BufferAccounts<TimePoint>;
  using Resizing = BufferResizing<Memory, TimePoint>;
  using Stream = typename DeviceType::stream_type;
  using Access = AccessOf<typename ArenaType::memory_type>;

 public:
  UntypedBuffers(const UntypedBuffers&) = delete;
  UntypedBuffers& operator=(const UntypedBuffers&) = delete;

  /// Frees all buffers; memory with handles lives on. Reports buffers that were not freed by name
  /// to the arena's `LeakTracker`, if it has one.
  ~UntypedBuffers() { report_leaks(); }

  /// Frees a buffer. Its memory goes back once it has no handle and its copies are done.
  /// Throws: `std::out_of_range`.
  void free(std::string_view name) {
    std::shared_ptr<Piece> piece;  // outlives the lock
    const std::lock_guard lock{mutex()};
    piece = forget(named(name));
  }
  /// The same, but its memory goes back only once the stream's earlier work is done, too.
  /// Throws: also what the device throws.
  void free(std::string_view name, Stream& stream) {
    std::shared_ptr<Piece> piece;  // outlives the lock
    const std::lock_guard lock{mutex()};
    Named& buffer = named(name);
    memory_->transfer(
        stream, false, [&](auto&& visit) { visit(*buffer.value.piece); }, [](DeviceType&) {});
    piece = forget(buffer);
  }
  /// Sets how many elements are in use, for `stats`.
  /// Throws: `std::out_of_range` for an unknown name, and beyond the capacity.
  void set_used(std::string_view name, std::uint64_t elements) {
    const std::lock_guard lock{mutex()};
    Entry& entry = named(name).value;
    if (elements > entry.capacity) throw_beyond_buffer(name, 0, elements, entry.capacity);
    entry.used = elements;
    entry.last_used = Clock::now();
  }

  [[nodiscard]] bool contains(std::string_view name) const {
    const std::lock_guard lock{mutex()};
    return table_.find(name) != nullptr;
  }
  /// Returns the number of buffers.
  [[nodiscard]] std::uint64_t size() const {
    const std::lock_guard lock{mutex()};
    return table_.size();
  }
  /// Returns the number of elements that a buffer has room for. Throws: `std::out_of_range`.
  [[nodiscard]] std::uint64_t capacity(std::string_view name) const {
    const std::lock_guard lock{mutex()};
    return named(name).value.capacity;
  }
  /// Returns a buffer's configuration, with its bytes per element. Throws: `std::out_of_range`.
  [[nodiscard]] BufferConfig config(std::string_view name) const {
    const std::lock_guard lock{mutex()};
    return named(name).value.config;
  }

  /// Counts bytes that other code allocated against the limit, until the returned object is
  /// destroyed.
  /// Throws: `LimitExceeded`; `std::bad_alloc`.
  [[nodiscard]] ExternalMemory track_external(
      std::string_view name, std::uint64_t bytes,
      const SourceLocation& site = SourceLocation::current()) {
    auto counted = std::make_shared<CountedExternal<TimePoint>>();
    const std::lock_guard lock{mutex()};
    counted->count(accounts_, {memory_, &memory_->mutex()},
                   {std::string{name}, bytes, Clock::now(), site});
    return ExternalMemory{std::move(counted)};
  }

  /// Returns a consistent snapshot; all figures are measured. Complexity: linear in the buffers.
  /// Throws: `std::bad_alloc`.
  [[nodiscard]] NamedBuffersStats stats() const {
    const std::lock_guard lock{mutex()};
    memory_->poll();
    const ByteBudget& budget = accounts_->budget();
    NamedBuffersStats stats{.total_bytes = budget.used(),
                            .external_bytes = accounts_->external_bytes(),
                            .peak_bytes = budget.peak(),
                            .limit_bytes = budget.limit(),
                            .held_bytes = memory_->held_bytes(),
                            .waiting_bytes = memory_->waiting_bytes(),
                            .allocations = counts_.allocations,
                            .frees = counts_.frees,
                            .resizes = counts_.resizes,
                            .resizes_in_place = counts_.resizes_in_place,
                            .transfers = counts_.transfers,
                            .transferred_bytes = counts_.transferred_bytes,
                            .buffers = {},
                            .arena = memory_->arena().usage()};
    stats.buffers.reserve(table_.size());
    const auto now = Clock::now();
    table_.for_each([&](const Named& buffer) {
      stats.buffers.push_back(buffer.value.stats(buffer.name, now));
    });
    return stats;
  }

  /// Calls `visitor(const PlacedBuffer&)` for each buffer, in no order, under the mutex; it must not
  /// call this object, nor drop a handle. Complexity: linear. Throws: what the visitor throws.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    const std::lock_guard lock{mutex()};
    table_.for_each([&](const Named& buffer) {
      const Block& block = *buffer.value.piece->block;
      visitor(PlacedBuffer{buffer.name, buffer.value.type.name, block.offset, block.size,
                           buffer.value.bytes()});
    });
  }

  /// The arena, for its usage and its blocks.
  [[nodiscard]] const ArenaType& arena() const noexcept { return memory_->arena(); }

  /// Returns what was not freed by name, and external memory that is still counted; in no
  /// particular order. Empty once everything is freed. Complexity: linear in them, with two
  /// allocations. Throws: `std::bad_alloc`.
  [[nodiscard]] LeakList check_leaks() const {
    const std::lock_guard lock{mutex()};
    const auto now = Clock::now();
    return {table_.size() + accounts_->externals().size(),
            name_bytes_ + accounts_->external_name_bytes(), [&](auto&& add) {
              table_.for_each([&](const Named& buffer) {
                const Entry& entry = buffer.value;
                add(buffer.name, entry.bytes(), Entry::since(entry.made, now), entry.site);
              });
              for (const auto& external : accounts_->externals()) {
                add(external.name, external.bytes, Entry::since(external.made, now), external.site);
              }
            }};
  }

  /// Calls `f` with the arena's observer, as `Arena::with_observer` does. `f` must not call this
  /// object.
  template <class Function>
  decltype(auto) with_observer(Function&& f) const requires requires(ArenaType& arena) {
    arena.with_observer(std::forward<Function>(f));
  }
  { return memory_->arena().with_observer(std::forward<Function>(f)); }

 protected:
  UntypedBuffers(DeviceType device, std::shared_ptr<ArenaType> arena, const MemoryLimit& limit)
      : accounts_{std::make_shared<Accounts>(
            limit.of(limit.needs_device() ? device.memory_info() : MemoryInfo{0, 0}))},
        memory_{std::make_shared<Memory>(std::move(device), std::move(arena))} {}

  [[nodiscard]] Slice<Access> find(std::string_view name, const ElementType& type) {
    const std::lock_guard lock{mutex()};
    return touch(named(name, type).value);
  }

  [[nodiscard]] Slice<Access> add(std::string_view name, const ElementType& type,
                                  std::uint64_t alignment, std::uint64_t elements,
                                  const BufferConfig& given, const SourceLocation& site) {
    const BufferConfig config = resolve(name, type, given);
    const std::lock_guard lock{mutex()};
    if (Named* const found = table_.find(name)) {
      Entry& entry = found->value;
      if (!(entry.type == type) || entry.requested != elements || !(entry.config == config)) {
        throw_duplicate_buffer(name, entry.type, entry.requested, entry.config, type, elements,
                               config);
      }
      return touch(entry);
    }
    require_below_maximum(name, config, elements);
    const std::uint64_t capacity = config.first_capacity(elements);
    const std::uint64_t bytes = capacity * config.bytes_per_element;
    const std::uint64_t asked = elements * config.bytes_per_element;
    accounts_->require_left(name, bytes, asked);
    Named& added = table_.add(name);
    Entry& entry = added.value;
    try {
      const CallSite here{site};
      entry.piece = memory_->allocate({bytes, alignment, name});
    } catch (...) {
      table_.erase(added);
      rethrow_raised(asked, bytes);
    }
    entry.type = type;
    entry.alignment = alignment;
    entry.config = config;
    entry.requested = elements;
    entry.capacity = capacity;
    entry.made = entry.last_used = Clock::now();
    entry.site = site;
    accounts_->take(bytes);
    name_bytes_ += name.size();
    ++counts_.allocations;
    return slice_of(entry);
  }

  /// \param stream  for the copy; null: uses its own stream, and waits
  [[nodiscard]] Slice<Access> resize(const BufferResize& resize, Stream* stream) {
    Resizing resizing{1};  // outlives the lock
    const std::lock_guard lock{mutex()};
    Named& buffer = named(resize.name, resize.type);
    resizing.add(buffer, resize.elements, ++resize_number_);
    run(resizing, stream);
    return touch(buffer.value);
  }

  void resize_all(std::span<const BufferResize> resizes, Stream* stream) {
    Resizing resizing{resizes.size()};  // outlives the lock
    const std::lock_guard lock{mutex()};
    ++resize_number_;
    for (const BufferResize& resize : resizes) {
      resizing.add(named(resize.name, resize.type), resize.elements, resize_number_);
    }
    run(resizing, stream);
  }

  /// A range of `count` elements of the type, from the `first`-th on.
  struct Range {
    ElementType type;
    std::uint64_t first;
    std::uint64_t count;
  };

  /// \param stream  null: uses its own stream, and waits
  void write(std::string_view name, const Range& range, const void* from, Stream* stream) {
    const std::lock_guard lock{mutex()};
    Entry& entry = named(name, range.type).value;
    void* const to = place_of(name, entry, range);
    if (range.count == 0) return;
    const std::uint64_t bytes = range.count * range.type.bytes;
    submit(entry, bytes, stream,
           [&](DeviceType& device, Stream& on) { device.copy_to_device(to, from, bytes, on); });
    const std::uint64_t end = (range.first + range.count) * range.type.bytes;
    const std::uint64_t each = entry.config.bytes_per_element;
    entry.used = larger(entry.used, end / each + (end % each != 0 ? 1 : 0));
  }

  /// \param stream  null: uses its own stream, and waits
  void copy_out(std::string_view name, const Range& range, void* to, Stream* stream) {
    const std::lock_guard lock{mutex()};
    Entry& entry = named(name, range.type).value;
    if (stream != nullptr && !entry.config.asynchronous_readback) throw_no_readback(name);
    const void* const from = place_of(name, entry, range);
    if (range.count == 0) return;
    const std::uint64_t bytes = range.count * range.type.bytes;
    submit(entry, bytes, stream,
           [&](DeviceType& device, Stream& on) { device.copy_to_host(to, from, bytes, on); });
  }

 private:
  struct Counts {
    std::uint64_t allocations = 0;
    std::uint64_t frees = 0;
    std::uint64_t resizes = 0;
    std::uint64_t resizes_in_place = 0;
    std::uint64_t transfers = 0;
    std::uint64_t transferred_bytes = 0;
  };

  [[nodiscard]] std::mutex& mutex() const noexcept { return memory_->mutex(); }

  /// Throws: `std::out_of_range`.
  [[nodiscard]] Named& named(std::string_view name) const {
    Named* const found = table_.find(name);
    if (found == nullptr) throw_unknown_buffer(name, table_);
    return *found;
  }
  /// Throws: also `std::invalid_argument` for another type.
  [[nodiscard]] Named& named(std::string_view name, const ElementType& type) const {
    Named& found = named(name);
    if (!(found.value.type == type)) throw_wrong_type(name, found.value.type, type);
    return found;
  }

  [[nodiscard]] Slice<Access> slice_of(const Entry& entry) const noexcept {
    return {entry.piece, memory_->address(*entry.piece), entry.bytes()};
  }
  /// Returns the slice of a buffer, and notes its use.
  [[nodiscard]] Slice<Access> touch(Entry& entry) const noexcept {
    entry.last_used = Clock::now();
    return slice_of(entry);
  }

  /// Removes a buffer. Drop the returned piece without holding the lock.
  [[nodiscard]] std::shared_ptr<Piece> forget(Named& buffer) noexcept {
    std::shared_ptr<Piece> piece = std::move(buffer.value.piece);
    accounts_->give_back(buffer.value.bytes());
    ++counts_.frees;
    name_bytes_ -= buffer.name.size();
    table_.erase(buffer);
    return piece;
  }

  void run(Resizing& resizing, Stream* stream) {
    if (resizing.empty()) return;
    resizing.prepare(*memory_, *accounts_, stream != nullptr ? *stream : memory_->stream(),
                     stream == nullptr);
    const TimePoint now = Clock::now();
    resizing.commit(*accounts_, [&](Entry& entry, std::uint64_t copied) {
      if (copied == 0) {
        ++counts_.resizes_in_place;
      } else {
        count_transfer(entry, copied);
      }
      entry.last_used = now;
      ++entry.resizes;
      ++counts_.resizes;
    });
  }

  template <class Copy>
  void submit(Entry& entry, std::uint64_t bytes, Stream* stream, Copy&& copy) {
    Stream& on = stream != nullptr ? *stream : memory_->stream();
    memory_->transfer(
        on, stream == nullptr, [&](auto&& visit) { visit(*entry.piece); },
        [&](DeviceType& device) { copy(device, on); });
    count_transfer(entry, bytes);
    entry.last_used = Clock::now();
  }

  void count_transfer(Entry& entry, std::uint64_t bytes) noexcept {
    ++entry.transfers;
    ++counts_.transfers;
    counts_.transferred_bytes += bytes;
  }

  [[nodiscard]] void* place_of(std::string_view name, const Entry& entry,
                               const Range& range) const {
    const std::uint64_t there = entry.bytes() / range.type.bytes;
    if (range.first > there || range.count > there - range.first) {
      throw_beyond_buffer(name, range.first, range.count, there);
    }
    return static_cast<std::byte*>(memory_->address(*entry.piece)) + range.first * range.type.bytes;
  }

  void report_leaks() const noexcept {
    if constexpr (reports_leaks<typename ArenaType::observer_type>) {
      try {
        const LeakList leaks = check_leaks();
        memory_->arena().with_observer(
            [&](const auto& observer) { detail::report_leaks(observer, leaks.leaks()); });
      } catch (...) {
        // No memory for the report: there is no other way to report it.
      }
    }
  }

  std::shared_ptr<Accounts> accounts_;
  std::shared_ptr<Memory> memory_;
  NameTable<Entry> table_;  // destroyed first, without the lock: pieces take it
  Counts counts_;
  std::uint64_t name_bytes_ = 0;  // of all buffers
  std::uint64_t resize_number_ = 0;
};

}  // namespace allot::detail
