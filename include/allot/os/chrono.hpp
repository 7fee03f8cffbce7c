// SPDX-License-Identifier: MIT
/// \file
/// The durations, time points and clocks of `std::chrono`, without its calendars, time zones and
/// formatting (most of `<chrono>`) if the standard library has a header that leaves them out.
#pragma once

#if __has_include(<bits/chrono.h>)
#include <bits/chrono.h>
#else
#include <chrono>
#endif
