// SPDX-License-Identifier: MIT
// Takes the place of the tests of HIP where its headers were not found.
#include <doctest/doctest.h>

TEST_CASE("everything that needs HIP" * doctest::skip() *
          doctest::description("HIP's headers were not found; install libamdhip64-dev, or set "
                               "-Dhip_root=/opt/rocm")) {}
