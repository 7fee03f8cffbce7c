// SPDX-License-Identifier: MIT
/// \file
/// HIP's current device is a property of each thread. Everything here that belongs to a device
/// makes it current for the scope of its calls, then restores the caller's.
#pragma once

#include <allot/core/version.hpp>
#include <allot/hip/error.hpp>
#include <allot/os/fork.hpp>

#include <string>

namespace allot::hip {

namespace detail {

/// Returns true in a process that was forked after its parent had used HIP.
[[nodiscard]] inline bool is_forked() noexcept {
  static const os::ForkMark first_use;
  return first_use.is_of_parent();
}

}  // namespace detail

/// Returns the number of devices, at least one.
/// Throws: `NoDevice` if there is none, with what to check; `Forked`.
[[nodiscard]] inline int device_count() {
  if (detail::is_forked()) throw Forked{};
  int count = 0;
  const hipError_t code = hipGetDeviceCount(&count);
  if (code == hipSuccess && count > 0) return count;
  static_cast<void>(hipGetLastError());
  throw NoDevice{code == hipSuccess ? hipErrorNoDevice : code};
}

/// Returns the current device of this thread. Throws: `NoDevice`, `Forked`, `Error`.
[[nodiscard]] inline int current_device() {
  if (detail::is_forked()) throw Forked{};
  int device = 0;
  const hipError_t code = hipGetDevice(&device);
  if (code != hipSuccess) static_cast<void>(device_count());  // `NoDevice`, if that is why
  check(code, "hipGetDevice", "asking for the current device");
  return device;
}

/// Makes a device current on this thread for a scope.
class CurrentDevice {
 public:
  /// Throws: `NoDevice`, `Error`; the thread's device is then as it was.
  explicit CurrentDevice(int device) : before_{current_device()} {
    if (before_ == device) return;
    check(hipSetDevice(device), "hipSetDevice",
          [&] { return "making hip:" + std::to_string(device) + " current"; });
    changed_ = true;
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  ~CurrentDevice() {
    if (changed_) check_clean_up(hipSetDevice(before_), "hipSetDevice", "restoring the device");
  }

 private:
  int before_;
  bool changed_ = false;
};

/// Runs `release` with `device` current; for destructors. Failures go to the handler for clean-up
/// errors, and `release` runs in any case, but not in a forked child, where all is the parent's.
template <class Release>
void with_device_for_clean_up(int device, Release&& release) noexcept {
  if (detail::is_forked()) return;
  int before = device;
  const bool is_known =
      check_clean_up(hipGetDevice(&before), "hipGetDevice", "asking for the current device");
  const bool changed = before != device || !is_known;
  if (changed)
    check_clean_up(hipSetDevice(device), "hipSetDevice",
                   "switching to a device to release its memory");
  release();
  if (changed && is_known) {
    check_clean_up(hipSetDevice(before), "hipSetDevice", "restoring the device");
  }
}

}  // namespace allot::hip
