// SPDX-License-Identifier: MIT
// What test_arena.cpp disassembles: an allocation with null models, optimized.
#include <allot/arena.hpp>
#include <allot/strategy/best_fit.hpp>

extern "C" allot::Block allot_test_null_allocate(allot::Arena<allot::BestFit>& arena,
                                                 std::uint64_t bytes) {
  return arena.allocate(bytes);
}
