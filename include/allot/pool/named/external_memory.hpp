// SPDX-License-Identifier: MIT
/// \file
/// `ExternalMemory`: bytes that named buffers count but did not allocate.
#pragma once

#include <allot/os/smart_pointers.hpp>

#include <utility>

namespace allot {

/// Bytes that other code allocated, counted against a limit while this object lives.
class ExternalMemory {
 public:
  ExternalMemory() noexcept = default;
  /// For `track_external`.
  explicit ExternalMemory(std::shared_ptr<const void> counted) noexcept
      : counted_{std::move(counted)} {}
  ExternalMemory(ExternalMemory&&) noexcept = default;
  ExternalMemory& operator=(ExternalMemory&&) noexcept = default;
  ExternalMemory(const ExternalMemory&) = delete;
  ExternalMemory& operator=(const ExternalMemory&) = delete;
  ~ExternalMemory() = default;

 private:
  std::shared_ptr<const void> counted_;
};

}  // namespace allot
