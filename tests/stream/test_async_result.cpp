// SPDX-License-Identifier: MIT
#include <allot/device/staged_host_device.hpp>
#include <allot/stream/async_result.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace allot;
using namespace std::chrono_literals;

namespace {

/// A stream that is held up until the gate opens, and an event behind that.
struct Held {
  StagedHostDevice device;
  std::promise<void> gate;
  StagedHostDevice::stream_type stream = device.make_stream();
  StagedHostDevice::event_type event = device.make_event();

  Held() {
    stream->push([open = gate.get_future().share()] { open.wait(); });
    device.record(event, stream);
  }
};

}  // namespace

TEST_CASE("a result is pending, then ready, for every copy of it") {
  AsyncPromise<int> promise;
  const AsyncResult<int> result = promise.result();
  const AsyncResult<int> copy = result;
  CHECK(!result.is_ready());
  CHECK(result.try_get() == nullptr);
  CHECK(!result.wait_for(1ms));
  promise.set_value(7);
  CHECK(result.is_ready());
  CHECK(copy.wait() == 7);
  CHECK(*result.try_get() == 7);
  CHECK(result.wait_for(0ms));
  promise.set_value(8);
  CHECK(result.wait() == 7);
}

TEST_CASE("waiting blocks until another thread is done") {
  AsyncPromise<std::string> promise;
  const auto result = promise.result();
  std::thread thread{[promise = std::move(promise)]() mutable { promise.set_value("done"); }};
  CHECK(result.wait() == "done");
  thread.join();
}

TEST_CASE("an error is thrown where the value would be") {
  AsyncPromise<int> promise;
  const auto result = promise.result();
  promise.set_error(std::make_exception_ptr(std::runtime_error{"lost"}));
  CHECK(result.is_ready());
  CHECK_THROWS_WITH(static_cast<void>(result.wait()), "lost");
  CHECK_THROWS_WITH(static_cast<void>(result.try_get()), "lost");
  CHECK_THROWS_WITH(
      static_cast<void>(
          AsyncResult<int>::failed(std::make_exception_ptr(std::runtime_error{"from the start"}))
              .wait()),
      "from the start");
}

TEST_CASE("a promise that is dropped without a value is an error, not a wait for ever") {
  auto promise = std::make_unique<AsyncPromise<int>>();
  const auto result = promise->result();
  promise.reset();
  CHECK_THROWS_AS(static_cast<void>(result.wait()), BrokenPromise);
}

TEST_CASE("a result behind an event is made once, by whoever asks first when it is done") {
  Held held;
  int made = 0;
  const auto result = when_done(held.device, held.event, [&] { return ++made; });
  CHECK(!result.is_ready());
  CHECK(result.try_get() == nullptr);
  CHECK(!result.wait_for(2ms));
  CHECK(made == 0);
  held.gate.set_value();
  CHECK(result.wait() == 1);
  CHECK(result.is_ready());
  CHECK(*result.try_get() == 1);
  CHECK(made == 1);
}

TEST_CASE("what making the value throws is the result's error") {
  Held held;
  held.gate.set_value();
  const auto result =
      when_done(held.device, held.event, []() -> int { throw std::runtime_error{"not a number"}; });
  CHECK_THROWS_WITH(static_cast<void>(result.wait()), "not a number");
  CHECK(result.is_ready());
}

TEST_CASE("a result may be dropped while it is pending") {
  Held held;
  {
    const auto result = when_done(held.device, held.event, [] { return 1; });
    const auto next = result.then([](int value) { return value + 1; });
  }
  held.gate.set_value();
  AsyncPromise<int> promise;
  {
    const auto dropped = promise.result().then([](int) {});
  }
  promise.set_value(1);
}

TEST_CASE("then follows, on the thread that completes or behind the event, and passes errors on") {
  AsyncPromise<int> promise;
  const auto text = promise.result().then([](int value) { return value * 2; }).then([](int value) {
    return std::to_string(value);
  });
  CHECK(!text.is_ready());
  promise.set_value(21);
  CHECK(text.wait() == "42");
  CHECK(AsyncResult<int>::ready(3).then([](int value) { return value + 1; }).wait() == 4);

  Held held;
  bool called = false;
  const auto later = when_done(held.device, held.event, [] {}).then([&] { called = true; });
  CHECK(!later.is_ready());
  held.gate.set_value();
  later.wait();
  CHECK(called);

  AsyncPromise<int> broken;
  bool skipped = true;
  const auto failed = broken.result().then([&](int) { skipped = false; });
  broken.set_error(std::make_exception_ptr(std::runtime_error{"lost"}));
  CHECK_THROWS_WITH(static_cast<void>(failed.wait()), "lost");
  CHECK(skipped);
}

TEST_CASE("a long chain of results is completed without a call stack as deep") {
  AsyncPromise<std::uint64_t> promise;
  AsyncResult<std::uint64_t> last = promise.result();
  const auto begin = last;
  for (int i = 0; i < 200'000; ++i) last = last.then([](std::uint64_t value) { return value + 1; });
  std::vector<int> order;
  const auto first =
      begin.then([&](std::uint64_t) { order.push_back(1); }).then([&] { order.push_back(2); });
  const auto second = begin.then([&](std::uint64_t) { order.push_back(3); });
  SUBCASE("to a value") {
    promise.set_value(1);
    CHECK(last.wait() == 200'001);
    CHECK(order == std::vector<int>{1, 2, 3});
  }
  SUBCASE("to an error") {
    promise.set_error(std::make_exception_ptr(std::runtime_error{"lost"}));
    CHECK_THROWS_WITH(static_cast<void>(last.wait()), "lost");
    CHECK(order.empty());
  }
}

TEST_CASE("what follows may complete and wait for other results") {
  AsyncPromise<int> outer;
  AsyncPromise<int> inner;
  const auto twice = inner.result().then([](int value) { return 2 * value; });
  const auto sum = outer.result().then([&](int value) {
    inner.set_value(value);
    const auto next = outer.result().then([](int again) { return again + 1; });
    return twice.wait() + next.wait();
  });
  outer.set_value(5);
  CHECK(sum.wait() == 16);
}

TEST_CASE("waiting for a very long time is not waiting for none, and any unit of time does") {
  AsyncPromise<int> promise;
  const auto result = promise.result();
  CHECK(!result.wait_for(std::chrono::duration<double>{1e-4}));
  CHECK(!result.wait_for(-1h));
  CHECK(!result.wait_for(std::chrono::hours::min()));
  std::thread thread{[promise = std::move(promise)]() mutable { promise.set_value(1); }};
  CHECK(result.wait_for(std::chrono::hours::max()));
  thread.join();
  Held held;
  const auto behind = when_done(held.device, held.event, [] { return 1; });
  std::thread opener{[&] { held.gate.set_value(); }};
  CHECK(behind.wait_for(std::chrono::nanoseconds::max()));
  opener.join();
}

TEST_CASE("values that can only be moved, and threads that all wait") {
  AsyncPromise<std::unique_ptr<int>> promise;
  const auto result = promise.result();
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i < 3; ++i) threads.emplace_back([&, result] { sum += *result.wait(); });
  promise.set_value(std::make_unique<int>(5));
  for (std::thread& thread : threads) thread.join();
  CHECK(sum == 15);

  Held held;
  std::atomic<int> made{0};
  const auto one = when_done(held.device, held.event, [&] { return ++made; });
  threads.clear();
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, one] {
      while (!one.is_ready()) std::this_thread::yield();
      one.wait();
    });
  }
  held.gate.set_value();
  for (std::thread& thread : threads) thread.join();
  CHECK(made == 1);
}
