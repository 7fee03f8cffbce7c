// SPDX-License-Identifier: MIT
// Monitors, mutexes and random bits: what every system has. Windows runs these, too.
#include <allot/os/monitor.hpp>
#include <allot/os/mutex.hpp>
#include <allot/os/random.hpp>
#include <allot/os/recursive_mutex.hpp>
#include <allot/os/wait_until.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace allot;

}  // namespace

TEST_CASE("a monitor lets one thread at a time in") {
  os::Monitor monitor;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 1000; ++k) {
        const os::Monitor::Lock lock{monitor};
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(count == 4000);
}

TEST_CASE(
    "a thread that waits at a monitor goes on once another thread has made its condition true") {
  os::Monitor monitor;
  int turn = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      os::Monitor::Lock lock{monitor};
      lock.wait([&] { return turn == 4 - i; });
      --turn;
      monitor.notify_all();
    });
  }
  {
    const os::Monitor::Lock lock{monitor};
    turn = 4;
  }
  monitor.notify_all();
  for (std::thread& thread : threads) thread.join();
  CHECK(turn == 0);
}

TEST_CASE("a wait at a monitor ends at its time limit, or once the condition holds") {
  using std::chrono::steady_clock;
  os::Monitor monitor;
  bool is_open = false;
  {
    os::Monitor::Lock lock{monitor};
    const auto end = steady_clock::now() + std::chrono::milliseconds{1};
    CHECK(!os::wait_until(lock, end, [&] { return is_open; }));
    CHECK(steady_clock::now() >= end);
    CHECK(os::wait_until(lock, end, [] { return true; }));
  }
  std::thread opener{[&] {
    {
      const os::Monitor::Lock lock{monitor};
      is_open = true;
    }
    monitor.notify_all();
  }};
  os::Monitor::Lock lock{monitor};
  CHECK(os::wait_until(lock, steady_clock::time_point::max(), [&] { return is_open; }));
  opener.join();
}

TEST_CASE("a mutex's lock can be released early, held again and handed on") {
  os::RecursiveMutex mutex;
  std::vector<int> order;
  os::Lock first{mutex};
  os::Lock held{std::move(first)};
  std::thread other{[&] {
    const os::Lock lock{mutex};
    const os::Lock again{mutex};  // by the thread that holds it
    order.push_back(2);
  }};
  order.push_back(1);
  held.unlock();
  other.join();
  held.lock();
  order.push_back(3);
  CHECK(order == std::vector{1, 2, 3});
}

TEST_CASE("random bits fill every word, and differ each time") {
  std::vector<std::uint64_t> first(100);  // more than the system gives at once
  std::vector<std::uint64_t> second(100);
  os::fill_with_random_bits(first.data(), first.size());
  os::fill_with_random_bits(second.data(), second.size());
  CHECK(std::count(first.begin(), first.end(), 0U) == 0);
  CHECK(first != second);
  CHECK_NOTHROW(os::fill_with_random_bits(nullptr, 0));
}
