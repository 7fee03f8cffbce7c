/* SPDX-License-Identifier: MIT */
/**
 * \file
 * liballot_torch: the functions that PyTorch's pluggable allocator calls, over a pool for each device.
 * docs/pytorch.md shows the lines of Python.
 *
 * ALLOT_TORCH_BYTES      what is taken from a device at its first allocation; 256MiB
 * ALLOT_TORCH_GROWTH     what is taken at once if that is not enough; 256MiB, 0: nothing
 * ALLOT_TORCH_MAX_BYTES  the most that is taken from a device; no limit
 */
#ifndef ALLOT_TORCH_H
#define ALLOT_TORCH_H

#include <hip/hip_runtime_api.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** For `alloc_fn`. Null for zero bytes. As PyTorch expects, it throws a C++ exception if it cannot: one
 *  derived of std::bad_alloc for want of memory. */
void *allot_torch_alloc(ssize_t bytes, int device, hipStream_t stream);

/** For `free_fn`. Null does nothing. PyTorch frees while it unwinds: a failure is printed, and the memory
 *  is kept. */
void allot_torch_free(void *address, ssize_t bytes, int device, hipStream_t stream);

/** For `set_record_stream_fn`: another stream uses the memory. */
void allot_torch_record_stream(void *address, hipStream_t stream);

/** Gives memory that is not in use back to the devices. Returns 0, or 1 and prints why not. */
int allot_torch_empty_cache(void);

/** JSON: hits, misses, waits, requested, in_use, cached, capacity, buffers, chunks; "null" for a device that
 *  was not used yet. Valid until this thread's next call. */
const char *allot_torch_stats(int device);

/** JSON: the pool's statistics, by size too, and every block of its memory, as the report layer writes them
 *  (docs/reports.md); "null" for a device that was not used yet. Valid until this thread's next call. */
const char *allot_torch_snapshot(int device);

#ifdef __cplusplus
}
#endif

#endif
