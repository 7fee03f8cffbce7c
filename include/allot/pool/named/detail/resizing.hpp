// SPDX-License-Identifier: MIT
/// \file
/// `BufferResizing`: several named buffers that are resized together: all of them, or none.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/observer/leak.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/named/detail/accounts.hpp>
#include <allot/pool/named/detail/entry.hpp>
#include <allot/pool/named/detail/name_table.hpp>
#include <allot/pool/named/errors.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace allot::detail {

/// Make it before locking the mutex of the buffers, use it while holding the mutex, and destroy it
/// after unlocking: until then it keeps the pieces that are no longer needed.
///
/// \tparam MemoryType  the `BufferMemory`
template <class MemoryType, class TimePoint>
class BufferResizing {
 public:
  using Piece = typename MemoryType::Piece;
  using Stream = typename MemoryType::Stream;
  using Accounts = BufferAccounts<TimePoint>;
  using Named = typename NameTable<BufferEntry<Piece, TimePoint>>::Entry;

  explicit BufferResizing(std::size_t most) { all_.reserve(most); }

  /// Adds a buffer that needs room for `elements` elements, unless it has that room.
  /// \param number  of this resizing; different from that of any other
  /// Throws: `std::invalid_argument` if it was added before.
  void add(Named& buffer, std::uint64_t needed, std::uint64_t number) {
    if (std::exchange(buffer.value.resize_number, number) == number) {
      throw std::invalid_argument{"buffer " + in_quotes(buffer.name) +
                                  " is named twice in one resize; name each buffer once"};
    }
    if (needed > buffer.value.capacity) all_.push_back({&buffer, needed});
  }

  [[nodiscard]] bool empty() const noexcept { return all_.empty(); }

  /// Makes room for all buffers, and copies the old contents.
  /// \param waits  true if the host waits for the copies
  /// Throws: `LimitExceeded`, `OutOfMemory`, what the device throws, `std::bad_alloc`; nothing has
  /// changed then.
  void prepare(MemoryType& memory, const Accounts& accounts, Stream& stream, bool waits) {
    choose_capacities(accounts);
    memory.poll();
    const std::uint32_t lane = memory.noted_lane_of(stream);
    try {
      place(memory, lane);
    } catch (const OutOfMemory&) {  // no room to grow: try just what is needed
      if (!lower_to_need()) throw;
      place(memory, lane);
    }
    try {
      copy(memory, stream, waits);
    } catch (...) {
      expand_back(memory);
      throw;
    }
  }

  /// Gives the buffers their new memory, and calls `resized(entry, copied_bytes)` for each: 0 bytes
  /// if it grew in place.
  template <class Resized>
  void commit(Accounts& accounts, Resized&& resized) noexcept {
    for (Each& each : all_) {
      auto& entry = each.entry();
      const std::uint64_t copied = each.is_moved() ? entry.bytes() : 0;
      if (each.is_moved()) entry.piece.swap(each.piece);
      accounts.take(entry.bytes_of(each.capacity) - entry.bytes());
      entry.capacity = each.capacity;
      resized(entry, copied);
    }
  }

 private:
  struct Each {
    Named* buffer;
    std::uint64_t needed;               // elements
    std::uint64_t capacity = 0;         // elements, as chosen
    std::shared_ptr<Piece> piece = {};  // the new one, later the old one; none: in place
    bool is_expanded = false;           // in place

    [[nodiscard]] auto& entry() const noexcept { return buffer->value; }
    [[nodiscard]] bool is_moved() const noexcept { return piece != nullptr; }
  };

  /// Limits growth to what the limit leaves. What is needed must fit.
  void choose_capacities(const Accounts& accounts) {
    std::uint64_t more = 0;
    for (const Each& each : all_) {
      const auto& entry = each.entry();
      require_below_maximum(each.buffer->name, entry.config, each.needed);
      const std::uint64_t extra = entry.bytes_of(each.needed) - entry.bytes();
      more = checked_add(more, extra).value_or(OutOfMemory::unlimited);
      accounts.require_left(each.buffer->name, more, more);
    }
    std::uint64_t spare = accounts.budget().left() - more;
    for (Each& each : all_) {
      const auto& entry = each.entry();
      const std::uint64_t grown = entry.config.next_capacity(entry.capacity, each.needed);
      const std::uint64_t wanted = grown - each.needed;
      const std::uint64_t granted = smaller(wanted, spare / entry.config.bytes_per_element);
      each.capacity = each.needed + granted;
      spare -= entry.bytes_of(granted);
    }
  }

  /// Gives up growth beyond what is needed. Returns true if there was any.
  [[nodiscard]] bool lower_to_need() noexcept {
    bool had_grown = false;
    for (Each& each : all_) had_grown |= std::exchange(each.capacity, each.needed) != each.needed;
    return had_grown;
  }

  /// Allocates memory for all: in place if possible. Throws: as `prepare`; nothing has changed
  /// then.
  void place(MemoryType& memory, std::uint32_t lane) {
    try {
      for (Each& each : all_) {
        auto& entry = each.entry();
        const std::uint64_t bytes = entry.bytes_of(each.capacity);
        const CallSite site{entry.site};
        if (memory.try_expand(*entry.piece, bytes, lane)) {
          each.is_expanded = true;
        } else {
          each.piece = memory.allocate({bytes, entry.alignment, each.buffer->name}, lane);
        }
      }
    } catch (...) {
      expand_back(memory);
      for (Each& each : all_) {
        if (each.is_moved()) memory.discard(each.piece);
      }
      throw;
    }
  }

  void expand_back(MemoryType& memory) noexcept {
    for (Each& each : all_) {
      const auto& entry = each.entry();
      if (std::exchange(each.is_expanded, false)) memory.undo_expand(*entry.piece, entry.bytes());
    }
  }

  void copy(MemoryType& memory, Stream& stream, bool waits) {
    bool is_any_moved = false;
    for (const Each& each : all_) is_any_moved |= each.is_moved();
    if (!is_any_moved) return;
    memory.transfer(
        stream, waits,
        [&](auto&& visit) {
          for (const Each& each : all_) {
            if (!each.is_moved()) continue;
            visit(*each.entry().piece);
            visit(*each.piece);
          }
        },
        [&](auto& device) {
          for (const Each& each : all_) {
            if (!each.is_moved()) continue;
            const auto& entry = each.entry();
            device.copy_on_device(memory.address(*each.piece), memory.address(*entry.piece),
                                  entry.bytes(), stream);
          }
        });
  }

  std::vector<Each> all_;
};

}  // namespace allot::detail
