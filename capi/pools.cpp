// SPDX-License-Identifier: MIT
// Devices, streams and buffer pools.
#include <allot.h>

#include <allot/core/errors.hpp>

#include "devices.hpp"
#include "guarded.hpp"
#include "handles.hpp"

namespace allot::capi {
namespace {

// Never destroyed, as the arenas.
Handles<allot_stream, AnyStream, 1>& streams() {
  static auto& all = *new Handles<allot_stream, AnyStream, 1>;
  return all;
}
Handles<allot_pool, AnyPool, 2>& pools() {
  static auto& all = *new Handles<allot_pool, AnyPool, 2>;
  return all;
}

PoolOptions options_of(const allot_pool_options& given) {
  require_zeros(given.reserved);
  PoolOptions options;
  options.growth = given.growth;
  if (given.max_capacity != 0) options.max_capacity = given.max_capacity;
  if (given.max_cached != 0) options.max_cached = given.max_cached;
  return options;
}

constexpr const char* no_stream = "the pointer to the new stream is null; give one";

}  // namespace
}  // namespace allot::capi

using namespace allot::capi;

extern "C" {

allot_status allot_device_memory(const char* device, uint64_t* free, uint64_t* total) {
  return guarded([&] {
    require(free, "the pointer to the free bytes is null; give one");
    require(total, "the pointer to all bytes is null; give one");
    const allot::MemoryInfo info = device_of(device)->memory_info();
    *free = info.free;
    *total = info.total;
  });
}

allot_status allot_stream_create(const char* device, allot_stream** stream) {
  return guarded([&] {
    require(stream, no_stream);
    *stream = streams().add(device_of(device)->make_stream());
  });
}

allot_status allot_stream_borrow(const char* device, void* hip_stream, allot_stream** stream) {
  return guarded([&] {
    require(stream, no_stream);
    *stream = streams().add(device_of(device)->borrow_stream(hip_stream));
  });
}

void allot_stream_destroy(allot_stream* stream) { streams().remove(stream); }

allot_status allot_stream_synchronize(allot_stream* stream) {
  return guarded([&] { object_of(streams(), stream)->synchronize(); });
}

allot_status allot_stream_native(allot_stream* stream, void** hip_stream) {
  return guarded([&] {
    require(hip_stream, "the pointer to HIP's stream is null; give one");
    *hip_stream = object_of(streams(), stream)->native();
  });
}

allot_status allot_pool_create(const char* device, uint64_t capacity,
                               const allot_pool_options* options, allot_pool** pool) {
  return guarded([&] {
    require(pool, "the pointer to the new pool is null; give one");
    const allot::PoolOptions chosen =
        options == nullptr ? allot::PoolOptions{} : options_of(*options);
    *pool = pools().add(device_of(device)->make_pool(capacity, chosen));
  });
}

void allot_pool_destroy(allot_pool* pool) { pools().remove(pool); }

allot_status allot_pool_acquire(allot_pool* pool, uint64_t bytes, allot_stream* stream,
                                void** address, uint64_t* size) {
  return guarded([&] {
    require(address, "the pointer to the address is null; give one");
    const auto from = object_of(pools(), pool);
    const AnyPool::Taken taken = from->acquire(bytes, object_of(streams(), stream));
    *address = taken.address;
    if (size != nullptr) *size = taken.size;
  });
}

allot_status allot_pool_release(allot_pool* pool, void* address, allot_stream* stream) {
  if (address == nullptr) return ALLOT_OK;
  return guarded([&] {
    const auto to = object_of(pools(), pool);
    to->release(address, stream == nullptr ? nullptr : object_of(streams(), stream));
  });
}

allot_status allot_pool_warm_up(allot_pool* pool, const uint64_t* sizes, uint64_t count) {
  return guarded([&] {
    if (count != 0) require(sizes, "the pointer to the sizes is null; give one");
    object_of(pools(), pool)->warm_up({sizes, static_cast<std::size_t>(count)});
  });
}

allot_status allot_pool_trim(allot_pool* pool, uint64_t bytes, uint64_t* freed) {
  return guarded([&] {
    const std::uint64_t all = object_of(pools(), pool)->trim(bytes);
    if (freed != nullptr) *freed = all;
  });
}

allot_status allot_pool_usage(allot_pool* pool, allot_pool_stats* stats) {
  return guarded([&] {
    require(stats, "the pointer to the statistics is null; give one");
    const allot::PoolStats now = object_of(pools(), pool)->stats();
    *stats = {now.hits,   now.misses,      now.waits,    now.frees,          now.requested,
              now.in_use, now.cached,      now.capacity, now.in_use_buffers, now.cached_buffers,
              now.chunks, now.peak_in_use, now.peak_held};
  });
}

allot_status allot_pool_dump(allot_pool* pool, char** json) {
  return guarded([&] {
    require(json, "the pointer to the text is null; give one");
    *json = copy_of(object_of(pools(), pool)->dump());
  });
}

}  // extern "C"
