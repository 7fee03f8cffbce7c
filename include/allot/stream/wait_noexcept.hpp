// SPDX-License-Identifier: MIT
/// \file
/// `wait_noexcept`: waits, without throwing, for a stream or an event before memory is released
/// that its work may touch.
#pragma once

#include <allot/device/device.hpp>

namespace allot::detail {

/// Waits for all work of a stream, or up to an event. Retries once: HIP reports an earlier error a
/// single time. Returns false if the device no longer responds: nothing is known of its work then.
template <Device DeviceType, class StreamOrEvent>
bool wait_noexcept(DeviceType& device, StreamOrEvent& stream_or_event) noexcept {
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      device.synchronize(stream_or_event);
      return true;
    } catch (...) {
    }
  }
  return false;
}

}  // namespace allot::detail
