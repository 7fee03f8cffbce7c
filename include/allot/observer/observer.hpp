// SPDX-License-Identifier: MIT
/// \file
/// Who is told what an arena does: a compile-time policy.
///
/// | policy            | what it keeps                                   |
/// |-------------------|-------------------------------------------------|
/// | `Unobserved`      | nothing                                         |
/// | `Ledger`          | counts and bytes (`ledger.hpp`)                 |
/// | `Observers<A...>` | several observers, told in turn (`observers.hpp`)|
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>

#include <concepts>

namespace allot {

/// What `Arena` asks of an observer. All are called inside the arena's guard and must not call the
/// arena.
///
/// | expression                    | when                                                       |
/// |-------------------------------|------------------------------------------------------------|
/// | `o.allocated(block, request)` | noexcept, after a block was made                           |
/// | `o.deallocated(block)`        | noexcept, after a block was freed                          |
/// | `o.refused(request, reason)`  | noexcept, after a valid request could not be granted       |
template <class ObserverType>
concept Observer = std::move_constructible<ObserverType> &&
    requires(ObserverType o, const Block& block, const Request& request, RefusalReason reason) {
  { o.allocated(block, request) }
  noexcept;
  { o.deallocated(block) }
  noexcept;
  { o.refused(request, reason) }
  noexcept;
};

/// Tells nobody. Takes no space in the arena.
struct Unobserved {
  static constexpr void allocated(const Block&, const Request&) noexcept {}
  static constexpr void deallocated(const Block&) noexcept {}
  static constexpr void refused(const Request&, RefusalReason) noexcept {}
};

static_assert(Observer<Unobserved>);

}  // namespace allot
