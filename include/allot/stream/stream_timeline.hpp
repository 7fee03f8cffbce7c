// SPDX-License-Identifier: MIT
/// \file
/// `StreamTimeline`: the one clock for work on a device's streams. It knows when memory that a
/// stream's work touches may be reused: by another stream, or by the host.
///
/// | type             | what it is                                                              |
/// |------------------|-------------------------------------------------------------------------|
/// | lane             | a stream by number; lane 0 stands for work that is done once submitted  |
/// | `Stamp`          | all work that was submitted to a lane up to a time                      |
/// | `StreamTimeline` | hands out stamps; makes streams, or the host, wait for them             |
#pragma once

#include <allot/device/device.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/stream/shared_stream.hpp>
#include <allot/stream/wait_noexcept.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace allot::detail {

/// All work that was submitted to a lane up to a time. All lanes share one clock.
struct Stamp {
  std::uint32_t lane = 0;
  std::uint64_t time = 0;

  friend constexpr bool operator==(const Stamp&, const Stamp&) noexcept = default;
};

/// An event is recorded as late as possible, and then covers all work that its lane was given
/// before. If a lane shares the ownership of its stream, that is when a stamp is first ordered or
/// queried; for any other lane, call `record` while the stream exists.
///
/// A lane remembers what it has waited for, so no stream waits twice. It has only a few events:
/// once all are under way, the latest one is recorded again, and covers more. So memory is bounded,
/// and work that the earlier events cover is still found to be done once it is.
///
/// Nothing here is thread-safe.
template <Device DeviceType>
class StreamTimeline {
 public:
  using stream_type = typename DeviceType::stream_type;
  using Owner = std::shared_ptr<stream_type>;

  /// \param device       must outlive the timeline
  /// \param most_events  of a lane, at least one. One is enough if `is_done` is rarely called.
  explicit StreamTimeline(DeviceType& device, std::size_t most_events = 1) noexcept
      : device_{&device}, most_events_{most_events} {}
  StreamTimeline(const StreamTimeline&) = delete;
  StreamTimeline& operator=(const StreamTimeline&) = delete;

  /// Returns the number of lanes, including lane 0 and free ones.
  [[nodiscard]] std::uint32_t lanes() const noexcept {
    return static_cast<std::uint32_t>(lanes_.size()) + 1;
  }

  /// Returns the lane of a stream, if it has one. Complexity: linear in the lanes.
  /// \param owner  the stream's, if the lane may share it; else null
  [[nodiscard]] std::optional<std::uint32_t> find(const stream_type& stream,
                                                  const Owner* owner) noexcept {
    if constexpr (std::is_empty_v<stream_type>) return 0;
    const void* const key = key_of(stream);
    for (std::uint32_t i = 0; key != nullptr && i < lanes_.size(); ++i) {
      if (lanes_[i].key != key) continue;
      if (owner != nullptr && lanes_[i].owner == nullptr) lanes_[i].owner = *owner;
      return i + 1;
    }
    return std::nullopt;
  }

  /// Adds a lane for a stream. Throws: `std::invalid_argument` for one that was moved from; what
  /// making an event throws; `std::bad_alloc`. Nothing has changed then.
  [[nodiscard]] std::uint32_t add(const stream_type& stream, const Owner* owner) {
    if constexpr (std::is_empty_v<stream_type>) return 0;
    if (key_of(stream) == nullptr) {
      throw std::invalid_argument{
          "the stream is empty: it was moved from; pass the one it was moved to"};
    }
    std::size_t at = 0;
    while (at < lanes_.size() && lanes_[at].key != nullptr) ++at;
    if (at == lanes_.size()) {
      for (Lane& lane : lanes_) lane.seen.resize(at + 1);  // longer than needed does no harm
      Lane made;
      made.seen.resize(at + 1);
      make_event(made);
      lanes_.push_back(std::move(made));
    }
    Lane& lane = lanes_[at];
    lane.key = key_of(stream);
    if (owner != nullptr) lane.owner = *owner;
    lane.seen.assign(lanes_.size(), 0);
    return static_cast<std::uint32_t>(at) + 1;
  }

  /// Frees a lane whose last stamp is known to be done; another stream may get its number. Its
  /// stamps stay valid, and done. Returns what kept the stream alive.
  Owner remove(std::uint32_t lane) noexcept {
    lanes_[lane - 1].key = nullptr;
    return std::exchange(lanes_[lane - 1].owner, nullptr);
  }

  /// Returns true if a lane has a stream.
  [[nodiscard]] bool is_used(std::uint32_t lane) const noexcept {
    return lane != 0 && lanes_[lane - 1].key != nullptr;
  }
  [[nodiscard]] const Owner& owner(std::uint32_t lane) const noexcept {
    return lanes_[lane - 1].owner;
  }

  /// Advances the clock: no event recorded earlier covers what is stamped with the new time.
  [[nodiscard]] std::uint64_t tick() noexcept { return ++now_; }

  /// Stamps all work that a lane was given so far.
  Stamp stamp(std::uint32_t lane) noexcept {
    if (lane == 0) return {};
    lanes_[lane - 1].stamped = tick();
    return {lane, now_};
  }
  /// Returns the lane's latest stamp.
  [[nodiscard]] Stamp last_stamp(std::uint32_t lane) const noexcept {
    return lane == 0 ? Stamp{} : Stamp{lane, lanes_[lane - 1].stamped};
  }

  /// Returns true if the lane's next `record` has to make an event.
  [[nodiscard]] bool needs_event(std::uint32_t lane) const noexcept {
    if (lane == 0) return false;
    const Lane& of = lanes_[lane - 1];
    return of.spare.empty() && of.records.size() < most_events_;
  }
  /// Makes that event now, if one is needed.
  void reserve_event(std::uint32_t lane) {
    if (needs_event(lane)) make_event(lanes_[lane - 1]);
  }

  /// Records an event for all work that a lane was given, on its stream. Throws: what the device
  /// throws; nothing has changed then.
  void record(std::uint32_t lane, stream_type& stream) {
    if (lane != 0) record(lanes_[lane - 1], stream);
  }

  /// Notes that all work of a lane is done.
  void set_done(std::uint32_t lane) noexcept {
    if (lane != 0) forget_records(lanes_[lane - 1], now_);
  }

  /// Returns true if the host knows that the work is done. Does not ask the device.
  [[nodiscard]] bool is_known_done(Stamp stamp) const noexcept {
    return stamp.lane == 0 || stamp.time <= lanes_[stamp.lane - 1].done;
  }

  /// Returns true if it can be found out when the work is done: false if no event covers it and its
  /// stream may be gone.
  [[nodiscard]] bool can_order(Stamp stamp) const noexcept {
    if (is_known_done(stamp)) return true;
    const Lane& lane = lanes_[stamp.lane - 1];
    return lane.owner != nullptr || stamp.time <= lane.recorded;
  }

  /// Returns true if later work of a lane comes after it without a further wait.
  [[nodiscard]] bool is_ordered(Stamp stamp, std::uint32_t lane) const noexcept {
    return stamp.lane == lane || is_known_done(stamp) ||
           (lane != 0 && stamp.time <= lanes_[lane - 1].seen[stamp.lane - 1]);
  }

  /// Makes later work of a lane wait for it, on the device. Requires: `can_order(stamp)`.
  /// Throws: what the device throws; nothing has changed then.
  void order(Stamp stamp, std::uint32_t lane, stream_type& stream) {
    if (is_ordered(stamp, lane)) return;
    Record& record = record_of(stamp);
    device_->wait(stream, record.event);
    lanes_[lane - 1].seen[stamp.lane - 1] = record.time;
  }

  /// Returns true if the work is done. Asks the device, and records an event first if needed.
  /// Throws: what the device throws.
  [[nodiscard]] bool is_done(Stamp stamp) {
    if (is_known_done(stamp)) return true;
    Lane& lane = lanes_[stamp.lane - 1];
    forget_done(lane);
    if (lane.recorded < stamp.time && lane.owner != nullptr && lane.records.size() < most_events_) {
      record(lane, *lane.owner);
      forget_done(lane);
    }
    return is_known_done(stamp);
  }

  /// Asks the device which events of all lanes are done. Returns true if that brought anything new.
  /// A query that fails is repeated next time.
  bool poll() noexcept {
    bool is_more_done = false;
    for (Lane& lane : lanes_) {
      const std::uint64_t before = lane.done;
      try {
        forget_done(lane);
      } catch (...) {
      }
      is_more_done |= lane.done != before;
    }
    return is_more_done;
  }

  /// Waits for the work, on the host. Requires: `can_order(stamp)`. Throws: what the device throws.
  void wait(Stamp stamp) {
    if (is_known_done(stamp)) return;
    Record& record = record_of(stamp);
    device_->synchronize(record.event);
    forget_records(lanes_[stamp.lane - 1], record.time);
  }

  /// Waits for everything that was stamped; a wait that fails is tried twice.
  void wait_for_all() noexcept {
    for (std::uint32_t lane = 1; lane < lanes(); ++lane) {
      for (int attempt = 0; attempt < 2 && !try_to_wait(last_stamp(lane)); ++attempt) {
        const Owner& stream = owner(lane);
        if (stream != nullptr && detail::wait_noexcept(*device_, *stream)) set_done(lane);
      }
    }
  }

 private:
  struct Record {
    std::uint64_t time;  // of the latest stamp that the event covers
    typename DeviceType::event_type event;
  };

  struct Lane {
    const void* key = nullptr;      // null: free
    Owner owner{};                  // null: not shared
    std::uint64_t stamped = 0;      // the latest stamp
    std::uint64_t recorded = 0;     // the latest stamp that an event covers
    std::uint64_t done = 0;         // the latest that is known to be done
    std::vector<Record> records{};  // under way, the earliest first
    std::vector<typename DeviceType::event_type> spare{};
    std::size_t events = 0;
    std::vector<std::uint64_t> seen{};  // for each lane, the stamp that this lane has waited for
  };

  /// Reserves room in both lists, so that moving an event between them cannot fail.
  void make_event(Lane& lane) {
    lane.records.reserve(lane.events + 1);
    lane.spare.reserve(lane.events + 1);
    lane.spare.push_back(device_->make_event());
    ++lane.events;
  }

  void record(Lane& lane, stream_type& stream) {
    if (lane.records.size() < most_events_) {
      if (lane.spare.empty()) make_event(lane);
      device_->record(lane.spare.back(), stream);
      lane.records.push_back({now_, std::move(lane.spare.back())});
      lane.spare.pop_back();
    } else {
      device_->record(lane.records.back().event, stream);
      lane.records.back().time = now_;
    }
    lane.recorded = now_;
  }

  /// Returns the first event that covers a stamp; records one now if there is none.
  [[nodiscard]] Record& record_of(Stamp stamp) {
    Lane& lane = lanes_[stamp.lane - 1];
    if (lane.recorded < stamp.time) record(lane, *lane.owner);
    std::size_t at = lane.records.size() - 1;
    while (at != 0 && lane.records[at - 1].time >= stamp.time) --at;
    return lane.records[at];
  }

  void forget_done(Lane& lane) {
    while (!lane.records.empty() && device_->is_done(lane.records.front().event)) {
      forget_records(lane, lane.records.front().time);
    }
  }

  /// Notes that all work up to a time is done.
  void forget_records(Lane& lane, std::uint64_t time) noexcept {
    if (lane.done < time) lane.done = time;
    std::size_t count = 0;
    for (; count < lane.records.size() && lane.records[count].time <= time; ++count) {
      lane.spare.push_back(std::move(lane.records[count].event));
    }
    lane.records.erase(lane.records.begin(),
                       lane.records.begin() + static_cast<std::ptrdiff_t>(count));
  }

  [[nodiscard]] bool try_to_wait(Stamp stamp) noexcept {
    if (!can_order(stamp)) return false;
    try {
      wait(stamp);
      return true;
    } catch (...) {
      return false;
    }
  }

  DeviceType* device_;
  std::size_t most_events_;
  std::vector<Lane> lanes_;
  std::uint64_t now_ = 0;
};

}  // namespace allot::detail
