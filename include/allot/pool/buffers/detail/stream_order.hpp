// SPDX-License-Identifier: MIT
/// \file
/// Orders the work of a device's streams where memory goes from one to another: with one event for
/// each stream, recorded as late as can be, and no wait twice.
#pragma once

#include <allot/device/device.hpp>
#include <allot/stream/shared_stream.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace allot::detail {

/// The streams that a pool knows, as lanes. Lane 0 is no stream: what is returned there is done.
///
/// Each return has a time, which only grows. A lane's event covers the returns up to the time at
/// which it was recorded. A shared stream's event is recorded when another stream wants what was
/// returned; that of any other at each return, as the stream may be gone afterwards.
///
/// Nothing here is thread-safe.
template <Device DeviceType>
class StreamOrder {
 public:
  using stream_type = typename DeviceType::stream_type;
  using Owner = std::shared_ptr<stream_type>;

  explicit StreamOrder(DeviceType& device) : device_{&device} {}
  StreamOrder(const StreamOrder&) = delete;
  StreamOrder& operator=(const StreamOrder&) = delete;

  [[nodiscard]] std::size_t lanes() const noexcept { return lanes_.size() + 1; }

  /// The lane of a stream, if it has one. Complexity: linear in the streams.
  [[nodiscard]] std::optional<std::uint32_t> find(const stream_type& stream,
                                                  const Owner* owner) noexcept {
    if constexpr (std::is_empty_v<stream_type>) return 0;
    const void* const key = key_of(stream);
    for (std::uint32_t i = 0; key != nullptr && i < lanes_.size(); ++i) {
      Lane& lane = lanes_[i];
      if (lane.key != key) continue;
      if (owner != nullptr && lane.owner == nullptr) lane.owner = *owner;
      return i + 1;
    }
    return std::nullopt;
  }

  /// A lane for a stream that has none. Throws: `std::invalid_argument` for one that was moved
  /// from; what the device throws; nothing has changed.
  [[nodiscard]] std::uint32_t add(const stream_type& stream, const Owner* owner) {
    if (key_of(stream) == nullptr) {
      throw std::invalid_argument{"the stream is empty: it was moved from; give the one it is now"};
    }
    std::size_t at = 0;
    while (at < lanes_.size() && lanes_[at].key != nullptr) ++at;
    if (at == lanes_.size()) {
      for (Lane& lane : lanes_) lane.has_seen.resize(at + 1);  // longer than needed does no harm
      lanes_.push_back(
          Lane{.event = device_->make_event(), .has_seen = std::vector<std::uint64_t>(at + 1)});
    }
    Lane& lane = lanes_[at];
    lane.key = key_of(stream);
    lane.is_at_end = false;
    if (owner != nullptr) lane.owner = *owner;
    lane.has_seen.assign(lanes_.size(), 0);
    return static_cast<std::uint32_t>(at) + 1;
  }

  /// Forgets the streams that nobody but this object can use any more, once they are done with all
  /// that they were given, and calls `done(lane)` for each. Returns what kept them alive: to be
  /// destroyed without the pool's mutex, as whatever it is may use the pool.
  /// \param waits  whether the host waits for those that were shared
  /// Throws: `std::bad_alloc`; nothing has changed.
  template <class Callback>
  [[nodiscard]] std::vector<Owner> forget_unused(bool waits, Callback&& done) {
    std::vector<Owner> unused;
    unused.reserve(lanes_.size());
    for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
      Lane& lane = lanes_[i];
      if (lane.key == nullptr || lane.in_use != 0 || !can_forget(lane, waits)) continue;
      done(i + 1);
      lane.key = nullptr;
      unused.push_back(std::move(lane.owner));
    }
    return unused;
  }

  void acquired(std::uint32_t lane) noexcept {
    if (lane == 0) return;
    ++lanes_[lane - 1].in_use;
    lanes_[lane - 1].is_at_end = false;
  }
  /// What was acquired there is not returned there.
  void moved(std::uint32_t lane) noexcept {
    if (lane != 0) --lanes_[lane - 1].in_use;
  }

  /// Something is returned. Gives the time of it.
  [[nodiscard]] std::uint64_t returned(std::uint32_t number, stream_type* stream) noexcept {
    if (number == 0) return 0;
    Lane& lane = lanes_[number - 1];
    --lane.in_use;
    lane.returned = ++now_;
    if (lane.owner != nullptr) return now_;
    try {
      record(lane, *stream);
    } catch (...) {
      try {
        device_->synchronize(*stream);
        lane.done = now_;
      } catch (...) {  // what was returned then stays on its stream: see `can_order`
      }
    }
    return now_;
  }

  /// Whether `order` and `wait_for` can do anything: not where neither event nor stream could tell.
  [[nodiscard]] bool can_order(std::uint32_t number, std::uint64_t time) const noexcept {
    if (number == 0) return true;
    const Lane& lane = lanes_[number - 1];
    return lane.owner != nullptr || time <= lane.recorded || time <= lane.done;
  }

  /// Whether `order` has nothing to do.
  [[nodiscard]] bool is_ordered(std::uint32_t from, std::uint64_t time,
                                std::uint32_t to) const noexcept {
    return from == to || from == 0 || time <= lanes_[from - 1].done ||
           (to != 0 && time <= lanes_[to - 1].has_seen[from - 1]);
  }

  /// Has later work of stream `to` wait, on the device, for what was given to stream `from` before
  /// that time. Throws: what the device throws; nothing has changed.
  void order(std::uint32_t from, std::uint64_t time, std::uint32_t to, stream_type& to_stream) {
    Lane& lane = lanes_[from - 1];
    if (lane.recorded < time) record(lane, *lane.owner);
    device_->wait(to_stream, lane.event);
    lanes_[to - 1].has_seen[from - 1] = lane.recorded;
  }

  /// Waits, on the host, for what was given to a stream before that time. Throws: as `order`.
  void wait_for(std::uint32_t number, std::uint64_t time) {
    if (number == 0 || time <= lanes_[number - 1].done) return;
    Lane& lane = lanes_[number - 1];
    if (lane.recorded < time) record(lane, *lane.owner);
    device_->synchronize(lane.event);
    lane.done = lane.recorded;
  }

  /// Waits for all that was returned. What cannot be waited for is tried twice.
  void wait_for_all() noexcept {
    for (std::uint32_t number = 1; number <= lanes_.size(); ++number) {
      if (try_to_wait(number)) continue;
      Lane& lane = lanes_[number - 1];
      if (lane.owner == nullptr) {
        static_cast<void>(try_to_wait(number));
        continue;
      }
      try {
        device_->synchronize(*lane.owner);
      } catch (...) {  // the stream's own release waits once more
      }
    }
  }

 private:
  struct Lane {
    const void* key = nullptr;  // null: free
    Owner owner{};              // null: not shared
    typename DeviceType::event_type event;
    std::uint64_t returned = 0;             // time of the latest return
    std::uint64_t recorded = 0;             // returns up to then are covered by the event
    std::uint64_t done = 0;                 // and up to then, the host has seen them done
    std::uint64_t in_use = 0;               // acquired there, and not yet returned
    bool is_at_end = false;                 // the event covers all that a shared stream ever gets
    std::vector<std::uint64_t> has_seen{};  // for each lane, what this one has waited for
  };

  void record(Lane& lane, stream_type& stream) {
    device_->record(lane.event, stream);
    lane.recorded = now_;
  }

  [[nodiscard]] bool try_to_wait(std::uint32_t number) noexcept {
    const Lane& lane = lanes_[number - 1];
    if (lane.returned <= lane.done) return true;
    if (!can_order(number, lane.returned)) return false;
    try {
      wait_for(number, lane.returned);
      return true;
    } catch (...) {
      return false;
    }
  }

  [[nodiscard]] bool can_forget(Lane& lane, bool waits) noexcept {
    const bool is_shared = lane.owner != nullptr;
    if (is_shared && lane.owner.use_count() != 1) return false;
    if (!is_shared && lane.returned <= lane.done) return true;
    try {
      if (is_shared && !lane.is_at_end) record(lane, *lane.owner);
      lane.is_at_end = is_shared;
      if (lane.recorded < lane.returned) return false;
      if (is_shared && waits) {
        device_->synchronize(lane.event);
      } else if (!device_->is_done(lane.event)) {
        return false;
      }
    } catch (...) {
      return false;
    }
    lane.done = lane.recorded;
    return true;
  }

  DeviceType* device_;
  std::vector<Lane> lanes_;
  std::uint64_t now_ = 0;
};

}  // namespace allot::detail
