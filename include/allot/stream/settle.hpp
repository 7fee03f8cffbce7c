// SPDX-License-Identifier: MIT
/// \file
/// Waiting for a stream or an event before memory goes that its work may touch, where nothing may
/// be thrown.
#pragma once

#include <allot/device/device.hpp>

namespace allot::detail {

/// Waits for all work of a stream, or up to an event; once more where that fails, as errors of
/// earlier work are told once. False where the device answers no more: then nothing is known of its
/// work.
template <Device DeviceType, class StreamOrEvent>
bool settle(DeviceType& device, StreamOrEvent& stream_or_event) noexcept {
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
