// SPDX-License-Identifier: MIT
/// \file
/// `OffsetPlan`: what `plan_offsets` (`plan_offsets.hpp`) answers, and what it is asked with.
#pragma once

#include <allot/core/version.hpp>
#include <allot/os/function.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace allot {

/// What a plan was found by.
enum class PlanOrder {
  best_fit,  ///< by first use, as a program would ask an arena of `BestFit` for them
  time,      ///< by first use, but each to a gap that stays free for its whole lifetime
  size,      ///< the largest first
  duration,  ///< the longest-lived first, by steps
  area,      ///< by size times duration
  breadth,   ///< by the fullest step that a buffer is alive at, the largest first
  improved,  ///< one of these, and then what lay on top moved
  corners,   ///< a search from below, corner by corner
  core,      ///< such a search for what decides the height, the rest into the gaps
  rules,     ///< in an order that separate places, shared places, memories and streams decided
};

[[nodiscard]] constexpr const char* to_text(PlanOrder order) noexcept {
  switch (order) {
    case PlanOrder::best_fit:
      return "best fit";
    case PlanOrder::time:
      return "time";
    case PlanOrder::size:
      return "size";
    case PlanOrder::duration:
      return "duration";
    case PlanOrder::area:
      return "area";
    case PlanOrder::breadth:
      return "breadth";
    case PlanOrder::improved:
      return "improved";
    case PlanOrder::core:
      return "core";
    case PlanOrder::corners:
      return "corners";
    case PlanOrder::rules:
      return "rules";
  }
  return "unknown";
}

/// Where buffers go.
struct OffsetPlan {
  std::vector<std::uint64_t> offsets;     ///< of each buffer, in the order given
  std::uint64_t bytes = 0;                ///< of the block that holds them all; of several: the sum
  std::uint64_t alignment = 1;            ///< that each block must have
  std::uint64_t lower_bound = 0;          ///< no plan has fewer bytes
  PlanOrder order = PlanOrder::best_fit;  ///< what the plan was found by
  bool is_cut_short = false;              ///< whether the work ended before all had been tried
  /// Which memory each buffer is in. Empty: all in the first.
  std::vector<std::size_t> memories{};
  /// Bytes of each memory. Empty: of one, which has `bytes`.
  std::vector<std::uint64_t> memory_bytes{};
  /// How many times a buffer's stream waits for another one that had some of its bytes before.
  std::uint64_t stream_waits = 0;
};

/// What to keep elsewhere so that the rest fits.
struct Spill {
  std::vector<std::uint32_t> buffers{};  ///< in the order given
  std::uint64_t bytes = 0;               ///< of these buffers
  /// True if no other choice has fewer bytes, nor as many in fewer buffers.
  bool is_proven = false;
};

/// Says whether buffers fit a capacity.
struct OffsetFit {
  /// The answer.
  enum class Verdict {
    fits,        ///< `plan` has at most that many bytes
    impossible,  ///< `buffers` alone do not fit
    not_found,   ///< within the work; `plan` is the best there was
  };
  Verdict verdict = Verdict::not_found;  ///< the answer
  OffsetPlan plan;                       ///< empty if there is none for the capacities
  std::uint64_t step = 0;                ///< at which the most bytes of `buffers` are alive
  std::vector<std::uint32_t> buffers;    ///< that do not fit: in the order given, from the first on
  Spill spill;                           ///< empty if all fits
};

[[nodiscard]] constexpr const char* to_text(OffsetFit::Verdict verdict) noexcept {
  switch (verdict) {
    case OffsetFit::Verdict::fits:
      return "fits";
    case OffsetFit::Verdict::impossible:
      return "impossible";
    case OffsetFit::Verdict::not_found:
      return "not found";
  }
  return "unknown";
}

/// Asks whether to stop: a `std::stop_token`, or anything with its `stop_requested()`. (Its own type,
/// as `<stop_token>` takes longer to compile than all of the planner.)
class StopRequest {
 public:
  StopRequest() = default;
  /// Copies the token.
  template <class Token>
  requires requires(const Token& token) {
    { token.stop_requested() } -> std::convertible_to<bool>;
  }
  StopRequest(Token token)  // NOLINT(google-explicit-constructor)
      : is_requested_{[token = std::move(token)] { return token.stop_requested(); }} {}

  /// Returns whether to stop.
  [[nodiscard]] bool stop_requested() const { return is_requested_ && is_requested_(); }

 private:
  std::function<bool()> is_requested_{};
};

/// How far a search is.
struct OffsetProgress {
  std::uint64_t work = 0;        ///< done; a search that proves its plan best ends before the total
  std::uint64_t total_work = 0;  ///< allowed
  std::uint64_t bytes = 0;       ///< of the best plan so far
  std::uint64_t lower_bound = 0;  ///< of any plan
};

/// How long to search, and what counts.
struct OffsetPlanOptions {
  /// Steps of the search over all orders: what bounds the time, the same on every machine. About
  /// 5 ns each. That of `BestFit` is always finished.
  std::uint64_t work = 300'000'000;
  /// Bytes of each memory that buffers may be in. Empty: one, without a limit.
  std::vector<std::uint64_t> capacities{};
  /// How many bytes more a plan may take to save one wait of a stream for another.
  std::uint64_t stream_wait_bytes = 0;
  /// The search ends early if this asks for it, with the best plan so far: as with less work.
  StopRequest stop{};
  /// Called on the caller's thread, some 200 times at most.
  std::function<void(const OffsetProgress&)> progress{};
};

}  // namespace allot
