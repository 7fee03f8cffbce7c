// SPDX-License-Identifier: MIT
/// \file
/// `CorePlanner`: plans of many buffers. The core first, the rest into the gaps that it leaves, and
/// what finds none in the place of others.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/offsets/detail/best_fit_plan.hpp>
#include <allot/offsets/detail/core_search.hpp>
#include <allot/offsets/detail/eviction_search.hpp>
#include <allot/offsets/detail/gap_index.hpp>
#include <allot/offsets/detail/packing.hpp>
#include <allot/offsets/detail/plain_lifetime.hpp>
#include <allot/os/smart_pointers.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace allot::detail {

template <class Owner = void>
class CorePlanner {
 public:
  /// \param gaps  may be used in between
  /// \param orders  that the rest is placed in, one after another
  /// \param low  what to ask for first
  CorePlanner(DeferredSpan<const PlainLifetime, Owner> lifetimes, const Packing<Owner>& packing,
              GapIndex<Owner>& gaps,
              DeferredVector<DeferredVector<std::uint32_t, Owner>, Owner> orders, std::uint64_t low,
              std::uint64_t& work_left)
      : lifetimes_{lifetimes},
        packing_{packing},
        orders_{std::move(orders)},
        box_of_(lifetimes.size()),
        gaps_{gaps},
        low_{low},
        work_left_{work_left} {
    for (std::uint32_t i = 0; i < packing.boxes.size(); ++i) box_of_[packing.buffers[i]] = i;
  }

  /// From now on only what to ask for first is asked for.
  void stay_low() noexcept { stays_low_ = true; }

  /// One try for less than `bytes`; the next one is for another core or capacity. Tries get longer,
  /// and do not depend on the work that is left.
  [[nodiscard]] std::optional<Offsets<Owner>> try_below(std::uint64_t bytes) {
    const std::size_t steps = stays_low_ ? 1 : eases.size();
    const std::size_t size = try_ / steps % cores_.size();
    const unsigned ease = stays_low_ ? 0 : eases[try_ % eases.size()];
    const std::uint64_t attempt = try_ / (cores_.size() * steps);
    ++try_;
    if (size != 0 && core(size - 1).boxes() == packing_.boxes.size()) return std::nullopt;
    const std::uint64_t high = bytes - 1;
    const std::uint64_t capacity = ease == 0 ? low_ : low_ + ((high - low_) >> ease);
    CoreSearch<Owner>& search = core(size);
    const std::uint64_t before = search.work();
    const SearchResult result =
        search.run(capacity, attempt, (2 + attempt) * search.boxes() + 64, work_left_ / core_cost);
    spend(core_cost * (search.work() - before));
    if (result != SearchResult::found) return std::nullopt;
    for (const DeferredVector<std::uint32_t, Owner>& order : orders_) {
      if (auto plan = place_rest(search, order, capacity, 64 * (attempt + 1))) return plan;
    }
    return std::nullopt;
  }

  /// Moves buffers of a plan until they fit less, as far as it gets in some moves.
  [[nodiscard]] std::optional<Offsets<Owner>> lower(const Offsets<Owner>& plan) {
    EvictionSearch<Owner> search{lifetimes_, plan.offsets};
    spend(search.work());
    std::optional<Offsets<Owner>> lowered;
    std::uint64_t bytes = plan.bytes;
    while (bytes > low_ && work_left_ != 0) {
      const std::uint64_t capacity = bytes - 1 - (bytes - 1 - low_) / 16;
      if (!finish(search, capacity, 1000)) break;
      lowered = offsets_of(search);
      bytes = lowered->bytes;
    }
    return lowered;
  }

 private:
  static constexpr std::uint64_t core_cost = 2;
  static constexpr std::array<std::size_t, 3> sizes{500, 1000, 2000};
  /// How far from the least capacity to the known one: all of the way, 2^-6 of it, ...
  static constexpr std::array<unsigned, 4> eases{0, 6, 4, 2};
  static constexpr std::size_t most_evicted = 16;

  void spend(std::uint64_t units) noexcept { work_left_ -= smaller(work_left_, units); }

  [[nodiscard]] CoreSearch<Owner>& core(std::size_t size) {
    if (!cores_[size]) cores_[size] = std::make_unique<CoreSearch<Owner>>(packing_, sizes[size]);
    return *cores_[size];
  }

  [[nodiscard]] std::optional<Offsets<Owner>> place_rest(
      const CoreSearch<Owner>& search, const DeferredVector<std::uint32_t, Owner>& order,
      std::uint64_t capacity, std::uint64_t moves) {
    const std::uint64_t before = gaps_.work();
    gaps_.clear();
    DeferredVector<std::uint64_t, Owner> offsets(lifetimes_.size(), EvictionSearch<Owner>::outside);
    search.visit([&](std::uint32_t box, std::uint64_t offset) {
      offsets[packing_.buffers[box]] = offset;
      gaps_.insert(packing_.boxes[box], offset);
    });
    std::size_t evicted = 0;
    for (const std::uint32_t buffer : order) {
      if (lifetimes_[buffer].bytes == 0) {
        offsets[buffer] = 0;
        continue;
      }
      if (offsets[buffer] != EvictionSearch<Owner>::outside) continue;
      if (evicted > most_evicted || gaps_.work() - before > work_left_) break;
      const Box& box = packing_.boxes[box_of_[buffer]];
      if (const auto offset = gaps_.find(box, capacity)) {
        gaps_.insert(box, *offset);
        offsets[buffer] = *offset;
      } else {
        ++evicted;
      }
    }
    const bool is_over = gaps_.work() - before > work_left_;
    spend(gaps_.work() - before + order.size());
    if (evicted > most_evicted || is_over) return std::nullopt;
    EvictionSearch<Owner> evictions{lifetimes_, offsets};
    spend(evictions.work());
    if (!finish(evictions, capacity, moves)) return std::nullopt;
    return offsets_of(evictions);
  }

  [[nodiscard]] bool finish(EvictionSearch<Owner>& search, std::uint64_t capacity,
                            std::uint64_t moves) {
    const std::uint64_t before = search.work();
    const bool is_complete = search.run(capacity, moves, work_left_);
    spend(search.work() - before);
    return is_complete;
  }

  [[nodiscard]] Offsets<Owner> offsets_of(const EvictionSearch<Owner>& search) const {
    Offsets<Owner> plan{{search.offsets().begin(), search.offsets().end()}, 0};
    for (std::size_t i = 0; i < lifetimes_.size(); ++i) {
      if (lifetimes_[i].bytes != 0)
        plan.bytes = larger(plan.bytes, plan.offsets[i] + lifetimes_[i].bytes);
    }
    return plan;
  }

  DeferredSpan<const PlainLifetime, Owner> lifetimes_;
  const Packing<Owner>& packing_;
  DeferredVector<DeferredVector<std::uint32_t, Owner>, Owner> orders_;
  DeferredVector<std::uint32_t, Owner> box_of_;  // of each buffer that has bytes
  GapIndex<Owner>& gaps_;
  std::array<std::unique_ptr<CoreSearch<Owner>>, sizes.size()> cores_;
  std::uint64_t low_;
  std::uint64_t& work_left_;
  std::size_t try_ = 0;
  bool stays_low_ = false;
};

}  // namespace allot::detail
