// SPDX-License-Identifier: MIT
/// \file
/// `replay_all`: a trace over every strategy. What each needs, and what it costs. `replay_coarser`:
/// the same in coarser units.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/core/version.hpp>
#include <allot/os/chrono.hpp>
#include <allot/report/allocation_trace.hpp>
#include <allot/report/caching_allocator.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/strategy/strategy.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace allot::report {

/// What came of one strategy, or of another's allocator that is simulated. Bytes.
struct ReplayRow {
  std::string name;        ///< `BestFit`, `BufferPool, FourSteps`, or what is simulated
  std::string type;        ///< the arena or pool as C++; empty if simulated
  std::uint64_t unit = 1;  ///< bytes: its granularity
  /// The smallest found without a refusal: of all larger ones that were tried, none refuses.
  std::uint64_t capacity = 0;
  /// Refused at the capacity that was asked about; 0 if none was.
  std::uint64_t refusals = 0;
  double nanoseconds = 0;          ///< an operation, at `capacity`
  double mean_fragmentation = 0;   ///< over 1,000 moments at `capacity`: 1 - largest free / free
  double worst_fragmentation = 0;  ///< of these moments
  std::uint64_t reserved = 0;      ///< simulated: the peak without a limit
  std::uint64_t waits = 0;         ///< pools: buffers for which a stream waited for another
  bool is_simulated = false;       ///< not of this library
  bool is_pool = false;            ///< a `BufferPool`, not an arena
  bool is_coarser = false;         ///< its unit is coarser than the trace's
};

/// What to measure.
struct ReplayOptions {
  std::uint64_t capacity = 0;  ///< bytes to count refusals at; 0: none
  std::uint64_t unit = 0;      ///< granularity; 0: as the trace's allocator had it
  bool measures_time = true;   ///< otherwise only capacities are found
  /// Capacities above it are found within 1/256; bytes. Others within a unit.
  std::uint64_t exact_below = largest_of<std::uint64_t>;
};

namespace detail {

/// Of each event, in the fastest of three runs.
template <class Run>
[[nodiscard]] double least_nanoseconds(std::size_t events, Run run) {
  using Clock = std::chrono::steady_clock;
  double least = 0;
  for (int round = 0; round < 3; ++round) {
    const auto start = Clock::now();
    run();
    const std::chrono::duration<double, std::nano> taken = Clock::now() - start;
    if (round == 0 || taken.count() < least) least = taken.count();
  }
  return events == 0 ? 0 : least / static_cast<double>(events);
}

/// One strategy, in units of a number of bytes that is known at run time.
template <Strategy StrategyType>
class StrategyReplay {
 public:
  StrategyReplay(const AllocationTrace& trace, std::uint64_t unit)
      : trace_{trace}, placed_(trace.blocks.size()) {
    sizes_.reserve(trace.blocks.size());
    for (const AllocationTrace::Block& block : trace.blocks) {
      sizes_.push_back({block.bytes / unit + (block.bytes % unit != 0),
                        larger<std::uint64_t>(block.alignment / unit, 1)});
    }
  }

  /// Every block has one unit.
  explicit StrategyReplay(const AllocationTrace& trace)
      : trace_{trace}, sizes_(trace.blocks.size(), Size{1, 1}), placed_(trace.blocks.size()) {}

  struct Outcome {
    std::uint64_t refusals = 0;
    double mean_fragmentation = 0;
    double worst_fragmentation = 0;
  };

  /// Nothing once a request is refused.
  [[nodiscard]] bool fits(std::uint64_t units) {
    return run(
               units, [](auto&) {}, true) == 0;
  }
  [[nodiscard]] std::uint64_t refusals(std::uint64_t units) {
    return run(
        units, [](auto&) {}, false);
  }

  [[nodiscard]] Outcome observe(std::uint64_t units) {
    constexpr std::size_t moments = 1000;
    const std::size_t every = trace_.events.size() / moments + 1;
    std::size_t event = 0;
    std::size_t count = 0;
    Outcome outcome;
    outcome.refusals = run(
        units,
        [&](StrategyType& strategy) {
          if (event++ % every != 0) return;
          const std::uint64_t free = strategy.capacity() - strategy.used();
          if (free == 0) return;
          const double fragmentation =
              1 - static_cast<double>(strategy.largest_free()) / static_cast<double>(free);
          outcome.mean_fragmentation += fragmentation;
          if (fragmentation > outcome.worst_fragmentation)
            outcome.worst_fragmentation = fragmentation;
          ++count;
        },
        false);
    if (count != 0) outcome.mean_fragmentation /= static_cast<double>(count);
    return outcome;
  }

  [[nodiscard]] double nanoseconds(std::uint64_t units) {
    return least_nanoseconds(trace_.events.size(), [&] { static_cast<void>(refusals(units)); });
  }

 private:
  struct Size {
    std::uint64_t units;
    std::uint64_t alignment;
  };
  struct Placed {
    Handle handle;
    std::uint64_t offset;
    bool is_live;
  };

  template <class Visit>
  std::uint64_t run(std::uint64_t units, Visit visit, bool stops) {
    StrategyType strategy{units};
    std::uint64_t refusals = 0;
    for (Placed& each : placed_) each.is_live = false;
    for (const AllocationTrace::Event& event : trace_.events) {
      Placed& placed = placed_[event.block];
      if (event.frees) {
        if (placed.is_live) strategy.deallocate(placed.handle, placed.offset);
        placed.is_live = false;
      } else if (const auto place =
                     strategy.allocate(sizes_[event.block].units, sizes_[event.block].alignment)) {
        placed = {place->handle, place->offset, true};
      } else {
        ++refusals;
        if (stops) return refusals;
      }
      visit(strategy);
    }
    return refusals;
  }

  const AllocationTrace& trace_;
  std::vector<Size> sizes_;
  std::vector<Placed> placed_;
};

/// The smallest number of units found that `fits`: doubled steps above `least`, then halved.
/// \param least        below it nothing can fit
/// \param exact_below  above it the result may be too large by 1/256
template <class Fits>
[[nodiscard]] std::optional<std::uint64_t> smallest_that_fits(
    std::uint64_t least, std::uint64_t most, Fits fits,
    std::uint64_t exact_below = largest_of<std::uint64_t>) {
  if (least > most) return std::nullopt;
  if (fits(least)) return least;
  std::uint64_t low = least;  // refuses
  std::uint64_t step = least / 256 + 1;
  std::uint64_t high = low;
  do {
    if (high >= most) return std::nullopt;
    low = high;
    high = step > most - high ? most : high + step;
    step = step > most / 2 ? most : 2 * step;
  } while (!fits(high));
  while (high - low > 1 && (low < exact_below || high - low > low / 256)) {
    const std::uint64_t middle = low + (high - low) / 2;
    (fits(middle) ? high : low) = middle;
  }
  return high;
}

/// Returns how many requests are refused at the capacity that was asked for; 0 if none was.
/// \param most   longer ranges refuse no less, or cannot be made
/// \param count  counts them in a range of that many units
template <class Count>
[[nodiscard]] std::uint64_t refusals_at_capacity(const ReplayOptions& options,
                                                 const TraceFacts& facts, std::uint64_t unit,
                                                 std::uint64_t most, Count count) {
  if (options.capacity == 0) return 0;
  if (options.capacity < unit) return facts.allocations;
  return count(smaller(options.capacity / unit, most));
}

template <Strategy StrategyType>
void add_row(std::vector<ReplayRow>& rows, const AllocationTrace& trace, std::uint64_t unit,
             const char* name, const ReplayOptions& options) {
  constexpr std::uint64_t most =
      smaller<std::uint64_t>(largest_capacity_of<StrategyType>, largest_of<std::uint64_t> / 4);
  StrategyReplay<StrategyType> replay{trace, unit};
  const TraceFacts facts = facts_of(trace, unit);
  const std::uint64_t least = larger<std::uint64_t>(facts.peak_bytes / unit, 1);
  const auto units = smallest_that_fits(
      least, most, [&](std::uint64_t each) { return replay.fits(each); },
      options.exact_below / unit);
  if (!units) return;  // the range is longer than the strategy's keys
  ReplayRow row;
  row.name = name;
  row.unit = unit;
  row.type = "allot::Arena<allot::" + row.name + ", allot::AlignTo<" + std::to_string(unit) + ">>";
  row.capacity = *units * unit;
  const auto outcome = replay.observe(*units);
  row.mean_fragmentation = outcome.mean_fragmentation;
  row.worst_fragmentation = outcome.worst_fragmentation;
  if (options.measures_time) row.nanoseconds = replay.nanoseconds(*units);
  row.refusals = refusals_at_capacity(options, facts, unit, most,
                                      [&](std::uint64_t each) { return replay.refusals(each); });
  rows.push_back(std::move(row));
}

/// Blocks of one size, that of the largest request: what they take follows from the count.
template <class = void>
void add_fixed_blocks(std::vector<ReplayRow>& rows, const AllocationTrace& trace,
                      std::uint64_t unit, const ReplayOptions& options) {
  const TraceFacts facts = facts_of(trace, unit);
  std::uint64_t alignment = unit;
  for (const AllocationTrace::Block& block : trace.blocks)
    alignment = larger(alignment, block.alignment);
  const std::uint64_t block = rounded_up(facts.largest, alignment);
  const auto capacity = checked_multiply(block, facts.peak_blocks);
  if (!capacity || block == 0) return;
  StrategyReplay<FixedBlocks<1>> replay{trace};
  ReplayRow row;
  row.name = "FixedBlocks<" + std::to_string(block / unit) + ">";
  row.unit = unit;
  row.type = "allot::Arena<allot::" + row.name + ", allot::AlignTo<" + std::to_string(unit) + ">>";
  row.capacity = *capacity;
  if (options.measures_time) row.nanoseconds = replay.nanoseconds(facts.peak_blocks);
  row.refusals = refusals_at_capacity(options, facts, block, facts.peak_blocks,
                                      [&](std::uint64_t each) { return replay.refusals(each); });
  rows.push_back(std::move(row));
}

template <class = void>
void add_arena_rows(std::vector<ReplayRow>& rows, const AllocationTrace& trace, std::uint64_t unit,
                    const ReplayOptions& options) {
  add_row<Linear>(rows, trace, unit, "Linear", options);
  add_fixed_blocks(rows, trace, unit, options);
  add_row<GoodFit>(rows, trace, unit, "GoodFit", options);
  add_row<BestFit>(rows, trace, unit, "BestFit", options);
  add_row<FirstFit>(rows, trace, unit, "FirstFit", options);
  add_row<Buddy>(rows, trace, unit, "Buddy", options);
}

}  // namespace detail

/// A row for every strategy, in the order in which equal ones are preferred, and for what others'
/// allocators would take.
///
/// Complexity: some 30 replays for each strategy. Memory: 40 bytes a block.
/// Throws: `std::bad_alloc`.
template <class = void>
[[nodiscard]] std::vector<ReplayRow> replay_all(const AllocationTrace& trace,
                                                const ReplayOptions& options = {}) {
  std::vector<ReplayRow> rows;
  if (trace.blocks.empty()) return rows;
  const std::uint64_t unit = options.unit != 0 ? options.unit : trace.alignment;
  detail::add_arena_rows(rows, trace, unit, options);
  for (const CachingRule rule :
       {CachingRule::segments, CachingRule::powers_of_two, CachingRule::each_its_own}) {
    ReplayRow row;
    row.name = to_text(rule);
    row.is_simulated = true;
    row.reserved = simulate(trace, rule).reserved;
    const std::uint64_t least = facts_of(trace).peak_bytes;
    const auto capacity = detail::smallest_that_fits(
        least, row.reserved, [&](std::uint64_t each) { return simulate(trace, rule, each).fits; });
    row.capacity = capacity.value_or(row.reserved);
    rows.push_back(std::move(row));
  }
  return rows;
}

/// Rows for every strategy at coarser units than the trace's: 256 bytes, 4 KiB, 64 KiB and 2 MiB,
/// those at which rounding alone does not double the peak. Time is not measured. Complexity, memory:
/// as `replay_all`, for each unit. Throws: `std::bad_alloc`.
template <class = void>
[[nodiscard]] std::vector<ReplayRow> replay_coarser(const AllocationTrace& trace,
                                                    ReplayOptions options = {}) {
  options.measures_time = false;
  std::vector<ReplayRow> rows;
  if (trace.blocks.empty()) return rows;
  const std::uint64_t own = options.unit != 0 ? options.unit : trace.alignment;
  const std::uint64_t peak = facts_of(trace, own).peak_bytes;
  for (const std::uint64_t unit : {std::uint64_t{256}, 4 * KiB, 64 * KiB, 2 * MiB}) {
    if (unit <= own || facts_of(trace, unit).peak_bytes / 2 >= peak) continue;
    detail::add_arena_rows(rows, trace, unit, options);
  }
  for (ReplayRow& row : rows) row.is_coarser = true;
  return rows;
}

}  // namespace allot::report
