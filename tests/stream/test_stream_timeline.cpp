// SPDX-License-Identifier: MIT
#include <allot/device/host_device.hpp>
#include <allot/stream/stream_timeline.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "support/manual_device.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;
using detail::Stamp;
using test::ManualDevice;
using Timeline = detail::StreamTimeline<ManualDevice>;
using Owner = std::shared_ptr<ManualDevice::Stream>;

/// Streams that a timeline shares the ownership of, as its lanes 1, 2, ...
struct SharedLanes {
  explicit SharedLanes(std::size_t count, std::size_t most_events = 1)
      : timeline{device, most_events} {
    for (std::size_t i = 0; i < count; ++i) {
      streams.push_back(std::make_shared<ManualDevice::Stream>());
      REQUIRE(timeline.add(*streams.back(), &streams.back()) == i + 1);
    }
  }

  [[nodiscard]] ManualDevice::Stream& stream(std::uint32_t lane) { return *streams[lane - 1]; }
  Stamp give(std::uint32_t lane) {
    ManualDevice::give(stream(lane));
    return timeline.stamp(lane);
  }
  /// Another stream gets the number of a lane whose work is known to be done.
  void replace(std::uint32_t lane) {
    gone.push_back(timeline.remove(lane));
    REQUIRE(gone.back() == streams[lane - 1]);
    streams[lane - 1] = std::make_shared<ManualDevice::Stream>();
    REQUIRE(timeline.add(stream(lane), &streams[lane - 1]) == lane);
  }

  ManualDevice device;
  Timeline timeline;
  std::vector<Owner> streams;
  std::vector<Owner> gone;  // kept, as events and waits refer to their work
};

}  // namespace

TEST_CASE("an event is recorded when another lane first needs it, and no lane waits twice") {
  SharedLanes lanes{3};
  const Stamp first = lanes.give(1);
  const Stamp second = lanes.give(1);
  CHECK(lanes.device.counts().records == 0);
  CHECK(lanes.timeline.is_ordered(second, 1));
  CHECK(!lanes.timeline.is_ordered(first, 2));

  lanes.timeline.order(second, 2, lanes.stream(2));
  CHECK(lanes.device.counts().records == 1);
  CHECK(lanes.device.counts().waits == 1);
  CHECK(lanes.timeline.is_ordered(second, 2));
  CHECK(lanes.timeline.is_ordered(first, 2));
  lanes.timeline.order(first, 2, lanes.stream(2));
  CHECK(lanes.device.counts().waits == 1);

  lanes.timeline.order(first, 3, lanes.stream(3));  // the event that there is stands for it
  CHECK(lanes.device.counts().records == 1);
  CHECK(lanes.device.counts().waits == 2);

  const Stamp third = lanes.give(1);
  CHECK(!lanes.timeline.is_ordered(third, 2));
  lanes.timeline.order(third, 2, lanes.stream(2));
  CHECK(lanes.device.counts().records == 2);
}

TEST_CASE("a stamp is done when its lane's work up to it is, and not before") {
  SharedLanes lanes{2, 4};
  const Stamp first = lanes.give(1);
  CHECK(!lanes.timeline.is_done(first));  // records the event
  const Stamp second = lanes.give(1);
  CHECK(!lanes.timeline.is_done(second));
  lanes.stream(1)->done = 1;
  CHECK(!lanes.timeline.is_known_done(first));
  CHECK(lanes.timeline.is_done(first));
  CHECK(lanes.timeline.is_known_done(first));
  CHECK(!lanes.timeline.is_done(second));
  ManualDevice::finish(lanes.stream(1));
  CHECK(lanes.timeline.is_done(second));

  const std::uint64_t queries = lanes.device.counts().queries;
  CHECK(lanes.timeline.is_done(first));
  CHECK(lanes.device.counts().queries == queries);
  CHECK(lanes.timeline.is_ordered(second, 2));  // what is done needs no wait
}

TEST_CASE("the host waits for a stamp, not for what was given later") {
  SharedLanes lanes{1, 4};
  const Stamp first = lanes.give(1);
  CHECK(!lanes.timeline.is_done(first));
  const Stamp second = lanes.give(1);
  CHECK(!lanes.timeline.is_done(second));
  lanes.timeline.wait(first);
  CHECK(lanes.stream(1)->done == 1);
  CHECK(lanes.timeline.is_known_done(first));
  CHECK(!lanes.timeline.is_known_done(second));
  lanes.timeline.wait(second);
  CHECK(lanes.stream(1)->done == 2);
}

TEST_CASE(
    "a busy lane has a few events, and what was given first is still found to be done first") {
  constexpr std::size_t most_events = 4;
  SharedLanes lanes{1, most_events};
  std::vector<Stamp> stamps;
  for (int i = 0; i < 1000; ++i) {
    stamps.push_back(lanes.give(1));
    lanes.timeline.record(1, lanes.stream(1));
    lanes.stream(1)->done = lanes.stream(1)->given - (lanes.stream(1)->given > 8 ? 8 : 0);
    lanes.timeline.poll();
  }
  CHECK(lanes.device.counts().events <= most_events);
  std::size_t known = 0;
  for (const Stamp& stamp : stamps) known += lanes.timeline.is_known_done(stamp) ? 1U : 0U;
  CHECK(known > 950);
  CHECK(known <= lanes.stream(1)->done);
  ManualDevice::finish(lanes.stream(1));
  CHECK(lanes.timeline.is_done(stamps.back()));
}

TEST_CASE("a stream that is not shared has an event for each record, and may then be gone") {
  ManualDevice device;
  Timeline timeline{device};
  Stamp stamp;
  std::uint32_t other = 0;
  ManualDevice::Stream second;
  {
    ManualDevice::Stream first;
    const std::uint32_t lane = timeline.add(first, nullptr);
    other = timeline.add(second, nullptr);
    ManualDevice::give(first);
    stamp = timeline.stamp(lane);
    CHECK(!timeline.can_order(stamp));
    timeline.record(lane, first);
    CHECK(timeline.can_order(stamp));
    timeline.order(stamp, other, second);
    CHECK(device.counts().waits == 1);
    CHECK(!timeline.is_done(stamp));
    ManualDevice::finish(first);
    CHECK(timeline.is_done(stamp));
    static_cast<void>(timeline.remove(lane));
  }
  CHECK(timeline.is_known_done(stamp));
  ManualDevice::Stream third;
  const std::uint32_t lane = timeline.add(third, nullptr);
  CHECK(lane == stamp.lane);  // used again
  CHECK(timeline.is_known_done(stamp));
  ManualDevice::give(third);
  CHECK(!timeline.is_known_done(timeline.stamp(lane)));
  CHECK(timeline.find(third, nullptr) == lane);
  CHECK(!timeline.find(ManualDevice::Stream{}, nullptr));
}

TEST_CASE("a stream that was moved from has no lane") {
  ManualDevice device;
  Timeline timeline{device};
  ManualDevice::Stream stream;
  const ManualDevice::Stream now = std::move(stream);
  CHECK_THROWS_AS(static_cast<void>(timeline.add(stream, nullptr)), std::invalid_argument);
  CHECK(timeline.lanes() == 1);
}

TEST_CASE("on a device that works at once all is done, in lane 0") {
  HostDevice device;
  detail::StreamTimeline<HostDevice> timeline{device};
  auto stream = device.make_stream();
  CHECK(timeline.add(stream, nullptr) == 0);
  CHECK(timeline.find(stream, nullptr) == 0);
  const Stamp stamp = timeline.stamp(0);
  timeline.record(0, stream);
  CHECK(timeline.is_known_done(stamp));
  CHECK(timeline.is_done(stamp));
  CHECK(timeline.is_ordered(stamp, 0));
  timeline.order(stamp, 0, stream);
  timeline.wait(stamp);
  timeline.set_done(0);
  timeline.wait_for_all();
}

TEST_CASE("whichever call of the device fails, nothing is taken for done or ordered that is not") {
  for (std::uint64_t failing = 1;; ++failing) {
    CAPTURE(failing);
    REQUIRE(failing < 100);
    SharedLanes lanes{3, 2};
    lanes.device.counts().failing_call = failing;
    std::vector<std::pair<Stamp, std::uint64_t>> stamps;  // with the work that they stand for
    for (std::uint32_t step = 0; step < 12; ++step) {
      const std::uint32_t lane = step % 3 + 1;
      const Stamp stamp = lanes.give(lane);
      stamps.emplace_back(stamp, lanes.stream(lane)->given);
      const std::uint32_t to = (step + 1) % 3 + 1;
      const std::uint64_t waits = lanes.device.counts().waits;
      try {
        lanes.timeline.order(stamp, to, lanes.stream(to));
        if (step % 4 == 3) lanes.timeline.wait(stamps[step / 2].first);
        static_cast<void>(lanes.timeline.is_done(stamps[step / 3].first));
      } catch (const std::runtime_error&) {
      }
      lanes.timeline.poll();
      const bool is_waited_for = lanes.device.counts().waits != waits;
      if (lanes.timeline.is_ordered(stamp, to))
        CHECK((is_waited_for || lanes.timeline.is_known_done(stamp)));
      for (const auto& [each, work] : stamps) {
        if (lanes.timeline.is_known_done(each)) CHECK(lanes.stream(each.lane)->done >= work);
      }
    }
    lanes.timeline.wait_for_all();
    for (const auto& [each, work] : stamps) {
      CHECK(lanes.stream(each.lane)->done >= work);
      CHECK(lanes.timeline.is_known_done(each));
    }
    if (lanes.device.counts().failing_call != 0) break;
  }
}

TEST_CASE("whatever the order of calls, a stamp known to be done is done, and waits are in place") {
  const std::uint64_t seed = test::first_seed();
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  int replaced = 0;
  for (int round = 0; round < 50; ++round) {
    SharedLanes lanes{4, 1 + random() % 3};
    std::vector<std::pair<Stamp, std::uint64_t>> stamps;
    std::vector<Stamp> old;  // of streams that are gone
    for (int step = 0; step < 200; ++step) {
      const auto lane = static_cast<std::uint32_t>(random() % 4 + 1);
      switch (random() % 6) {
        case 0: {
          const Stamp stamp = lanes.give(lane);
          stamps.emplace_back(stamp, lanes.stream(lane)->given);
          break;
        }
        case 1:
          if (!stamps.empty()) {
            const auto& [stamp, work] = stamps[random() % stamps.size()];
            lanes.timeline.order(stamp, lane, lanes.stream(lane));
            const ManualDevice::Stream& before = lanes.stream(stamp.lane);
            REQUIRE((stamp.lane == lane || before->done >= work ||
                     lanes.stream(lane)->waits_for(*before.get(), work)));
          }
          break;
        case 2:
          if (!stamps.empty())
            static_cast<void>(lanes.timeline.is_done(stamps[random() % stamps.size()].first));
          break;
        case 3:
          if (auto& work = *lanes.stream(lane).get(); work.done < work.given) ++work.done;
          break;
        case 4:
          if (lanes.timeline.is_known_done(lanes.timeline.last_stamp(lane))) {
            for (const auto& [each, work] : stamps) {
              if (each.lane == lane) old.push_back(each);
            }
            std::erase_if(stamps, [&](const auto& each) { return each.first.lane == lane; });
            lanes.replace(lane);
            ++replaced;
          }
          break;
        default:
          if (!stamps.empty() && random() % 8 == 0)
            lanes.timeline.wait(stamps[random() % stamps.size()].first);
          break;
      }
      for (const auto& [each, work] : stamps) {
        if (lanes.timeline.is_known_done(each)) REQUIRE(lanes.stream(each.lane)->done >= work);
      }
      for (const Stamp& each : old) REQUIRE(lanes.timeline.is_known_done(each));
    }
    CHECK(lanes.device.counts().events <= 4 * 3);
  }
  CHECK(replaced > 100);
}
