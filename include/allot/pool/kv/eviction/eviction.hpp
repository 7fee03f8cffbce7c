// SPDX-License-Identifier: MIT
/// \file
/// Which of the blocks that a `KvCache` keeps for prompts to come it evicts first: a compile-time
/// policy. This header has its concept and the null model; docs/policies.md lists the models.
#pragma once

#include <allot/core/version.hpp>

#include <concepts>
#include <cstdint>
#include <span>
#include <type_traits>

namespace allot {

/// What `KvCache` requires of an eviction policy. It is notified of *kept* blocks, which prompts can
/// find, and is asked for one of those that are *unused*: kept, and in no sequence.
///
/// | expression                  | meaning                                                        |
/// |-----------------------------|----------------------------------------------------------------|
/// | `Policy::keeps_blocks`      | constant: false if a block is released with its last sequence   |
/// | `Policy policy{blocks}`     | for blocks numbered below `blocks`; takes all memory it needs   |
/// | `policy.note_kept(block)`   | prompts can find the block from now on; a sequence has it       |
/// | `policy.note_hit(block)`    | a prompt found it; a sequence has it                            |
/// | `policy.note_gone(block)`   | prompts cannot find it any longer; requires that it is used     |
/// | `policy.add(block)`         | no sequence has it: it is unused                                |
/// | `policy.remove(block)`      | it is unused no longer                                          |
/// | `policy.contains(block)`    | returns whether it is unused                                    |
/// | `policy.size()`             | returns how many are unused                                     |
/// | `policy.next()`             | returns the unused block to evict next; requires that there is one |
/// | `policy.move(from, to)`     | block `from`, unused or not, is `to` from now on                |
///
/// None throws but the constructor. Each takes at most logarithmic time, whatever the blocks are.
template <class EvictionType>
concept Eviction = std::constructible_from<EvictionType, std::uint64_t> &&
    requires(EvictionType& policy, const EvictionType& unchanged, std::uint32_t block) {
  typename std::bool_constant<EvictionType::keeps_blocks>;
  requires noexcept(policy.note_kept(block));
  requires noexcept(policy.note_hit(block));
  requires noexcept(policy.note_gone(block));
  requires noexcept(policy.add(block));
  requires noexcept(policy.remove(block));
  requires noexcept(policy.move(block, block));
  { unchanged.contains(block) }
  noexcept->std::same_as<bool>;
  { unchanged.size() }
  noexcept->std::same_as<std::uint64_t>;
  { unchanged.next() }
  noexcept->std::same_as<std::uint32_t>;
};

/// A policy that can be notified of the prompts that wait.
///
/// | expression              | meaning                                                            |
/// |-------------------------|--------------------------------------------------------------------|
/// | `policy.expect(blocks)` | these kept blocks will be hit, in this order; replaces what was said before |
///
/// It takes linear time and throws nothing.
template <class EvictionType>
concept QueueAwareEviction = Eviction<EvictionType> &&
    requires(EvictionType& policy, std::span<const std::uint32_t> blocks) {
  requires noexcept(policy.expect(blocks));
};

/// Keeps nothing: a block that no sequence uses is released at once, so that prompts share blocks
/// only with sequences that are alive. The null model: it takes no space.
class NothingKept {
 public:
  static constexpr bool keeps_blocks = false;  ///< blocks end with their last sequence

  /// Needs nothing.
  constexpr explicit NothingKept(std::uint64_t /*blocks*/) noexcept {}

  constexpr void note_kept(std::uint32_t) noexcept {}            ///< does nothing
  constexpr void note_hit(std::uint32_t) noexcept {}             ///< does nothing
  constexpr void note_gone(std::uint32_t) noexcept {}            ///< does nothing
  constexpr void add(std::uint32_t) noexcept {}                  ///< does nothing
  constexpr void remove(std::uint32_t) noexcept {}               ///< does nothing
  constexpr void move(std::uint32_t, std::uint32_t) noexcept {}  ///< does nothing
  /// Returns false.
  [[nodiscard]] constexpr bool contains(std::uint32_t) const noexcept { return false; }
  /// Returns 0.
  [[nodiscard]] constexpr std::uint64_t size() const noexcept { return 0; }
  /// Never called: there is none.
  [[nodiscard]] constexpr std::uint32_t next() const noexcept { return 0; }
};

static_assert(Eviction<NothingKept>);

}  // namespace allot
