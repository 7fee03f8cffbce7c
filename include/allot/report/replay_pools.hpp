// SPDX-License-Identifier: MIT
/// \file
/// `replay_pools`: a trace whose streams are known over `BufferPool`, with each policy of size
/// classes. The pools are real ones, over a device that has addresses but no memory.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/memory_info.hpp>
#include <allot/core/version.hpp>
#include <allot/device/device.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/os/chrono.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/report/allocation_trace.hpp>
#include <allot/report/replay.hpp>
#include <allot/strategy/best_fit.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace allot::report {

namespace detail {

/// Addresses that nothing is behind.
class AddressesOnly {
 public:
  static constexpr bool host_accessible = false;
  static constexpr bool device_accessible = true;

  struct Region {
    [[nodiscard]] static std::uint64_t alignment() noexcept { return base; }
    [[nodiscard]] static void* address() noexcept { return reinterpret_cast<void*>(base); }
  };

  [[nodiscard]] static Region acquire(std::uint64_t, std::uint64_t) noexcept { return {}; }

 private:
  static constexpr std::uintptr_t base = std::uintptr_t{1} << (sizeof(std::uintptr_t) * 8 - 4);
};

/// A device that is far behind the host: no work of a stream is ever found to be done, but a stream,
/// or the host, can wait for it.
class DeviceFarBehind {
 public:
  using memory_type = AddressesOnly;
  using staging_memory_type = HostMemory;
  struct stream_type {
    std::uint64_t number = 0;
  };
  struct event_type {};

  [[nodiscard]] memory_type memory() const noexcept { return {}; }
  [[nodiscard]] staging_memory_type staging_memory() const noexcept { return {}; }
  [[nodiscard]] stream_type make_stream() const noexcept { return {}; }
  [[nodiscard]] event_type make_event() const noexcept { return {}; }
  void copy_to_device(void*, const void*, std::uint64_t, stream_type&) const noexcept {}
  void copy_to_host(void*, const void*, std::uint64_t, stream_type&) const noexcept {}
  void copy_on_device(void*, const void*, std::uint64_t, stream_type&) const noexcept {}
  void record(event_type&, stream_type&) const noexcept {}
  void wait(stream_type&, event_type&) const noexcept {}
  void synchronize(stream_type&) const noexcept {}
  void synchronize(event_type&) const noexcept {}
  [[nodiscard]] bool is_done(const event_type&) const noexcept { return false; }
  [[nodiscard]] MemoryInfo memory_info() const noexcept { return {}; }
  [[nodiscard]] bool host_addressable() const noexcept { return false; }
  [[nodiscard]] std::string name() const { return "replay"; }
};

static_assert(Device<DeviceFarBehind>);

/// A pool in units of a number of bytes that is known at run time.
template <SizeClasses Classes>
class PoolReplay {
 public:
  PoolReplay(const AllocationTrace& trace, std::uint64_t unit)
      : trace_{trace}, unit_{unit}, stream_of_(trace.blocks.size()), buffers_(trace.blocks.size()) {
    std::unordered_map<std::uint64_t, std::uint32_t> numbers;
    for (std::size_t i = 0; i < trace.blocks.size(); ++i) {
      const auto next = static_cast<std::uint32_t>(numbers.size());
      stream_of_[i] = numbers.try_emplace(trace.blocks[i].stream, next).first->second;
    }
    streams_.resize(numbers.size());
  }

  [[nodiscard]] std::size_t streams() const noexcept { return streams_.size(); }

  struct Outcome {
    std::uint64_t refusals = 0;
    std::uint64_t waits = 0;
    double nanoseconds = 0;  // an event
  };

  /// \param stops  at the first refusal
  [[nodiscard]] Outcome run(std::uint64_t units, bool stops) {
    Pool pool{DeviceFarBehind{}, units, {.reclaimable = false}};
    Outcome outcome;
    const auto start = std::chrono::steady_clock::now();
    for (const AllocationTrace::Event& event : trace_.events) {
      auto& buffer = buffers_[event.block];
      if (event.frees) {
        buffer.reset();
        continue;
      }
      const std::uint64_t bytes = trace_.blocks[event.block].bytes;
      try {
        buffer.emplace(
            pool.acquire(bytes / unit_ + (bytes % unit_ != 0), streams_[stream_of_[event.block]]));
      } catch (const OutOfMemory&) {
        ++outcome.refusals;
        if (stops) break;
      }
    }
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
    outcome.nanoseconds = taken.count() / static_cast<double>(trace_.events.size());
    for (auto& buffer : buffers_) buffer.reset();
    outcome.waits = pool.stats().waits;
    return outcome;
  }

 private:
  using Pool = BufferPool<DeviceFarBehind, Classes, BestFit, AlignTo<1>>;

  const AllocationTrace& trace_;
  std::uint64_t unit_;
  std::vector<std::uint32_t> stream_of_;  // of each block: index into `streams_`
  std::vector<DeviceFarBehind::stream_type> streams_;
  std::vector<std::optional<typename Pool::buffer_type>> buffers_;
};

template <SizeClasses Classes>
void add_pool_row(std::vector<ReplayRow>& rows, const AllocationTrace& trace, std::uint64_t unit,
                  const char* classes, const ReplayOptions& options) {
  constexpr std::size_t most_streams = 256;  // a pool looks at each
  PoolReplay<Classes> replay{trace, unit};
  if (replay.streams() > most_streams) return;
  const TraceFacts facts = facts_of(trace, unit);
  const std::uint64_t least = larger<std::uint64_t>(facts.peak_bytes / unit, 1);
  const auto units = smallest_that_fits(
      least, largest_capacity_of<BestFit>,
      [&](std::uint64_t each) { return replay.run(each, true).refusals == 0; },
      options.exact_below / unit);
  if (!units) return;
  ReplayRow row;
  row.name = std::string{"BufferPool, "} + classes;
  row.type = std::string{"allot::BufferPool<allot::HipDevice, allot::"} + classes +
             ", allot::BestFit, allot::AlignTo<" + std::to_string(unit) + ">>";
  row.is_pool = true;
  row.unit = unit;
  row.capacity = *units * unit;
  const auto outcome = replay.run(*units, false);
  row.waits = outcome.waits;
  if (options.measures_time) row.nanoseconds = outcome.nanoseconds;
  row.refusals =
      refusals_at_capacity(options, facts, unit, largest_capacity_of<BestFit>,
                           [&](std::uint64_t each) { return replay.run(each, false).refusals; });
  rows.push_back(std::move(row));
}

}  // namespace detail

/// A row for each policy of size classes, in the order in which equal ones are preferred. None if
/// the trace has no streams or more than 256, or a block is aligned to more than the unit.
///
/// The pool is `BufferPool` with its default options. A buffer is reused at once on its own stream;
/// another stream waits for it, once no memory is free. How long work takes is not in a trace, so no
/// event is found to be done by a query.
///
/// Complexity: some 30 replays for each. Memory: 300 bytes a block. Throws: `std::bad_alloc`.
template <class = void>
[[nodiscard]] std::vector<ReplayRow> replay_pools(const AllocationTrace& trace,
                                                  const ReplayOptions& options = {}) {
  std::vector<ReplayRow> rows;
  const std::uint64_t unit = options.unit != 0 ? options.unit : trace.alignment;
  if (!trace.knows_streams || trace.blocks.empty()) return rows;
  for (const AllocationTrace::Block& block : trace.blocks) {
    if (block.alignment > unit) return rows;
  }
  detail::add_pool_row<ExactSizes>(rows, trace, unit, "ExactSizes", options);
  detail::add_pool_row<FourSteps>(rows, trace, unit, "FourSteps", options);
  detail::add_pool_row<PowersOfTwo>(rows, trace, unit, "PowersOfTwo", options);
  return rows;
}

}  // namespace allot::report
