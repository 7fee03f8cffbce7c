// SPDX-License-Identifier: MIT
/// \file
/// `Threads`: divides a range over a fixed number of threads. Nothing is allocated by a run.
#pragma once

#include <barrier>
#include <cstddef>
#include <thread>
#include <vector>

namespace llama {

class Threads {
 public:
  /// \param count  the caller's thread included
  explicit Threads(std::size_t count)
      : count_{count}, barrier_{static_cast<std::ptrdiff_t>(count)} {
    for (std::size_t i = 1; i < count; ++i) workers_.emplace_back([this, i] { work(i); });
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() {
    run_ = nullptr;
    if (count_ > 1) barrier_.arrive_and_wait();
    for (std::thread& worker : workers_) worker.join();
  }

  [[nodiscard]] std::size_t count() const noexcept { return count_; }

  /// Calls `f(begin, end, thread)` on each thread with its part of 0 to `total`, and waits for all.
  /// \param f  must not throw
  template <class Function>
  void run(std::size_t total, const Function& f) {
    if (count_ == 1) return f(std::size_t{0}, total, std::size_t{0});
    total_ = total;
    function_ = &f;
    run_ = [](const void* function, std::size_t begin, std::size_t end, std::size_t thread) {
      (*static_cast<const Function*>(function))(begin, end, thread);
    };
    barrier_.arrive_and_wait();
    run_part(0);
    barrier_.arrive_and_wait();
  }

 private:
  void work(std::size_t thread) {
    for (;;) {
      barrier_.arrive_and_wait();
      if (run_ == nullptr) return;
      run_part(thread);
      barrier_.arrive_and_wait();
    }
  }

  void run_part(std::size_t thread) const {
    run_(function_, total_ * thread / count_, total_ * (thread + 1) / count_, thread);
  }

  const std::size_t count_;
  std::barrier<> barrier_;
  std::size_t total_ = 0;
  const void* function_ = nullptr;
  void (*run_)(const void*, std::size_t, std::size_t, std::size_t) = nullptr;  // null: the end
  std::vector<std::thread> workers_;
};

}  // namespace llama
