// SPDX-License-Identifier: MIT
/// \file
/// Seeds and lengths of random tests. Each test prints its seed if it fails; to replay or to run
/// longer: `build/test/tests/test_laws --seed=7 --operations=1000000`.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

namespace allot::test {

[[nodiscard]] inline std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::stoull(text);
}

[[nodiscard]] inline std::uint64_t first_seed() { return from_environment("ALLOT_SEED", 1); }

[[nodiscard]] inline std::uint64_t operations(std::uint64_t otherwise) {
  return from_environment("ALLOT_OPERATIONS", otherwise);
}

}  // namespace allot::test
