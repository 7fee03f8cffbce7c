// SPDX-License-Identifier: MIT
/// \file
/// HIP's memory as memory policies. Includes HIP.
///
/// | policy               | from              | accessible to    | use it for                     |
/// |----------------------|-------------------|------------------|--------------------------------|
/// | `hip::DeviceMemory`  | `hipMalloc`       | the device       | weights, caches                |
/// | `hip::PooledMemory`  | a HIP memory pool | the device       | regions that come and go often |
/// | `hip::PinnedMemory`  | `hipHostMalloc`   | both             | staging: copies at full speed  |
/// | `hip::ManagedMemory` | `hipMallocManaged`| both             | integrated GPUs                |
///
/// A region may be released on any thread, with any device current. Releasing does not wait for
/// work that still uses the region: synchronize its streams first.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/hip/current_device.hpp>
#include <allot/hip/error.hpp>
#include <allot/hip/properties.hpp>
#include <allot/hip/stream.hpp>
#include <allot/memory/memory.hpp>
#include <allot/memory/reclaimer.hpp>
#include <allot/os/algorithm.hpp>
#include <allot/os/smart_pointers.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace allot::hip {

namespace detail {

/// Owns what `Source::take` returned, and passes it to `Source::release` with its device current.
template <class Source>
class Region {
 public:
  Region() noexcept = default;
  Region(Region&& other) noexcept
      : source_{std::move(other.source_)},
        taken_{std::exchange(other.taken_, nullptr)},
        address_{std::exchange(other.address_, nullptr)},
        bytes_{std::exchange(other.bytes_, 0)} {}
  Region& operator=(Region&& other) noexcept {
    std::swap(source_, other.source_);
    std::swap(taken_, other.taken_);
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Region() {
    if (taken_ == nullptr) return;
    with_device_for_clean_up(source_.device, [this] { source_.release(taken_); });
  }

  [[nodiscard]] void* address() const noexcept { return address_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  /// Returns the alignment of the address from HIP: at least 256 bytes, in practice a page or 2
  /// MiB.
  [[nodiscard]] std::uint64_t alignment() const noexcept {
    const auto value = reinterpret_cast<std::uintptr_t>(address_);
    return value == 0 ? std::uint64_t{1} << 63 : std::uint64_t{1} << std::countr_zero(value);
  }

  /// Takes `bytes` bytes at a multiple of `alignment`. If HIP's own alignment is too low, takes the
  /// region again, with enough extra bytes to align it.
  /// Throws: `OutOfMemory` of reason `source`, with an `Error` nested; `Error`.
  [[nodiscard]] static Region acquire(Source source, std::uint64_t bytes, std::uint64_t alignment) {
    Region region = take(source, bytes, alignment);
    region.bytes_ = bytes;
    if (region.alignment() >= alignment) return region;
    region = Region{};  // so as not to hold both at once
    const auto more = checked_add(bytes, alignment - 1);
    if (!more) throw OutOfMemory{RefusalReason::source, bytes, alignment, 0, 0, 0};
    region = take(source, *more, alignment);
    region.bytes_ = bytes;
    const auto value = reinterpret_cast<std::uintptr_t>(region.address_);
    region.address_ += (0 - value) & (alignment - 1);
    return region;
  }

 private:
  [[nodiscard]] static Region take(const Source& source, std::uint64_t bytes,
                                   std::uint64_t alignment) {
    const CurrentDevice current{source.device};
    Region region;
    region.source_ = source;
    try {
      region.taken_ = take_or_reclaim(source, bytes);
    } catch (const Error& error) {
      if (error.code() != hipErrorOutOfMemory) throw;
      const MemoryInfo info = source.memory_info();
      std::throw_with_nested(
          OutOfMemory{RefusalReason::source, bytes, alignment, info.free, 0, info.total});
    }
    region.address_ = static_cast<std::byte*>(region.taken_);
    return region;
  }

  /// Takes memory; after a refusal tries once more if reclaimers gave memory back.
  [[nodiscard]] static void* take_or_reclaim(const Source& source, std::uint64_t bytes) {
    try {
      return source.take(bytes);
    } catch (const Error& error) {
      if (error.code() != hipErrorOutOfMemory) throw;
      if (reclaim_memory(source.owner(), bytes) == 0) throw;
    }
    return source.take(bytes);
  }

  Source source_{};
  void* taken_ = nullptr;
  std::byte* address_ = nullptr;
  std::uint64_t bytes_ = 0;
};

[[nodiscard]] inline std::string taking(std::uint64_t bytes, const char* kind, int device) {
  return std::string{"allocating "} + ReadableBytes{bytes}.c_str() + " of " + kind +
         " memory on hip:" + std::to_string(device);
}

/// What the sources of a device's memory share: whose reclaimers to call, and the memory's size.
struct OfDevice {
  int device = 0;

  [[nodiscard]] std::string owner() const { return "hip:" + std::to_string(device); }
  [[nodiscard]] MemoryInfo memory_info() const noexcept {
    std::size_t free = 0;
    std::size_t total = 0;
    if (hipMemGetInfo(&free, &total) != hipSuccess) static_cast<void>(hipGetLastError());
    return {free, total};
  }
};

struct DeviceSource : OfDevice {
  [[nodiscard]] void* take(std::uint64_t bytes) const {
    void* taken = nullptr;
    check(hipMalloc(&taken, bytes), "hipMalloc", [&] { return taking(bytes, "device", device); });
    return taken;
  }
  void release(void* taken) const noexcept {
    check_clean_up(hipFree(taken), "hipFree", "releasing device memory");
  }
};

// Some headers of ROCm 6.3 deprecate these two in favor of functions that no other version has.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
struct PinnedSource {
  int device = 0;

  [[nodiscard]] static std::string owner() { return "host"; }
  [[nodiscard]] static MemoryInfo memory_info() noexcept { return {0, 0}; }

  [[nodiscard]] void* take(std::uint64_t bytes) const {
    void* taken = nullptr;
    check(hipHostMalloc(&taken, bytes, hipHostMallocPortable), "hipHostMalloc",
          [&] { return taking(bytes, "pinned", device); });
    return taken;
  }
  void release(void* taken) const noexcept {
    check_clean_up(hipHostFree(taken), "hipHostFree", "releasing pinned memory");
  }
};
#pragma GCC diagnostic pop

struct ManagedSource : OfDevice {
  [[nodiscard]] void* take(std::uint64_t bytes) const {
    void* taken = nullptr;
    check(hipMallocManaged(&taken, bytes, hipMemAttachGlobal), "hipMallocManaged",
          [&] { return taking(bytes, "managed", device); });
    return taken;
  }
  void release(void* taken) const noexcept {
    check_clean_up(hipFree(taken), "hipFree", "releasing managed memory");
  }
};

/// A pool, and the stream on which its memory is taken and released.
class Pool {
 public:
  Pool(int device, std::uint64_t keep_bytes) : stream_{device} {
    const CurrentDevice current{device};
    hipMemPoolProps wanted{};
    wanted.allocType = hipMemAllocationTypePinned;
    wanted.location.type = hipMemLocationTypeDevice;
    wanted.location.id = device;
    check(hipMemPoolCreate(&pool_, &wanted), "hipMemPoolCreate", "creating a memory pool");
    const hipError_t code =
        hipMemPoolSetAttribute(pool_, hipMemPoolAttrReleaseThreshold, &keep_bytes);
    if (code == hipSuccess) return;
    check_clean_up(hipMemPoolDestroy(pool_), "hipMemPoolDestroy", "releasing a memory pool");
    check(code, "hipMemPoolSetAttribute", "setting how much a memory pool keeps");
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    with_device_for_clean_up(stream_.device(), [this] {
      settle(stream_.get());
      check_clean_up(hipMemPoolDestroy(pool_), "hipMemPoolDestroy", "releasing a memory pool");
    });
  }

  /// When this returns, every stream may use the memory.
  [[nodiscard]] void* take(std::uint64_t bytes) const {
    void* taken = nullptr;
    check(hipMallocFromPoolAsync(&taken, bytes, pool_, stream_.get()), "hipMallocFromPoolAsync",
          [&] { return taking(bytes, "pooled", stream_.device()); });
    try {
      stream_.synchronize();
    } catch (...) {
      release(taken);
      throw;
    }
    return taken;
  }
  void release(void* taken) const noexcept {
    check_clean_up(hipFreeAsync(taken, stream_.get()), "hipFreeAsync", "releasing pooled memory");
  }

  /// Returns the bytes that the pool gave back, as shown by the device's free memory.
  [[nodiscard]] std::uint64_t trim(std::string_view owner) const noexcept {
    const OfDevice of{stream_.device()};
    if (owner != of.owner()) return 0;
    std::uint64_t freed = 0;
    with_device_for_clean_up(stream_.device(), [&] {
      const std::uint64_t before = of.memory_info().free;
      settle(stream_.get());
      check_clean_up(hipMemPoolTrimTo(pool_, 0), "hipMemPoolTrimTo", "trimming a memory pool");
      const std::uint64_t after = of.memory_info().free;
      freed = after > before ? after - before : 0;
    });
    return freed;
  }

 private:
  Stream stream_;
  hipMemPool_t pool_ = nullptr;
};

/// A pool that releases the memory that it keeps when a device runs out. Any thread may ask it to,
/// so it is registered only while the whole pool exists.
class ReclaimedPool : public Pool {
 public:
  using Pool::Pool;

 private:
  Reclaimer reclaimer_{[this](std::string_view owner, std::uint64_t) { return trim(owner); }};
};

struct PooledSource : OfDevice {
  std::shared_ptr<const Pool> pool;

  [[nodiscard]] void* take(std::uint64_t bytes) const { return pool->take(bytes); }
  void release(void* taken) const noexcept { pool->release(taken); }
};

}  // namespace detail

/// Memory of a device. The host must not touch it.
class DeviceMemory {
 public:
  static constexpr bool host_accessible = false;
  static constexpr bool device_accessible = true;
  /// Owns an allocation; frees it when destroyed.
  using Region = detail::Region<detail::DeviceSource>;

  /// Uses the device that is current on this thread. Throws: `Error`.
  DeviceMemory() : DeviceMemory{current_device()} {}
  explicit DeviceMemory(int device) noexcept : source_{{device}} {}

  /// Calls `hipMalloc` once. If the device refuses, calls the registered reclaimers, then tries
  /// once more.
  /// Throws: `OutOfMemory` of reason `source` with the `Error` nested; `Error` for any other
  /// failure.
  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    return Region::acquire(source_, bytes, alignment);
  }

 private:
  detail::DeviceSource source_;
};

/// Host memory that is pinned, so that devices copy it directly. Any device may use it. The
/// constructor's device is the one that is current when it is taken.
class PinnedMemory {
 public:
  static constexpr bool host_accessible = true;
  static constexpr bool device_accessible = true;
  /// Owns an allocation; frees it when destroyed.
  using Region = detail::Region<detail::PinnedSource>;

  /// Like `DeviceMemory`'s.
  PinnedMemory() : PinnedMemory{current_device()} {}
  explicit PinnedMemory(int device) noexcept : source_{device} {}

  /// Calls `hipHostMalloc` once; otherwise like `DeviceMemory::acquire`.
  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    return Region::acquire(source_, bytes, alignment);
  }

 private:
  detail::PinnedSource source_;
};

/// Memory that host and device share. The host may touch it while the device is not using it.
class ManagedMemory {
 public:
  static constexpr bool host_accessible = true;
  static constexpr bool device_accessible = true;
  /// Owns an allocation; frees it when destroyed.
  using Region = detail::Region<detail::ManagedSource>;

  /// Like `DeviceMemory`'s.
  ManagedMemory() : ManagedMemory{current_device()} {}
  explicit ManagedMemory(int device) noexcept : source_{{device}} {}

  /// Calls `hipMallocManaged` once; otherwise like `DeviceMemory::acquire`.
  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    return Region::acquire(source_, bytes, alignment);
  }

 private:
  detail::ManagedSource source_;
};

/// Memory of a device from its own HIP memory pool, which keeps released memory, up to a limit, so
/// that the next region needs no call to the driver. Copies share the pool; regions keep it alive.
class PooledMemory {
 public:
  static constexpr bool host_accessible = false;
  static constexpr bool device_accessible = true;
  /// Owns an allocation; frees it when destroyed.
  using Region = detail::Region<detail::PooledSource>;

  /// \param keep_bytes  free bytes that the pool keeps when a stream is synchronized
  /// Throws: `Error`, with `hipErrorNotSupported` if the device does not support memory pools.
  explicit PooledMemory(int device, std::uint64_t keep_bytes = 256 * MiB)
      : source_{{device}, made_pool(device, keep_bytes)} {}

  /// Like `DeviceMemory::acquire`, from the pool. Every stream may use the memory at once.
  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
    return Region::acquire(source_, bytes, alignment);
  }

 private:
  [[nodiscard]] static std::shared_ptr<const detail::Pool> made_pool(int device,
                                                                     std::uint64_t keep_bytes) {
    if (detail::attribute(hipDeviceAttributeMemoryPoolsSupported, device) == 0) {
      check(hipErrorNotSupported, "hipMemPoolCreate", [&] {
        return "creating a memory pool: hip:" + std::to_string(device) +
               " does not support memory pools; use hip::DeviceMemory";
      });
    }
    return std::make_shared<detail::ReclaimedPool>(device, keep_bytes);
  }

  detail::PooledSource source_;
};

static_assert(Memory<DeviceMemory> && Memory<PinnedMemory>);
static_assert(Memory<ManagedMemory> && Memory<PooledMemory>);

}  // namespace allot::hip
