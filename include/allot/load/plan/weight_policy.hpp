// SPDX-License-Identifier: MIT
/// \file
/// `WeightPolicy`: the strategy, alignment and synchronization of a model's memory.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/synchronization/locked.hpp>
#include <allot/synchronization/synchronization.hpp>

namespace allot::load {

/// Names the policies of a model's memory; the memory itself is the device's.
template <class P>
concept WeightPolicy = Strategy<typename P::Strategy> && Alignment<typename P::Alignment> &&
    Synchronization<typename P::Synchronization> && P::Synchronization::is_thread_safe;

/// Best fit at 256 bytes, shared between threads.
struct DefaultWeights {
  using Strategy = allot::BestFit;
  using Alignment = allot::AlignTo<256>;
  using Synchronization = allot::Locked<>;
};

static_assert(WeightPolicy<DefaultWeights>);

}  // namespace allot::load
