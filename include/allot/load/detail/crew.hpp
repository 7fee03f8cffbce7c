// SPDX-License-Identifier: MIT
/// \file
/// `Crew`: numbered jobs, done by the thread that waits for them and by threads of its own.
#pragma once

#include <allot/load/progress.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// Jobs are taken in order. The first that throws stops the crew, and its error goes to the
/// progress.
class Crew {
 public:
  /// \param job  called with a number below `jobs`, from several threads
  Crew(std::size_t jobs, SharedProgress& progress, std::function<void(std::size_t)> job)
      : jobs_{jobs}, progress_{progress}, job_{std::move(job)} {}

  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  /// Jobs that are under way are finished, no others begun.
  ~Crew() {
    stopping_.store(true, std::memory_order_relaxed);
    join();
  }

  /// Starts at most `count` threads beside the caller's.
  void start(std::size_t count) {
    const std::size_t useful = std::min(count, jobs_);
    threads_.reserve(useful);
    for (std::size_t i = 0; i < useful; ++i) threads_.emplace_back([this] { work(); });
  }

  /// Does one job; false where all are taken. Throws: what the job throws.
  bool do_one() {
    const std::size_t job = next_.fetch_add(1, std::memory_order_relaxed);
    if (job >= jobs_) return false;
    job_(job);
    return true;
  }

  /// Waits until the threads have done what is left.
  void join() noexcept {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void work() noexcept {
    try {
      while (!stopping_.load(std::memory_order_relaxed) && do_one()) {
      }
    } catch (...) {
      stopping_.store(true, std::memory_order_relaxed);
      progress_.fail(std::current_exception());
    }
  }

  const std::size_t jobs_;
  SharedProgress& progress_;
  const std::function<void(std::size_t)> job_;
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

/// How many threads read: as many as there are processors, 16 at most.
[[nodiscard]] inline std::size_t usual_readers() noexcept {
  return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 16);
}

}  // namespace allot::load::detail
