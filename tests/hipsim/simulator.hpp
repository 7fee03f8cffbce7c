// SPDX-License-Identifier: MIT
/// \file
/// What hipsim is made of; only its own files include this.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "hipsim/hipsim.hpp"

namespace hipsim {

/// HIP's current device is a property of each thread.
inline thread_local int current_device = 0;

/// What is ordered before a moment: the last such step of each stream, by the stream's number; 0 if none is known.
using Clock = std::vector<std::uint64_t>;

inline void merge(Clock& into, const Clock& from) {
  if (into.size() < from.size()) into.resize(from.size());
  std::uint64_t* const known = into.data();
  const std::uint64_t* const steps = from.data();
  for (std::size_t stream = 0, streams = from.size(); stream < streams; ++stream) {
    if (known[stream] < steps[stream]) known[stream] = steps[stream];
  }
}

[[nodiscard]] inline bool knows(const Clock& clock, std::uint32_t stream, std::uint64_t step) {
  return stream < clock.size() && clock[stream] >= step;
}

/// A copy's touch of a range of an allocation.
struct Access {
  std::uint64_t first;
  std::uint64_t end;
  bool writes;
  std::uint32_t stream;
  std::uint64_t step;
};

enum class Kind { device, managed, pinned, imported };

struct Allocation {
  Kind kind;
  int device;
  std::byte* address;  // what the program was given
  std::uint64_t bytes;
  std::byte* view;              // where stream threads read and write
  std::uint64_t file_offset;    // in the device's memfd
  std::uint64_t charged_bytes;  // of the device's memory
  bool is_live = true;
  std::list<Access> accesses;  // not yet known to the host to be done
  std::optional<std::map<std::uint64_t, std::uint64_t>>
      blocks;  // used ones, where told: offset, end
};

struct SimulatedDevice {
  DeviceModel model;
  int memory_file = -1;
  std::uint64_t file_end = 0;
  std::uint64_t used = 0;
  double link_busy_until = 0;  // seconds of the steady clock
};

/// A stream's queue and thread. Steps are numbered from 1.
struct StreamState {
  std::uint32_t number = 0;
  int device = 0;
  Clock clock;  // guarded by the simulator's mutex, as `issued`
  std::uint64_t issued = 0;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> work;
  std::uint64_t executed = 0;
  std::uint64_t demanded = 0;
  bool ends = false;
  std::thread thread;

  void start();
  void push(std::function<void()> task);
  void demand(std::uint64_t step);
  void wait_for(std::uint64_t step);
  void finish();  // does what is left and ends the thread
};

}  // namespace hipsim

struct ihipStream_t {
  std::shared_ptr<hipsim::StreamState> state;
};

struct ihipEvent_t {
  int device = 0;
  std::shared_ptr<hipsim::StreamState> stream;  // none: never recorded
  std::uint64_t step = 0;
  hipsim::Clock clock;
  int queries = 0;
};

struct ihipMemPoolHandle_t {
  int device = 0;
};

namespace hipsim {

/// Address space at a multiple of 2 MiB that nobody can touch; null if there is none. Never given back,
/// so that an address is never of two allocations.
[[nodiscard]] std::byte* reserve_addresses(std::uint64_t bytes);

/// The devices that the environment asks for (environment.cpp).
[[nodiscard]] Options options_of_environment();

/// Everything there is; one in a process, never destroyed.
class Simulator {
 public:
  [[nodiscard]] static Simulator& get();

  void reset(const Options& options);
  /// What the environment wants to happen (environment.cpp).
  void obey_environment();

  /// Counts a call; the error that it is to fail with, if any.
  [[nodiscard]] std::optional<hipError_t> enter(const char* name);

  void commit(Crime crime, const std::string& text);

  // Memory
  [[nodiscard]] hipError_t allocate(void** address, std::uint64_t bytes, int device, Kind kind);
  [[nodiscard]] hipError_t release(void* address, bool is_pinned);
  [[nodiscard]] hipError_t export_handle(void* address, hipIpcMemHandle_t* handle);
  [[nodiscard]] hipError_t import_handle(void** address, const hipIpcMemHandle_t& handle,
                                         int device);
  [[nodiscard]] hipError_t close_import(void* address);
  [[nodiscard]] Allocation* find(const void* address);

  // Streams
  [[nodiscard]] hipStream_t make_stream(int device);
  [[nodiscard]] hipStream_t default_stream(int device);
  [[nodiscard]] hipError_t destroy_stream(hipStream_t stream);
  [[nodiscard]] hipError_t check_stream(hipStream_t stream, const char* what);
  [[nodiscard]] hipError_t synchronize(hipStream_t stream);
  [[nodiscard]] hipError_t synchronize_device(int device);
  [[nodiscard]] hipError_t copy(void* to, const void* from, std::uint64_t bytes, hipMemcpyKind kind,
                                hipStream_t stream);

  [[nodiscard]] hipEvent_t make_event(int device);
  [[nodiscard]] hipError_t destroy_event(hipEvent_t event);
  [[nodiscard]] hipError_t check_event(hipEvent_t event, const char* what);
  [[nodiscard]] hipError_t record(hipEvent_t event, hipStream_t stream);
  [[nodiscard]] hipError_t wait(hipStream_t stream, hipEvent_t event);
  [[nodiscard]] hipError_t synchronize(hipEvent_t event);
  [[nodiscard]] hipError_t query(hipEvent_t event);

  void tell_block(const void* address, std::uint64_t bytes, bool is_used);

  // Read and changed by the functions of hipsim.hpp and runtime.cpp under the mutex.
  std::mutex mutex;
  Options options;
  std::vector<SimulatedDevice> devices;
  std::map<const std::byte*, Allocation> allocations;  // by address; dead ones stay
  std::set<hipStream_t> streams;
  std::set<hipEvent_t> events;
  std::set<hipMemPool_t> pools;
  std::vector<Record> records;
  std::vector<std::string> names;
  std::map<std::string, std::uint64_t> counts;
  std::uint64_t pinned_bytes = 0;
  std::uint64_t peak_pinned_bytes = 0;

  struct Failure {
    std::string name;  // empty: any
    std::uint64_t skipped;
    hipError_t error;
  };
  std::vector<Failure> failures;
  std::map<std::string, hipError_t> always;
  struct Flip {
    std::uint64_t skipped;
    std::uint64_t byte;
  };
  std::optional<Flip> flip;

 private:
  using Steps = std::vector<std::pair<std::shared_ptr<StreamState>, std::uint64_t>>;
  struct Touched {
    Allocation* allocation = nullptr;
    std::byte* view = nullptr;
  };
  [[nodiscard]] std::optional<Touched> touch(const void* address, std::uint64_t bytes, bool writes,
                                             bool must_be_device, const StreamState& stream,
                                             Steps& racing);
  void forget_done(Allocation& allocation);
  [[nodiscard]] bool is_in_flight(Allocation& allocation, std::uint64_t first, std::uint64_t end);
  void drain(Allocation& allocation, std::unique_lock<std::mutex>& lock);
  [[nodiscard]] std::uint64_t issue(StreamState& stream);
  void wait_as_host(StreamState& stream, std::uint64_t step, const Clock& clock,
                    std::unique_lock<std::mutex>& lock);
  void move(std::byte* to, const std::byte* from, std::uint64_t bytes, int device, bool is_pinned,
            std::optional<std::uint64_t> flipped);

  Clock host_;  // what the host has waited for
  std::map<int, hipStream_t> default_streams_;
  std::map<std::uint32_t, std::shared_ptr<StreamState>> states_;
  std::uint32_t next_stream_ = 1;
};

}  // namespace hipsim
