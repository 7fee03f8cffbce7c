// SPDX-License-Identifier: MIT
// Takes the place of the tests on several ranks where MPI was not found.
#include <doctest/doctest.h>

TEST_CASE("everything that needs MPI" * doctest::skip() *
          doctest::description("MPI was not found; install libopenmpi-dev and openmpi-bin")) {}
