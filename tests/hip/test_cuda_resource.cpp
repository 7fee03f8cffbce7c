// SPDX-License-Identifier: MIT
// `mr::PoolResource` and `mr::ArenaResource` against the concepts of libcu++ 3.1, which are stated again here.
#include <allot/arena.hpp>
#include <allot/device/hip_device.hpp>
#include <allot/interop/cuda_resource.hpp>
#include <allot/memory/hip.hpp>
#include <allot/observer/address_index.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <concepts>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "hip/simulation.hpp"
#include "support/in_threads.hpp"

namespace {

using namespace allot;

/// A stream as libcu++ passes it: refers to one, and is made of its handle.
class CudaStreamRef {
 public:
  explicit CudaStreamRef(const hip::Stream& stream) : handle_{stream.get()} {}
  [[nodiscard]] hipStream_t get() const noexcept { return handle_; }
  void sync() const { REQUIRE(hipStreamSynchronize(handle_) == hipSuccess); }

 private:
  hipStream_t handle_;
};
struct OnCudaDevices {};
struct OnCudaHosts {};

template <class Resource>
concept CudaSynchronousResource = std::equality_comparable<Resource> &&
    requires(Resource& resource, void* address, std::size_t bytes, std::size_t alignment) {
  { resource.allocate_sync(bytes, alignment) } -> std::same_as<void*>;
  { resource.deallocate_sync(address, bytes, alignment) }
  noexcept->std::same_as<void>;
};
template <class Resource>
concept CudaResource = CudaSynchronousResource<Resource> &&
    requires(Resource& resource, const CudaStreamRef stream, void* address, std::size_t bytes,
             std::size_t alignment) {
  { resource.allocate(stream, bytes, alignment) } -> std::same_as<void*>;
  { resource.deallocate(stream, address, bytes, alignment) }
  noexcept->std::same_as<void>;
};
template <class Resource, class Property>
concept HasCudaProperty = requires(const Resource& resource, Property property) {
  get_property(resource, property);
};
/// What a type-erased resource asks besides.
template <class Resource>
concept CudaErasable = std::copyable<Resource>;

using CudaPool = BufferPool<HipDevice<>>;
using PoolModel = mr::PoolResource<CudaPool, OnCudaDevices>;
using CudaWeights = Arena<BestFit, AlignTo<256>, Locked<>, hip::DeviceMemory, AddressIndex>;
using CudaStaging = Arena<BestFit, AlignTo<64>, Unsynchronized, hip::PinnedMemory>;
using WeightsModel = mr::ArenaResource<CudaWeights, OnCudaDevices>;
using StagingModel = mr::ArenaResource<CudaStaging, OnCudaDevices, OnCudaHosts>;

static_assert(CudaResource<PoolModel> && CudaErasable<PoolModel>);
static_assert(CudaResource<WeightsModel> && CudaErasable<WeightsModel>);
static_assert(CudaResource<StagingModel> && CudaErasable<StagingModel>);
static_assert(HasCudaProperty<PoolModel, OnCudaDevices> &&
              !HasCudaProperty<PoolModel, OnCudaHosts>);
static_assert(HasCudaProperty<WeightsModel, OnCudaDevices> &&
              !HasCudaProperty<WeightsModel, OnCudaHosts>);
static_assert(HasCudaProperty<StagingModel, OnCudaDevices> &&
              HasCudaProperty<StagingModel, OnCudaHosts>);

/// Collects what a free could not throw.
struct CollectedFreeErrors {
  CollectedFreeErrors() { texts().clear(); }
  CollectedFreeErrors(const CollectedFreeErrors&) = delete;
  CollectedFreeErrors& operator=(const CollectedFreeErrors&) = delete;
  ~CollectedFreeErrors() { mr::set_free_error_handler(nullptr); }

  static std::vector<std::string>& texts() {
    static std::vector<std::string> all;
    return all;
  }
  mr::FreeErrorHandler before = mr::set_free_error_handler(
      [](const std::exception& error) { texts().emplace_back(error.what()); });
};

}  // namespace

TEST_CASE("a pool's resource: memory in the order of streams, no host waits, no crime") {
  const test::Simulation simulation{{.schedule = hipsim::Schedule::late}};
  Arena<BestFit, AlignTo<64>, Unsynchronized, hip::PinnedMemory> pinned{1 * MiB};
  const HipDevice<> device;
  CudaPool pool{device, 16 * MiB};
  {
    PoolModel resource{pool, device};
    hip::Stream first = device.make_stream();
    hip::Stream second = device.make_stream();
    const std::uint64_t waits =
        hipsim::calls("hipEventSynchronize") + hipsim::calls("hipStreamSynchronize");
    for (int round = 0; round < 8; ++round) {
      for (const hip::Stream* const stream : {&first, &second}) {
        void* const memory = resource.allocate(CudaStreamRef{*stream}, 1 * MiB, 256);
        stream->copy(memory, pinned.base_address(), 1 * MiB, hipMemcpyHostToDevice);
        resource.deallocate(CudaStreamRef{*stream}, memory, 1 * MiB, 256);
      }
    }
    CHECK(hipsim::calls("hipEventSynchronize") + hipsim::calls("hipStreamSynchronize") == waits);
    CHECK(pool.stats().misses == 2);
    // Freed on another stream than it was made for, which waits.
    void* const memory = resource.allocate(CudaStreamRef{first}, 100);
    first.copy(memory, pinned.base_address(), 100, hipMemcpyHostToDevice);
    const hip::Event event{0};
    first.record(event);
    second.wait(event);
    resource.deallocate(CudaStreamRef{second}, memory, 100);
    // Memory for any stream at once: the host waits.
    void* const at_once = resource.allocate_sync(1 * MiB);
    second.copy(at_once, pinned.base_address(), 1 * MiB, hipMemcpyHostToDevice);
    second.synchronize();
    resource.deallocate_sync(at_once, 1 * MiB);
    CHECK(pool.stats().in_use_buffers == 0);
    first.synchronize();
    second.synchronize();
  }
}

TEST_CASE(
    "copies of a resource are one; what is live when the last is gone goes back to the pool") {
  const test::Simulation simulation;
  const HipDevice<> device;
  CudaPool pool{device, 4 * MiB};
  hip::Stream stream = device.make_stream();
  {
    PoolModel resource{pool, device};
    PoolModel copy = resource;
    const PoolModel other{pool, device};
    CHECK(copy == resource);
    CHECK(copy != other);
    void* const memory = resource.allocate(CudaStreamRef{stream}, 0);
    CHECK(memory != nullptr);
    copy.deallocate(CudaStreamRef{stream}, memory, 0);
    static_cast<void>(resource.allocate(CudaStreamRef{stream}, 1000));
    CHECK(pool.stats().in_use_buffers == 1);
  }
  CHECK(pool.stats().in_use_buffers == 0);
  CHECK(pool.validate());
}

TEST_CASE("an arena's resource: memory at once; a free waits for its stream") {
  const test::Simulation simulation{{.schedule = hipsim::Schedule::late}};
  CudaStaging pinned{1 * MiB};
  CudaWeights weights{4 * MiB};
  StagingModel staging{pinned};
  WeightsModel resource{weights};
  hip::Stream stream{0};
  void* const from = staging.allocate_sync(1000, 64);
  for (int round = 0; round < 4; ++round) {
    void* const memory = resource.allocate(CudaStreamRef{stream}, 1000, 512);
    stream.copy(memory, from, 1000, hipMemcpyHostToDevice);
    resource.deallocate(CudaStreamRef{stream}, memory, 1000, 512);
    CHECK(weights.usage().live_blocks == 0);
  }
  staging.deallocate_sync(from, 1000, 64);
  CHECK(pinned.usage().live_blocks == 0);
  CHECK(resource == WeightsModel{weights});  // the arena's own index finds blocks
  CHECK(staging != StagingModel{pinned});    // each has an index of its own
}

TEST_CASE(
    "a resource's hostile use: foreign addresses, twice, null, alignments: errors, and nothing "
    "changes") {
  const test::Simulation simulation;
  const CollectedFreeErrors errors;
  const HipDevice<> device;
  CudaPool pool{device, 4 * MiB};
  CudaWeights weights{4 * MiB};
  hip::Stream stream = device.make_stream();
  PoolModel on_pool{pool, device};
  WeightsModel on_weights{weights};
  int foreign = 0;
  void* const memory = on_pool.allocate(CudaStreamRef{stream}, 1000);
  on_pool.deallocate(CudaStreamRef{stream}, &foreign, 4);
  CHECK(CollectedFreeErrors::texts().size() == 1);
  on_pool.deallocate(CudaStreamRef{stream}, nullptr, 0);
  CHECK(CollectedFreeErrors::texts().size() == 1);
  on_pool.deallocate(CudaStreamRef{stream}, memory, 1000);
  on_pool.deallocate_sync(memory, 1000);
  CHECK(CollectedFreeErrors::texts().size() == 2);
  on_weights.deallocate_sync(memory, 1000);
  CHECK(CollectedFreeErrors::texts().size() == 3);
  CHECK_THROWS_AS(static_cast<void>(on_pool.allocate(CudaStreamRef{stream}, 1, 4096)),
                  std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(on_pool.allocate_sync(8 * MiB)), std::bad_alloc);
  CHECK_THROWS_AS(static_cast<void>(on_weights.allocate_sync(8 * MiB)), std::bad_alloc);
  // A free whose event cannot be recorded: the pool waits for the stream itself.
  void* const last = on_pool.allocate(CudaStreamRef{stream}, 1000);
  hipsim::fail_call("hipEventRecord", 0, hipErrorUnknown);
  on_pool.deallocate(CudaStreamRef{stream}, last, 1000);
  CHECK(pool.stats().in_use_buffers == 0);
  CHECK(pool.validate());
}

TEST_CASE("threads share a pool's resource") {
  const test::Simulation simulation;
  const HipDevice<> device;
  CudaPool pool{device, 16 * MiB};
  {
    PoolModel resource{pool, device};
    test::in_threads(4, [&](std::size_t) {
      const hip::Stream stream = device.make_stream();
      for (unsigned round = 0; round < 50; ++round) {
        void* const memory = resource.allocate(CudaStreamRef{stream}, 1000 + round);
        resource.deallocate(CudaStreamRef{stream}, memory, 1000 + round);
      }
      stream.synchronize();
    });
    CHECK(pool.stats().in_use_buffers == 0);
  }
}
