// SPDX-License-Identifier: MIT
/// \file
/// What tests on hipsim share: a scope at whose end nothing may be live and no crime committed.
#pragma once

#include <allot/hip/error.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "hipsim/hipsim.hpp"

namespace allot::test {

class Simulation {
 public:
  explicit Simulation(const hipsim::Options& options = {}) { hipsim::reset(options); }
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;
  ~Simulation() {
    for (const hipsim::Record& record : hipsim::crimes()) {
      CHECK_MESSAGE(false, (std::string{hipsim::to_text(record.crime)} + ": " + record.text));
    }
    CHECK(hipsim::live() == hipsim::Live{});
    hipsim::reset();
  }
};

/// Whether a call of that name releases what it is given: what such a call fails to release is lost.
inline bool is_clean_up(const std::string& name) {
  return name == "hipFree" || name == "hipHostFree" || name == "hipStreamDestroy" ||
         name == "hipEventDestroy";
}

/// Collects the errors of clean-up, instead of printing them.
class CleanUpErrors {
 public:
  CleanUpErrors() : before_{hip::set_clean_up_error_handler(&note)} { texts().clear(); }
  CleanUpErrors(const CleanUpErrors&) = delete;
  CleanUpErrors& operator=(const CleanUpErrors&) = delete;
  ~CleanUpErrors() { hip::set_clean_up_error_handler(before_); }

  [[nodiscard]] static std::size_t count() { return texts().size(); }
  [[nodiscard]] static std::vector<std::string>& texts() {
    static std::vector<std::string> told;
    return told;
  }

 private:
  static void note(const hip::Error& error) { texts().emplace_back(error.what()); }

  hip::CleanUpErrorHandler before_;
};

}  // namespace allot::test
