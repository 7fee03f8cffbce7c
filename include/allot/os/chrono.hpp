// SPDX-License-Identifier: MIT
/// \file
/// `std::chrono`'s durations, points in time and clocks: without calendars, time zones and their
/// text, which are most of <chrono>, if the standard library has a header for that.
#pragma once

#if __has_include(<bits/chrono.h>)
#include <bits/chrono.h>
#else
#include <chrono>
#endif
