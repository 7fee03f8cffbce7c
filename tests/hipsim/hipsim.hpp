// SPDX-License-Identifier: MIT
/// \file
/// hipsim: a simulated HIP runtime behind the real header, for tests. Streams are threads, device
/// memory is a memfd that the host cannot touch at the addresses it is given, every call is
/// counted and can be made to fail, and what a program does wrong is recorded as a crime.
///
/// It orders accesses by what streams, events and host waits promise, never by what happened to
/// run first: a race is found even where the threads were lucky. All host threads count as one.
/// A test double and no more: it knows the functions that allot calls, and its memory pools keep
/// nothing: memory is taken and freed at once, whatever the stream has to do.
#pragma once

#include <hip/hip_runtime_api.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace hipsim {

/// When a stream does its work.
enum class Schedule {
  eager,  ///< at once, on its thread
  late,   ///< not before someone waits for it: shows what was not waited for
};

/// One simulated device.
struct DeviceModel {
  std::string name = "hipsim";
  std::string architecture = "gfx1100";
  std::uint64_t memory = std::uint64_t{24} << 30;  ///< bytes
  /// Bytes of one allocation at most: larger ones are refused although memory is free.
  std::uint64_t largest_allocation = std::numeric_limits<std::uint64_t>::max();
  bool is_integrated = false;
  bool has_pools = true;
  // A model of time; 0: as fast as the machine.
  double pinned_gib_per_s = 0;
  double pageable_gib_per_s = 0;
  double copy_latency_us = 0;
  double allocation_us = 0;
};

struct Options {
  std::vector<DeviceModel> devices{DeviceModel{}};
  Schedule schedule = Schedule::eager;
  bool pageable_copies_are_crimes = true;
};

/// Begins anew: nothing is live, counted or failing. Whatever was live is forgotten.
void reset(const Options& options = {});

/// What a program did wrong.
enum class Crime {
  use_after_free,        ///< of device memory, or of a block that its arena took back
  double_free,           ///< or a free of an address that no allocation begins at
  out_of_bounds,         ///< beyond the allocation that it begins in
  race,                  ///< two copies touch the same bytes, and nothing orders them
  freed_in_flight,       ///< device memory or a block, while a copy may touch it
  host_freed_in_flight,  ///< pinned memory, while a copy may touch it
  pageable,              ///< a copy from or to memory that is not pinned
  wrong_device,          ///< a stream, event or address used while another device is current
  stale_handle,          ///< a stream or event that was destroyed
};

[[nodiscard]] const char* to_text(Crime crime);

struct Record {
  Crime crime;
  std::string text;
};

/// The crimes so far.
[[nodiscard]] std::vector<Record> crimes();
[[nodiscard]] std::size_t count(Crime crime);

/// Calls so far, of all functions that return an error code, or of one.
[[nodiscard]] std::uint64_t calls();
[[nodiscard]] std::uint64_t calls(const std::string& name);
/// The names of all calls so far, in order.
[[nodiscard]] std::vector<std::string> call_names();

/// The call after `skipped` more, of any function or of one, fails and does nothing.
void fail_call(std::uint64_t skipped, hipError_t error);
void fail_call(const std::string& name, std::uint64_t skipped, hipError_t error);
/// Every call of a function fails from now on; `hipSuccess` ends that.
void fail_always(const std::string& name, hipError_t error);

/// Takes back every failure that has not happened yet.
void stop_failing();

/// What is live.
struct Live {
  std::size_t device_allocations = 0;  ///< managed ones and imported ones, too
  std::size_t pinned_allocations = 0;
  std::size_t streams = 0;
  std::size_t events = 0;
  std::size_t pools = 0;

  friend bool operator==(const Live&, const Live&) = default;
};
[[nodiscard]] Live live();

/// Bytes of a device that are taken, and the most that ever were.
[[nodiscard]] std::uint64_t used(int device = 0);
[[nodiscard]] std::uint64_t peak_pinned();

/// Flips a bit of byte `byte` on its way, in the copy to a device after `skipped` more.
void flip_bit(std::uint64_t skipped, std::uint64_t byte);

/// Tells of blocks inside an allocation, from an arena's memory policy: from the first on, copies
/// may touch used blocks only, and a block must not be freed in flight.
void block_used(const void* address, std::uint64_t bytes);
void block_freed(const void* address, std::uint64_t bytes);

/// Device memory as stream threads see it, for tests that look behind the scenes.
[[nodiscard]] std::byte* view_of(void* device_address);

}  // namespace hipsim
