// SPDX-License-Identifier: MIT
/// \file
/// `AllocationTrace`: what a program allocated and freed, in order, whichever tool recorded it.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/version.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace allot::report {

/// What a recorded program asked its allocator for, in order.
struct AllocationTrace {
  /// One allocation.
  struct Block {
    std::uint64_t bytes;          ///< at least one
    std::uint64_t alignment = 1;  ///< bytes
    std::uint64_t stream = 0;     ///< that it was made for
    std::uint64_t address = 0;    ///< where it was, or its number: see `knows_addresses`
  };
  /// One call.
  struct Event {
    std::uint32_t block;  ///< index into `blocks`
    bool frees;           ///< otherwise it allocates
  };

  std::string format;               ///< which recorder wrote it
  std::uint64_t alignment = 1;      ///< bytes that its allocator aligned every block to, at least
  std::vector<Block> blocks;        ///< in the order of their allocation
  std::vector<Event> events;        ///< in the order of the calls
  std::uint64_t unknown_frees = 0;  ///< of blocks that were there before the recording began
  std::uint64_t repeated = 0;       ///< allocations that were recorded twice
  std::uint64_t empty = 0;          ///< allocations of no bytes, which take nothing
  std::uint64_t refused = 0;        ///< requests that the recorded allocator refused
  std::uint64_t lost = 0;           ///< events that the recorder had no room for
  std::uint64_t sample = 1;         ///< one block in this many was recorded
  bool is_cut_off = false;          ///< the file ends in the middle of an event
  bool knows_addresses = false;     ///< blocks have addresses, not just numbers
  bool knows_streams = false;       ///< the recorder knows which stream each block is for

  /// What a block without a name has in `name_of`.
  static constexpr std::uint32_t no_name = largest_of<std::uint32_t>;
  std::vector<std::string> names;      ///< of blocks
  std::vector<std::uint32_t> name_of;  ///< index into `names`; empty if no block has a name

  /// Returns a block's name, empty if none is known. Complexity: constant.
  [[nodiscard]] std::string_view name(std::uint32_t block) const noexcept {
    if (block >= name_of.size() || name_of[block] == no_name) return {};
    return names[name_of[block]];
  }

  /// Returns whether all that was live at any time is in it, so that its figures are not too low.
  [[nodiscard]] bool is_complete() const noexcept {
    return unknown_frees == 0 && lost == 0 && sample == 1;
  }
};

namespace detail {

/// Requires: `unit` is a power of two, and a trace's builder has accepted the bytes.
[[nodiscard]] constexpr std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t unit) noexcept {
  return (bytes + unit - 1) & ~(unit - 1);
}

}  // namespace detail

/// What a trace asks for, whatever serves it. Bytes and counts.
struct TraceFacts {
  std::uint64_t allocations = 0;  ///< calls
  std::uint64_t frees = 0;        ///< calls
  std::uint64_t peak_bytes = 0;   ///< live at once
  std::uint64_t peak_blocks = 0;  ///< live at once
  std::uint64_t largest = 0;      ///< bytes of one block
  std::uint64_t live_at_end = 0;  ///< blocks
};

/// \param unit  sizes are rounded up to multiples of it
/// Complexity: linear.
template <class = void>
[[nodiscard]] TraceFacts facts_of(const AllocationTrace& trace, std::uint64_t unit = 1) {
  TraceFacts facts;
  std::uint64_t bytes = 0;
  std::uint64_t blocks = 0;
  for (const AllocationTrace::Event& event : trace.events) {
    const std::uint64_t size = detail::rounded_up(trace.blocks[event.block].bytes, unit);
    if (event.frees) {
      bytes -= size;
      --blocks;
      ++facts.frees;
      continue;
    }
    bytes += size;
    ++blocks;
    ++facts.allocations;
    facts.largest = larger(facts.largest, trace.blocks[event.block].bytes);
    facts.peak_bytes = larger(facts.peak_bytes, bytes);
    facts.peak_blocks = larger(facts.peak_blocks, blocks);
  }
  facts.live_at_end = blocks;
  return facts;
}

/// Makes a trace of calls that name blocks by address, or by any other number.
template <class = void>
class TraceBuilder {
 public:
  /// An address that is live already was given out again without a recorded free; the same size
  /// there once more is taken for the same call, recorded twice.
  /// Throws: `std::length_error` for 2^32 - 1 blocks, for 2^60 bytes in all
  /// and for an alignment beyond 1 GiB; `std::bad_alloc`.
  /// \param name  index into the trace's names
  void allocate(std::uint64_t address, const AllocationTrace::Block& block,
                std::uint32_t name = AllocationTrace::no_name) {
    if (block.bytes == 0) {  // may have the address of another block
      ++trace_.empty;
      ++empty_[address];
      return;
    }
    const auto live = live_.find(address);
    if (live != live_.end()) {
      if (trace_.blocks[live->second].bytes == block.bytes) {
        ++trace_.repeated;
        return;
      }
      free(address);
    }
    if (trace_.blocks.size() >= largest_of<std::uint32_t>)
      throw std::length_error{"a trace has fewer than 2^32 - 1 allocations; replay parts of it"};
    if (block.bytes > most_bytes - bytes_ || block.alignment > most_alignment)
      throw std::length_error{"more than 2^60 bytes are allocated, or an alignment exceeds 1 GiB"};
    bytes_ += block.bytes;
    const auto number = static_cast<std::uint32_t>(trace_.blocks.size());
    trace_.blocks.push_back(block);
    trace_.blocks.back().address = address;
    trace_.events.push_back({number, false});
    if (name != AllocationTrace::no_name || !trace_.name_of.empty()) {
      trace_.name_of.resize(number, AllocationTrace::no_name);
      trace_.name_of.push_back(name);
    }
    live_.emplace(address, number);
  }

  /// Adds the free of what is live at an address; counts one that is unknown.
  void free(std::uint64_t address) {
    const auto live = live_.find(address);
    if (live != live_.end()) {
      trace_.events.push_back({live->second, true});
      live_.erase(live);
    } else if (const auto empty = empty_.find(address); empty != empty_.end()) {
      if (--empty->second == 0) empty_.erase(empty);
    } else {
      ++trace_.unknown_frees;
    }
  }

  /// The block has another size from here on, as a free and an allocation.
  /// Throws: as `allocate`.
  void resize(std::uint64_t address, std::uint64_t bytes) {
    const auto live = live_.find(address);
    if (live == live_.end()) {
      ++trace_.unknown_frees;
      return;
    }
    AllocationTrace::Block block = trace_.blocks[live->second];
    block.bytes = bytes;
    const std::uint32_t name =
        trace_.name_of.empty() ? AllocationTrace::no_name : trace_.name_of[live->second];
    free(address);
    allocate(address, block, name);
  }

  /// The program ended: what is live is gone.
  void free_all() {
    for (const auto& [address, number] : live_) trace_.events.push_back({number, true});
    live_.clear();
    empty_.clear();
  }

  /// For what is known besides: counts of what is not in the blocks.
  [[nodiscard]] AllocationTrace& trace() noexcept { return trace_; }

  /// Returns whether a block is live there. Complexity: constant in the mean.
  [[nodiscard]] bool is_live(std::uint64_t address) const { return live_.contains(address); }

  /// Ends the trace and returns it. \param alignment  of every block, at least
  [[nodiscard]] AllocationTrace take(std::string format, std::uint64_t alignment) {
    trace_.format = std::move(format);
    trace_.alignment = alignment;
    return std::move(trace_);
  }

 private:
  /// Below it, sums of sizes that are rounded up do not wrap.
  static constexpr std::uint64_t most_bytes = std::uint64_t{1} << 60;
  static constexpr std::uint64_t most_alignment = std::uint64_t{1} << 30;

  AllocationTrace trace_;
  std::uint64_t bytes_ = 0;                                 // of all
  std::unordered_map<std::uint64_t, std::uint32_t> live_;   // by address
  std::unordered_map<std::uint64_t, std::uint64_t> empty_;  // how many of no bytes, by address
};

}  // namespace allot::report
