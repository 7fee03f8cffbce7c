// SPDX-License-Identifier: MIT
/// \file
/// HIP's error codes as exceptions. Every HIP call of the library goes through one of these:
///
/// | function              | on failure                                                           |
/// |-----------------------|----------------------------------------------------------------------|
/// | `hip::check`          | throws `hip::Error`                                                  |
/// | `hip::check_clean_up` | calls the handler for clean-up errors; for destructors               |
///
/// Both reset HIP's own "last error", so that it is not taken for one of the caller's.
#pragma once

#include <allot/core/version.hpp>

#include <hip/hip_runtime_api.h>

#include <atomic>
#include <concepts>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

namespace allot::hip {

/// A HIP call that failed.
class Error : public std::runtime_error {
 public:
  /// \param call       the function's name
  /// \param attempted  what was being done: `allocating 5 GiB of device memory on hip:0`
  Error(hipError_t code, const char* call, const std::string& attempted)
      : std::runtime_error{message(code, call, attempted)}, code_{code}, call_{call} {}

  /// Returns HIP's code.
  [[nodiscard]] hipError_t code() const noexcept { return code_; }
  /// Returns the code's name, `hipErrorOutOfMemory`.
  [[nodiscard]] const char* name() const noexcept { return hipGetErrorName(code_); }
  /// Returns the name of the function that failed.
  [[nodiscard]] const char* call() const noexcept { return call_; }

 protected:
  /// A whole message, if the usual one says too little.
  struct Message {
    std::string text;  ///< all of it
  };
  /// For errors with another message.
  Error(hipError_t code, const char* call, const Message& message)
      : std::runtime_error{message.text}, code_{code}, call_{call} {}

 private:
  [[nodiscard]] static std::string message(hipError_t code, const char* call,
                                           const std::string& attempted) {
    const std::string name = hipGetErrorName(code);
    const std::string text = hipGetErrorString(code);
    return std::string{call} + " failed with " + name + " (" +
           std::to_string(static_cast<int>(code)) + (text == name ? "" : ": " + text) + ") while " +
           attempted;
  }

  hipError_t code_;
  const char* call_;
};

/// Thrown if no device can be used at all; the message says what to check.
class NoDevice : public Error {
 public:
  /// Makes the message. \param code  what `hipGetDeviceCount` returned
  explicit NoDevice(hipError_t code)
      : Error{code, "hipGetDeviceCount",
              Message{std::string{"no HIP device: hipGetDeviceCount says "} +
                      hipGetErrorName(code) + " (" + std::to_string(static_cast<int>(code)) +
                      "); check that the GPU's driver is loaded (for AMD: /dev/kfd exists), that "
                      "you may open /dev/kfd and /dev/dri/renderD* (groups render and video), and "
                      "what HIP_VISIBLE_DEVICES and ROCR_VISIBLE_DEVICES hide"}} {}
};

/// Thrown in a process that was forked after its parent had used HIP, whose runtime does not follow.
class Forked : public Error {
 public:
  Forked()
      : Error{hipErrorNotInitialized, "fork",
              Message{"HIP in a forked child whose parent has used it: its runtime does not work "
                      "there; fork before HIP is used, or let the child call exec"}} {}
};

/// Throws: `Error` unless the code is `hipSuccess`.
/// \param describe  text, or a callable that returns it; called only on failure
template <class Describe>
void check(hipError_t code, const char* call, Describe&& describe) {
  if (code == hipSuccess) [[likely]]
    return;
  static_cast<void>(hipGetLastError());
  if constexpr (std::invocable<Describe>) {
    throw Error{code, call, std::forward<Describe>(describe)()};
  } else {
    throw Error{code, call, std::forward<Describe>(describe)};
  }
}

/// Receives a call that failed in a destructor, which cannot throw: what the call was to release
/// may still be held. Must not throw.
using CleanUpErrorHandler = void (*)(const Error&);

namespace detail {

inline void print_clean_up_error(const Error& error) {
  std::fprintf(stderr, "allot: while cleaning up: %s\n", error.what());
}

inline std::atomic<CleanUpErrorHandler> clean_up_error_handler{&print_clean_up_error};

}  // namespace detail

/// Sets the handler for clean-up errors of the whole process; the default prints them to standard
/// error. Returns the previous handler; null restores the default.
inline CleanUpErrorHandler set_clean_up_error_handler(CleanUpErrorHandler handler) noexcept {
  return detail::clean_up_error_handler.exchange(
      handler != nullptr ? handler : &detail::print_clean_up_error);
}

/// Passes a failure to the handler for clean-up errors. Returns true for `hipSuccess`, and if HIP
/// has been shut down, as when static objects are destroyed: nothing is left to release then.
inline bool check_clean_up(hipError_t code, const char* call, const char* attempted) noexcept {
  if (code == hipSuccess) [[likely]]
    return true;
  if (code == hipErrorDeinitialized) return true;
  static_cast<void>(hipGetLastError());
  try {
    detail::clean_up_error_handler.load()(Error{code, call, attempted});
  } catch (...) {
    // No memory for the message: it is dropped.
  }
  return false;
}

}  // namespace allot::hip
