// SPDX-License-Identifier: MIT
/// \file
/// Random numbers from the system that no other process knows, for the keys of hash tables.
///
/// | name                    | what it gives                                                   |
/// |-------------------------|-----------------------------------------------------------------|
/// | `random_seed`           | one number, the same each time a process asks; no system call   |
/// | `fill_with_random_bits` | as many as are asked for, new ones each time                    |
#pragma once

#include <allot/core/version.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__linux__)
#include <sys/auxv.h>
#endif
#if __has_include(<sys/random.h>)
#include <sys/random.h>
#include <unistd.h>

#include <stdexcept>
#endif
#if !defined(__linux__) || !__has_include(<sys/random.h>)
#include <random>
#endif

namespace allot::os {

/// For hashes that must not be predictable. Not a secret: every call returns the same number.
[[nodiscard]] inline std::uint64_t random_seed() noexcept {
#if defined(__linux__)
  std::uint64_t random = 0x2545f4914f6cdd1dU;
  // Sixteen bytes that the kernel gives each process.
  if (const unsigned long at = ::getauxval(AT_RANDOM))
    std::memcpy(&random, reinterpret_cast<const void*>(at), sizeof random);
  return random;
#else
  static const std::uint64_t random = [] {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
  }();
  return random;
#endif
}

/// Fills that many words. Throws: `std::runtime_error` if the system has no random numbers.
inline void fill_with_random_bits(std::uint64_t* words, std::size_t words_wanted) {
#if __has_include(<sys/random.h>)
  constexpr std::size_t words_at_once = 256 / sizeof(std::uint64_t);  // getentropy's limit
  for (std::size_t i = 0; i < words_wanted; i += words_at_once) {
    const std::size_t left = words_wanted - i;
    const std::size_t count = left < words_at_once ? left : words_at_once;
    if (::getentropy(&words[i], count * sizeof(std::uint64_t)) != 0)
      throw std::runtime_error{"the system has no random numbers: getentropy failed"};
  }
#else
  std::random_device random;
  for (std::size_t i = 0; i < words_wanted; ++i)
    words[i] = std::uint64_t{random()} << 32 | random();
#endif
}

}  // namespace allot::os
