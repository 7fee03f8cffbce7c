// SPDX-License-Identifier: MIT
/// \file
/// The work of a plan: steps that read bytes as they are, and the others in tiles.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/detail/tiles.hpp>
#include <allot/load/detail/transposed_tiles.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// The tiles of several steps, numbered.
template <class TilingType>
class Tiles {
 public:
  void add(TilingType tiling) {
    ends_.push_back(size() + tiling.size());
    tilings_.push_back(std::move(tiling));
  }

  /// Complexity: constant.
  [[nodiscard]] std::uint64_t size() const noexcept { return ends_.empty() ? 0 : ends_.back(); }

  /// Complexity: O(log n) in the steps.
  [[nodiscard]] auto operator[](std::uint64_t number) const noexcept {
    std::size_t at = 0;  // the first tiling that ends after the number
    for (std::size_t count = ends_.size(); count != 0;) {
      const std::size_t half = count / 2;
      const bool is_later = ends_[at + half] <= number;
      if (is_later) at += half + 1;
      count = is_later ? count - half - 1 : half;
    }
    return tilings_[at][number - (at == 0 ? 0 : ends_[at - 1])];
  }

 private:
  std::vector<TilingType> tilings_;
  /// For each tiling, the number of tiles up to its last.
  DeferredVector<std::uint64_t, TilingType> ends_;
};

/// The steps that read bytes as they are, and the tiles of the others.
///
/// \tparam Owner  any type of the caller's: this is compiled only when the caller is
template <class Owner>
class Work {
 public:
  /// \param plan        its steps must outlive this
  /// \param most_bytes  the most in a tile
  Work(const gguf::File& file, const Plan& plan, std::uint64_t most_bytes) {
    for (const auto& step : deferred<Owner>(plan.steps)) {
      if (step.transform == Transform::none) {
        plain_.push_back(step);
      } else if (step.arena_bytes == 0) {
        continue;
      } else if (step.transform == Transform::transpose) {
        transposed_.add({file, plan, step, most_bytes});
      } else {
        in_order_.add({file, plan, step, most_bytes});
      }
    }
  }

  [[nodiscard]] const DeferredVector<Step, Owner>& plain() const noexcept { return plain_; }

  /// Returns the number of tiles. Complexity: constant.
  [[nodiscard]] std::uint64_t tiles() const noexcept {
    return in_order_.size() + transposed_.size();
  }

  /// Calls `make(tile)`. Complexity: O(log n) in the steps.
  template <class Make>
  void with_tile(std::uint64_t number, Make&& make) const {
    if (number < in_order_.size()) {
      make(in_order_[number]);
    } else {
      make(transposed_[number - in_order_.size()]);
    }
  }

 private:
  DeferredVector<Step, Owner> plain_;
  Deferred<Tiles<Tiling>, Owner> in_order_;
  Deferred<Tiles<TransposedTiling>, Owner> transposed_;
};

}  // namespace allot::load::detail
