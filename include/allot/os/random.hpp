// SPDX-License-Identifier: MIT
/// \file
/// Random numbers from the system that no other process knows, for the keys of hash tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#if __has_include(<sys/random.h>)
#include <sys/random.h>
#include <unistd.h>

#include <stdexcept>
#else
#include <random>
#endif

namespace allot::os {

/// Fills all words. Throws: `std::runtime_error` if the system has no random numbers.
inline void fill_with_random_bits(std::span<std::uint64_t> words) {
#if __has_include(<sys/random.h>)
  constexpr std::size_t words_at_once = 256 / sizeof(std::uint64_t);  // getentropy's limit
  for (std::size_t i = 0; i < words.size(); i += words_at_once) {
    const std::size_t left = words.size() - i;
    const std::size_t count = left < words_at_once ? left : words_at_once;
    if (::getentropy(&words[i], count * sizeof(std::uint64_t)) != 0)
      throw std::runtime_error{"the system has no random numbers: getentropy failed"};
  }
#else
  std::random_device random;
  for (std::uint64_t& word : words) word = std::uint64_t{random()} << 32 | random();
#endif
}

}  // namespace allot::os
