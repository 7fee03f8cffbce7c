// SPDX-License-Identifier: MIT
/// \file
/// What an arena notifies of its operations: a compile-time policy. This header has its concept and
/// the null model; docs/policies.md lists the models.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace allot {

/// What `Arena` requires of an observer. All members are called inside the arena's guard and must
/// not call the arena.
///
/// | expression                    | when                                                       |
/// |-------------------------------|------------------------------------------------------------|
/// | `o.allocated(block, request)` | noexcept, after a block was made                           |
/// | `o.deallocated(block)`        | noexcept, after a block was freed                          |
/// | `o.refused(request, reason)`  | noexcept, after a valid request could not be granted       |
template <class ObserverType>
concept Observer = std::is_move_constructible_v<ObserverType> &&
    requires(ObserverType o, const Block& block, const Request& request, RefusalReason reason) {
  requires noexcept(o.allocated(block, request), o.deallocated(block), o.refused(request, reason));
};

/// An observer that distinguishes resizes in place: `o.resized(before, now, request)`, where the
/// request has the bytes that the block holds now. Others see a block freed and one allocated.
template <class ObserverType>
concept NotedOfResizes = Observer<ObserverType> &&
    requires(ObserverType o, const Block& block, const Request& request) {
  requires noexcept(o.resized(block, block, request));
};

/// An observer that distinguishes refusals that are thrown from those that return nothing:
/// `o.refusal_thrown()`, after `refused`.
template <class ObserverType>
concept NotedOfThrows = Observer<ObserverType> && requires(ObserverType o) {
  requires noexcept(o.refusal_thrown());
};

/// An observer that finds blocks by offset: `AddressIndex`, or several observers with one. The arena
/// then has `block_at`.
template <class ObserverType>
concept IndexesBlocks = Observer<ObserverType> &&
    requires(const ObserverType o, std::uint64_t offset) {
  { o.block_at_offset(offset) }
  noexcept->std::same_as<std::optional<Block>>;
  { o.untracked() }
  noexcept->std::same_as<std::size_t>;
};

/// Ignores every notice. Takes no space in the arena.
struct Unobserved {
  static constexpr void allocated(const Block&, const Request&) noexcept {}
  static constexpr void deallocated(const Block&) noexcept {}
  static constexpr void refused(const Request&, RefusalReason) noexcept {}
};

static_assert(Observer<Unobserved>);

namespace detail {

template <Observer ObserverType>
constexpr void notify_resized(ObserverType& observer, const Block& before, const Block& now,
                              const Request& request) noexcept {
  if constexpr (NotedOfResizes<ObserverType>) {
    observer.resized(before, now, request);
  } else {
    observer.deallocated(before);
    observer.allocated(now, request);
  }
}

template <Observer ObserverType>
constexpr void notify_thrown(ObserverType& observer) noexcept {
  if constexpr (NotedOfThrows<ObserverType>) observer.refusal_thrown();
}

}  // namespace detail

}  // namespace allot
