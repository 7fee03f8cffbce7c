// SPDX-License-Identifier: MIT
#include <allot/device/staged_host_device.hpp>
#include <allot/stream/stream_set.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace allot;

TEST_CASE("streams are chosen in turn") {
  StagedHostDevice device;
  StreamSet streams{device, 3};
  CHECK(streams.size() == 3);
  std::vector<std::size_t> chosen;
  for (int i = 0; i < 7; ++i) chosen.push_back(streams.submit(1, [](auto&, auto&) {}));
  CHECK(chosen == std::vector<std::size_t>{0, 1, 2, 0, 1, 2, 0});
}

TEST_CASE("the stream with the fewest bytes under way is chosen, and what is done is forgotten") {
  StagedHostDevice device;
  StreamSet streams{device, 2, StreamChoice::least_outstanding};
  std::promise<void> gate;
  const auto open = gate.get_future().share();
  const auto blocked = [open](auto&, auto& stream) { stream->push([open] { open.wait(); }); };
  CHECK(streams.submit(100, blocked) == 0);
  CHECK(streams.submit(10, blocked) == 1);
  CHECK(streams.submit(10, blocked) == 1);
  CHECK(streams.outstanding(0) == 100);
  CHECK(streams.outstanding(1) == 20);
  CHECK(streams.next() == 1);
  streams.submit_to(1, 90, blocked);
  CHECK(streams.next() == 0);
  gate.set_value();
  streams.synchronize();
  CHECK(streams.outstanding(0) + streams.outstanding(1) == 0);
}

TEST_CASE("a role names a stream, and an unknown one says which there are") {
  StagedHostDevice device;
  StreamSet streams{device, {"compute", "upload"}};
  CHECK(streams.role("upload") == 1);
  CHECK_THROWS_WITH_AS(static_cast<void>(streams.role("analysis")),
                       "no stream has the role analysis; the roles are compute, upload",
                       std::out_of_range);
  CHECK_THROWS_WITH_AS(static_cast<void>(streams[2]), "there is no stream 2; the set has 2",
                       std::out_of_range);
  CHECK_THROWS_AS((StreamSet{device, {"a", "b", "a"}}), std::invalid_argument);
  CHECK_THROWS_AS((StreamSet{device, 0}), std::invalid_argument);
  CHECK_THROWS_AS((StreamSet{device, 257}), std::invalid_argument);
}

TEST_CASE("one stream waits for what another has now, without the host") {
  StagedHostDevice device;
  StreamSet streams{device, 2};
  std::promise<void> gate;
  std::atomic<int> order{0};
  int first = 0;
  int second = 0;
  const auto open = gate.get_future().share();
  streams.submit_to(0, 1, [&](auto&, auto& stream) {
    stream->push([&, open] {
      open.wait();
      first = ++order;
    });
  });
  streams.wait(1, 0);
  streams.submit_to(1, 1, [&](auto&, auto& stream) { stream->push([&] { second = ++order; }); });
  gate.set_value();
  streams.synchronize(1);
  CHECK(first == 1);
  CHECK(second == 2);
  streams.wait(0, 0);
}

TEST_CASE("several threads submit to one set") {
  StagedHostDevice device;
  StreamSet streams{device, 3, StreamChoice::least_outstanding};
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 200; ++k) {
        streams.submit(1, [&](auto&, auto& stream) { stream->push([&] { ++done; }); });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  streams.synchronize();
  CHECK(done == 400);
}

TEST_CASE("work may choose a stream, wait for one and submit to another") {
  StagedHostDevice device;
  StreamSet streams{device, 2, StreamChoice::least_outstanding};
  streams.submit_to(0, 100, [&](auto&, auto&) {
    CHECK(streams.outstanding(0) == 100);  // counted before it is given
    CHECK(streams.next() == 1);
    streams.wait(0, 1);
    CHECK(streams.submit(10, [](auto&, auto&) {}) == 1);
  });
  streams.synchronize();
  CHECK(streams.outstanding(0) == 0);
}

TEST_CASE("work that throws counts for nothing") {
  StagedHostDevice device;
  StreamSet streams{device, 1};
  CHECK_THROWS_AS(
      streams.submit_to(0, 100, [](auto&, auto&) { throw std::runtime_error{"refused"}; }),
      std::runtime_error);
  CHECK(streams.outstanding(0) == 0);
  streams.submit_to(0, 1, [](auto&, auto&) {});
  CHECK_THROWS_AS(streams.wait(1, 1), std::out_of_range);
}

TEST_CASE("a number of streams that cannot be had is refused before anything is made") {
  HostDevice device;
  for (const std::uint32_t count : {0U, 257U, 4'000'000'000U}) {
    CHECK_THROWS_WITH_AS((StreamSet{device, count}), doctest::Contains("use 1 to 256"),
                         std::invalid_argument);
  }
  CHECK_THROWS_WITH_AS((StreamSet{device, {"upload", "upload"}}),
                       doctest::Contains("two streams have the role upload; give each"),
                       std::invalid_argument);
}
