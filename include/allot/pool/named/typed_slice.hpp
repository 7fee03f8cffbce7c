// SPDX-License-Identifier: MIT
/// \file
/// `TypedSlice<Element, Access>`: a slice as an array of `Element`.
#pragma once

#include <allot/slice.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace allot {

/// Shares the ownership of its bytes, as `Slice` does. Empty if default-constructed.
template <class Element, class Access>
class TypedSlice {
 public:
  using value_type = Element;

  TypedSlice() noexcept = default;
  /// Requires: the address is aligned for `Element`.
  explicit TypedSlice(Slice<Access> slice) noexcept : slice_{std::move(slice)} {}

  /// Returns its beginning: a device address, unless `Access` says that the host may touch it.
  [[nodiscard]] Element* data() const noexcept { return static_cast<Element*>(slice_.address()); }
  /// Returns the number of elements.
  [[nodiscard]] std::uint64_t size() const noexcept { return slice_.bytes() / sizeof(Element); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  /// Returns its bytes.
  [[nodiscard]] const Slice<Access>& slice() const noexcept { return slice_; }

  /// Returns all of it, if the host may touch it.
  [[nodiscard]] std::span<Element> span() const noexcept requires(Access::host) {
    return {data(), static_cast<std::size_t>(size())};
  }

 private:
  Slice<Access> slice_;
};

}  // namespace allot
