// SPDX-License-Identifier: MIT
/// \file
/// The parts of a plan: plain values, in bytes.
///
/// | type            | what it is                                                         |
/// |-----------------|--------------------------------------------------------------------|
/// | `PlannedDevice` | what a plan needs to know about a device                           |
/// | `PlannedArena`  | one reservation on a device                                        |
/// | `ItemLayout`    | a tensor, a part of the KV cache or scratch memory: its layout     |
/// | `Item`          | the same, with its place                                           |
/// | `Step`          | a range of the file that goes to a range of an arena               |
/// | `Fusion`        | which tensors were joined into one, and which could not be         |
/// | `Plan`          | all of them                                                        |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/memory_info.hpp>
#include <allot/gguf/tensor.hpp>
#include <allot/load/plan/planned_cache.hpp>
#include <allot/load/plan/share_options.hpp>
#include <allot/load/plan/tensor_cut.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace allot::load {

/// How bytes get into an arena.
enum class Transfer {
  direct,  ///< the host addresses the memory: the file is read into place
  staged,  ///< through pinned slots and copies on streams
};

[[nodiscard]] constexpr const char* to_text(Transfer transfer) noexcept {
  return transfer == Transfer::direct ? "straight" : "staged";
}

/// What a plan needs to know about a device.
struct PlannedDevice {
  std::string name = "host";                             ///< as the device's `name()`
  std::uint64_t free_bytes = largest_of<std::uint64_t>;  ///< what the plan may take
  Transfer transfer = Transfer::direct;                  ///< how bytes get there
  std::vector<MemorySource> sources{};  ///< what `free_bytes` is the least of, if that is known
  /// The most that a plan may take when it divides a model; empty: all that is free.
  std::optional<std::uint64_t> usable_bytes{};

  /// Returns what there is to divide.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t room() const noexcept {
    return smaller(deferred<Owner>(usable_bytes).value_or(free_bytes), free_bytes);
  }
};

/// One reservation on a device. All in bytes.
struct PlannedArena {
  std::string device;                    ///< the name of the device
  std::uint64_t capacity;                ///< to reserve
  std::uint64_t alignment;               ///< of the arena
  std::uint64_t used;                    ///< by the items, padding included
  std::uint64_t padding;                 ///< used beyond what the items need
  Transfer transfer = Transfer::direct;  ///< how bytes get there
  std::string rule{};                    ///< the grouping's: why these items are here
};

/// The purpose of an item.
enum class Purpose {
  weight,   ///< a tensor of the file
  cache,    ///< keys or values of one layer
  scratch,  ///< working memory
  fused,    ///< several tensors of the file, as one
  copy,     ///< a tensor of the file again, on another device
};

/// Bytes from one block of elements, row, matrix and so on to the next (ggml's `nb`).
using Strides = std::array<std::uint64_t, 4>;

/// An item that lies within another.
struct PartOf {
  std::uint32_t item;    ///< index into `Plan::items`
  std::uint64_t offset;  ///< bytes from its start
};

/// What an item is, and how it lies in memory; not yet where.
struct ItemLayout {
  std::string name;       ///< of the tensor, or what it is
  gguf::TensorType type;  ///< in memory
  gguf::Shape shape;      ///< likewise
  std::uint64_t bytes;    ///< from its first to its last, including padding; 0: not placed
  Purpose purpose = Purpose::weight;  ///< what it is for
  Strides strides{};                  ///< bytes from one element to the next, for each dimension
  std::uint64_t row_bytes = 0;        ///< of a row and the zeros after it
  bool transposed = false;            ///< relative to the file
  std::optional<PartOf> part_of{};    ///< the item that it is a view of
  bool left_out = false;              ///< by the options, or another share's: it has no bytes
  std::uint32_t file = 0;  ///< 0: the model's; others in the order in which they were added
  std::optional<std::uint32_t> copy_of{};  ///< index of the item that this is the same tensor as
  std::optional<TensorCut> cut{};          ///< the part of the tensor that this is; empty: all

  /// Returns true if memory is reserved for it; a part lies in another item's memory.
  [[nodiscard]] bool has_own_memory() const noexcept { return bytes != 0 && !part_of; }
};

/// An item and its place.
struct Item : ItemLayout {
  std::uint32_t arena;   ///< index into `Plan::arenas`
  std::uint64_t offset;  ///< bytes from the start of the arena
};

/// How a step transforms bytes on their way: a result of planning. `TransformOptions` are what the
/// caller asks for.
enum class Transform {
  none,
  convert,    ///< to another type, byte order or length of rows
  transpose,  ///< rows become columns, after conversion
  zero,       ///< nothing is read; the arena's bytes become 0
};

[[nodiscard]] constexpr const char* to_text(Transform transform) noexcept {
  constexpr const char* names[] = {"none", "convert", "transpose", "zero"};
  return names[static_cast<std::size_t>(transform)];
}

/// A range of a shard that goes to a range of an arena.
struct Step {
  std::uint32_t shard;         ///< index into the file's shards
  std::uint64_t file_offset;   ///< bytes from the start of the shard
  std::uint64_t bytes;         ///< of the file
  std::uint32_t arena;         ///< index into `Plan::arenas`
  std::uint64_t arena_offset;  ///< bytes from the start of the arena
  std::uint64_t arena_bytes;   ///< as `bytes`, unless they are transformed
  Transform transform;         ///< what happens to the bytes on their way
  std::uint32_t item;          ///< the transformed one; the first, if several share the step
};

/// The outcome for tensors of a layer that could be joined into one.
struct Fusion {
  std::string layer{};                  ///< such as `blk.3`; empty if the names have none
  std::string name{};                   ///< of the fused tensor; empty: nothing was fused
  std::vector<std::string> parts{};     ///< in order
  std::vector<std::string> left_out{};  ///< tensors that stay apart
  std::string reason{};                 ///< why they stay apart
};

/// A tensor, or a part of one, that other shares of the model have too.
struct RepeatedItem {
  std::uint32_t item;  ///< index into `Plan::items`
  std::string reason;  ///< why it is not divided
};

/// What a rule of the grouping took.
struct RuleCount {
  std::string rule;      ///< its name
  std::uint64_t items;   ///< that it took
  std::uint64_t bytes;   ///< of these items
  std::uint64_t arenas;  ///< device allocations that result
};

/// A model's memory. Items are the file's tensors in file order, then fused ones, then copies, then
/// the cache, then scratch.
struct Plan {
  std::vector<PlannedArena> arenas;     ///< one device allocation each
  std::vector<Item> items;              ///< all of them, those left in the file included
  std::vector<Step> steps;              ///< what is read, and where it goes
  std::vector<Fusion> fusions{};        ///< layer by layer, if fusing was asked for
  std::vector<std::string> notes{};     ///< what was assumed if the file does not say, in sentences
  std::optional<PlannedCache> cache{};  ///< by groups of like layers, if a cache was asked for
  std::optional<PlannedCache> draft{};  ///< the draft model's, likewise
  std::optional<ShareNumber> share{};   ///< which share of the model it is, if it is one
  std::vector<RepeatedItem> repeated{};  ///< what other shares have too, in the order of the items

  /// Returns the bytes that all arenas together reserve. Complexity: linear in the arenas.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t total_bytes() const noexcept {
    std::uint64_t total = 0;
    for (const auto& arena : deferred<Owner>(arenas)) total += arena.capacity;
    return total;
  }
  /// Returns the bytes that are reserved on one device. Complexity: linear in the arenas.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t bytes_on(const std::string& device) const noexcept {
    std::uint64_t total = 0;
    for (const auto& arena : deferred<Owner>(arenas))
      total += arena.device == device ? arena.capacity : 0;
    return total;
  }
  /// Returns the bytes that all items of a purpose have, without those that are part of others.
  /// Complexity: linear in the items.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t bytes_for(Purpose purpose) const noexcept {
    std::uint64_t total = 0;
    for (const auto& item : deferred<Owner>(items))
      total += item.purpose == purpose && item.has_own_memory() ? item.bytes : 0;
    return total;
  }
  /// Returns the bytes of all tensors in memory, each counted once.
  /// Complexity: linear in the items.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t tensor_bytes() const noexcept {
    return bytes_for<Owner>(Purpose::weight) + bytes_for<Owner>(Purpose::fused);
  }
  /// Returns the number of the tensor in the file that an item is made from.
  /// Requires: the item is a weight or a copy.
  template <class Owner = void>
  [[nodiscard]] std::uint32_t source_of(std::uint32_t item) const noexcept {
    return deferred<Owner>(items)[item].copy_of.value_or(item);
  }
  /// Returns the number of the file's tensors that the plan loads. Complexity: linear in the items.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t tensor_count() const noexcept {
    return count_of<Owner>(Purpose::weight) - left_out_count<Owner>();
  }
  /// Returns the number of the file's tensors that it does not load.
  /// Complexity: linear in the items.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t left_out_count() const noexcept {
    std::uint64_t count = 0;
    for (const auto& item : deferred<Owner>(items)) count += item.left_out ? 1 : 0;
    return count;
  }
  /// Returns the number of items for a purpose. Complexity: linear.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t count_of(Purpose purpose) const noexcept {
    std::uint64_t count = 0;
    for (const auto& item : deferred<Owner>(items)) count += item.purpose == purpose ? 1 : 0;
    return count;
  }
  /// Returns what each rule of the grouping took, in the order of their first arena. A template: what
  /// it uses of the standard library is compiled only if it is called.
  /// Complexity: linear in the items, and in arenas times rules.
  template <class Owner = void>
  [[nodiscard]] DeferredVector<RuleCount, Owner> rules() const {
    DeferredVector<RuleCount, Owner> counts;
    DeferredVector<std::size_t, Owner> of_arena;
    for (const auto& arena : deferred<Owner>(arenas)) {
      std::size_t at = 0;
      while (at < counts.size() && counts[at].rule != arena.rule) ++at;
      if (at == counts.size()) counts.push_back({arena.rule, 0, 0, 0});
      ++counts[at].arenas;
      of_arena.push_back(at);
    }
    for (const auto& item : deferred<Owner>(items)) {
      if (!item.has_own_memory()) continue;
      auto& count = counts[of_arena[item.arena]];
      ++count.items;
      count.bytes += item.bytes;
    }
    return counts;
  }
};

}  // namespace allot::load
