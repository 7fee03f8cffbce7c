// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "system_allocations.hpp"

namespace {

struct alignas(64) CacheLine {
  std::uint64_t words[8];
};

// Volatile: the optimizer would otherwise leave out what is allocated and freed unused.
void* volatile kept = nullptr;

template <class F>
std::uint64_t calls_of(F&& function) {
  const std::uint64_t before = allot::test::system_allocator_calls();
  function();
  return allot::test::system_allocator_calls() - before;
}

}  // namespace

TEST_CASE("every way of asking the system allocator is counted") {
  CHECK(calls_of([] {}) == 0);
  CHECK(calls_of([] { kept = std::malloc(8); }) == 1);
  CHECK(calls_of([] { kept = std::realloc(kept, 16); }) == 1);
  std::free(kept);
  CHECK(calls_of([] { kept = new std::uint64_t{1}; }) == 1);
  CHECK(calls_of([] { delete static_cast<std::uint64_t*>(kept); }) == 1);
  CHECK(calls_of([] { kept = new CacheLine{}; }) == 1);
  delete static_cast<CacheLine*>(kept);
  CHECK(calls_of([] { kept = std::allocator<std::uint64_t>{}.allocate(8); }) == 1);
  std::allocator<std::uint64_t>{}.deallocate(static_cast<std::uint64_t*>(kept), 8);
}
