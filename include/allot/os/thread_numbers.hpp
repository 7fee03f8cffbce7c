// SPDX-License-Identifier: MIT
/// \file
/// `ThreadNumbers`: small numbers for the live threads.
#pragma once

#include <allot/os/mutex.hpp>

#include <cstdint>
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
    std::uint32_t number = 0;
    while (number < is_taken_.size() && is_taken_[number]) ++number;
    if (number == is_taken_.size()) is_taken_.push_back(false);
    is_taken_[number] = true;
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
