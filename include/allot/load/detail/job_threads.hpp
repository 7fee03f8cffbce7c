// SPDX-License-Identifier: MIT
/// \file
/// `JobThreads`: threads that do jobs which come up one after another; `WorkerPool` is for jobs that
/// are known beforehand.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/os/chrono.hpp>
#include <allot/os/monitor.hpp>
#include <allot/os/thread.hpp>
#include <allot/os/wait_until.hpp>

#include <cstddef>
#include <exception>
#include <utility>

namespace allot::load::detail {

/// Jobs are numbers, taken in the order in which they were given. The first that throws stops all.
///
/// \tparam Job  called with a job's number and the thread's, from several threads at once
template <class Job>
class JobThreads {
 public:
  /// \param most  the most jobs that are given before they are taken back
  JobThreads(std::size_t most, Job job) : job_{std::move(job)}, waiting_(most) {
    done_.reserve(most);
  }
  JobThreads(const JobThreads&) = delete;
  JobThreads& operator=(const JobThreads&) = delete;
  ~JobThreads() { stop(); }

  /// Throws: `std::system_error` if there cannot be any; fewer are used otherwise.
  void start(std::size_t count) {
    threads_.reserve(count);
    numbers_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      numbers_.push_back({this, i});
      try {
        threads_.emplace_back(
            [](void* given) {
              const auto [self, thread] = *static_cast<Number*>(given);
              self->work(thread);
            },
            &numbers_.back());
      } catch (...) {
        if (i == 0) throw;
        return;
      }
    }
  }

  void give(std::size_t job) noexcept {
    {
      const os::Monitor::Lock lock{monitor_};
      waiting_[(first_ + count_++) % waiting_.size()] = job;
    }
    monitor_.notify_one();
  }

  /// Moves the numbers of the jobs that are done to `jobs`, whatever was there.
  /// Throws: what the first job threw that failed.
  template <class Numbers>
  void take_done(Numbers& jobs) {
    jobs.clear();
    jobs.reserve(waiting_.size());  // before the swap: the threads append without a failure
    const os::Monitor::Lock lock{ended_};
    if (error_) std::rethrow_exception(error_);
    std::swap(jobs, done_);
  }

  /// Waits until a job is done, for a moment at most.
  void wait_briefly() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds{100};
    os::Monitor::Lock lock{ended_};
    static_cast<void>(os::wait_until(lock, end, [this] { return error_ || !done_.empty(); }));
  }

  /// Finishes the jobs under way, and starts no others.
  void stop() noexcept {
    {
      const os::Monitor::Lock lock{monitor_};
      is_stopping_ = true;
    }
    monitor_.notify_all();
    threads_.clear();
  }

 private:
  /// Which thread of what.
  struct Number {
    JobThreads* self;
    std::size_t thread;
  };

  /// Returns false if there will be no other job.
  bool take(std::size_t& job) noexcept {
    os::Monitor::Lock lock{monitor_};
    lock.wait([this] { return is_stopping_ || count_ != 0; });
    if (is_stopping_) return false;
    job = waiting_[first_];
    first_ = (first_ + 1) % waiting_.size();
    --count_;
    return true;
  }

  void work(std::size_t thread) noexcept {
    for (std::size_t job = 0; take(job);) {
      std::exception_ptr error;
      try {
        job_(job, thread);
      } catch (...) {
        error = std::current_exception();
      }
      {
        const os::Monitor::Lock lock{ended_};
        if (error && !error_) error_ = error;
        if (!error) done_.push_back(job);  // there is room
      }
      ended_.notify_one();
      if (error) return;
    }
  }

  Job job_;
  os::Monitor monitor_;  // of the jobs to do
  DeferredVector<std::size_t, Job> waiting_;
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  bool is_stopping_ = false;
  os::Monitor ended_;  // of those that are done
  DeferredVector<std::size_t, Job> done_;
  std::exception_ptr error_;
  DeferredVector<Number, Job> numbers_;
  DeferredVector<os::Thread, Job> threads_;  // released first: they use the rest
};

}  // namespace allot::load::detail
