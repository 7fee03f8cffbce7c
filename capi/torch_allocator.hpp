// SPDX-License-Identifier: MIT
/// \file
/// `TorchAllocator`: what PyTorch's `CUDAPluggableAllocator` calls, over a `BufferPool` for each device.
#pragma once

#include <allot/core/units.hpp>
#include <allot/device/hip_device.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/stream/shared_stream.hpp>

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace allot::capi {

/// All sizes in bytes.
struct TorchOptions {
  std::uint64_t capacity = 256 * MiB;  ///< taken from each device at its first allocation
  std::uint64_t growth = 256 * MiB;    ///< of each further chunk; 0: none
  std::uint64_t max_capacity = PoolOptions::unlimited;  ///< of each device
};

/// Reads `ALLOT_TORCH_BYTES`, `ALLOT_TORCH_GROWTH` and `ALLOT_TORCH_MAX_BYTES`: `512MiB`, `8GiB`, or
/// bytes. Throws: `std::invalid_argument` naming the variable.
[[nodiscard]] TorchOptions torch_options_of_environment();

/// Allocates on streams. A free orders the memory behind all work that its stream had been given so far;
/// if other streams were recorded for it, it is kept until what they had been given is done. The host
/// waits only rather than refuse. All members may be called by several threads at once.
class TorchAllocator {
  using Device = HipDevice<>;
  using Pool = BufferPool<Device, FourSteps, BestFit, AlignTo<512>>;
  using Stream = SharedStream<Device>;

 public:
  explicit TorchAllocator(const TorchOptions& options = {}) : options_{options} {}

  /// Returns null for zero bytes.
  /// Throws: as `BufferPool::acquire`; `hip::NoDevice`; `std::invalid_argument` for a device that there
  /// is not. Nothing has then been taken.
  [[nodiscard]] void* allocate(std::uint64_t bytes, int device, hipStream_t stream);

  /// Null does nothing.
  /// Throws: `InvalidBlock` for an address that is not live; what the device throws if the work of a
  /// recorded stream cannot be noted: the memory is then live as before.
  void deallocate(void* address);

  /// Notes that another stream uses the memory. Null does nothing.
  /// Throws: `InvalidBlock`; `std::bad_alloc`.
  void record_stream(void* address, hipStream_t stream);

  /// Gives memory that no buffer uses back to the devices. Throws: what a device throws.
  void empty_cache();

  /// Returns nothing for a device that was not used yet.
  [[nodiscard]] std::optional<PoolStats> stats(int device);
  /// Returns the pool's `report::dump`; nothing for a device that was not used yet.
  [[nodiscard]] std::optional<std::string> snapshot(int device);

 private:
  struct Live {
    PooledBuffer<Device> buffer;
    int device;
    std::vector<hipStream_t> used_on;
  };
  /// Memory that was freed while other streams may still use it.
  struct Pending {
    PooledBuffer<Device> buffer;
    std::vector<hip::Event> events;
  };
  struct OnDevice {
    OnDevice(int id, const TorchOptions& options);

    /// Returns the object for PyTorch's stream, always the same one.
    [[nodiscard]] const Stream& stream(hipStream_t handle);
    /// Releases what no stream uses any more. \param must_wait  waits for all of it
    void release_pending(bool must_wait);

    Device device;
    Pool pool;
    std::unordered_map<hipStream_t, Stream> streams;
    std::deque<Pending> pending;  // in the order of their frees
  };

  TorchOptions options_;
  std::mutex mutex_;
  std::map<int, OnDevice> devices_;
  std::unordered_map<void*, Live> live_;
};

}  // namespace allot::capi
