// SPDX-License-Identifier: MIT
/// \file
/// What programs come to allot by, beside the arena's and the pool's own members and the standard library's
/// resources: a thousand allocations are alive, and one at random is replaced; then a `std::pmr::map` that is
/// filled and emptied. For another malloc under `new_delete_resource`: LD_PRELOAD=libmimalloc.so.2.
#include <allot/arena.hpp>
#include <allot/interop/allocator.hpp>
#include <allot/interop/cuda_resource.hpp>
#include <allot/interop/pmr.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/address_index.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/locked.hpp>

#include <benchmark/benchmark.h>

#if defined(ALLOT_HAS_C_LIBRARY)
#include <allot.h>
#endif

#include <cmath>
#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace allot;

constexpr std::size_t live = 1000;

struct Step {
  std::size_t slot;
  std::size_t bytes;
};

std::vector<Step> steps_of(int thread) {
  std::mt19937_64 random{static_cast<std::uint64_t>(thread) + 1};
  std::uniform_real_distribution<double> exponent{3, 12};
  std::vector<Step> steps(1 << 16);
  for (Step& step : steps)
    step = {random() % live, static_cast<std::size_t>(std::exp2(exponent(random)))};
  return steps;
}

/// An arena and its resource.
template <class S, class L, class O>
struct OverArena {
  Arena<S, AlignTo<16>, L, HostMemory, O> arena{256 * MiB};
  pmr::Resource<decltype(arena)> resource{arena};
};
/// A resource of the standard library, over the default one.
template <class ResourceType>
struct Standard {
  ResourceType resource;
};
struct NewDelete {
  std::pmr::memory_resource& resource = *std::pmr::new_delete_resource();
};

/// Blocks of an arena, kept as blocks.
struct Blocks {
  struct {
    Arena<GoodFit, AlignTo<16>, Locked<>, HostMemory, AddressIndex> arena{256 * MiB};

    Block allocate(std::size_t bytes, std::size_t) { return arena.allocate(bytes); }
    void deallocate(const Block& block, std::size_t, std::size_t) { arena.deallocate(block); }
  } resource;
};
/// The same, kept as addresses.
struct Addresses {
  struct {
    Arena<GoodFit, AlignTo<16>, Locked<>, HostMemory, AddressIndex> arena{256 * MiB};

    void* allocate(std::size_t bytes, std::size_t) { return arena.address(arena.allocate(bytes)); }
    void deallocate(void* address, std::size_t, std::size_t) {
      arena.deallocate(*arena.block_at(address));
    }
  } resource;
};
struct StandardAllocator {
  struct {
    Arena<GoodFit, AlignTo<16>, Locked<>, HostMemory, AddressIndex> arena{256 * MiB};
    Allocator<char, decltype(arena)> allocator{arena};

    void* allocate(std::size_t bytes, std::size_t) { return allocator.allocate(bytes); }
    void deallocate(void* address, std::size_t bytes, std::size_t) {
      allocator.deallocate(static_cast<char*>(address), bytes);
    }
  } resource;
};

/// A device with memory of the host, whose streams do nothing and cost nothing.
struct NullDevice {
  using memory_type = HostMemory;
  using staging_memory_type = HostMemory;
  struct stream_type {
    void* handle = nullptr;
    static stream_type borrow(void* handle, int) noexcept { return {handle}; }
    void* get() const noexcept { return handle; }
    void sync() const noexcept {}
  };
  struct event_type {};

  HostMemory memory() const { return HostMemory{}; }
  HostMemory staging_memory() const { return HostMemory{}; }
  stream_type make_stream() const { return {const_cast<NullDevice*>(this)}; }
  event_type make_event() const { return {}; }
  void copy_to_device(void*, const void*, std::uint64_t, stream_type&) const {}
  void copy_to_host(void*, const void*, std::uint64_t, stream_type&) const {}
  void copy_on_device(void*, const void*, std::uint64_t, stream_type&) const {}
  void record(event_type&, stream_type&) const {}
  void wait(stream_type&, event_type&) const {}
  void synchronize(stream_type&) const {}
  void synchronize(event_type&) const {}
  bool is_done(const event_type&) const { return true; }
  MemoryInfo memory_info() const { return {}; }
  bool host_addressable() const { return true; }
  std::string name() const { return "null"; }
  static int id() noexcept { return 0; }
};
struct DeviceProperty {};

/// Buffers of a pool, kept as buffers.
struct Buffers {
  struct {
    NullDevice device;
    BufferPool<NullDevice> pool{device, 256 * MiB};
    SharedStream<NullDevice> stream{device};

    auto allocate(std::size_t bytes, std::size_t) { return pool.acquire(bytes, stream); }
    void deallocate(PooledBuffer<NullDevice>& buffer, std::size_t, std::size_t) {
      buffer.release();
    }
  } resource;
};
struct CudaPool {
  struct {
    NullDevice device;
    BufferPool<NullDevice> pool{device, 256 * MiB};
    mr::PoolResource<BufferPool<NullDevice>, DeviceProperty> of{pool, device};
    NullDevice::stream_type stream{&device};

    void* allocate(std::size_t bytes, std::size_t) { return of.allocate(stream, bytes); }
    void deallocate(void* address, std::size_t bytes, std::size_t) {
      of.deallocate(stream, address, bytes);
    }
  } resource;
};
struct CudaArena {
  struct {
    Arena<GoodFit, AlignTo<16>, Locked<>, HostMemory, AddressIndex> arena{256 * MiB};
    mr::ArenaResource<decltype(arena), DeviceProperty> of{arena};
    NullDevice::stream_type stream;

    void* allocate(std::size_t bytes, std::size_t) { return of.allocate(stream, bytes); }
    void deallocate(void* address, std::size_t bytes, std::size_t) {
      of.deallocate(stream, address, bytes);
    }
  } resource;
};

#if defined(ALLOT_HAS_C_LIBRARY)
struct CArena {
  CArena() {
    allot_arena_options options{};
    options.strategy = ALLOT_GOOD_FIT;
    options.memory = ALLOT_HOST;
    options.alignment = 16;
    if (allot_arena_create(256 * MiB, &options, &arena) != ALLOT_OK) throw std::bad_alloc{};
  }
  CArena(const CArena&) = delete;
  CArena& operator=(const CArena&) = delete;
  ~CArena() { allot_arena_destroy(arena); }

  allot_arena* arena = nullptr;
};
struct CAddresses {
  struct : CArena {
    void* allocate(std::size_t bytes, std::size_t) { return allot_malloc(arena, bytes, 0); }
    void deallocate(void* address, std::size_t, std::size_t) { allot_free(arena, address); }
  } resource;
};
struct CBlocks {
  struct : CArena {
    allot_block allocate(std::size_t bytes, std::size_t) {
      allot_block block{};
      allot_arena_allocate(arena, bytes, 0, &block);
      return block;
    }
    void deallocate(const allot_block& block, std::size_t, std::size_t) {
      allot_arena_free(arena, &block);
    }
  } resource;
};
struct CPool {
  struct Resource {
    Resource() {
      if (allot_stream_create("host", &stream) != ALLOT_OK ||
          allot_pool_create("host", 256 * MiB, nullptr, &pool) != ALLOT_OK)
        throw std::bad_alloc{};
    }
    Resource(const Resource&) = delete;
    Resource& operator=(const Resource&) = delete;
    ~Resource() {
      allot_pool_destroy(pool);
      allot_stream_destroy(stream);
    }

    void* allocate(std::size_t bytes, std::size_t) {
      void* address = nullptr;
      allot_pool_acquire(pool, bytes, stream, &address, nullptr);
      return address;
    }
    void deallocate(void* address, std::size_t, std::size_t) {
      allot_pool_release(pool, address, nullptr);
    }

    allot_stream* stream = nullptr;
    allot_pool* pool = nullptr;
  } resource;
};
#endif

/// As programs call it: a resource of the standard's through its base.
template <class Resource>
auto& called(Resource& resource) {
  if constexpr (std::derived_from<Resource, std::pmr::memory_resource>) {
    return static_cast<std::pmr::memory_resource&>(resource);
  } else {
    return resource;
  }
}

template <class Source>
void replace(benchmark::State& state) {
  static std::unique_ptr<Source> source;
  if (state.thread_index() == 0) source = std::make_unique<Source>();
  const std::vector<Step> steps = steps_of(state.thread_index());
  struct Held {
    decltype(source->resource.allocate(std::size_t{}, std::size_t{})) address;
    std::size_t bytes;
  };
  std::vector<Held> held;
  std::size_t next = 0;
  for (auto _ : state) {
    auto& resource = called(source->resource);
    const Step& step = steps[next++ % steps.size()];
    if (held.size() < live) {
      held.push_back({resource.allocate(step.bytes, 8), step.bytes});
    } else {
      Held& one = held[step.slot];
      resource.deallocate(one.address, one.bytes, 8);
      one = {resource.allocate(step.bytes, 8), step.bytes};
    }
  }
  for (Held& one : held) source->resource.deallocate(one.address, one.bytes, 8);
  state.SetItemsProcessed(state.iterations());
}

template <class Source>
void fill_map(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto source = std::make_unique<Source>();
    state.ResumeTiming();
    std::pmr::map<std::uint64_t, std::uint64_t> map{&source->resource};
    for (std::uint64_t i = 0; i < 10'000; ++i) map.emplace(i * 0x9e37'79b9'7f4a'7c15, i);
    benchmark::DoNotOptimize(map.size());
  }
  state.SetItemsProcessed(state.iterations() * 10'000);
}

using Good = OverArena<GoodFit, Unsynchronized, Unobserved>;
using GoodIndexed = OverArena<GoodFit, Unsynchronized, AddressIndex>;
using Best = OverArena<BestFit, Unsynchronized, Unobserved>;
using Bump = OverArena<Linear, Unsynchronized, Unobserved>;
using GoodLocked = OverArena<GoodFit, Locked<>, Unobserved>;
using GoodLockedIndexed = OverArena<GoodFit, Locked<>, AddressIndex>;
using Pool = Standard<std::pmr::unsynchronized_pool_resource>;
using LockedPool = Standard<std::pmr::synchronized_pool_resource>;
using Monotonic = Standard<std::pmr::monotonic_buffer_resource>;

BENCHMARK(replace<Good>)->Name("replace/arena_good_fit");
BENCHMARK(replace<GoodIndexed>)->Name("replace/arena_good_fit_indexed");
BENCHMARK(replace<Best>)->Name("replace/arena_best_fit");
BENCHMARK(replace<Pool>)->Name("replace/std_unsynchronized_pool");
BENCHMARK(replace<NewDelete>)->Name("replace/std_new_delete");
BENCHMARK(replace<GoodLocked>)->Name("replace/arena_good_fit_locked")->ThreadRange(1, 2);
BENCHMARK(replace<GoodLockedIndexed>)
    ->Name("replace/arena_good_fit_locked_indexed")
    ->ThreadRange(1, 2);
BENCHMARK(replace<LockedPool>)->Name("replace/std_synchronized_pool")->ThreadRange(1, 2);
BENCHMARK(replace<NewDelete>)->Name("replace/std_new_delete_threads")->ThreadRange(1, 2);
BENCHMARK(replace<Blocks>)->Name("neighbour/arena_by_block");
BENCHMARK(replace<Addresses>)->Name("neighbour/arena_by_address");
BENCHMARK(replace<GoodLockedIndexed>)->Name("neighbour/std_pmr");
BENCHMARK(replace<StandardAllocator>)->Name("neighbour/std_allocator");
BENCHMARK(replace<CudaArena>)->Name("neighbour/cuda_mr_arena");
BENCHMARK(replace<Buffers>)->Name("neighbour/pool_by_buffer");
BENCHMARK(replace<CudaPool>)->Name("neighbour/cuda_mr_pool");
#if defined(ALLOT_HAS_C_LIBRARY)
BENCHMARK(replace<CBlocks>)->Name("neighbour/c_by_block");
BENCHMARK(replace<CAddresses>)->Name("neighbour/c_by_address");
BENCHMARK(replace<CPool>)->Name("neighbour/c_pool");
#endif
BENCHMARK(fill_map<Good>)->Name("map/arena_good_fit");
BENCHMARK(fill_map<Bump>)->Name("map/arena_linear");
BENCHMARK(fill_map<Pool>)->Name("map/std_unsynchronized_pool");
BENCHMARK(fill_map<Monotonic>)->Name("map/std_monotonic");
BENCHMARK(fill_map<NewDelete>)->Name("map/std_new_delete");

}  // namespace

BENCHMARK_MAIN();
