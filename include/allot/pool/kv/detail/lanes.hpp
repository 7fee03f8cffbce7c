// SPDX-License-Identifier: MIT
/// \file
/// `Lanes`: the timeline of the streams that share blocks of memory, and for each block, which
/// streams have read and written it. Streams wait on the device; the host never waits.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/stream/stream_timeline.hpp>
#include <allot/stream/wait_noexcept.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace allot::detail {

/// Which lanes have touched some bytes. A time is the timeline's when the work was submitted or, if
/// more of it may follow, when it was noted: such times are renewed before they are used.
struct Touched {
  std::uint64_t written = 0;  // last time
  std::uint64_t read = 0;     // last time, by any lane
  std::uint32_t readers = 0;  // a bit for each lane that has read since the last write
  std::uint8_t writer = 0;
  bool is_written = false;
  bool more_writes = false;  // may have been submitted since `written`
  bool more_reads = false;   // may have been submitted since `read`
};

template <Device DeviceType>
class Lanes {
 public:
  using stream_type = typename DeviceType::stream_type;
  using stream_pointer = std::shared_ptr<stream_type>;

  static constexpr std::size_t most = 32;

  /// Throws: `std::invalid_argument` for no stream, too many and a null one; what making events
  /// throws.
  Lanes(DeviceType device, std::vector<stream_pointer> streams) : device_{std::move(device)} {
    if (streams.empty() || streams.size() > most) {
      throw std::invalid_argument{(FixedText<128>{} << "invalid number of lanes: " << streams.size()
                                                    << "; use 1 to " << most
                                                    << ", one for each stream")
                                      .c_str()};
    }
    for (stream_pointer& stream : streams) {
      if (stream == nullptr)
        throw std::invalid_argument{"the stream of a lane is null; give each lane a stream"};
      const std::uint32_t number = timeline_.add(*stream, &stream);
      lanes_.push_back({std::move(stream), number});
    }
  }
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;
  ~Lanes() {
    for (Lane& lane : lanes_) wait_noexcept(device_, *lane.stream);
  }

  [[nodiscard]] static std::vector<stream_pointer> make_streams(DeviceType& device,
                                                                std::size_t count) {
    std::vector<stream_pointer> streams;
    for (std::size_t i = 0; i < smaller(count, most + 1); ++i)
      streams.push_back(std::make_shared<stream_type>(device.make_stream()));
    return streams;
  }

  [[nodiscard]] DeviceType& device() noexcept { return device_; }
  [[nodiscard]] std::size_t size() const noexcept { return lanes_.size(); }

  /// Throws: `std::out_of_range`.
  [[nodiscard]] stream_type& stream(std::size_t lane) { return *owner_of(lane); }
  [[nodiscard]] const stream_pointer& owner_of(std::size_t lane) const {
    require(lane);
    return lanes_[lane].stream;
  }

  void require(std::size_t lane) const {
    if (lane < lanes_.size()) return;
    throw std::out_of_range{(FixedText<128>{} << "there is no lane " << lane << "; there are "
                                              << lanes_.size() << ", numbered from 0")
                                .c_str()};
  }

  /// Makes later work of the lane wait for the last write. Requires: other lanes' work on the bytes
  /// was submitted.
  /// Throws: what recording and waiting throw; the lane may then wait for more than before.
  void before_read(Touched& touched, std::size_t lane) {
    require(lane);
    if (!touched.is_written || touched.writer == lane) return;
    note_given(touched);
    wait_for(lane, touched.writer, touched.written);
  }

  /// Makes later work of the lane wait for the last writes and reads.
  void before_write(Touched& touched, std::size_t lane) {
    before_read(touched, lane);
    const std::uint32_t others = touched.readers & ~(std::uint32_t{1} << lane);
    if (others == 0) return;
    if (touched.more_reads) touched.read = timeline_.tick();
    for (std::size_t other = 0; other < lanes_.size(); ++other) {
      if ((others >> other & 1) != 0) wait_for(lane, other, touched.read);
    }
  }

  /// Makes later work of all lanes wait for the present work of one. If that fails, the host waits.
  void before_all(std::size_t lane) noexcept {
    try {
      const std::uint64_t now = timeline_.tick();
      for (std::size_t other = 0; other < lanes_.size(); ++other) wait_for(other, lane, now);
    } catch (...) {
      wait_noexcept(device_, *lanes_[lane].stream);
    }
  }

  void note_read(Touched& touched, std::size_t lane) noexcept {
    touched.readers |= std::uint32_t{1} << lane;
    touched.read = timeline_.tick();
    touched.more_reads = true;
  }
  void note_written(Touched& touched, std::size_t lane) noexcept {
    touched = {timeline_.tick(), 0, 0, static_cast<std::uint8_t>(lane), true, true, false};
  }
  /// Notes that no more work that writes follows.
  void note_given(Touched& touched) noexcept {
    if (std::exchange(touched.more_writes, false)) touched.written = timeline_.tick();
  }
  /// Notes that all lanes' work on the bytes was submitted.
  void note_end(Touched& touched) noexcept {
    if (touched.is_written) touched.readers |= std::uint32_t{1} << touched.writer;
    touched.read = timeline_.tick();
    touched.more_writes = touched.more_reads = false;
  }

 private:
  struct Lane {
    stream_pointer stream;
    std::uint32_t number;  // in the timeline
  };

  void wait_for(std::size_t lane, std::size_t other, std::uint64_t time) {
    timeline_.order({lanes_[other].number, time}, lanes_[lane].number, *lanes_[lane].stream);
  }

  DeviceType device_;
  std::vector<Lane> lanes_;
  StreamTimeline<DeviceType> timeline_{device_};
};

}  // namespace allot::detail
