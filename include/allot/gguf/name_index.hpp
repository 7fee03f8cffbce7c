// SPDX-License-Identifier: MIT
/// \file
/// `gguf::NameIndex`: finds names in a list, in constant time whatever names a file has.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/os/random.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

namespace allot::gguf {

/// Returns a value's bytes as a name, for an index of values; valid as long as the value.
template <class Value>
requires std::has_unique_object_representations_v<Value>
[[nodiscard]] std::string_view bytes_as_name(const Value& value) noexcept {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// Maps names to their positions in a list that is kept elsewhere. Open addressing, one allocation.
/// Each process has its own hash seed, so that names cannot be chosen to collide.
class NameIndex {
 public:
  /// More than any list here has: the reader refuses longer ones.
  static constexpr std::uint64_t most = std::uint64_t{1} << 31;

  /// Makes room for that many names, so that adding them allocates nothing.
  template <class = void>
  void reserve(std::size_t names) {
    if (names * 2 > slots_.size()) rehash(names);
  }

  /// \param name_of  returns the name at a position
  /// Complexity: constant.
  template <class NameOf>
  [[nodiscard]] std::optional<std::size_t> find(std::string_view name,
                                                NameOf&& name_of) const noexcept {
    if (slots_.empty()) return std::nullopt;
    const Slot& slot = slots_[locate(name, hash(name), name_of)];
    if (slot.place == 0) return std::nullopt;
    return slot.place - 1;
  }

  /// Adds the name at a position. Returns false if another position has the same name.
  /// Complexity: constant on average.
  template <class NameOf>
  [[nodiscard]] bool add(std::string_view name, std::size_t place, NameOf&& name_of) {
    if ((count_ + 1) * 2 > slots_.size()) rehash(larger<std::size_t>(8, count_ * 2));
    const std::uint32_t hashed = hash(name);
    Slot& slot = slots_[locate(name, hashed, name_of)];
    if (slot.place != 0) return false;
    slot = {hashed, static_cast<std::uint32_t>(place + 1)};
    ++count_;
    return true;
  }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t place = 0;  ///< the position plus one; 0 is free
  };

  /// Returns the slot of the name, or the free one that it would take.
  template <class NameOf>
  [[nodiscard]] std::size_t locate(std::string_view name, std::uint32_t hashed,
                                   NameOf&& name_of) const noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hashed & mask;
    while (slots_[at].place != 0 &&
           (slots_[at].hash != hashed || name_of(slots_[at].place - 1) != name)) {
      at = (at + 1) & mask;
    }
    return at;
  }

  template <class Owner = void>
  void rehash(std::size_t names) {
    DeferredVector<Slot, Owner> slots(std::bit_ceil(names * 2));
    const std::size_t mask = slots.size() - 1;
    for (const auto& slot : deferred<Owner>(slots_)) {
      if (slot.place == 0) continue;
      std::size_t at = slot.hash & mask;
      while (slots[at].place != 0) at = (at + 1) & mask;
      slots[at] = slot;
    }
    slots_.swap(slots);
  }

  /// Combines the halves of a 128-bit product.
  [[nodiscard]] static std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }

  [[nodiscard]] std::uint32_t hash(std::string_view name) const noexcept {
    std::uint64_t state = seed_ ^ name.size();
    while (!name.empty()) {
      std::uint64_t word = 0;
      const std::size_t bytes = smaller(name.size(), sizeof word);
      std::memcpy(&word, name.data(), bytes);
      state = fold(state ^ word, 0x9e3779b97f4a7c15U ^ seed_);
      name.remove_prefix(bytes);
    }
    state = fold(state, 0xd6e8feb86659fd93U);
    return static_cast<std::uint32_t>(state ^ (state >> 32));
  }

  std::vector<Slot> slots_;
  std::size_t count_ = 0;
  std::uint64_t seed_ = os::random_seed() | 1;
};

}  // namespace allot::gguf
