// SPDX-License-Identifier: MIT
/// \file
/// `os::Descriptor`: owns an open file's number, and closes it on every path.
#pragma once

#include <allot/core/version.hpp>

#include <unistd.h>

#include <utility>

namespace allot::os {

/// Owns a file descriptor; closes it when destroyed.
class Descriptor {
 public:
  /// Owns nothing.
  Descriptor() noexcept = default;
  /// \param number  what `open` returned; negative if it failed
  explicit Descriptor(int number) noexcept : number_{number} {}
  Descriptor(Descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (is_open()) ::close(number_);
  }

  /// Returns whether it has one.
  [[nodiscard]] bool is_open() const noexcept { return number_ >= 0; }
  /// Returns it, or a negative number.
  [[nodiscard]] int number() const noexcept { return number_; }

  /// Closes it early. Returns false, and sets `errno`, if the system reports an error of earlier
  /// writes; it is closed in any case. Requires: it is open.
  [[nodiscard]] bool close() noexcept { return ::close(std::exchange(number_, -1)) == 0; }

 private:
  int number_ = -1;
};

}  // namespace allot::os
