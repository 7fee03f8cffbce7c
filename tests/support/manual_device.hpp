// SPDX-License-Identifier: MIT
/// \file
/// `ManualDevice`: a device whose streams work only when a test tells them to, and which counts its
/// calls. Tests complete work in any order, without threads or delays.
#pragma once

#include <allot/device/device.hpp>
#include <allot/memory/host_memory.hpp>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace allot::test {

/// The work of one stream by number: `given` was submitted, `done` of it is done.
struct ManualWork {
  /// Something in this stream waits for a stream's first pieces of work.
  struct Wait {
    const ManualWork* stream;
    std::uint64_t upto;
  };

  std::uint64_t given = 0;
  std::uint64_t done = 0;
  std::vector<Wait> waits;

  [[nodiscard]] bool waits_for(const ManualWork& stream, std::uint64_t work) const {
    for (const Wait& wait : waits) {
      if (wait.stream == &stream && wait.upto >= work) return true;
    }
    return false;
  }
};

/// Shared by all copies of a device.
struct ManualCounts {
  std::uint64_t events = 0;
  std::uint64_t records = 0;
  std::uint64_t waits = 0;
  std::uint64_t queries = 0;
  std::uint64_t host_waits = 0;
  std::uint64_t calls = 0;
  std::uint64_t failing_call = 0;  // the n-th from now on that fails; 0: none
};

class ManualDevice {
 public:
  using memory_type = HostMemory;
  using staging_memory_type = HostMemory;

  class Stream {
   public:
    Stream() : work_{std::make_unique<ManualWork>()} {}
    [[nodiscard]] ManualWork* get() const noexcept { return work_.get(); }
    [[nodiscard]] ManualWork* operator->() const noexcept { return work_.get(); }

   private:
    std::unique_ptr<ManualWork> work_;
  };
  struct Event {
    ManualWork* of = nullptr;
    std::uint64_t upto = 0;
  };
  using stream_type = Stream;
  using event_type = Event;

  /// Submits one piece of work.
  static void give(Stream& stream) { ++stream->given; }
  /// Completes all work submitted so far.
  static void finish(Stream& stream) { stream->done = stream->given; }

  [[nodiscard]] memory_type memory() const { return {}; }
  [[nodiscard]] staging_memory_type staging_memory() const { return {}; }
  [[nodiscard]] Stream make_stream() const { return {}; }
  [[nodiscard]] Event make_event() const {
    call("make_event");
    ++counts_->events;
    return {};
  }
  void copy_to_device(void*, const void*, std::uint64_t, Stream& stream) const { give(stream); }
  void copy_to_host(void*, const void*, std::uint64_t, Stream& stream) const { give(stream); }
  void copy_on_device(void*, const void*, std::uint64_t, Stream& stream) const { give(stream); }
  void record(Event& event, Stream& stream) const {
    call("record");
    ++counts_->records;
    event = {stream.get(), stream->given};
  }
  void wait(Stream& stream, Event& event) const {
    call("wait");
    ++counts_->waits;
    stream->waits.push_back({event.of, event.upto});
    give(stream);
  }
  void synchronize(Stream& stream) const {
    call("synchronize");
    ++counts_->host_waits;
    finish(stream);
  }
  void synchronize(Event& event) const {
    call("synchronize");
    ++counts_->host_waits;
    if (event.of != nullptr && event.of->done < event.upto) event.of->done = event.upto;
  }
  [[nodiscard]] bool is_done(const Event& event) const {
    call("is_done");
    ++counts_->queries;
    return event.of == nullptr || event.of->done >= event.upto;
  }
  [[nodiscard]] MemoryInfo memory_info() const { return {0, 0}; }
  [[nodiscard]] bool host_addressable() const { return true; }
  [[nodiscard]] std::string name() const { return "manual"; }

  [[nodiscard]] ManualCounts& counts() const noexcept { return *counts_; }

 private:
  void call(const char* name) const {
    ++counts_->calls;
    if (counts_->failing_call != 0 && --counts_->failing_call == 0)
      throw std::runtime_error{std::string{"the device fails in "} + name};
  }

  std::shared_ptr<ManualCounts> counts_ = std::make_shared<ManualCounts>();
};

static_assert(Device<ManualDevice>);

}  // namespace allot::test
