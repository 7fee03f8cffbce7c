// SPDX-License-Identifier: MIT
/// \file
/// `WeightPolicy`: the strategy, alignment and synchronization of a model's memory.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/observer/observer.hpp>
#include <allot/policy_set.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

namespace allot::load {

/// Names the policies of a model's memory; the memory comes from the device. A policy may also name an
/// `Observer`, such as `report::Recorder`: each arena that is loaded into then has one, which is notified
/// of every tensor by name. Plans are made without it.
template <class Policy>
concept WeightPolicy = PolicySet<Policy> && Policy::Synchronization::is_thread_safe;

/// Best fit at 256 bytes, shared between threads.
struct DefaultWeights {
  using Strategy = allot::BestFit;
  using Alignment = allot::AlignTo<256>;
  using Synchronization = allot::Locked<>;
};

static_assert(WeightPolicy<DefaultWeights>);

namespace detail {

template <class Policy>
struct ObserverNamedBy {
  using type = Unobserved;
};
template <class Policy>
requires requires { typename Policy::Observer; }
struct ObserverNamedBy<Policy> {
  using type = typename Policy::Observer;
};

/// The observer that a policy names, or none.
template <class Policy>
using ObserverOf = typename ObserverNamedBy<Policy>::type;

}  // namespace detail

}  // namespace allot::load
