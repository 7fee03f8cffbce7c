// SPDX-License-Identifier: MIT
/// \file
/// `PolicySet`: names the policies of an arena that do not depend on where its memory is.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/synchronization/synchronization.hpp>

namespace allot {

/// A type with three members, `Strategy`, `Alignment` and `Synchronization`, for `ArenaOf`.
template <class Set>
concept PolicySet = Strategy<typename Set::Strategy> && Alignment<typename Set::Alignment> &&
    Synchronization<typename Set::Synchronization>;

}  // namespace allot
