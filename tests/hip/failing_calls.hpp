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
#include <string>
#include <vector>

#include "hip/simulation.hpp"

namespace allot::test {

inline constexpr hipsim::Schedule schedules[] = {hipsim::Schedule::eager, hipsim::Schedule::late};

/// Runs `work` with one call failing: the one after `skipped` others of `function`, or, if that is
/// empty, of all. The work ends in an error or goes on, commits no crime, and all is released.
/// Returns the name of the function that failed; empty if there were too few calls.
inline std::string fail_one_call(const std::function<void()>& work, hipsim::Schedule schedule,
                                 const std::string& function, std::uint64_t skipped) {
  const auto calls = [&function] {
    return function.empty() ? hipsim::calls() : hipsim::calls(function);
  };
  INFO("call " << skipped << " of '" << function << "'");
  hipsim::Options options;
  options.schedule = schedule;
  hipsim::reset(options);
  CleanUpErrors told;
  const std::uint64_t failing = calls() + skipped;
  if (function.empty()) {
    hipsim::fail_call(skipped, hipErrorUnknown);
  } else {
    hipsim::fail_call(function, skipped, hipErrorUnknown);
  }
  try {
    work();
  } catch (const hip::Error&) {
  } catch (const OutOfMemory&) {
  }
  const bool has_failed = calls() > failing;
  hipsim::stop_failing();
  if (!has_failed) return {};
  std::string name = function.empty() ? hipsim::call_names()[failing] : function;
  INFO("which was " << name);
  for (const auto& record : hipsim::crimes()) REQUIRE_MESSAGE(false, record.text);
  const hipsim::Live left = hipsim::live();
  const std::size_t lost =
      left.device_allocations + left.pinned_allocations + left.streams + left.events;
  // What could not be released is left alone, and was reported.
  const bool is_release = is_clean_up(name);
  REQUIRE(lost == (is_release ? 1 : 0));
  if (is_release) REQUIRE(told.count() == 1);
  return name;
}

/// Runs `work` with the n-th call failing, for every n until none does.
/// \param must_fail  functions that must have been among those that failed
inline void fail_every_call(const std::function<void()>& work,
                            const std::vector<const char*>& must_fail) {
  int too_few = 0;  // in a row: the schedules take turns, and have different calls
  for (std::uint64_t call = 0; too_few < 2; ++call) {
    REQUIRE(call < 5000);
    const bool has_failed = !fail_one_call(work, schedules[call % 2], {}, call).empty();
    too_few = has_failed ? 0 : too_few + 1;
  }
  // Which call is the n-th may depend on what is done already when an event is asked, so that a
  // function with few calls may be missed above. Here its first one fails.
  for (const std::string name : must_fail) {
    bool has_failed = false;
    for (const hipsim::Schedule schedule : schedules)
      has_failed |= fail_one_call(work, schedule, name, 0) == name;
    CHECK_MESSAGE(has_failed, name);
  }
  hipsim::reset();
}

}  // namespace allot::test
