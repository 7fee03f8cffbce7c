// SPDX-License-Identifier: MIT
/// \file
/// `TrivialVector`: objects of any trivial type in memory that grows.
#pragma once

#include <allot/strategy/detail/records.hpp>

#include <cstdint>
#include <type_traits>

namespace allot::detail {

/// Objects accessed by their indices, which are not checked. As with a pointer, the objects of a
/// const one are not const.
/// \tparam Object  trivial: neither initialized nor destroyed
template <class Object>
class TrivialVector : public GrowingMemory {
  static_assert(std::is_trivially_copyable_v<Object> && std::is_trivially_destructible_v<Object>);
  static_assert(alignof(Object) <= 64);

 public:
  TrivialVector() noexcept : GrowingMemory{sizeof(Object), 1, std::uint64_t{1} << 40} {}

  [[nodiscard]] Object& operator[](std::uint64_t index) const noexcept {
    return reinterpret_cast<Object*>(begin_)[index];
  }
};

}  // namespace allot::detail
