// SPDX-License-Identifier: MIT
/// \file
/// `Lane`: copies to one device, on several streams.
#pragma once

#include <allot/device/device.hpp>
#include <allot/load/load_options.hpp>
#include <allot/os/atomic.hpp>
#include <allot/os/monitor.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/stream/wait_noexcept.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// One device's streams, and an event for each slot in flight to the device.
template <Device DeviceType>
class Lane {
 public:
  Lane(DeviceType& device, const LoadOptions& options, std::size_t slots) : device_{&device} {
    for (std::size_t i = 0; i < slots; ++i) events_.push_back(device.make_event());
    for (std::uint32_t i = 0; i < options.streams; ++i)
      streams_.push_back(std::make_unique<Stream>(device.make_stream()));
  }

  /// Returns the stream that is next, or has the fewest bytes in flight.
  [[nodiscard]] std::size_t choose(StreamChoice choice) noexcept {
    if (choice == StreamChoice::round_robin) return next_.fetch_add(1) % streams_.size();
    std::size_t least = 0;
    for (std::size_t i = 1; i < streams_.size(); ++i) {
      if (streams_[i]->outstanding.load() < streams_[least]->outstanding.load()) {
        least = i;
      }
    }
    return least;
  }

  /// Calls `copies(device, stream)` and records the slot's event after them. If that throws, waits
  /// for copies under way: another reader may take the slot before it notices that the load failed.
  template <class Copies>
  void submit(std::size_t stream, std::size_t slot, std::uint64_t bytes, Copies&& copies) {
    Stream& chosen = *streams_[stream];
    const os::Monitor::Lock lock{chosen.monitor};
    try {
      copies(*device_, chosen.stream);
      device_->record(events_[slot], chosen.stream);
    } catch (...) {
      allot::detail::wait_noexcept(*device_, chosen.stream);
      throw;
    }
    chosen.outstanding.fetch_add(bytes);
  }

  /// Waits for the last copies that were submitted from a slot.
  void wait(std::size_t stream, std::size_t slot, std::uint64_t bytes) {
    device_->synchronize(events_[slot]);
    streams_[stream]->outstanding.fetch_sub(bytes);
  }

  void synchronize() {
    for (const auto& stream : streams_) device_->synchronize(stream->stream);
  }

 private:
  struct Stream {
    explicit Stream(typename DeviceType::stream_type made) : stream{std::move(made)} {}
    os::Monitor monitor;
    typename DeviceType::stream_type stream;
    os::Atomic<std::uint64_t> outstanding{0};
  };

  DeviceType* device_;
  std::vector<typename DeviceType::event_type> events_;
  std::vector<std::unique_ptr<Stream>> streams_;  // released first: they wait for their copies
  os::Atomic<std::size_t> next_{0};
};

}  // namespace allot::load::detail
