// SPDX-License-Identifier: MIT
/// \file
/// `WeightPolicy`: the strategy, alignment and synchronization of a model's memory.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

namespace allot::load {

/// Names the policies of a model's memory; the memory comes from the device.
template <class Policy>
concept WeightPolicy = PolicySet<Policy> && Policy::Synchronization::is_thread_safe;

/// Best fit at 256 bytes, shared between threads.
struct DefaultWeights {
  using Strategy = allot::BestFit;
  using Alignment = allot::AlignTo<256>;
  using Synchronization = allot::Locked<>;
};

static_assert(WeightPolicy<DefaultWeights>);

}  // namespace allot::load
