// SPDX-License-Identifier: MIT
/// \file
/// Work on simulated GPUs, with every call failing once.
#pragma once

#include <allot/core/errors.hpp>
#include <allot/hip/error.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "hip/simulation.hpp"

namespace allot::test {

inline constexpr hipsim::Schedule schedules[] = {hipsim::Schedule::eager, hipsim::Schedule::late};

/// Runs `work` with the n-th call failing, for every n until none does: it ends in an error or goes
/// on, commits no crime, and all is released.
/// \param must_fail  functions that must have been among those that failed
inline void fail_every_call(const std::function<void()>& work,
                            const std::vector<const char*>& must_fail) {
  std::set<std::string> failed;
  for (std::uint64_t call = 0;; ++call) {
    REQUIRE(call < 5000);
    INFO("call " << call);
    hipsim::Options options;
    options.schedule = schedules[call % 2];
    hipsim::reset(options);
    CleanUpErrors told;
    const std::uint64_t before = hipsim::calls();
    hipsim::fail_call(call, hipErrorUnknown);
    try {
      work();
    } catch (const hip::Error&) {
    } catch (const OutOfMemory&) {
    }
    const bool has_failed = hipsim::calls() > before + call;
    hipsim::stop_failing();
    if (!has_failed) break;
    const std::string name = hipsim::call_names()[before + call];
    INFO("which was " << name);
    failed.insert(name);
    for (const auto& record : hipsim::crimes()) REQUIRE_MESSAGE(false, record.text);
    const hipsim::Live left = hipsim::live();
    const std::size_t lost =
        left.device_allocations + left.pinned_allocations + left.streams + left.events;
    // What could not be released is left alone, and was told.
    const bool is_release = is_clean_up(name);
    REQUIRE(lost == (is_release ? 1 : 0));
    if (is_release) REQUIRE(told.count() == 1);
  }
  hipsim::reset();
  for (const char* const name : must_fail)
    CHECK_MESSAGE(failed.count(name) == 1, std::string{name});
}

}  // namespace allot::test
