// SPDX-License-Identifier: MIT
/// \file
/// `WorkerPool`: does numbered jobs on the thread that waits for them and on its own threads.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/os/atomic.hpp>
#include <allot/os/monitor.hpp>
#include <allot/os/thread.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

namespace allot::load::detail {

/// Jobs are taken in order. The first that throws stops the pool; its error goes to the waiting
/// thread.
///
/// \tparam Job  called with a number, from several threads at once
template <class Job>
class WorkerPool {
 public:
  /// \param jobs  the number of jobs; they are numbered from 0
  WorkerPool(std::size_t jobs, Job job) : jobs_{jobs}, job_{std::move(job)} {}

  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Finishes the jobs under way, and starts no others.
  ~WorkerPool() { stopping_.store(true); }

  /// Starts at most `count` threads beside the caller's. Throws: `std::system_error`.
  void start(std::size_t count) {
    const std::size_t useful = smaller(count, jobs_);
    threads_.reserve(useful);
    for (std::size_t i = 0; i < useful; ++i) {
      threads_.emplace_back([](void* self) { static_cast<WorkerPool*>(self)->work(); }, this);
    }
  }

  /// Does one job on this thread. Returns false if all are taken.
  /// Throws: what the job throws, or the first error of another thread.
  bool do_one() {
    if (!do_next()) return false;
    const os::Monitor::Lock lock{monitor_};
    rethrow();
    seen_ = finished_;
    return true;
  }

  /// Waits until more jobs are done than when this thread last looked. Returns false if all were.
  /// Throws: the first error.
  [[nodiscard]] bool wait_for_more() {
    if (seen_ == jobs_) return false;
    os::Monitor::Lock lock{monitor_};
    lock.wait([this] { return error_ || finished_ > seen_; });
    rethrow();
    seen_ = finished_;
    return true;
  }

  /// Waits until the threads have done the remaining jobs. Throws: the first error.
  void finish() {
    threads_.clear();
    rethrow();
  }

 private:
  bool do_next() {
    const std::size_t job = next_.fetch_add(1);
    if (job >= jobs_) return false;
    job_(job);
    {
      const os::Monitor::Lock lock{monitor_};
      ++finished_;
    }
    monitor_.notify_one();
    return true;
  }

  void work() noexcept {
    try {
      while (!stopping_.load() && do_next()) {
      }
    } catch (...) {
      stopping_.store(true);
      {
        const os::Monitor::Lock lock{monitor_};
        if (!error_) error_ = std::current_exception();
      }
      monitor_.notify_one();
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

  const std::size_t jobs_;
  Job job_;
  os::Atomic<std::size_t> next_{0};
  os::Atomic<bool> stopping_{false};
  os::Monitor monitor_;
  std::size_t finished_ = 0;                 // guarded
  std::exception_ptr error_;                 // guarded
  std::size_t seen_ = 0;                     // finished jobs that the waiting thread knows of
  DeferredVector<os::Thread, Job> threads_;  // released first: they use the rest
};

/// Counts the bytes that several threads have done.
class ByteCount {
 public:
  explicit ByteCount(std::uint64_t total) noexcept : total_{total} {}
  void add(std::uint64_t bytes) noexcept { done_.fetch_add(bytes); }
  [[nodiscard]] Progress now() const noexcept { return {done_.load(), total_}; }

 private:
  os::Atomic<std::uint64_t> done_{0};
  const std::uint64_t total_;
};

/// Returns the default number of reader threads: one for each processor, at most 16.
template <class Owner = void>
[[nodiscard]] std::size_t usual_readers() noexcept {
  return smaller<std::size_t>(os::processors(), 16);
}

}  // namespace allot::load::detail
