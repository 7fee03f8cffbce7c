// SPDX-License-Identifier: MIT
/// \file
/// `ThreadNumbers`: small numbers for the live threads.
#pragma once

#include <allot/core/version.hpp>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

namespace allot::detail {

/// Numbers the live threads from 0. A thread that ends returns its number, and a new thread takes
/// the lowest free one, so that N live threads use N different shards of N.
class ThreadNumbers {
 public:
  /// Returns this thread's number. Complexity: constant, except for the first call in each thread.
  [[nodiscard]] static std::uint32_t own() {
    thread_local const Holder holder{numbers()};
    return holder.number;
  }

 private:
  struct Holder {
    explicit Holder(ThreadNumbers& all) : numbers{all}, number{all.take()} {}
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    ~Holder() { numbers.give_back(number); }

    ThreadNumbers& numbers;
    const std::uint32_t number;
  };

  /// Never destroyed: a thread may outlive static objects.
  [[nodiscard]] static ThreadNumbers& numbers() {
    static ThreadNumbers& all = *new ThreadNumbers;
    return all;
  }

  [[nodiscard]] std::uint32_t take() {
    const std::lock_guard lock{mutex_};
    const auto free = std::find(is_taken_.begin(), is_taken_.end(), false);
    const auto number = static_cast<std::uint32_t>(free - is_taken_.begin());
    if (free == is_taken_.end()) {
      is_taken_.push_back(true);
    } else {
      *free = true;
    }
    return number;
  }

  void give_back(std::uint32_t number) {
    const std::lock_guard lock{mutex_};
    is_taken_[number] = false;
  }

  std::mutex mutex_;
  std::vector<bool> is_taken_;
};

}  // namespace allot::detail
