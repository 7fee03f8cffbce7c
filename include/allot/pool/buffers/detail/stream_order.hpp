// SPDX-License-Identifier: MIT
/// \file
/// `StreamOrder`: the timeline of a pool's streams, with what a pool adds to it: streams come at
/// any time, and are forgotten when only the pool knows them.
#pragma once

#include <allot/device/device.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/stream/stream_timeline.hpp>
#include <allot/stream/wait_noexcept.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace allot::detail {

/// A buffer is returned with a stamp of its lane. For a `SharedStream` an event is recorded when
/// another stream wants what was returned; for any other stream at each return, as the stream may
/// be gone afterwards.
///
/// Nothing here is thread-safe.
template <Device DeviceType>
class StreamOrder {
 public:
  using stream_type = typename DeviceType::stream_type;
  using Owner = std::shared_ptr<stream_type>;

  explicit StreamOrder(DeviceType& device) : device_{&device}, timeline_{device} {}
  StreamOrder(const StreamOrder&) = delete;
  StreamOrder& operator=(const StreamOrder&) = delete;
  ~StreamOrder() { timeline_.wait_for_all(); }

  [[nodiscard]] std::size_t lanes() const noexcept { return timeline_.lanes(); }
  [[nodiscard]] const StreamTimeline<DeviceType>& timeline() const noexcept { return timeline_; }
  [[nodiscard]] StreamTimeline<DeviceType>& timeline() noexcept { return timeline_; }

  /// Returns the lane of a stream, if it has one. Complexity: linear in the streams.
  [[nodiscard]] std::optional<std::uint32_t> find(const stream_type& stream,
                                                  const Owner* owner) noexcept {
    return timeline_.find(stream, owner);
  }

  /// Adds a lane for a stream that has none. Throws: as `StreamTimeline::add`; nothing has changed.
  [[nodiscard]] std::uint32_t add(const stream_type& stream, const Owner* owner) {
    if (uses_.size() <= timeline_.lanes()) uses_.resize(timeline_.lanes() + 1);
    const std::uint32_t lane = timeline_.add(stream, owner);
    uses_[lane].end = {};
    return lane;
  }

  /// Forgets the streams that only this object can still use, once all their work is done, and
  /// calls `done(lane)` for each. Returns their owners: destroy them without the pool's mutex, as
  /// they may use the pool.
  /// \param waits  whether the host waits for those that were shared
  /// Throws: `std::bad_alloc`; nothing has changed.
  template <class Function>
  [[nodiscard]] std::vector<Owner> forget_unused(bool waits, Function&& done) {
    std::vector<Owner> unused;
    unused.reserve(lanes());
    for (std::uint32_t lane = 1; lane < lanes(); ++lane) {
      if (!timeline_.is_used(lane) || uses_[lane].in_use != 0 || !can_forget(lane, waits)) continue;
      done(lane);
      unused.push_back(timeline_.remove(lane));
    }
    return unused;
  }

  /// Notes that a buffer was acquired for a lane.
  void acquire(std::uint32_t lane) noexcept {
    if (lane == 0) return;
    ++uses_[lane].in_use;
    uses_[lane].end = {};
  }
  /// Notes that a buffer that was acquired for a lane is returned elsewhere.
  void release(std::uint32_t lane) noexcept {
    if (lane != 0) --uses_[lane].in_use;
  }

  /// Notes that a buffer that was acquired for a lane is returned there. If neither an event nor the
  /// stream can show when its work is done, it stays on its stream: see
  /// `StreamTimeline::can_order`.
  [[nodiscard]] Stamp give_back(std::uint32_t lane, stream_type* stream) noexcept {
    if (lane == 0) return {};
    release(lane);
    const Stamp stamp = timeline_.stamp(lane);
    if (timeline_.owner(lane) != nullptr) return stamp;
    try {
      timeline_.record(lane, *stream);
    } catch (...) {
      if (wait_noexcept(*device_, *stream)) timeline_.set_done(lane);
    }
    return stamp;
  }

 private:
  struct Use {
    std::uint64_t in_use = 0;  // acquired there, and not yet returned
    Stamp end{};               // of all that a shared stream ever gets, once that is known
  };

  [[nodiscard]] bool can_forget(std::uint32_t lane, bool waits) noexcept {
    const Owner& owner = timeline_.owner(lane);
    if (owner != nullptr && owner.use_count() != 1) return false;
    Stamp& end = uses_[lane].end;
    if (owner == nullptr) {
      end = timeline_.last_stamp(lane);
    } else if (end.lane == 0) {
      end = timeline_.stamp(lane);  // includes work that the pool does not know of
    }
    try {
      if (owner != nullptr && waits) timeline_.wait(end);
      return timeline_.is_done(end);
    } catch (...) {
      return false;
    }
  }

  DeviceType* device_;
  StreamTimeline<DeviceType> timeline_;
  std::vector<Use> uses_{1};  // of each lane
};

}  // namespace allot::detail
