// SPDX-License-Identifier: MIT
/// \file
/// `Handles`: numbers, in the shape of pointers, that stand for objects and are safe to misuse.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <utility>
#include <vector>

namespace allot::capi {

/// The objects of one kind that a program holds by handle. A handle is the index of a slot and its
/// generation, never an address: one that was destroyed, is of another kind, or made up, finds
/// nothing. All members may be called by several threads at once. Complexity of each: constant.
///
/// \tparam Handle  the C interface's incomplete type
/// \tparam kind    a number of its own, below 16
template <class Handle, class Object, std::uint32_t kind>
class Handles {
  static constexpr std::uint32_t index_bits = 28;
  static_assert(sizeof(void*) == 8 && kind < 16,
                "a handle has 28 bits of index, 4 of kind and 32 of generation");

 public:
  /// Throws: `std::bad_alloc`.
  [[nodiscard]] Handle* add(std::shared_ptr<Object> object) {
    const std::unique_lock lock{mutex_};
    if (free_.empty()) {
      if (slots_.size() >> index_bits != 0) throw std::bad_alloc{};
      slots_.emplace_back();
      free_.reserve(slots_.size());  // so that removing cannot fail
      free_.push_back(static_cast<std::uint32_t>(slots_.size() - 1));
    }
    const std::uint32_t index = free_.back();
    free_.pop_back();
    Slot& slot = slots_[index];
    slot.object = std::move(object);
    const std::uint64_t number = std::uint64_t{slot.generation} << 32 | kind << index_bits | index;
    return reinterpret_cast<Handle*>(static_cast<std::uintptr_t>(number));
  }

  /// Returns the object, which lives at least as long as the result; null if there is none.
  [[nodiscard]] std::shared_ptr<Object> find(const Handle* handle) const {
    const std::shared_lock lock{mutex_};
    const auto [index, generation] = parts_of(handle);
    if (index >= slots_.size() || slots_[index].generation != generation) return nullptr;
    return slots_[index].object;
  }

  /// Forgets the object; it is destroyed once no call uses it. Does nothing if the number is not a handle.
  void remove(const Handle* handle) noexcept {
    std::shared_ptr<Object> last;  // destroyed after the lock is released
    const std::unique_lock lock{mutex_};
    const auto [index, generation] = parts_of(handle);
    if (index >= slots_.size() || slots_[index].generation != generation) return;
    Slot& slot = slots_[index];
    if (!slot.object) return;
    last = std::move(slot.object);
    // A slot whose generation would be used a second time is left alone.
    if (++slot.generation != 0) free_.push_back(index);
  }

 private:
  struct Slot {
    std::shared_ptr<Object> object;
    std::uint32_t generation = 1;  // so that no handle is null
  };

  /// Returns index and generation; an index that there is not, for a handle of another kind.
  [[nodiscard]] static std::pair<std::uint32_t, std::uint32_t> parts_of(
      const Handle* handle) noexcept {
    const std::uint64_t number = reinterpret_cast<std::uintptr_t>(handle);
    return {static_cast<std::uint32_t>(number) ^ kind << index_bits,
            static_cast<std::uint32_t>(number >> 32)};
  }

  mutable std::shared_mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace allot::capi
