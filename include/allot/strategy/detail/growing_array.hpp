// SPDX-License-Identifier: MIT
/// \file
/// Objects named by their indices, in one piece: what a strategy's bookkeeping lives in. An index
/// is one addition away from its object, where a table of chunks would cost a dependent load.
///
/// It grows by `std::realloc`, which moves the pages of what is large and copies none of them.
#pragma once

#include <allot/core/checked.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

namespace allot::detail {

/// \tparam T     trivial: objects are neither initialized nor destroyed
/// \tparam Step  how many more there are at least when it grows; one in 32 beyond that
/// \tparam Most  how many there can be
template <class T, std::uint32_t Step, std::uint64_t Most>
class GrowingArray {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  GrowingArray() = default;
  GrowingArray(GrowingArray&& other) noexcept { swap(other); }
  GrowingArray& operator=(GrowingArray&& other) noexcept {
    swap(other);
    return *this;
  }
  ~GrowingArray() { std::free(memory_); }

  [[nodiscard]] T& operator[](std::uint64_t index) noexcept { return objects_[index]; }
  [[nodiscard]] const T& operator[](std::uint64_t index) const noexcept { return objects_[index]; }

  /// How many objects there is room for.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }

  /// The capacity after `ensure(count)`.
  [[nodiscard]] std::uint64_t capacity_for(std::uint64_t count) const noexcept {
    if (count <= capacity_) return capacity_;
    return larger(count, capacity_ + larger<std::uint64_t>(Step, capacity_ / 32));
  }

  /// Bytes held.
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return capacity_ == 0 ? 0 : capacity_ * sizeof(T) + alignof(T);
  }

  /// Makes room for `count` objects in all. References to objects are no longer valid.
  /// Throws: `std::bad_alloc`; nothing has changed.
  void ensure(std::uint64_t count) {
    if (count > capacity_) grow(capacity_for(count));
  }

 private:
  void swap(GrowingArray& other) noexcept {
    std::swap(objects_, other.objects_);
    std::swap(memory_, other.memory_);
    std::swap(capacity_, other.capacity_);
  }

  void grow(std::uint64_t capacity) {
    if (capacity > Most) throw_bad_alloc();
    const std::size_t shift_before = shift();
    void* const grown = std::realloc(memory_, capacity * sizeof(T) + alignof(T));
    if (grown == nullptr) throw_bad_alloc();
    memory_ = grown;
    std::byte* const bytes = static_cast<std::byte*>(grown);
    if (shift() != shift_before && capacity_ != 0)
      std::memmove(bytes + shift(), bytes + shift_before, capacity_ * sizeof(T));
    objects_ = reinterpret_cast<T*>(bytes + shift());
    capacity_ = capacity;
  }

  /// Bytes from what `realloc` returned to the first object.
  [[nodiscard]] std::size_t shift() const noexcept {
    return (0 - reinterpret_cast<std::uintptr_t>(memory_)) % alignof(T);
  }

  /// Ends as the system's own refusal would, also where exceptions are disabled.
  [[noreturn]] static void throw_bad_alloc() {
    for (;;) static_cast<void>(::operator new(std::numeric_limits<std::ptrdiff_t>::max()));
  }

  T* objects_ = nullptr;
  void* memory_ = nullptr;
  std::uint64_t capacity_ = 0;
};

}  // namespace allot::detail
