// SPDX-License-Identifier: MIT
/// \file
/// `ThreadNumbers`: small numbers for the live threads.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/os/mutex.hpp>

#if defined(_WIN32)
#include <pthread.h>

#include <new>
#endif

#include <cstdint>

namespace allot::detail {

/// Numbers the live threads from 0. A thread that ends returns its number, and a new thread takes
/// the lowest free one, so that N live threads use N different shards of N. A template: compiled where
/// it is used.
template <class Owner = void>
class ThreadNumbers {
 public:
  /// Returns this thread's number. Complexity: constant, except for the first call in each thread.
  [[nodiscard]] static std::uint32_t own() {
#if defined(_WIN32)
    // A thread_local object would be destroyed after its memory was freed: GCC's bug 80816.
    ThreadNumbers& all = numbers();
    if (void* const held = ::pthread_getspecific(all.key_)) return number_in(held);
    const std::uint32_t number = all.take();
    if (::pthread_setspecific(all.key_, held_as(number)) == 0) return number;
    all.give_back(number);
    throw std::bad_alloc{};
#else
    thread_local const Holder holder{numbers()};
    return holder.number;
#endif
  }

 private:
#if defined(_WIN32)
  ThreadNumbers() {
    const auto at_the_end = [](void* held) { numbers().give_back(number_in(held)); };
    if (::pthread_key_create(&key_, at_the_end) != 0) throw std::bad_alloc{};
  }

  /// A thread without a number holds null.
  [[nodiscard]] static void* held_as(std::uint32_t number) noexcept {
    return reinterpret_cast<void*>(std::uintptr_t{number} + 1);
  }
  [[nodiscard]] static std::uint32_t number_in(void* held) noexcept {
    return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(held) - 1);
  }

  ::pthread_key_t key_{};
#else
  struct Holder {
    explicit Holder(ThreadNumbers& all) : numbers{all}, number{all.take()} {}
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    ~Holder() { numbers.give_back(number); }

    ThreadNumbers& numbers;
    const std::uint32_t number;
  };
#endif

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
  DeferredVector<bool, Owner> is_taken_;
};

}  // namespace allot::detail
