// SPDX-License-Identifier: MIT
/// \file
/// The progress of a load, and how to cancel it.
#pragma once

#include <allot/core/units.hpp>
#include <allot/os/function.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace allot::load {

/// The progress of a load, in bytes.
struct Progress {
  std::uint64_t done;
  std::uint64_t total;
};

/// Called with the progress; returns true to go on, false to cancel. May be empty.
using ProgressCallback = std::function<bool(const Progress&)>;

/// Thrown if the progress callback returned false; nothing stays reserved.
class Cancelled : public std::runtime_error {
 public:
  template <class = void>
  explicit Cancelled(const Progress& at)
      : std::runtime_error{"cancelled after " + std::string{ReadableBytes{at.done}.c_str()} +
                           " of " + ReadableBytes{at.total}.c_str()} {}
};

namespace detail {

/// Calls the callback, if any, on this thread. Throws: `Cancelled`, what the callback throws.
template <class = void>
void notify(const ProgressCallback& callback, const Progress& progress) {
  if (callback && !callback(progress)) throw Cancelled{progress};
}

}  // namespace detail

}  // namespace allot::load
