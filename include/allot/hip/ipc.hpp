// SPDX-License-Identifier: MIT
/// \file
/// Device memory that two processes share. HIP's own handle names a whole allocation: one made from
/// an address inside it opens at the base. `IpcHandle` therefore also carries the offset.
///
///     const hip::IpcHandle handle = hip::export_block(arena, block);   // send its bytes over
///     const hip::ImportedMemory memory{handle, 0};                     // in the other process
///     memory.address();                                                // the block's first byte
#pragma once

#include <allot/core/block.hpp>
#include <allot/hip/current_device.hpp>
#include <allot/hip/error.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

namespace allot::hip {

/// Names bytes of a device allocation for another process: send it there as plain bytes.
struct IpcHandle {
  hipIpcMemHandle_t base;  ///< of the whole allocation
  std::uint64_t offset;    ///< bytes from its base
  std::uint64_t bytes;     ///< that the handle names
};
static_assert(std::is_trivially_copyable_v<IpcHandle>);

/// Makes a handle of `bytes` bytes at `offset` from `base`, the address of an arena's memory. The
/// memory must stay allocated while another process has it open.
/// Throws: `Error`.
[[nodiscard]] inline IpcHandle export_memory(void* base, std::uint64_t offset,
                                             std::uint64_t bytes) {
  IpcHandle made{};
  made.offset = offset;
  made.bytes = bytes;
#if defined(__HIP_PLATFORM_AMD__)
  // An arena whose alignment is above HIP's own may begin behind the start of its allocation.
  hipDeviceptr_t start = nullptr;
  std::size_t size = 0;
  check(hipMemGetAddressRange(&start, &size, base), "hipMemGetAddressRange",
        "finding the allocation that holds an address");
  made.offset +=
      static_cast<std::uint64_t>(static_cast<std::byte*>(base) - static_cast<std::byte*>(start));
  base = start;
#endif
  check(hipIpcGetMemHandle(&made.base, base), "hipIpcGetMemHandle",
        "creating a handle of device memory for another process");
  return made;
}

/// Makes a handle of a live block. Throws: `InvalidBlock`; `Error`.
template <class ArenaType>
[[nodiscard]] IpcHandle export_block(const ArenaType& arena, const Block& block) {
  auto* const base = static_cast<std::byte*>(arena.base_address());
  const auto offset = static_cast<std::byte*>(arena.address(block)) - base;
  return export_memory(base, static_cast<std::uint64_t>(offset), block.size);
}

/// Makes a handle of a slice of a shared arena; it must be a slice of that arena. Throws: `Error`.
template <class SharedArena>
[[nodiscard]] IpcHandle export_slice(const SharedArena& arena,
                                     const typename SharedArena::slice_type& slice) {
  return export_memory(arena.base_address(), arena.offset_of(slice), slice.bytes());
}

/// Keeps another process's memory open in this one until it is destroyed.
class ImportedMemory {
 public:
  /// Throws: `Error`, also for a handle that this process itself made.
  ImportedMemory(const IpcHandle& handle, int device)
      : device_{device}, offset_{handle.offset}, bytes_{handle.bytes} {
    const CurrentDevice current{device};
    check(hipIpcOpenMemHandle(&base_, handle.base, hipIpcMemLazyEnablePeerAccess),
          "hipIpcOpenMemHandle",
          [&] { return "opening another process's memory on hip:" + std::to_string(device); });
  }
  ImportedMemory(ImportedMemory&& other) noexcept
      : device_{other.device_},
        base_{std::exchange(other.base_, nullptr)},
        offset_{other.offset_},
        bytes_{other.bytes_} {}
  ImportedMemory& operator=(ImportedMemory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(base_, other.base_);
    std::swap(offset_, other.offset_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~ImportedMemory() {
    if (base_ == nullptr) return;
    with_device_for_clean_up(device_, [this] {
      check_clean_up(hipIpcCloseMemHandle(base_), "hipIpcCloseMemHandle",
                     "closing another process's memory");
    });
  }

  /// Returns the device address of the first byte that the handle named.
  [[nodiscard]] void* address() const noexcept { return static_cast<std::byte*>(base_) + offset_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  int device_;
  void* base_ = nullptr;
  std::uint64_t offset_;
  std::uint64_t bytes_;
};

}  // namespace allot::hip
