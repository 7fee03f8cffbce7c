/* SPDX-License-Identifier: MIT */
/**
 * \file
 * allot from C, and from every language that calls C: arenas, buffer pools, and GGUF models.
 *
 * Link with liballot (pkg-config allot-c). The rules, which hold for every function:
 *
 * - A function that can fail returns an `allot_status`. Anything but `ALLOT_OK` means that nothing has
 *   changed, and that `allot_last_error()` says what, with which numbers, and what to do. Results are
 *   written only on success. No C++ exception leaves the library.
 * - Handles (`allot_arena *`, `allot_pool *`, `allot_stream *`, `allot_gguf *`, `allot_model *`) are
 *   numbers that look like pointers. One that is null, was destroyed, or never was one gives
 *   `ALLOT_INVALID_HANDLE`, never a crash. Destroying null, or twice, does nothing.
 * - Any thread may call any function at any time. A handle that is destroyed while another thread uses
 *   it goes when that call ends.
 * - Sizes, offsets and alignments are bytes.
 * - Devices go by name: "host", "hip:0", "hip:1". A library that was built without HIP knows the host;
 *   for GPUs and their memory it returns `ALLOT_UNSUPPORTED`.
 * - Structures that are passed in start as all zeros, which means the defaults; `reserved` stays zero.
 *
 * Every symbol has the version `ALLOT_0.1`. Later versions add symbols and remove none.
 */
#ifndef ALLOT_H
#define ALLOT_H

#include <stdint.h>

#if defined(ALLOT_BUILDING_LIBRARY)
#define ALLOT_API __attribute__((visibility("default")))
#else
#define ALLOT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Errors ------------------------------------------------------------------------------------ */

typedef int32_t allot_status;
enum {
  ALLOT_OK = 0,
  ALLOT_INVALID_HANDLE = 1,      /**< null, destroyed, or not a handle of this kind */
  ALLOT_INVALID_ARGUMENT = 2,    /**< a null pointer, zero bytes, an alignment that is not a power of two */
  ALLOT_INVALID_BLOCK = 3,       /**< freed before, of another arena or pool, or an address where none starts */
  ALLOT_OUT_OF_MEMORY = 4,       /**< the arena, or its memory, cannot give that much */
  ALLOT_OUT_OF_HOST_MEMORY = 5,  /**< no memory for bookkeeping */
  ALLOT_INSUFFICIENT_MEMORY = 6, /**< the device has too little free memory for a model's plan */
  ALLOT_PARSE_ERROR = 7,         /**< a file that is not GGUF, or a damaged one */
  ALLOT_NOT_FOUND = 8,           /**< no tensor or value of that name, nothing at that index */
  ALLOT_WRONG_TYPE = 9,          /**< the value has another type */
  ALLOT_UNSUPPORTED = 10,        /**< this arena, or this build of the library, cannot do that */
  ALLOT_CANCELLED = 11,          /**< the progress function asked for it */
  ALLOT_SYSTEM_ERROR = 12,       /**< the operating system or the GPU runtime failed: files, mappings */
  ALLOT_OTHER_ERROR = 13
};

/** Returns `ALLOT_OK` as "ok", and so on; "unknown" for other numbers. Never null. */
ALLOT_API const char *allot_status_name(allot_status status);

/** Returns the text of the last failure in this thread, "" if there was none; valid until this thread's
 *  next failure. Never null. */
ALLOT_API const char *allot_last_error(void);

/** Returns major * 10000 + minor * 100 + patch: 100 for 0.1.0. */
ALLOT_API uint32_t allot_version(void);

/** Frees a text that a function of this library made. Null does nothing. */
ALLOT_API void allot_string_free(char *text);

/* ---- Arenas ------------------------------------------------------------------------------------ */

/** Hands out blocks of one range of memory, or of bare offsets. Its bookkeeping is apart from them. */
typedef struct allot_arena allot_arena;

typedef uint32_t allot_strategy;
enum {
  ALLOT_BEST_FIT = 0,  /**< the smallest free block that can hold the request */
  ALLOT_FIRST_FIT = 1, /**< the lowest one */
  ALLOT_GOOD_FIT = 2,  /**< in constant time, a good one */
  ALLOT_BUDDY = 3,     /**< sizes rounded up to powers of two */
  ALLOT_LINEAR = 4     /**< a bump pointer; space comes back when all above it is free */
};

typedef uint32_t allot_memory;
enum {
  ALLOT_OFFSETS = 0,    /**< no memory: offsets for memory that the caller owns, on a GPU or elsewhere */
  ALLOT_HOST = 1,       /**< the host's, one mapping */
  ALLOT_HIP = 2,        /**< a GPU's; the host must not touch it */
  ALLOT_HIP_PINNED = 3, /**< the host's, which a GPU copies from and to at full speed */
  ALLOT_HIP_MANAGED = 4 /**< shared by the host and a GPU */
};

typedef struct allot_arena_options {
  allot_strategy strategy;
  allot_memory memory;
  uint64_t alignment; /**< granularity and default alignment: 16, 256, 4096 or 65536; 0 is 256 */
  uint64_t device;    /**< for the memories of HIP: the GPU's number; otherwise 0 */
  uint64_t reserved[3];
} allot_arena_options;

/** A part of an arena. Freed by the caller, once. */
typedef struct allot_block {
  uint64_t offset; /**< from the start of the arena's memory */
  uint64_t size;   /**< granted: the request, rounded up */
  uint32_t index;  /**< this and the next: which use of which record it is */
  uint32_t generation;
} allot_block;

/** `used + free == capacity` and `requested + padding == used`. */
typedef struct allot_usage {
  uint64_t capacity;
  uint64_t used;         /**< in live blocks, as granted */
  uint64_t requested;    /**< of those, what was asked for */
  uint64_t padding;      /**< the rest of them */
  uint64_t free;
  uint64_t largest_free; /**< the largest block that can be allocated now */
  uint64_t free_blocks;
  uint64_t live_blocks;
  uint64_t peak_used;    /**< the most that was used at any time */
} allot_usage;

/** Makes an arena of `capacity`, rounded down to whole units of its alignment.
 *  \param options  null: best fit, 256, offsets */
ALLOT_API allot_status allot_arena_create(uint64_t capacity, const allot_arena_options *options,
                                          allot_arena **arena);
/** Frees the arena's memory, with every block that is live. Does not wait for work that uses it. */
ALLOT_API void allot_arena_destroy(allot_arena *arena);

/** \param alignment  a power of two; 0: the arena's own */
ALLOT_API allot_status allot_arena_allocate(allot_arena *arena, uint64_t bytes, uint64_t alignment,
                                            allot_block *block);
ALLOT_API allot_status allot_arena_free(allot_arena *arena, const allot_block *block);

/** Grows or shrinks a block in place, at its end; `*block` becomes what it is then. `ALLOT_OUT_OF_MEMORY`
 *  if what follows it is used or too small; `ALLOT_UNSUPPORTED` if the strategy cannot. */
ALLOT_API allot_status allot_arena_resize(allot_arena *arena, allot_block *block, uint64_t bytes);

/** Frees every block. */
ALLOT_API allot_status allot_arena_reset(allot_arena *arena);

/** Finds a live block's address; `ALLOT_UNSUPPORTED` for an arena of offsets. */
ALLOT_API allot_status allot_arena_address(allot_arena *arena, const allot_block *block, void **address);
/** Finds the live block that starts at an address, or at an offset. Constant time. */
ALLOT_API allot_status allot_arena_block_at(allot_arena *arena, const void *address, allot_block *block);
ALLOT_API allot_status allot_arena_block_at_offset(allot_arena *arena, uint64_t offset, allot_block *block);

ALLOT_API allot_status allot_arena_usage(allot_arena *arena, allot_usage *usage);
/** Writes the usage and every block, live and free, as JSON (docs/schema/arena.json). Linear in the blocks.
 *  Freed by `allot_string_free`. */
ALLOT_API allot_status allot_arena_dump(allot_arena *arena, char **json);

/** As `malloc`: returns null on failure. For zero bytes, a block of its own. */
ALLOT_API void *allot_malloc(allot_arena *arena, uint64_t bytes, uint64_t alignment);
/** As `free`: null does nothing. */
ALLOT_API allot_status allot_free(allot_arena *arena, void *address);

/* ---- Devices and streams ----------------------------------------------------------------------- */

/** Finds what a device has free now, and in total.
 *  \param device  as in all functions: "host", "hip:0" */
ALLOT_API allot_status allot_device_memory(const char *device, uint64_t *free, uint64_t *total);

/** Work in order on one device. The host does its work at once. */
typedef struct allot_stream allot_stream;

ALLOT_API allot_status allot_stream_create(const char *device, allot_stream **stream);
/** Stands for a stream that the program has: a `hipStream_t`, null for the default one. It must exist as long
 *  as buffers are acquired for it or released on it. `ALLOT_UNSUPPORTED` for the host. */
ALLOT_API allot_status allot_stream_borrow(const char *device, void *hip_stream, allot_stream **stream);
/** A stream that was created goes, once its work is done, when no buffer and no pool needs it any more; one
 *  that was borrowed is left as it is. */
ALLOT_API void allot_stream_destroy(allot_stream *stream);

/** Waits for all work of the stream. */
ALLOT_API allot_status allot_stream_synchronize(allot_stream *stream);
/** Finds the `hipStream_t`, for kernels and copies; `ALLOT_UNSUPPORTED` for the host. */
ALLOT_API allot_status allot_stream_native(allot_stream *stream, void **hip_stream);

/* ---- Buffer pools ------------------------------------------------------------------------------ */

/** Reuses working buffers of a device. One allocation from the driver; in steady state none. */
typedef struct allot_pool allot_pool;

typedef struct allot_pool_options {
  uint64_t growth;       /**< of each further chunk, when the others have no room; 0: the pool does not grow */
  uint64_t max_capacity; /**< of all chunks together; 0: no limit */
  uint64_t max_cached;   /**< the most to keep of what was released; 0: no limit */
  uint64_t reserved[5];
} allot_pool_options;

typedef struct allot_pool_stats {
  uint64_t hits;   /**< acquisitions served by a cached buffer */
  uint64_t misses; /**< all others */
  uint64_t waits;  /**< hits for which one stream was made to wait for another */
  uint64_t frees;  /**< cached buffers that gave their memory back to the pool's arena */
  uint64_t requested; /**< bytes asked for, of the buffers in use */
  uint64_t in_use;    /**< bytes of them, as granted */
  uint64_t cached;    /**< bytes of the buffers that were released and are kept */
  uint64_t capacity;  /**< bytes of all chunks */
  uint64_t in_use_buffers;
  uint64_t cached_buffers;
  uint64_t chunks;      /**< allocations from the driver that are held now */
  uint64_t peak_in_use; /**< the most that `in_use` was at any time */
  uint64_t peak_held;   /**< the most that `in_use` and `cached` were together */
} allot_pool_stats;

/** Takes `capacity`, rounded down to whole units of 256, from a device.
 *  \param options  null: it does not grow, and keeps all that is released */
ALLOT_API allot_status allot_pool_create(const char *device, uint64_t capacity,
                                         const allot_pool_options *options, allot_pool **pool);
/** Frees the pool's memory, with every buffer, once the work of their streams is done. */
ALLOT_API void allot_pool_destroy(allot_pool *pool);

/** Acquires a buffer, aligned to 256, for work on that stream: one that was released on it is reused at once,
 *  for one that was released on another the device waits, not the host.
 *  \param size  may be null; receives the bytes granted */
ALLOT_API allot_status allot_pool_acquire(allot_pool *pool, uint64_t bytes, allot_stream *stream,
                                          void **address, uint64_t *size);
/** Releases a buffer behind all work that a stream was given so far. Null does nothing.
 *  \param stream  the one that uses it last; null: the one that it was acquired for */
ALLOT_API allot_status allot_pool_release(allot_pool *pool, void *address, allot_stream *stream);

/** Makes buffers, so that one acquisition of each of these sizes, all at the same time, will hit. */
ALLOT_API allot_status allot_pool_warm_up(allot_pool *pool, const uint64_t *sizes, uint64_t count);
/** Gives cached buffers back to the pool's arena, the oldest first, until at most `bytes` are cached.
 *  \param freed  may be null; receives the bytes given back */
ALLOT_API allot_status allot_pool_trim(allot_pool *pool, uint64_t bytes, uint64_t *freed);
ALLOT_API allot_status allot_pool_usage(allot_pool *pool, allot_pool_stats *stats);
/** Writes the statistics, by size too, and every block of the pool's arenas, as JSON (docs/reports.md). Freed by
 *  `allot_string_free`. */
ALLOT_API allot_status allot_pool_dump(allot_pool *pool, char **json);

/* ---- GGUF files -------------------------------------------------------------------------------- */

/** A GGUF file, or all parts of one that is split, open and checked. */
typedef struct allot_gguf allot_gguf;

typedef struct allot_tensor_info {
  const char *name; /**< ends with a null character; this and `type` are valid until the file is closed */
  const char *type; /**< "F32", "Q4_K", ... */
  uint32_t shard;   /**< which part of a split file has it */
  uint32_t dimensions;
  uint64_t shape[4]; /**< elements, the fastest first; 1 beyond `dimensions` */
  uint64_t bytes;
  uint64_t offset; /**< from the start of its part's tensor data */
} allot_tensor_info;

ALLOT_API allot_status allot_gguf_open(const char *path, allot_gguf **file);
ALLOT_API void allot_gguf_close(allot_gguf *file);

ALLOT_API allot_status allot_gguf_tensor_count(allot_gguf *file, uint64_t *count);
ALLOT_API allot_status allot_gguf_tensor(allot_gguf *file, uint64_t index, allot_tensor_info *tensor);
ALLOT_API allot_status allot_gguf_find_tensor(allot_gguf *file, const char *name, allot_tensor_info *tensor);

/** Values of the metadata, by key. Numbers of every width are found; `ALLOT_WRONG_TYPE` for a value that
 *  the result cannot hold exactly, and for arrays. */
ALLOT_API allot_status allot_gguf_uint(allot_gguf *file, const char *key, uint64_t *value);
ALLOT_API allot_status allot_gguf_int(allot_gguf *file, const char *key, int64_t *value);
ALLOT_API allot_status allot_gguf_float(allot_gguf *file, const char *key, double *value);
ALLOT_API allot_status allot_gguf_bool(allot_gguf *file, const char *key, int *value);
/** \param text  `bytes` characters, without a null character at the end; valid until the file is closed */
ALLOT_API allot_status allot_gguf_string(allot_gguf *file, const char *key, const char **text,
                                         uint64_t *bytes);

/** Keys by number, in the order of the file.
 *  \param key  `bytes` characters, without a null character at the end; valid until the file is closed */
ALLOT_API allot_status allot_gguf_value_count(allot_gguf *file, uint64_t *count);
ALLOT_API allot_status allot_gguf_key(allot_gguf *file, uint64_t index, const char **key, uint64_t *bytes);

/** Elements of an array of the metadata, by index; otherwise as the values above. `ALLOT_WRONG_TYPE` for a
 *  value that is not an array, and for arrays of arrays. */
ALLOT_API allot_status allot_gguf_array_size(allot_gguf *file, const char *key, uint64_t *size);
ALLOT_API allot_status allot_gguf_array_uint(allot_gguf *file, const char *key, uint64_t index,
                                             uint64_t *value);
ALLOT_API allot_status allot_gguf_array_int(allot_gguf *file, const char *key, uint64_t index, int64_t *value);
ALLOT_API allot_status allot_gguf_array_float(allot_gguf *file, const char *key, uint64_t index,
                                              double *value);
ALLOT_API allot_status allot_gguf_array_bool(allot_gguf *file, const char *key, uint64_t index, int *value);
ALLOT_API allot_status allot_gguf_array_string(allot_gguf *file, const char *key, uint64_t index,
                                               const char **text, uint64_t *bytes);

/** Plans the memory of a model's weights, to the byte, as JSON: file, tensors, tensor_bytes, alignment,
 *  arenas [{device, capacity, used, padding}], total_bytes. Freed by `allot_string_free`. */
ALLOT_API allot_status allot_gguf_plan(allot_gguf *file, char **json);

/** Checks that the weights fit what a device has free now, with a margin to spare:
 *  `ALLOT_INSUFFICIENT_MEMORY` otherwise. Reads and allocates nothing. */
ALLOT_API allot_status allot_gguf_check(allot_gguf *file, const char *device);

/* ---- Models ------------------------------------------------------------------------------------ */

/** A model's weights in memory, the host's or a GPU's. */
typedef struct allot_model allot_model;

/** Called in the thread that loads. Returns 0 to go on; anything else cancels the load. */
typedef int (*allot_progress)(uint64_t bytes_done, uint64_t bytes_total, void *user);

/** Plans, checks that it fits, reserves all of it with one allocation, and reads the file into it.
 *  \param device    "host", "hip:0"
 *  \param progress  may be null */
ALLOT_API allot_status allot_model_load(allot_gguf *file, const char *device, allot_progress progress,
                                        void *user, allot_model **model);
/** Frees the model's memory. */
ALLOT_API void allot_model_free(allot_model *model);

/** Finds a tensor's bytes, which the host must not touch if they are a GPU's; valid until the model is
 *  freed. */
ALLOT_API allot_status allot_model_tensor(allot_model *model, const char *name, void **address,
                                          uint64_t *bytes);

#ifdef __cplusplus
}
#endif

#endif
