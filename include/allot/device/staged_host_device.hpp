// SPDX-License-Identifier: MIT
/// \file
/// `StagedHostDevice`: host memory that behaves like a discrete GPU's. The host may not touch it
/// (by its type), copies go through staging memory, streams are threads. Code for a GPU runs
/// on any machine with it.
#pragma once

#include <allot/core/callback.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/deferred.hpp>
#include <allot/core/memory_info.hpp>
#include <allot/device/device.hpp>
#include <allot/device/host_device.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/os/chrono.hpp>
#include <allot/os/fork.hpp>
#include <allot/os/monitor.hpp>
#include <allot/os/sleep.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/os/thread.hpp>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot {

namespace detail {

/// Throws: `std::runtime_error` in a forked child, for what its parent made.
inline void require_own_process(const os::ForkMark& made_in) {
  if (!made_in.is_of_parent()) return;
  throw std::runtime_error{
      "a stream or an event of the parent process in a forked child, where its thread does not "
      "run; "
      "make the device's streams and pools after fork()"};
}

/// Runs tasks one after another on a thread. A template, as `RecordCount`: compiled only if it is used.
template <class = void>
class WorkerThread {
 public:
  WorkerThread()
      : thread_{[](void* worker) { static_cast<WorkerThread*>(worker)->work(); }, this} {}
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  /// Runs the remaining tasks first; then the thread ends.
  ~WorkerThread() {
    if (made_in_.is_of_parent()) return;  // the monitor may be locked forever
    {
      const os::Monitor::Lock lock{changed_};
      ends_ = true;
    }
    changed_.notify_all();
  }

  /// Throws: `std::runtime_error` in a forked child, as does `wait_until_idle`.
  void push(Callback<void()> call) {
    require_own_process(made_in_);
    auto* const task = new Task{std::move(call)};
    {
      const os::Monitor::Lock lock{changed_};
      (last_ == nullptr ? first_ : last_->next) = task;
      last_ = task;
    }
    changed_.notify_all();
  }

  void wait_until_idle() {
    require_own_process(made_in_);
    os::Monitor::Lock lock{changed_};
    lock.wait([&] { return first_ == nullptr; });
  }

 private:
  /// A linked list has them: a deque takes more time to compile than all of this class.
  struct Task {
    Callback<void()> call;
    Task* next = nullptr;
  };

  void work() {
    while (Task* const task = next()) {
      task->call();
      {
        const os::Monitor::Lock lock{changed_};
        first_ = task->next;
        if (first_ == nullptr) last_ = nullptr;
        delete task;
      }
      changed_.notify_all();
    }
  }

  /// The first task, which stays in the list until it is done; null at the end.
  [[nodiscard]] Task* next() {
    os::Monitor::Lock lock{changed_};
    lock.wait([&] { return ends_ || first_ != nullptr; });
    return first_;
  }

  os::Monitor changed_;  // guards what follows
  Task* first_ = nullptr;
  Task* last_ = nullptr;
  bool ends_ = false;
  os::ForkMark made_in_;
  os::Thread thread_;
};

/// Counts how often an event was recorded, and how many of those records are done. In a forked child,
/// members of one that the parent made throw `std::runtime_error`.
template <class = void>
class RecordCount {
 public:
  [[nodiscard]] std::uint64_t add() {
    require_own_process(made_in_);
    const os::Monitor::Lock lock{changed_};
    return ++recorded_;
  }
  void finish(std::uint64_t record) {
    {
      const os::Monitor::Lock lock{changed_};
      done_ = larger(done_, record);
    }
    changed_.notify_all();
  }
  [[nodiscard]] std::uint64_t latest() const {
    require_own_process(made_in_);
    const os::Monitor::Lock lock{changed_};
    return recorded_;
  }
  [[nodiscard]] bool is_done(std::uint64_t record) const {
    const os::Monitor::Lock lock{changed_};
    return done_ >= record;
  }
  void wait_for(std::uint64_t record) {
    os::Monitor::Lock lock{changed_};
    lock.wait([&] { return done_ >= record; });
  }

 private:
  mutable os::Monitor changed_;  // guards what follows
  std::uint64_t recorded_ = 0;
  std::uint64_t done_ = 0;
  os::ForkMark made_in_;
};

}  // namespace detail

/// Host memory, from one anonymous mapping, that only the device is allowed to touch.
class StagedHostMemory : public HostMemory {
 public:
  static constexpr bool host_accessible = false;
  static constexpr bool device_accessible = true;

  /// Takes the options of `HostMemory`.
  using HostMemory::HostMemory;
};

static_assert(Memory<StagedHostMemory>);

/// A bus with a given bandwidth in each direction; concurrent copies take turns. For measuring
/// which work overlaps; 0 means as fast as the host copies.
class ModelledLink {
 public:
  /// Makes a link that takes as long as one of this speed would.
  explicit ModelledLink(double bytes_per_second) noexcept : bytes_per_second_{bytes_per_second} {}

  /// Returns when a copy of `bytes` bytes that begins now will be done.
  template <class Clock = std::chrono::steady_clock>
  [[nodiscard]] typename Clock::time_point begin(std::uint64_t bytes) {
    const auto now = Clock::now();
    if (bytes_per_second_ <= 0) return now;
    const Deferred<std::chrono::duration<double>, Clock> takes{static_cast<double>(bytes) /
                                                               bytes_per_second_};
    const os::Monitor::Lock lock{monitor_};
    typename Clock::time_point& free_at = free_at_;
    free_at = (free_at < now ? now : free_at) +
              std::chrono::duration_cast<typename Clock::duration>(takes);
    return free_at;
  }

 private:
  const double bytes_per_second_;
  os::Monitor monitor_;
  std::chrono::steady_clock::time_point free_at_{};
};

/// The host as a discrete device. Copies of the object share its memory and the link. Functions that
/// start or queue work are templates: they are compiled if they are called, not if this header is
/// included.
class StagedHostDevice {
 public:
  StagedHostDevice() = default;
  /// \param bytes_per_second  bandwidth between host and device, in each direction
  template <class = void>
  explicit StagedHostDevice(double bytes_per_second)
      : to_device_{std::make_shared<ModelledLink>(bytes_per_second)},
        to_host_{std::make_shared<ModelledLink>(bytes_per_second)} {}

  using memory_type = StagedHostMemory;
  using staging_memory_type = HostMemory;
  using stream_type = std::unique_ptr<detail::WorkerThread<>>;
  using event_type = std::shared_ptr<detail::RecordCount<>>;

  [[nodiscard]] memory_type memory() const noexcept { return memory_type{{.huge_pages = true}}; }
  [[nodiscard]] staging_memory_type staging_memory() const noexcept { return {}; }
  template <class = void>
  [[nodiscard]] stream_type make_stream() const {
    return std::make_unique<detail::WorkerThread<>>();
  }
  template <class = void>
  [[nodiscard]] event_type make_event() const {
    return std::make_shared<detail::RecordCount<>>();
  }

  template <class = void>
  void copy_to_device(void* to, const void* from, std::uint64_t bytes, stream_type& stream) const {
    copy(to, from, bytes, stream, to_device_);
  }
  template <class = void>
  void copy_to_host(void* to, const void* from, std::uint64_t bytes, stream_type& stream) const {
    copy(to, from, bytes, stream, to_host_);
  }
  template <class = void>
  void copy_on_device(void* to, const void* from, std::uint64_t bytes, stream_type& stream) const {
    copy(to, from, bytes, stream, nullptr);
  }
  template <class = void>
  void record(event_type& event, stream_type& stream) const {
    stream->push([event, number = event->add()] { event->finish(number); });
  }
  template <class = void>
  void wait(stream_type& stream, event_type& event) const {
    stream->push([event, number = event->latest()] { event->wait_for(number); });
  }
  template <class = void>
  void synchronize(stream_type& stream) const {
    stream->wait_until_idle();
  }
  template <class = void>
  void synchronize(event_type& event) const {
    event->wait_for(event->latest());
  }
  template <class = void>
  [[nodiscard]] bool is_done(const event_type& event) const {
    return event->is_done(event->latest());
  }

  template <class = void>
  [[nodiscard]] MemoryInfo memory_info() const {
    return host_memory();
  }
  template <class = void>
  [[nodiscard]] std::vector<MemorySource> memory_sources() const {
    return host_memory_sources();
  }
  [[nodiscard]] bool host_addressable() const noexcept { return false; }
  [[nodiscard]] std::string name() const { return "staged-host"; }

 private:
  template <class = void>
  static void copy(void* to, const void* from, std::uint64_t bytes, stream_type& stream,
                   std::shared_ptr<ModelledLink> link) {
    stream->push([=] {
      if (!link) {
        std::memmove(to, from, bytes);
        return;
      }
      const auto end = link->begin(bytes);
      std::memmove(to, from, bytes);
      os::sleep_until(end);
    });
  }

  std::shared_ptr<ModelledLink> to_device_;
  std::shared_ptr<ModelledLink> to_host_;
};

static_assert(Device<StagedHostDevice>);

}  // namespace allot
