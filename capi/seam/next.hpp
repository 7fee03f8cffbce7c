// SPDX-License-Identifier: MIT
/// \file
/// `Next`: the function that a program's call would have reached if this library did not stand in front
/// of it.
#pragma once

#include <atomic>

#include "hip_abi.hpp"

namespace allot::seam {

/// Returns the function of that name behind this library: the next one in the program's order of
/// search, or libamdhip64's where that was loaded by itself; null if there is none.
[[nodiscard]] void* find_next(const char* name) noexcept;

/// One function of HIP's.
class Next {
 public:
  explicit constexpr Next(const char* name) noexcept : name_{name} {}

  /// Calls it. A program that calls what its HIP does not have gets `hip_not_supported`.
  template <class... Arguments>
  HipError operator()(Arguments... arguments) noexcept {
    void* found = found_.load(std::memory_order_relaxed);
    if (found == nullptr) [[unlikely]] {
      found = find_next(name_);
      if (found == nullptr) return hip_not_supported;
      found_.store(found, std::memory_order_relaxed);
    }
    return reinterpret_cast<HipError (*)(Arguments...)>(found)(arguments...);
  }

 private:
  const char* name_;
  std::atomic<void*> found_{nullptr};
};

}  // namespace allot::seam
