// SPDX-License-Identifier: MIT
/// \file
/// How far a load has come, and how it is cancelled.
#pragma once

#include <allot/core/units.hpp>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

namespace allot::load {

/// How far a load has come, in bytes.
struct Progress {
  std::uint64_t done;
  std::uint64_t total;
};

/// Returns whether to go on.
using ProgressCallback = std::function<bool(const Progress&)>;

/// The progress callback returned false; nothing stays reserved.
class Cancelled : public std::runtime_error {
 public:
  explicit Cancelled(const Progress& at)
      : std::runtime_error{"cancelled after " + std::string{ReadableBytes{at.done}.c_str()} +
                           " of " + ReadableBytes{at.total}.c_str()} {}
};

namespace detail {

/// What threads have done so far, and the first error among them.
class SharedProgress {
 public:
  explicit SharedProgress(std::uint64_t total) noexcept : total_{total} {}

  void add(std::uint64_t bytes) {
    {
      const std::scoped_lock lock{mutex_};
      done_ += bytes;
    }
    changed_.notify_one();
  }

  void fail(std::exception_ptr error) noexcept {
    {
      const std::scoped_lock lock{mutex_};
      if (!error_) error_ = std::move(error);
    }
    changed_.notify_one();
  }

  /// Throws: the first error.
  [[nodiscard]] Progress now() {
    const std::scoped_lock lock{mutex_};
    if (error_) std::rethrow_exception(error_);
    return {done_, total_};
  }

  /// Waits until more than `seen` bytes are done. Throws: the first error.
  [[nodiscard]] Progress wait_beyond(std::uint64_t seen) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return done_ > seen || error_; });
    if (error_) std::rethrow_exception(error_);
    return {done_, total_};
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t done_ = 0;
  const std::uint64_t total_;
  std::exception_ptr error_;
};

/// Tells the callback, on this thread. Throws: `Cancelled`, what the callback throws.
inline void report(const ProgressCallback& callback, const Progress& progress) {
  if (callback && !callback(progress)) throw Cancelled{progress};
}

}  // namespace detail

}  // namespace allot::load
