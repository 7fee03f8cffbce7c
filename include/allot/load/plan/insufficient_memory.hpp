// SPDX-License-Identifier: MIT
/// \file
/// `InsufficientMemory`: the error for a plan that does not fit what a device has free.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace allot {

/// A plan and its margin do not fit what the device has free. All figures in bytes.
class InsufficientMemory : public std::runtime_error {
 public:
  /// Makes the message from the figures. \param to_cut  what to leave out
  template <class = void>
  InsufficientMemory(const std::string& device, std::uint64_t planned, std::uint64_t margin,
                     std::uint64_t available, std::string to_cut)
      : std::runtime_error{"not enough memory on " + device + ": required " +
                           text(required(planned, margin)) + " (" + text(planned) + " planned, " +
                           text(margin) + " to keep free), available " + text(available) +
                           ", short of " + text(required(planned, margin) - available) + "; " +
                           to_cut},
        required_{required(planned, margin)},
        available_{available},
        advice_{std::move(to_cut)} {}

  /// Returns the bytes that the plan needs, margin included.
  [[nodiscard]] std::uint64_t required() const noexcept { return required_; }
  /// Returns the bytes that were free.
  [[nodiscard]] std::uint64_t available() const noexcept { return available_; }
  /// Returns the bytes that are missing.
  [[nodiscard]] std::uint64_t deficit() const noexcept { return required_ - available_; }
  /// Returns advice on what to cut.
  [[nodiscard]] const std::string& advice() const noexcept { return advice_; }

 private:
  [[nodiscard]] static std::uint64_t required(std::uint64_t planned,
                                              std::uint64_t margin) noexcept {
    return checked_add(planned, margin).value_or(largest_of<std::uint64_t>);
  }
  [[nodiscard]] static std::string text(std::uint64_t bytes) {
    return ReadableBytes{bytes}.c_str();
  }

  std::uint64_t required_;
  std::uint64_t available_;
  std::string advice_;
};

}  // namespace allot
