// SPDX-License-Identifier: MIT
/// \file
/// `simulate`: what a trace would take of allocators whose rule is simple and public. A model of
/// their rules, not their code.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/core/version.hpp>
#include <allot/report/allocation_trace.hpp>

#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace allot::report {

/// The allocators that are simulated.
enum class CachingRule {
  /// PyTorch's CUDACachingAllocator: sizes of whole 512 bytes; requests of up to 1 MiB from segments
  /// of 2 MiB, below 10 MiB from segments of 20 MiB, others each from one segment in whole
  /// 2 MiB; the tightest free block of the same stream and kind, split if 512 bytes (of small ones)
  /// or more than 1 MiB (of others) are left, merged with free neighbours.
  segments,
  powers_of_two,  ///< each size rounded up to a power of two, cached by size
  each_its_own,   ///< an allocation of the driver each, in whole 2 MiB, nothing cached
};

[[nodiscard]] constexpr const char* to_text(CachingRule rule) noexcept {
  switch (rule) {
    case CachingRule::segments:
      return "PyTorch's caching allocator (simulated)";
    case CachingRule::powers_of_two:
      return "powers of two, cached (simulated)";
    case CachingRule::each_its_own:
      return "one driver allocation each (simulated)";
  }
  return "unknown";
}

/// What came of it.
struct Simulated {
  std::uint64_t reserved = 0;  ///< the most bytes held of the driver
  bool fits = true;            ///< within the limit, cached segments released if that was needed
};

namespace detail {

/// Segments that are split and merged. A free block is kept by what it may serve and its size.
template <class = void>
class CachingSimulation {
 public:
  CachingSimulation(CachingRule rule, std::uint64_t limit) : rule_{rule}, limit_{limit} {}

  /// Returns an address, or nothing beyond the limit.
  [[nodiscard]] std::optional<std::uint64_t> allocate(const AllocationTrace::Block& request) {
    const std::uint64_t bytes = rounded(request.bytes);
    const Pool pool{request.stream, rule_ == CachingRule::segments && bytes <= 1 * MiB};
    auto found = free_.lower_bound({pool, bytes, 0});
    if (found == free_.end() || found->pool != pool || !may_serve(found->bytes, bytes)) {
      if (!take_segment(pool, segment_bytes(bytes))) return std::nullopt;
      found = free_.lower_bound({pool, bytes, 0});
    }
    const Free chosen = *found;
    free_.erase(found);
    Part& part = parts_.at(chosen.address);
    part.is_free = false;
    const std::uint64_t rest = part.bytes - bytes;
    if (splits(pool, rest)) {
      part.bytes = bytes;
      parts_[chosen.address + bytes] = {rest, part.segment, pool, true};
      free_.insert({pool, rest, chosen.address + bytes});
    }
    return chosen.address;
  }

  void free(std::uint64_t address) {
    auto part = parts_.find(address);
    if (rule_ == CachingRule::each_its_own) {
      reserved_ -= part->second.bytes;
      parts_.erase(part);
      return;
    }
    part->second.is_free = true;
    const auto next = std::next(part);
    if (next != parts_.end() && next->second.is_free &&
        next->second.segment == part->second.segment) {
      free_.erase({next->second.pool, next->second.bytes, next->first});
      part->second.bytes += next->second.bytes;
      parts_.erase(next);
    }
    if (part != parts_.begin()) {
      const auto before = std::prev(part);
      if (before->second.is_free && before->second.segment == part->second.segment) {
        free_.erase({before->second.pool, before->second.bytes, before->first});
        before->second.bytes += part->second.bytes;
        parts_.erase(part);
        part = before;
      }
    }
    free_.insert({part->second.pool, part->second.bytes, part->first});
  }

  [[nodiscard]] std::uint64_t peak() const noexcept { return peak_; }

 private:
  using Pool = std::pair<std::uint64_t, bool>;  // a stream; whether of small blocks
  struct Part {
    std::uint64_t bytes;
    std::uint64_t segment;  // its address
    Pool pool;
    bool is_free;
  };
  struct Free {
    Pool pool;
    std::uint64_t bytes;
    std::uint64_t address;
    bool operator<(const Free& other) const {
      return std::tie(pool, bytes, address) < std::tie(other.pool, other.bytes, other.address);
    }
  };

  [[nodiscard]] std::uint64_t rounded(std::uint64_t bytes) const {
    switch (rule_) {
      case CachingRule::segments:
        return rounded_up(bytes, 512);
      case CachingRule::powers_of_two: {
        std::uint64_t power = 512;
        while (power < bytes) power *= 2;
        return power;
      }
      case CachingRule::each_its_own:
        return rounded_up(bytes, 2 * MiB);
    }
    return bytes;
  }

  [[nodiscard]] std::uint64_t segment_bytes(std::uint64_t bytes) const {
    if (rule_ != CachingRule::segments) return bytes;
    if (bytes <= 1 * MiB) return 2 * MiB;
    return bytes < 10 * MiB ? 20 * MiB : rounded_up(bytes, 2 * MiB);
  }

  [[nodiscard]] bool may_serve(std::uint64_t has, std::uint64_t bytes) const {
    return rule_ == CachingRule::segments ? has >= bytes : has == bytes;
  }

  [[nodiscard]] bool splits(const Pool& pool, std::uint64_t rest) const {
    if (rule_ != CachingRule::segments) return false;
    return pool.second ? rest >= 512 : rest > 1 * MiB;
  }

  bool take_segment(const Pool& pool, std::uint64_t bytes) {
    if (bytes > limit_ || reserved_ > limit_ - bytes) release_cached();
    if (bytes > limit_ || reserved_ > limit_ - bytes) return false;
    reserved_ += bytes;
    peak_ = larger(peak_, reserved_);
    const std::uint64_t address = next_address_;
    next_address_ += bytes;
    parts_[address] = {bytes, address, pool, true};
    free_.insert({pool, bytes, address});
    return true;
  }

  /// Gives back every segment that is free as a whole.
  void release_cached() {
    for (auto part = parts_.begin(); part != parts_.end();) {
      const auto next = std::next(part);
      const bool is_whole = part->first == part->second.segment && part->second.is_free &&
                            (next == parts_.end() || next->second.segment != part->first);
      if (is_whole) {
        free_.erase({part->second.pool, part->second.bytes, part->first});
        reserved_ -= part->second.bytes;
        parts_.erase(part);
      }
      part = next;
    }
  }

  CachingRule rule_;
  std::uint64_t limit_;
  std::map<std::uint64_t, Part> parts_;  // by address
  std::set<Free> free_;
  std::uint64_t reserved_ = 0;
  std::uint64_t peak_ = 0;
  std::uint64_t next_address_ = 0;
};

}  // namespace detail

/// \param limit  bytes that the driver has
/// Complexity: O(n log n). Throws: `std::bad_alloc`.
template <class = void>
[[nodiscard]] Simulated simulate(const AllocationTrace& trace, CachingRule rule,
                                 std::uint64_t limit = largest_of<std::uint64_t>) {
  detail::CachingSimulation<> simulation{rule, limit};
  std::vector<std::uint64_t> address(trace.blocks.size());
  for (const AllocationTrace::Event& event : trace.events) {
    if (event.frees) {
      simulation.free(address[event.block]);
    } else if (const auto given = simulation.allocate(trace.blocks[event.block])) {
      address[event.block] = *given;
    } else {
      return {simulation.peak(), false};
    }
  }
  return {simulation.peak(), true};
}

}  // namespace allot::report
