// SPDX-License-Identifier: MIT
/// \file
/// `CallLog`: what a program asks HIP for, as an `allot-trace` 2.
#pragma once

#include <allot/os/chrono.hpp>
#include <allot/report/trace_records.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "hip_abi.hpp"
#include "trace_file.hpp"

namespace allot::seam {

/// A call of the program's.
struct Call {
  const char* name;                // the function
  const void* site;                // where it returns to
  const void* stream = nullptr;    // that it is made on
  std::uint64_t device = current;  // whose memory it is about

  /// The device that is current on this thread.
  static constexpr std::uint64_t current = ~std::uint64_t{0};
  /// Pinned memory of the host, which is a device of its own in the trace.
  static constexpr std::uint64_t host = 65'535;
};

/// Which way a copy goes, as in a trace.
enum class Direction : std::uint8_t { to_device, to_host, on_device, as_addresses_say, on_host };

/// All members may be called by several threads at once, and none throws: a call that
/// cannot be kept for lack of memory counts as lost.
class CallLog {
 public:
  /// The process's; never destroyed, as static destructors free memory too.
  [[nodiscard]] static CallLog& get();
  /// Ends the file, if there is one.
  static void end_if_made() noexcept;
  /// Whether a call was seen.
  [[nodiscard]] static bool is_made() noexcept;

  /// Memory was allocated.
  void allocated(const Call& call, std::uint64_t address, std::uint64_t bytes) noexcept;

  /// What was known of a block whose free was noted.
  struct Freed {
    std::uint64_t bytes;
    std::uint64_t device;
    std::uint64_t name;
  };
  /// Memory is about to be freed: it is noted before the driver can give it to another thread. Returns
  /// nothing, and notes nothing, for an address at which nothing was seen allocated.
  [[nodiscard]] std::optional<Freed> freeing(const Call& call, std::uint64_t address) noexcept;
  /// Memory that was not known was freed.
  void freed_unknown(const Call& call, std::uint64_t address) noexcept;
  /// The driver refused to free what `freeing` noted: it is live again.
  void still_live(const Call& call, std::uint64_t address, const Freed& block) noexcept;

  void copied(const Call& call, Direction direction, const void* address,
              std::uint64_t bytes) noexcept;
  /// Any other call about memory.
  void called(const Call& call, std::uint64_t address, std::uint64_t bytes) noexcept;
  /// A call failed. \param bytes  that it asked for, if it allocates
  void failed(const Call& call, HipError code, std::optional<std::uint64_t> bytes = {}) noexcept;

 private:
  /// A place in the program that calls.
  struct Site {
    std::string binary;  // the file's name, without its folder
    std::uint64_t offset;
    std::uint64_t name;  // of what is allocated there
  };

  CallLog();
  void forget() noexcept;
  [[nodiscard]] std::uint64_t now() const noexcept;
  const Site& site_of(const Call& call);
  /// Writes what has changed since the record before.
  void put_thread_and_stream(const Call& call);
  void put_device(std::uint64_t device);
  void put_unit(std::uint64_t offset);
  void put_site(const Call& call);
  template <class Function>
  void guarded(Function&& write) noexcept;

  std::mutex mutex_;
  TraceFile file_;
  std::chrono::steady_clock::time_point begun_;
  bool has_started_ = false;

  std::unordered_map<std::uint64_t, Freed> live_;  // by address
  std::unordered_map<const void*, Site> sites_;
  std::unordered_map<const void*, std::uint64_t> streams_;  // numbers from 1
  std::uint64_t lost_ = 0;

  // As the records so far say.
  std::uint64_t unit_ = 1;
  std::uint64_t thread_ = 0;
  std::uint64_t stream_ = 0;
  std::uint64_t device_ = 0;
};

/// Notes which device is current on this thread.
void set_current_device(int device) noexcept;
[[nodiscard]] int current_device() noexcept;

}  // namespace allot::seam
