// SPDX-License-Identifier: MIT
/// \file
/// `LeakTracker`: knows which blocks are live and where they were made, and reports those never
/// freed.
///
/// | type          | what it is                                                                  |
/// |---------------|-----------------------------------------------------------------------------|
/// | `LeakTracker` | the observer; reports when the arena is destroyed                           |
/// | `Leak`        | what it reports (`leak.hpp`)                                                |
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/callback.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/source_location.hpp>
#include <allot/core/units.hpp>
#include <allot/observer/leak.hpp>
#include <allot/observer/observer.hpp>
#include <allot/os/chrono.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace allot {

/// Receives leaks in a place that cannot throw: an exception from it is discarded.
using LeakReport = Callback<void(std::span<const Leak>)>;

/// Keeps the name, size, age and call site of every live block of one arena, and reports the blocks
/// that are still live when it is destroyed with the arena. A block that was resized in place is
/// still the same block. Complexity of each notice: constant, and one copy of the name.
///
/// \tparam Clock  measures ages
template <class Clock>
class LeakTrackerOf {
 public:
  /// Reports to standard error, one line for each leak.
  LeakTrackerOf() : LeakTrackerOf{&print} {}
  /// \param report  called once, by the destructor, if there is something to report
  explicit LeakTrackerOf(LeakReport report) : report_{std::move(report)} {
    static_assert(Observer<LeakTrackerOf>);
  }
  LeakTrackerOf(LeakTrackerOf&& other) noexcept
      : report_{std::move(other.report_)},
        blocks_{std::exchange(other.blocks_, {})},
        live_{std::exchange(other.live_, 0)},
        untracked_{std::exchange(other.untracked_, 0)} {}
  LeakTrackerOf& operator=(LeakTrackerOf&&) = delete;
  ~LeakTrackerOf() {
    if (live_ == 0) return;
    try {
      report(leaks());
    } catch (...) {
      // No memory for the report: it is dropped.
    }
  }

  void allocated(const Block& block, const Request& request) noexcept {
    try {
      if (block.handle.index >= blocks_.size()) blocks_.resize(block.handle.index + std::size_t{1});
      Tracked& tracked = blocks_[block.handle.index];
      const bool was_resized = tracked.handle == block.handle;
      if (!was_resized) {
        tracked.name = request.name;
        tracked.made = Clock::now();
        tracked.site = CallSite::current();
        tracked.handle = block.handle;
      }
      tracked.bytes = request.bytes;
      tracked.is_live = true;
      ++live_;
    } catch (...) {
      ++untracked_;
    }
  }

  void deallocated(const Block& block) noexcept {
    if (block.handle.index >= blocks_.size()) return;
    Tracked& tracked = blocks_[block.handle.index];
    if (!tracked.is_live || tracked.handle != block.handle) return;
    tracked.is_live = false;
    --live_;
  }

  void refused(const Request&, RefusalReason) noexcept {}

  /// Returns what is live. The names are valid until the arena is called again. Complexity: linear
  /// in the most blocks that were ever live at once.
  /// Throws: `std::bad_alloc`.
  [[nodiscard]] DeferredVector<Leak, Clock> leaks() const {
    DeferredVector<Leak, Clock> found;
    found.reserve(live_);
    const auto now = Clock::now();
    for (const Tracked& tracked : blocks_) {
      if (!tracked.is_live) continue;
      found.push_back({tracked.name, tracked.bytes,
                       std::chrono::duration_cast<std::chrono::nanoseconds>(now - tracked.made),
                       tracked.site});
    }
    return found;
  }

  /// Returns the number of live blocks. Complexity: constant.
  [[nodiscard]] std::size_t live_blocks() const noexcept { return live_; }

  /// Returns the number of blocks that were not tracked because the host's memory ran out.
  [[nodiscard]] std::size_t untracked() const noexcept { return untracked_; }

  /// Reports as the destructor does. A layer between the arena and its users calls this with what
  /// its users did not free, before it frees that itself.
  void report(DeferredSpan<const Leak, Clock> leaks) const {
    if (report_ && !leaks.empty()) report_(leaks);
  }

 private:
  struct Tracked {
    std::string name;
    std::uint64_t bytes = 0;
    typename Clock::time_point made{};
    std::optional<SourceLocation> site;
    Handle handle{};
    bool is_live = false;
  };

  static void print(DeferredSpan<const Leak, Clock> leaks) {
    std::fprintf(stderr, "allot: %zu not freed:\n", leaks.size());
    for (const auto& leak : leaks) std::fprintf(stderr, "  %s\n", to_text(leak).c_str());
  }

  LeakReport report_;
  std::vector<Tracked> blocks_;  // by their handles' indices, which are small
  std::size_t live_ = 0;
  std::size_t untracked_ = 0;
};

using LeakTracker = LeakTrackerOf<std::chrono::steady_clock>;  ///< with the steady clock

}  // namespace allot
