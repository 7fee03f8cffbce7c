// SPDX-License-Identifier: MIT
/// \file
/// `Threads`: divides work over a fixed number of threads. Nothing is allocated by a run.
#pragma once

#include <barrier>
#include <functional>
#include <thread>
#include <vector>

namespace llama {

class Threads {
 public:
  /// \param count  the caller's thread included
  explicit Threads(std::size_t count)
      : count_{count}, barrier_{static_cast<std::ptrdiff_t>(count)} {
    const auto work = [this](std::size_t thread) {
      for (barrier_.arrive_and_wait(); run_; barrier_.arrive_and_wait()) {
        run_(thread);
        barrier_.arrive_and_wait();
      }
    };
    for (std::size_t i = 1; i < count; ++i) workers_.emplace_back(work, i);
  }
  ~Threads() {
    run_ = nullptr;
    barrier_.arrive_and_wait();
    for (std::thread& worker : workers_) worker.join();
  }

  /// Calls `f(i, thread)` for each i below `total`, each thread with a part of them, and waits for all.
  /// \param f  must not throw
  void run(std::size_t total, const auto& f) {
    const auto part = [&](std::size_t thread) {
      const std::size_t end = total * (thread + 1) / count_;
      for (std::size_t i = total * thread / count_; i < end; ++i) f(i, thread);
    };
    if (count_ == 1) return part(0);
    run_ = std::ref(part);
    barrier_.arrive_and_wait();
    part(0);
    barrier_.arrive_and_wait();
  }

 private:
  const std::size_t count_;
  std::barrier<> barrier_;
  std::function<void(std::size_t)> run_;  // empty: the end
  std::vector<std::thread> workers_;
};

}  // namespace llama
