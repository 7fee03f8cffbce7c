// SPDX-License-Identifier: MIT
/// \file
/// Statistics of named buffers.
///
/// | type                | what it is                                            |
/// |---------------------|-------------------------------------------------------|
/// | `BufferStats`       | one buffer                                            |
/// | `NamedBuffersStats` | all of them, as a consistent snapshot                 |
/// | `LeakList`          | what was not freed                                    |
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/deferred.hpp>
#include <allot/core/source_location.hpp>
#include <allot/observer/leak.hpp>
#include <allot/os/chrono.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace allot {

/// One buffer. In bytes, unless it says elements or counts.
struct BufferStats {
  std::string name;                         ///< of the buffer
  std::string_view type;                    ///< of its contents
  std::uint64_t bytes;                      ///< of its capacity
  std::uint64_t bytes_per_element;          ///< of its configuration
  std::uint64_t capacity;                   ///< elements
  std::uint64_t used;                       ///< elements, according to `write` and `set_used`
  std::uint64_t resizes;                    ///< that changed its capacity
  std::uint64_t transfers;                  ///< copies into it, out of it, and when it moved
  std::chrono::nanoseconds age;             ///< since `add`
  std::chrono::nanoseconds since_last_use;  ///< since it was last named

  /// Returns the used share of the capacity, between 0 and 1.
  [[nodiscard]] double utilization() const noexcept {
    return capacity == 0 ? 0 : static_cast<double>(used) / static_cast<double>(capacity);
  }
};

/// A buffer and where it lies, for `NamedBuffers::for_each`. In bytes.
struct PlacedBuffer {
  std::string_view name;  ///< of the buffer; valid during the call
  std::string_view type;  ///< of its contents
  std::uint64_t offset;   ///< from the start of the arena
  std::uint64_t size;     ///< of its block
  std::uint64_t bytes;    ///< of its capacity
};

/// In bytes and counts. `total_bytes <= peak_bytes <= limit_bytes`, always.
struct NamedBuffersStats {
  std::uint64_t total_bytes;        ///< of all capacities, and external ones
  std::uint64_t external_bytes;     ///< of `track_external`
  std::uint64_t peak_bytes;         ///< the most that `total_bytes` ever was
  std::uint64_t limit_bytes;        ///< the most that it may be
  std::uint64_t held_bytes;         ///< of all blocks in the arena: also those that only handles or
                                    ///< copies still hold
  std::uint64_t waiting_bytes;      ///< of blocks that only copies still hold
  std::uint64_t allocations;        ///< of buffers by `add`
  std::uint64_t frees;              ///< of buffers
  std::uint64_t resizes;            ///< that changed a capacity
  std::uint64_t resizes_in_place;   ///< of these, without a copy
  std::uint64_t transfers;          ///< copies into, out of and between buffers
  std::uint64_t transferred_bytes;  ///< by these copies
  std::vector<BufferStats> buffers;  ///< in no order
  Usage arena;                       ///< of the arena

  /// Returns the buffer with that name, or null. Complexity: linear in the buffers.
  template <class Owner = void>
  [[nodiscard]] const BufferStats* find(std::string_view name) const noexcept {
    for (const auto& buffer : deferred<Owner>(buffers)) {
      if (buffer.name == name) return &buffer;
    }
    return nullptr;
  }
};

/// What was not freed; owns copies of the names. Movable, not copyable.
class LeakList {
 public:
  LeakList() = default;
  /// \param most        the most leaks
  /// \param name_bytes  the most bytes of all their names
  /// \param fill        `fill(add)` calls `add(name, bytes, age, site)` for each
  template <class Fill>
  LeakList(std::size_t most, std::size_t name_bytes, Fill&& fill) {
    deferred<Fill>(leaks_).reserve(most);
    // Longer than a string stores in place: so the names stay at their address when the list
    // moves.
    names_.reserve(name_bytes + sizeof names_);
    fill([this](std::string_view name, std::uint64_t bytes, std::chrono::nanoseconds age,
                const SourceLocation& site) {
      auto& leak = deferred<Fill>(leaks_)
                       .emplace_back();  // written in place: copying costs more than all else
      leak.name = {names_.data() + names_.size(), name.size()};
      leak.bytes = bytes;
      leak.age = age;
      leak.site.emplace(site);
      names_.append(name);
    });
  }
  LeakList(LeakList&&) = default;
  LeakList& operator=(LeakList&&) = default;
  LeakList(const LeakList&) = delete;
  LeakList& operator=(const LeakList&) = delete;
  ~LeakList() = default;

  [[nodiscard]] std::size_t size() const noexcept { return leaks_.size(); }
  [[nodiscard]] bool empty() const noexcept { return leaks_.empty(); }
  /// Returns all of them.
  template <class Owner = void>
  [[nodiscard]] Deferred<std::span<const Leak>, Owner> leaks() const noexcept {
    return {leaks_.data(), leaks_.size()};
  }
  template <class Owner = void>
  [[nodiscard]] auto begin() const noexcept {
    return deferred<Owner>(leaks_).begin();
  }
  template <class Owner = void>
  [[nodiscard]] auto end() const noexcept {
    return deferred<Owner>(leaks_).end();
  }

  /// Returns the sum of their sizes, in bytes. Complexity: linear.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& leak : deferred<Owner>(leaks_)) sum += leak.bytes;
    return sum;
  }

 private:
  std::string names_;  // all of them: a list of a thousand takes two allocations
  std::vector<Leak> leaks_;
};

}  // namespace allot
