// SPDX-License-Identifier: MIT
/// \file
/// A free index whose keys are as narrow as the range allows: 32 bits below 2^32 - 1 units (1 TiB
/// in units of 256 bytes), else 64. Half the width is half the cache lines, and twice the keys that
/// one instruction compares.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace allot::detail {

/// \tparam Index  a template over the key, constructible from a capacity
template <template <class Key> class Index>
class ByKeyWidth {
 public:
  explicit ByKeyWidth(std::uint64_t capacity) {
    if (capacity < std::numeric_limits<std::uint32_t>::max()) {
      narrow_.emplace(capacity);
    } else {
      wide_.emplace(capacity);
    }
  }

  /// Calls `f(index)` with the one there is.
  template <class F>
  decltype(auto) with(F&& f) {
    return narrow_ ? std::forward<F>(f)(*narrow_) : std::forward<F>(f)(*wide_);
  }
  template <class F>
  decltype(auto) with(F&& f) const {
    return narrow_ ? std::forward<F>(f)(*narrow_) : std::forward<F>(f)(*wide_);
  }

 private:
  std::optional<Index<std::uint32_t>> narrow_;
  std::optional<Index<std::uint64_t>> wide_;
};

/// The same for an index without keys.
template <class Index>
class ForAnyRange {
 public:
  explicit ForAnyRange(std::uint64_t capacity) : index_{capacity} {}

  template <class F>
  decltype(auto) with(F&& f) {
    return std::forward<F>(f)(index_);
  }
  template <class F>
  decltype(auto) with(F&& f) const {
    return std::forward<F>(f)(index_);
  }

 private:
  Index index_;
};

}  // namespace allot::detail
