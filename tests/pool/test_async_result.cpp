// SPDX-License-Identifier: MIT
#include <allot/device/staged_host_device.hpp>
#include <allot/pool/async_result.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
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
