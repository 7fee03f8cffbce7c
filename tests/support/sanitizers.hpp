// SPDX-License-Identifier: MIT
/// \file
/// Which sanitizers the tests are built with. Under them what has one thread, or is repeated many
/// times, may be smaller.
#pragma once

namespace allot::test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool has_thread_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool has_thread_sanitizer = true;
#else
inline constexpr bool has_thread_sanitizer = false;
#endif
#else
inline constexpr bool has_thread_sanitizer = false;
#endif

}  // namespace allot::test
