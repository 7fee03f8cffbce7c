// SPDX-License-Identifier: MIT
/// \file
/// `RunCounts`: what `allot run` counts in a process, and says when it ends.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace allot::seam {

/// All members may be called by several threads at once, and none throws: a call is not counted if
/// its entry cannot be allocated.
class RunCounts {
 public:
  [[nodiscard]] static RunCounts& get();

  /// A call that the driver would have got.
  void served(const char* call) noexcept;
  /// A call of a function that allocates or frees reached the driver.
  void driver_call(const char* call) noexcept;
  /// A call that was not served. \param why  in a few words
  void not_served(const char* call, const char* why, std::uint64_t bytes) noexcept;
  /// The host waited for a device because memory was freed.
  void waited() noexcept;

  /// Keeps other threads from counting while the process forks; a child begins at zero.
  void before_fork() noexcept;
  void after_fork(bool is_child) noexcept;

  /// Writes a few lines to standard error, and the same as JSON to what ALLOT_RUN_JSON names. Nothing if
  /// nothing was served and nothing refused.
  void report() noexcept;

 private:
  [[nodiscard]] bool is_used() noexcept;
  void note_process() noexcept;
  void forget() noexcept;

  struct Count {
    std::uint64_t calls = 0;
    std::uint64_t bytes = 0;
  };

  std::mutex mutex_;
  int process_ = 0;  // that the first call was counted in
  std::map<std::string, std::uint64_t> served_;
  std::map<std::string, std::uint64_t> driver_;
  std::map<std::pair<std::string, std::string>, Count> not_served_;  // by call and reason
  std::uint64_t waits_ = 0;
};

}  // namespace allot::seam
