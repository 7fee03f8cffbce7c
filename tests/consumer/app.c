/* SPDX-License-Identifier: MIT */
/* A C program that finds the installed library: tests/consumer/run. */
#include <allot.h>

#include <stdio.h>

int main(void) {
  allot_arena *arena;
  allot_block block;
  if (allot_arena_create(1 << 20, NULL, &arena) != ALLOT_OK ||
      allot_arena_allocate(arena, 1000, 0, &block) != ALLOT_OK) {
    fprintf(stderr, "%s\n", allot_last_error());
    return 1;
  }
  allot_arena_destroy(arena);
  return block.size == 1024 ? 0 : 1;
}
