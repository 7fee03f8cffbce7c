// SPDX-License-Identifier: MIT
/// \file
/// `hip::Stream` and `hip::Event`, released with their scope. A stream is synchronized before it is
/// released, so that no copy outlives what it copies.
#pragma once

#include <allot/core/version.hpp>
#include <allot/hip/current_device.hpp>
#include <allot/hip/error.hpp>

#include <string>
#include <utility>

namespace allot::hip {

namespace detail {

/// Waits for all work of a stream or, if that fails, of its device; for destructors.
inline void settle(hipStream_t stream) noexcept {
  if (check_clean_up(hipStreamSynchronize(stream), "hipStreamSynchronize",
                     "waiting for the copies of a stream before it is released")) {
    return;
  }
  check_clean_up(hipDeviceSynchronize(), "hipDeviceSynchronize",
                 "waiting for the device, as its stream could not be waited for");
}

}  // namespace detail

/// A point in a stream's work that the host, or another stream, can wait for.
class Event {
 public:
  /// Throws: `Error`.
  explicit Event(int device) : device_{device} {
    const CurrentDevice current{device};
    check(hipEventCreateWithFlags(&event_, hipEventDisableTiming), "hipEventCreateWithFlags",
          "creating an event");
  }
  Event(Event&& other) noexcept
      : event_{std::exchange(other.event_, nullptr)}, device_{other.device_} {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    std::swap(device_, other.device_);
    return *this;
  }
  ~Event() {
    if (event_ == nullptr) return;
    with_device_for_clean_up(device_, [this] {
      check_clean_up(hipEventDestroy(event_), "hipEventDestroy", "releasing an event");
    });
  }

  /// Returns HIP's event, which this owns.
  [[nodiscard]] hipEvent_t get() const noexcept { return event_; }
  /// Returns the number of its device.
  [[nodiscard]] int device() const noexcept { return device_; }

  /// Blocks this thread until what was recorded is done; returns at once if nothing was.
  /// Throws: `Error`.
  void synchronize() const {
    const CurrentDevice current{device_};
    check(hipEventSynchronize(event_), "hipEventSynchronize", "waiting for a copy");
  }

  /// Returns whether what was recorded is done. Throws: `Error`.
  [[nodiscard]] bool is_done() const {
    const CurrentDevice current{device_};
    const hipError_t code = hipEventQuery(event_);
    if (code == hipErrorNotReady) {
      static_cast<void>(hipGetLastError());
      return false;
    }
    check(code, "hipEventQuery", "asking whether a copy is done");
    return true;
  }

 private:
  hipEvent_t event_ = nullptr;
  int device_;
};

/// Runs work on a device in the order of submission. Independent of the default stream, unless it
/// refers to that.
class Stream {
 public:
  /// Makes a stream. Throws: `Error`.
  explicit Stream(int device) : device_{device} {
    const CurrentDevice current{device};
    check(hipStreamCreateWithFlags(&stream_, hipStreamNonBlocking), "hipStreamCreateWithFlags",
          "creating a stream");
    kind_ = Kind::owned;
  }
  /// Refers to a stream that something else owns, such as an engine, and does not destroy it. That
  /// stream must outlive this and what was given this: buffers, pools, caches.
  /// \param stream  null: the device's default stream
  [[nodiscard]] static Stream borrow(hipStream_t stream, int device) noexcept {
    return Stream{stream, device};
  }
  Stream(Stream&& other) noexcept
      : stream_{std::exchange(other.stream_, nullptr)},
        device_{other.device_},
        kind_{std::exchange(other.kind_, Kind::empty)} {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    std::swap(device_, other.device_);
    std::swap(kind_, other.kind_);
    return *this;
  }
  ~Stream() {
    if (kind_ != Kind::owned) return;
    with_device_for_clean_up(device_, [this] {
      detail::settle(stream_);
      check_clean_up(hipStreamDestroy(stream_), "hipStreamDestroy", "releasing a stream");
    });
  }

  /// Returns HIP's stream: null for the default one, and after a move.
  [[nodiscard]] hipStream_t get() const noexcept { return stream_; }
  /// Returns what is the same for all objects that refer to one stream of a device, and null after a
  /// move.
  [[nodiscard]] const void* key() const noexcept {
    static constexpr char default_stream = 0;
    if (kind_ == Kind::empty) return nullptr;
    return stream_ == nullptr ? static_cast<const void*>(&default_stream) : stream_;
  }
  /// Returns the number of its device.
  [[nodiscard]] int device() const noexcept { return device_; }

  /// Blocks this thread until all work so far is done. Throws: `Error`, also for an error of that
  /// work.
  void synchronize() const {
    const CurrentDevice current{device_};
    check(hipStreamSynchronize(stream_), "hipStreamSynchronize", "waiting for a stream");
  }

  /// Records the event after all work so far. Throws: `Error`.
  void record(const Event& event) const {
    const CurrentDevice current{device_};
    check(hipEventRecord(event.get(), stream_), "hipEventRecord", "recording an event");
  }

  /// Makes later work wait for the event, without blocking the host. Throws: `Error`.
  void wait(const Event& event) const {
    const CurrentDevice current{device_};
    check(hipStreamWaitEvent(stream_, event.get(), 0), "hipStreamWaitEvent",
          "making a stream wait for another");
  }

  /// Copies `bytes` bytes once all work so far is done, without blocking the host.
  /// Throws: `Error`, also for an error of earlier work.
  void copy(void* to, const void* from, std::size_t bytes, hipMemcpyKind kind) const {
    const CurrentDevice current{device_};
    check(hipMemcpyAsync(to, from, bytes, kind, stream_), "hipMemcpyAsync", [&] {
      return "copying " + std::to_string(bytes) + " bytes on hip:" + std::to_string(device_);
    });
  }

 private:
  enum class Kind : unsigned char { empty, owned, borrowed };

  Stream(hipStream_t stream, int device) noexcept
      : stream_{stream}, device_{device}, kind_{Kind::borrowed} {}

  hipStream_t stream_ = nullptr;
  int device_;
  Kind kind_ = Kind::empty;
};

}  // namespace allot::hip
