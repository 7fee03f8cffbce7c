// SPDX-License-Identifier: MIT
#include "arenas.hpp"

#include <allot/core/errors.hpp>

#include "guarded.hpp"
#include "handles.hpp"

namespace allot::capi {
namespace {

/// Never destroyed: destructors of the program's own may still use arenas while it ends.
Handles<allot_arena, AnyArena, 0>& arenas() {
  static auto& all = *new Handles<allot_arena, AnyArena, 0>;
  return all;
}

constexpr Block block_of(const allot_block& block) noexcept {
  return {block.offset, block.size, {block.index, block.generation}};
}
constexpr allot_block block_of(const Block& block) noexcept {
  return {block.offset, block.size, block.handle.index, block.handle.generation};
}

constexpr const char* no_block = "the pointer to a block is null; give one";

}  // namespace
}  // namespace allot::capi

using namespace allot::capi;

extern "C" {

allot_status allot_arena_create(uint64_t capacity, const allot_arena_options* options,
                                allot_arena** arena) {
  return guarded([&] {
    require(arena, "the pointer to the new arena is null; give one");
    *arena =
        arenas().add(make_arena(capacity, options == nullptr ? allot_arena_options{} : *options));
  });
}

void allot_arena_destroy(allot_arena* arena) { arenas().remove(arena); }

allot_status allot_arena_allocate(allot_arena* arena, uint64_t bytes, uint64_t alignment,
                                  allot_block* block) {
  return guarded([&] {
    require(block, no_block);
    *block = block_of(object_of(arenas(), arena)->allocate(bytes, alignment));
  });
}

allot_status allot_arena_free(allot_arena* arena, const allot_block* block) {
  return guarded([&] {
    require(block, no_block);
    object_of(arenas(), arena)->deallocate(block_of(*block));
  });
}

allot_status allot_arena_resize(allot_arena* arena, allot_block* block, uint64_t bytes) {
  return guarded([&] {
    require(block, no_block);
    const auto resized = object_of(arenas(), arena)->resize(block_of(*block), bytes);
    if (!resized)
      throw Failure{ALLOT_OUT_OF_MEMORY,
                    "what follows the block is used or too small; allocate another one"};
    *block = block_of(*resized);
  });
}

allot_status allot_arena_reset(allot_arena* arena) {
  return guarded([&] { object_of(arenas(), arena)->reset(); });
}

allot_status allot_arena_address(allot_arena* arena, const allot_block* block, void** address) {
  return guarded([&] {
    require(block, no_block);
    require(address, "the pointer to the address is null; give one");
    *address = object_of(arenas(), arena)->address(block_of(*block));
  });
}

allot_status allot_arena_block_at(allot_arena* arena, const void* address, allot_block* block) {
  return guarded([&] {
    require(block, no_block);
    const auto found = object_of(arenas(), arena)->block_at(address);
    if (!found) throw allot::InvalidBlock{address};
    *block = block_of(*found);
  });
}

allot_status allot_arena_block_at_offset(allot_arena* arena, uint64_t offset, allot_block* block) {
  return guarded([&] {
    require(block, no_block);
    const auto found = object_of(arenas(), arena)->block_at_offset(offset);
    if (!found) throw allot::InvalidBlock{allot::BlockDefect::foreign, offset, 0};
    *block = block_of(*found);
  });
}

allot_status allot_arena_usage(allot_arena* arena, allot_usage* usage) {
  return guarded([&] {
    require(usage, "the pointer to the usage is null; give one");
    const allot::Usage now = object_of(arenas(), arena)->usage();
    *usage = {now.capacity,     now.used,        now.requested,   now.padding,  now.free,
              now.largest_free, now.free_blocks, now.live_blocks, now.peak_used};
  });
}

allot_status allot_arena_dump(allot_arena* arena, char** json) {
  return guarded([&] {
    require(json, "the pointer to the text is null; give one");
    *json = copy_of(object_of(arenas(), arena)->dump());
  });
}

void* allot_malloc(allot_arena* arena, uint64_t bytes, uint64_t alignment) {
  void* address = nullptr;
  const allot_status status = guarded([&] {
    const auto object = object_of(arenas(), arena);
    const allot::Block block = object->allocate(bytes == 0 ? 1 : bytes, alignment);
    try {
      address = object->address(block);
    } catch (...) {
      object->deallocate(block);
      throw;
    }
  });
  return status == ALLOT_OK ? address : nullptr;
}

allot_status allot_free(allot_arena* arena, void* address) {
  if (address == nullptr) return ALLOT_OK;
  return guarded([&] {
    const auto object = object_of(arenas(), arena);
    const auto block = object->block_at(address);
    if (!block) throw allot::InvalidBlock{address};
    object->deallocate(*block);
  });
}

}  // extern "C"
