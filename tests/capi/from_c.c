/* SPDX-License-Identifier: MIT */
/* The header and the functions as C11 sees them. Returns null, or what does not hold. */
#include <allot.h>

#include <stddef.h>
#include <string.h>

#define HOLDS(condition) \
  if (!(condition)) return #condition

const char *allot_test_from_c(const char *model_path);

static int count_calls(uint64_t bytes_done, uint64_t bytes_total, void *user) {
  *(int *)user += bytes_done <= bytes_total;
  return 0;
}

const char *allot_test_from_c(const char *model_path) {
  HOLDS(allot_version() == 100);

  allot_arena_options options = {0};
  options.strategy = ALLOT_GOOD_FIT;
  options.memory = ALLOT_HOST;
  allot_arena *arena = NULL;
  HOLDS(allot_arena_create(1 << 20, &options, &arena) == ALLOT_OK);
  allot_block block;
  HOLDS(allot_arena_allocate(arena, 1000, 0, &block) == ALLOT_OK);
  HOLDS(block.size == 1024);
  void *address = NULL;
  HOLDS(allot_arena_address(arena, &block, &address) == ALLOT_OK);
  memset(address, 7, 1024);
  allot_block found;
  HOLDS(allot_arena_block_at(arena, address, &found) == ALLOT_OK);
  HOLDS(memcmp(&found, &block, sizeof found) == 0);
  HOLDS(allot_arena_free(arena, &block) == ALLOT_OK);
  HOLDS(allot_arena_free(arena, &block) == ALLOT_INVALID_BLOCK);
  HOLDS(strstr(allot_last_error(), "free each block once") != NULL);

  char *text = allot_malloc(arena, 6, 0);
  HOLDS(text != NULL);
  strcpy(text, "hello");
  HOLDS(allot_free(arena, text) == ALLOT_OK);
  HOLDS(allot_free(arena, NULL) == ALLOT_OK);
  HOLDS(allot_malloc(arena, 1 << 21, 0) == NULL);
  allot_usage usage;
  HOLDS(allot_arena_usage(arena, &usage) == ALLOT_OK);
  HOLDS(usage.used == 0 && usage.free == 1 << 20 && usage.peak_used == 1024);
  allot_arena_destroy(arena);
  allot_arena_destroy(arena);
  HOLDS(allot_arena_usage(arena, &usage) == ALLOT_INVALID_HANDLE);

  allot_stream *stream = NULL;
  allot_pool *pool = NULL;
  allot_pool_options pool_options = {0};
  pool_options.max_cached = 4096;
  HOLDS(allot_stream_create("host", &stream) == ALLOT_OK);
  HOLDS(allot_pool_create("host", 1 << 20, &pool_options, &pool) == ALLOT_OK);
  for (int step = 0; step < 3; ++step) {
    HOLDS(allot_pool_acquire(pool, 1000, stream, &address, NULL) == ALLOT_OK);
    memset(address, step, 1000);
    HOLDS(allot_pool_release(pool, address, stream) == ALLOT_OK);
  }
  HOLDS(allot_pool_release(pool, address, NULL) == ALLOT_INVALID_BLOCK);
  allot_pool_stats stats;
  HOLDS(allot_pool_usage(pool, &stats) == ALLOT_OK);
  HOLDS(stats.misses == 1 && stats.hits == 2 && stats.cached == 1024);
  allot_pool_destroy(pool);
  allot_stream_destroy(stream);

  allot_gguf *file = NULL;
  HOLDS(allot_gguf_open(model_path, &file) == ALLOT_OK);
  uint64_t count = 0;
  HOLDS(allot_gguf_tensor_count(file, &count) == ALLOT_OK);
  int calls = 0;
  allot_model *model = NULL;
  HOLDS(allot_model_load(file, "host", count_calls, &calls, &model) == ALLOT_OK);
  HOLDS(calls > 0);
  for (uint64_t i = 0; i < count; ++i) {
    allot_tensor_info tensor;
    uint64_t bytes = 0;
    HOLDS(allot_gguf_tensor(file, i, &tensor) == ALLOT_OK);
    HOLDS(allot_model_tensor(model, tensor.name, &address, &bytes) == ALLOT_OK);
    HOLDS(bytes == tensor.bytes);
  }
  allot_model_free(model);
  allot_gguf_close(file);
  return NULL;
}
