// SPDX-License-Identifier: MIT
/// \file
/// Which sanitizers the tests are built with. Under them what is repeated many times may be repeated
/// less.
#pragma once

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ALLOT_TEST_THREAD_SANITIZER
#endif
#if __has_feature(address_sanitizer)
#define ALLOT_TEST_ADDRESS_SANITIZER
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define ALLOT_TEST_THREAD_SANITIZER
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ALLOT_TEST_ADDRESS_SANITIZER
#endif

namespace allot::test {

#ifdef ALLOT_TEST_THREAD_SANITIZER
inline constexpr bool has_thread_sanitizer = true;
#else
inline constexpr bool has_thread_sanitizer = false;
#endif

#ifdef ALLOT_TEST_ADDRESS_SANITIZER
inline constexpr bool is_sanitized = true;
#else
inline constexpr bool is_sanitized = has_thread_sanitizer;
#endif

}  // namespace allot::test
