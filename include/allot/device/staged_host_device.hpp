// SPDX-License-Identifier: MIT
/// \file
/// `StagedHostDevice`: host memory that behaves like a discrete GPU's. The host may not touch it
/// (by its type), copies go through staging memory, streams are threads. Code for a GPU runs
/// on any machine with it.
#pragma once

#include <allot/core/memory_info.hpp>
#include <allot/device/device.hpp>
#include <allot/device/host_device.hpp>
#include <allot/memory/host_memory.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace allot {

namespace detail {

/// Runs tasks one after another on a thread.
class WorkerThread {
 public:
  WorkerThread() : thread_{[this] { work(); }} {}
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  /// Runs the remaining tasks first.
  ~WorkerThread() {
    {
      const std::scoped_lock lock{mutex_};
      ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void push(std::function<void()> task) {
    {
      const std::scoped_lock lock{mutex_};
      tasks_.push_back(std::move(task));
    }
    changed_.notify_all();
  }

  void wait_until_idle() {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return tasks_.empty(); });
  }

 private:
  void work() {
    std::unique_lock lock{mutex_};
    for (;;) {
      changed_.wait(lock, [&] { return ends_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()>& task = tasks_.front();
      lock.unlock();
      task();
      lock.lock();
      tasks_.pop_front();
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool ends_ = false;
  std::thread thread_;
};

/// Counts how often an event was recorded, and how many of those records are done.
class RecordCount {
 public:
  [[nodiscard]] std::uint64_t add() {
    const std::scoped_lock lock{mutex_};
    return ++recorded_;
  }
  void finish(std::uint64_t record) {
    {
      const std::scoped_lock lock{mutex_};
      done_ = std::max(done_, record);
    }
    changed_.notify_all();
  }
  [[nodiscard]] std::uint64_t latest() const {
    const std::scoped_lock lock{mutex_};
    return recorded_;
  }
  [[nodiscard]] bool is_done(std::uint64_t record) const {
    const std::scoped_lock lock{mutex_};
    return done_ >= record;
  }
  void wait_for(std::uint64_t record) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return done_ >= record; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t recorded_ = 0;
  std::uint64_t done_ = 0;
};

}  // namespace detail

/// Host memory, from one anonymous mapping, that only the device is allowed to touch.
class StagedHostMemory : public HostMemory {
 public:
  static constexpr bool host_accessible = false;
  static constexpr bool device_accessible = true;

  using HostMemory::HostMemory;
};

static_assert(Memory<StagedHostMemory>);

/// A bus with a given bandwidth in each direction; concurrent copies take turns. For measuring
/// which work overlaps; 0 means as fast as the host copies.
class ModelledLink {
 public:
  explicit ModelledLink(double bytes_per_second) noexcept : bytes_per_second_{bytes_per_second} {}

  /// Returns when a copy of `bytes` bytes that begins now will be done.
  [[nodiscard]] std::chrono::steady_clock::time_point begin(std::uint64_t bytes) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point now = Clock::now();
    if (bytes_per_second_ <= 0) return now;
    const std::chrono::duration<double> takes{static_cast<double>(bytes) / bytes_per_second_};
    const std::scoped_lock lock{mutex_};
    free_at_ = std::max(free_at_, now) + std::chrono::duration_cast<Clock::duration>(takes);
    return free_at_;
  }

 private:
  const double bytes_per_second_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point free_at_{};
};

/// The host as a discrete device. Copies of the object share its memory and the link.
class StagedHostDevice {
 public:
  StagedHostDevice() = default;
  /// \param bytes_per_second  bandwidth between host and device, in each direction
  explicit StagedHostDevice(double bytes_per_second)
      : to_device_{std::make_shared<ModelledLink>(bytes_per_second)},
        to_host_{std::make_shared<ModelledLink>(bytes_per_second)} {}

  using memory_type = StagedHostMemory;
  using staging_memory_type = HostMemory;
  using stream_type = std::unique_ptr<detail::WorkerThread>;
  using event_type = std::shared_ptr<detail::RecordCount>;

  [[nodiscard]] memory_type memory() const noexcept { return memory_type{{.huge_pages = true}}; }
  [[nodiscard]] staging_memory_type staging_memory() const noexcept { return {}; }
  [[nodiscard]] stream_type make_stream() const { return std::make_unique<detail::WorkerThread>(); }
  [[nodiscard]] event_type make_event() const { return std::make_shared<detail::RecordCount>(); }

  void copy_to_device(void* to, const void* from, std::uint64_t bytes, stream_type& stream) const {
    copy(to, from, bytes, stream, to_device_);
  }
  void copy_to_host(void* to, const void* from, std::uint64_t bytes, stream_type& stream) const {
    copy(to, from, bytes, stream, to_host_);
  }
  void copy_on_device(void* to, const void* from, std::uint64_t bytes, stream_type& stream) const {
    copy(to, from, bytes, stream, nullptr);
  }
  void record(event_type& event, stream_type& stream) const {
    stream->push([event, number = event->add()] { event->finish(number); });
  }
  void wait(stream_type& stream, event_type& event) const {
    stream->push([event, number = event->latest()] { event->wait_for(number); });
  }
  void synchronize(stream_type& stream) const { stream->wait_until_idle(); }
  void synchronize(event_type& event) const { event->wait_for(event->latest()); }
  [[nodiscard]] bool is_done(const event_type& event) const {
    return event->is_done(event->latest());
  }

  [[nodiscard]] MemoryInfo memory_info() const { return host_memory(); }
  [[nodiscard]] bool host_addressable() const noexcept { return false; }
  [[nodiscard]] std::string name() const { return "staged-host"; }

 private:
  static void copy(void* to, const void* from, std::uint64_t bytes, stream_type& stream,
                   std::shared_ptr<ModelledLink> link) {
    stream->push([=] {
      if (!link) {
        std::memmove(to, from, bytes);
        return;
      }
      const auto end = link->begin(bytes);
      std::memmove(to, from, bytes);
      std::this_thread::sleep_until(end);
    });
  }

  std::shared_ptr<ModelledLink> to_device_;
  std::shared_ptr<ModelledLink> to_host_;
};

static_assert(Device<StagedHostDevice>);

}  // namespace allot
