// SPDX-License-Identifier: MIT
/// \file
/// `Breadth`: how many bytes of some buffers are alive at each step.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/os/algorithm.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>

namespace allot::detail {

[[noreturn]] inline void throw_plan_overflows(std::size_t buffers) {
  FixedText<192> text;
  text << "the " << buffers
       << " buffers that are alive at once exceed 2^64 bytes; check their sizes";
  throw std::invalid_argument{text.c_str()};
}

/// A buffer begins to be alive, or has been.
struct LifetimeChange {
  std::uint64_t step;
  std::uint32_t buffer;
  bool begins;
};

/// All of them, by time: at one step, what begins is alive together with what ends.
template <class Owner = void>
[[nodiscard]] DeferredVector<LifetimeChange, Owner> changes_of(
    DeferredSpan<const PlainLifetime, Owner> lifetimes) {
  DeferredVector<LifetimeChange, Owner> changes;
  changes.reserve(2 * lifetimes.size());
  for (std::uint32_t i = 0; i < lifetimes.size(); ++i) {
    changes.push_back({lifetimes[i].first, i, true});
    changes.push_back({lifetimes[i].last, i, false});
  }
  std::sort(changes.begin(), changes.end(), [](const LifetimeChange& a, const LifetimeChange& b) {
    if (a.step != b.step) return a.step < b.step;
    if (a.begins != b.begins) return a.begins;
    return a.buffer < b.buffer;
  });
  return changes;
}

/// The most bytes alive at one step, and for each buffer the most of the steps that it begins at
/// or that begin within it.
template <class Owner = void>
class Breadth {
 public:
  /// \param changes  `changes_of` the lifetimes
  /// \param granularity  sizes are rounded up to multiples of it
  Breadth(DeferredSpan<const PlainLifetime, Owner> lifetimes,
          DeferredSpan<const LifetimeChange, Owner> changes, std::uint64_t granularity = 1) {
    steps_.reserve(lifetimes.size());
    alive_.reserve(lifetimes.size());
    std::uint64_t alive = 0;
    for (const LifetimeChange& change : changes) {
      const auto bytes = checked_align_up(lifetimes[change.buffer].bytes, granularity);
      if (!change.begins) {
        alive -= *bytes;
        continue;
      }
      const auto sum = bytes ? checked_add(alive, *bytes) : std::nullopt;
      if (!sum) throw_plan_overflows(lifetimes.size());
      alive = *sum;
      steps_.push_back(change.step);
      alive_.push_back(alive);
      if (alive > most_) fullest_ = change.step;
      most_ = larger(most_, alive);
    }
  }

  explicit Breadth(DeferredSpan<const PlainLifetime, Owner> lifetimes)
      : Breadth{lifetimes, changes_of<Owner>(lifetimes)} {}

  [[nodiscard]] std::uint64_t most() const noexcept { return most_; }
  /// The first step that has the most.
  [[nodiscard]] std::uint64_t fullest() const noexcept { return fullest_; }

  /// The most bytes alive while each buffer is. Complexity: n log n.
  [[nodiscard]] DeferredVector<std::uint64_t, Owner> of(
      DeferredSpan<const PlainLifetime, Owner> lifetimes) const {
    const std::size_t leaves = alive_.size();
    DeferredVector<std::uint64_t, Owner> highest(
        2 * leaves);  // a tree: node i has the children 2 i, 2 i + 1
    std::copy(alive_.begin(), alive_.end(), highest.begin() + static_cast<std::ptrdiff_t>(leaves));
    for (std::size_t i = leaves; i-- > 1;) highest[i] = larger(highest[2 * i], highest[2 * i + 1]);
    DeferredVector<std::uint64_t, Owner> result(lifetimes.size());
    for (std::size_t i = 0; i < lifetimes.size(); ++i) {
      const auto from = std::lower_bound(steps_.begin(), steps_.end(), lifetimes[i].first);
      const auto to = std::upper_bound(from, steps_.end(), lifetimes[i].last);
      std::size_t low = leaves + static_cast<std::size_t>(from - steps_.begin());
      std::size_t high = leaves + static_cast<std::size_t>(to - steps_.begin());
      for (; low < high; low /= 2, high /= 2) {
        if (low % 2 != 0) result[i] = larger(result[i], highest[low++]);
        if (high % 2 != 0) result[i] = larger(result[i], highest[--high]);
      }
    }
    return result;
  }

 private:
  DeferredVector<std::uint64_t, Owner> steps_;  // at which something begins
  DeferredVector<std::uint64_t, Owner> alive_;  // bytes, then
  std::uint64_t most_ = 0;
  std::uint64_t fullest_ = 0;
};

}  // namespace allot::detail
