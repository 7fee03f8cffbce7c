// SPDX-License-Identifier: MIT
/// \file
/// `PolicySet`: names the policies of an arena that do not depend on where its memory is. `ArenaOf`
/// makes an arena type from one.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/memory/memory.hpp>
#include <allot/observer/observer.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/synchronization/synchronization.hpp>

namespace allot {

/// A type with three members, `Strategy`, `Alignment` and `Synchronization`, for `ArenaOf`.
template <class Set>
concept PolicySet = Strategy<typename Set::Strategy> && Alignment<typename Set::Alignment> &&
    Synchronization<typename Set::Synchronization>;

/// An arena with the policies of a set, over a given memory.
template <PolicySet Set, Memory MemoryType = OffsetsOnly, Observer ObserverType = Unobserved>
using ArenaOf = Arena<typename Set::Strategy, typename Set::Alignment,
                      typename Set::Synchronization, MemoryType, ObserverType>;

}  // namespace allot
