// SPDX-License-Identifier: MIT
/// \file
/// `os::Atomic`: the part of `std::atomic` that is needed here, by the compiler's own functions, without
/// the waiting that is most of `<atomic>`.
#pragma once

namespace allot::os {

/// \tparam Value  a number, a bool or a pointer
template <class Value>
class Atomic {
 public:
  /// Begins with that value.
  constexpr explicit Atomic(Value value) noexcept : value_{value} {}
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  /// Returns the value.
  [[nodiscard]] Value load() const noexcept { return __atomic_load_n(&value_, __ATOMIC_SEQ_CST); }
  /// Sets the value.
  void store(Value value) noexcept { __atomic_store_n(&value_, value, __ATOMIC_SEQ_CST); }

  /// Returns the value before.
  Value fetch_add(Value value) noexcept {
    return __atomic_fetch_add(&value_, value, __ATOMIC_SEQ_CST);
  }
  /// Subtracts, and returns the value before.
  Value fetch_sub(Value value) noexcept {
    return __atomic_fetch_sub(&value_, value, __ATOMIC_SEQ_CST);
  }

 private:
  Value value_;
};

}  // namespace allot::os
