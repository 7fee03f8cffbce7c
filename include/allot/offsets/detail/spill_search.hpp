// SPDX-License-Identifier: MIT
/// \file
/// `SpillSearch`: which buffers to keep elsewhere so that, at every step, what is alive fits.
///
/// That is a covering problem: each step that has too much needs some of its buffers to go. Fewer
/// bytes go in no other way, so a choice after which a plan is found is the best one.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/breadth.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/os/algorithm.hpp>

#include <cstddef>
#include <cstdint>

namespace allot::detail {

template <class Owner = void>
class SpillSearch {
 public:
  /// \param capacity  bytes that may be alive at a step
  SpillSearch(DeferredSpan<const PlainLifetime, Owner> lifetimes, std::uint64_t capacity)
      : lifetimes_{lifetimes}, steps_of_(lifetimes.size()), state_(lifetimes.size()) {
    DeferredVector<std::uint32_t, Owner> alive;
    std::uint64_t bytes = 0;
    bool is_open = false;  // whether something has begun since the last end
    for (const LifetimeChange& change : changes_of<Owner>(lifetimes)) {
      if (lifetimes[change.buffer].bytes == 0) continue;
      if (change.begins) {
        alive.push_back(change.buffer);
        bytes += lifetimes[change.buffer].bytes;
        is_open = true;
        continue;
      }
      if (is_open && bytes > capacity) {
        if (is_exact()) {
          add_step(alive, bytes - capacity);
        } else {
          bytes -= spill_at_once(alive, bytes - capacity);
        }
      }
      is_open = false;
      bytes -= std::erase(alive, change.buffer) * lifetimes[change.buffer].bytes;
    }
  }

  /// Buffers of the fewest bytes, and of those the fewest, whose absence lets every step fit.
  /// \param nodes  how many choices to look at; `is_proven` says whether they were enough
  [[nodiscard]] DeferredVector<std::uint32_t, Owner> run(std::uint64_t nodes) {
    nodes_ = nodes;
    if (is_exact()) {
      choose_greedily();
      descend(0, 0);
    }
    DeferredVector<std::uint32_t, Owner> result = best_;
    std::sort(result.begin(), result.end());
    return result;
  }

  [[nodiscard]] bool is_proven() const noexcept {
    return nodes_ != 0 && (is_exact() || best_.empty());
  }

 private:
  /// Beyond it the choices are too many to be looked at, and too deep for the stack.
  static constexpr std::size_t most_exact = 4096;
  [[nodiscard]] bool is_exact() const noexcept { return lifetimes_.size() <= most_exact; }

  struct Step {
    DeferredVector<std::uint32_t, Owner> alive;  // the largest first
    std::uint64_t excess;
  };
  enum class State : std::uint8_t { open, spilled, kept };

  void add_step(DeferredVector<std::uint32_t, Owner> alive, std::uint64_t excess) {
    std::sort(alive.begin(), alive.end(), [&](std::uint32_t a, std::uint32_t b) {
      return lifetimes_[a].bytes != lifetimes_[b].bytes ? lifetimes_[a].bytes > lifetimes_[b].bytes
                                                        : a < b;
    });
    for (const std::uint32_t buffer : alive)
      steps_of_[buffer].push_back(static_cast<std::uint32_t>(steps_.size()));
    steps_.push_back({std::move(alive), excess});
  }

  /// For good: the smallest that is enough, or the largest until it is. Returns their bytes.
  std::uint64_t spill_at_once(DeferredVector<std::uint32_t, Owner>& alive, std::uint64_t excess) {
    auto enough = alive.end();
    for (auto each = alive.begin(); each != alive.end(); ++each) {
      const std::uint64_t bytes = lifetimes_[*each].bytes;
      if (bytes >= excess && (enough == alive.end() || bytes < lifetimes_[*enough].bytes))
        enough = each;
    }
    if (enough != alive.end()) {
      const std::uint64_t bytes = lifetimes_[*enough].bytes;
      best_.push_back(*enough);
      alive.erase(enough);
      return bytes;
    }
    std::sort(alive.begin(), alive.end(), [&](std::uint32_t a, std::uint32_t b) {
      return lifetimes_[a].bytes != lifetimes_[b].bytes ? lifetimes_[a].bytes > lifetimes_[b].bytes
                                                        : a < b;
    });
    std::uint64_t spilled = 0;
    std::size_t largest = 0;  // the first that stays
    for (; lifetimes_[alive[largest]].bytes < excess - spilled; ++largest) {
      spilled += lifetimes_[alive[largest]].bytes;
      best_.push_back(alive[largest]);
    }
    std::size_t last = largest;  // the smallest that is enough for the rest
    while (last + 1 < alive.size() && lifetimes_[alive[last + 1]].bytes >= excess - spilled) ++last;
    spilled += lifetimes_[alive[last]].bytes;
    best_.push_back(alive[last]);
    alive.erase(alive.begin() + std::ptrdiff_t(last));
    alive.erase(alive.begin(), alive.begin() + std::ptrdiff_t(largest));
    return spilled;
  }

  /// The step with the most bytes too many; none if all fit.
  [[nodiscard]] Step* worst() {
    Step* worst = nullptr;
    for (Step& step : steps_) {
      if (step.excess != 0 && (worst == nullptr || step.excess > worst->excess)) worst = &step;
    }
    return worst;
  }

  /// What each of its steps had too much before, so that it can be taken back.
  using Before = DeferredVector<std::uint64_t, Owner>;

  [[nodiscard]] Before spill(std::uint32_t buffer) {
    state_[buffer] = State::spilled;
    chosen_.push_back(buffer);
    Before before;
    for (const std::uint32_t i : steps_of_[buffer]) {
      before.push_back(steps_[i].excess);
      steps_[i].excess -= smaller(steps_[i].excess, lifetimes_[buffer].bytes);
    }
    return before;
  }

  void take_back(std::uint32_t buffer, const Before& before) {
    state_[buffer] = State::open;
    chosen_.pop_back();
    for (std::size_t i = 0; i < before.size(); ++i) steps_[steps_of_[buffer][i]].excess = before[i];
  }

  void keep_choice(std::uint64_t bytes) {
    best_ = chosen_;
    best_bytes_ = bytes;
  }

  /// The smallest that is enough for the worst step, or the largest.
  void choose_greedily() {
    DeferredVector<Before, Owner> taken;
    std::uint64_t bytes = 0;
    while (const Step* const step = worst()) {
      std::uint32_t choice = 0;
      bool is_any = false;
      for (const std::uint32_t buffer : step->alive) {
        if (state_[buffer] != State::open) continue;
        if (is_any && lifetimes_[buffer].bytes < step->excess) break;
        choice = buffer;
        is_any = true;
      }
      bytes += lifetimes_[choice].bytes;
      taken.push_back(spill(choice));
    }
    keep_choice(bytes);
    while (!taken.empty()) {
      take_back(chosen_.back(), taken.back());
      taken.pop_back();
    }
  }

  void descend(std::uint64_t bytes, std::size_t count) {
    if (nodes_ == 0) return;
    --nodes_;
    const Step* const step = worst();
    if (step == nullptr) {
      if (bytes < best_bytes_ || (bytes == best_bytes_ && count < best_.size())) keep_choice(bytes);
      return;
    }
    DeferredVector<std::uint32_t, Owner> kept;
    std::uint64_t open = 0;
    for (const std::uint32_t buffer : step->alive)
      open += state_[buffer] == State::open ? lifetimes_[buffer].bytes : 0;
    for (const std::uint32_t buffer : step->alive) {
      if (state_[buffer] != State::open) continue;
      if (open < step->excess || nodes_ == 0) break;
      const std::uint64_t least = bytes + larger(step->excess, lifetimes_[buffer].bytes);
      if (least < best_bytes_ || (least == best_bytes_ && count + 1 < best_.size())) {
        const Before before = spill(buffer);
        descend(bytes + lifetimes_[buffer].bytes, count + 1);
        take_back(buffer, before);
      }
      state_[buffer] = State::kept;
      kept.push_back(buffer);
      open -= lifetimes_[buffer].bytes;
    }
    for (const std::uint32_t buffer : kept) state_[buffer] = State::open;
  }

  DeferredSpan<const PlainLifetime, Owner> lifetimes_;
  DeferredVector<Step, Owner> steps_;  // that have too much
  DeferredVector<DeferredVector<std::uint32_t, Owner>, Owner> steps_of_;
  DeferredVector<State, Owner> state_;
  DeferredVector<std::uint32_t, Owner> chosen_;
  DeferredVector<std::uint32_t, Owner> best_;
  std::uint64_t best_bytes_ = largest_of<std::uint64_t>;
  std::uint64_t nodes_ = 0;
};

}  // namespace allot::detail
