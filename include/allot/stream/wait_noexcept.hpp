// SPDX-License-Identifier: MIT
/// \file
/// `wait_noexcept`: waits for a stream or an event before memory goes that its work may touch, if
/// nothing may be thrown.
#pragma once

#include <allot/device/device.hpp>

namespace allot::detail {

/// Waits for all work of a stream, or up to an event; once more if that fails, as errors of earlier
/// work are reported once. False if the device no longer answers: nothing is known of its work then.
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
