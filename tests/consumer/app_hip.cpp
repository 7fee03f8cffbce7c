// SPDX-License-Identifier: MIT
/// \file
/// A user's program that needs HIP's headers and its runtime library.
#include <allot/hip/error.hpp>

#include <cstdio>

int main() {
  int devices = 0;
  const bool has_any = hipGetDeviceCount(&devices) == hipSuccess && devices > 0;
  std::puts(has_any ? "a GPU" : "no GPU");
}
