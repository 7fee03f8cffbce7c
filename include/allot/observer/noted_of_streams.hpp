// SPDX-License-Identifier: MIT
/// \file
/// `NotedOfStreams`: an observer of pools that distinguishes streams.
#pragma once

#include <allot/observer/observer.hpp>

#include <cstdint>

namespace allot {

/// An observer that distinguishes streams: `o.on_stream(number)`. A pool notifies it before each other
/// notice of the stream that the buffer is used on: a number of the pool's, 0 for devices that work at
/// once. A stream that is gone leaves its number to a later one.
template <class ObserverType>
concept NotedOfStreams = Observer<ObserverType> && requires(ObserverType o, std::uint32_t number) {
  requires noexcept(o.on_stream(number));
};

namespace detail {

template <Observer ObserverType>
constexpr void notify_stream(ObserverType& observer, std::uint32_t number) noexcept {
  if constexpr (NotedOfStreams<ObserverType>) observer.on_stream(number);
}

}  // namespace detail

}  // namespace allot
