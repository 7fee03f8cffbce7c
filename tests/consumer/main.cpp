// SPDX-License-Identifier: MIT
/// \file
/// What a user's first program does: an arena, two blocks, and the room between them again.
#include <allot/arena.hpp>
#include <allot/strategy/best_fit.hpp>

#include <cstdio>

int main() {
  allot::Arena<allot::BestFit, allot::AlignTo<256>> arena{1 << 20};
  const auto first = arena.allocate(1000);
  const auto second = arena.allocate(5000);
  const bool placed = first.offset == 0 && first.size == 1024 && second.offset == 1024;
  arena.deallocate(first);
  arena.deallocate(second);
  const bool empty = arena.usage().used == 0 && arena.usage().largest_free == arena.capacity();
  std::puts(placed && empty ? "an arena as expected" : "not what an arena does");
  return placed && empty ? 0 : 1;
}
