// SPDX-License-Identifier: MIT
// liballot_record: stands in front of libamdhip64 and writes down what a program asks of it. It calls no
// function of HIP's by itself.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "call_log.hpp"
#include "hip_abi.hpp"
#include "next.hpp"
#include "own_file.hpp"

namespace {

using namespace allot::seam;

/// Calls that HIP makes of its own functions are not the program's.
thread_local bool is_inside = false;

/// What the program sees of a call is what HIP did: errno, too.
class Outermost {
 public:
  Outermost() noexcept : was_inside_{std::exchange(is_inside, true)} {}
  Outermost(const Outermost&) = delete;
  Outermost& operator=(const Outermost&) = delete;
  ~Outermost() { is_inside = was_inside_; }

  [[nodiscard]] explicit operator bool() const noexcept { return !was_inside_; }

 private:
  bool was_inside_;
};

class KeptErrno {
 public:
  KeptErrno() noexcept : value_{errno} {}
  KeptErrno(const KeptErrno&) = delete;
  KeptErrno& operator=(const KeptErrno&) = delete;
  ~KeptErrno() { errno = value_; }

 private:
  int value_;
};

[[nodiscard]] std::uint64_t number_of(const void* address) {
  return reinterpret_cast<std::uint64_t>(address);
}
/// A handle as an offset: no address lies there, and it is a multiple of a block's alignment.
[[nodiscard]] std::uint64_t offset_of_handle(const void* handle) { return number_of(handle) << 8; }

/// Calls, and notes what came of it. \param note  of success: `note(log)`
template <class Note, class... Arguments>
HipError noted(Next& next, const Call& call, Note&& note, Arguments... arguments) {
  const Outermost outermost;
  const HipError code = next(arguments...);
  if (!outermost) return code;
  const KeptErrno kept;
  CallLog& log = CallLog::get();
  if (code == hip_success) {
    note(log);
  } else {
    log.failed(call, code);
  }
  return code;
}

/// Calls what allocates. \param place  what the trace has of `*result` in place of an offset
template <class... Arguments>
HipError noted_result(Next& next, const Call& call, std::uint64_t bytes, void** result,
                      std::uint64_t (*place)(const void*), Arguments... arguments) {
  const Outermost outermost;
  const HipError code = next(arguments...);
  if (!outermost) return code;
  const KeptErrno kept;
  CallLog& log = CallLog::get();
  if (code == hip_success) {
    log.allocated(call, result == nullptr ? 0 : place(*result), bytes);
  } else {
    log.failed(call, code, bytes);
  }
  return code;
}

/// \param address  where HIP stores the address of the memory
template <class... Arguments>
HipError noted_allocation(Next& next, const Call& call, std::uint64_t bytes, void** address,
                          Arguments... arguments) {
  return noted_result(next, call, bytes, address, &number_of, arguments...);
}

/// \param handle  where HIP stores a handle, which is not an address
template <class... Arguments>
HipError noted_handle(Next& next, const Call& call, std::uint64_t bytes, void** handle,
                      Arguments... arguments) {
  return noted_result(next, call, bytes, handle, &offset_of_handle, arguments...);
}

template <class... Arguments>
HipError noted_free(Next& next, const Call& call, std::uint64_t offset, Arguments... arguments) {
  const Outermost outermost;
  if (!outermost) return next(arguments...);
  CallLog& log = CallLog::get();
  std::optional<CallLog::Freed> block;
  {
    const KeptErrno kept;
    if (offset != 0) block = log.freeing(call, offset);
  }
  const HipError code = next(arguments...);
  const KeptErrno kept;
  if (code != hip_success) {
    if (block) log.still_live(call, offset, *block);
    log.failed(call, code);
  } else if (!block && offset != 0) {
    log.freed_unknown(call, offset);
  }
  return code;
}

enum MemcpyKind : int { host_to_host, host_to_device, device_to_host, device_to_device };

template <class... Arguments>
HipError noted_copy(Next& next, const Call& call, const void* to, const void* from,
                    std::uint64_t bytes, int kind, Arguments... arguments) {
  return noted(
      next, call,
      [&](CallLog& log) {
        const Direction direction = kind == host_to_device     ? Direction::to_device
                                    : kind == device_to_host   ? Direction::to_host
                                    : kind == device_to_device ? Direction::on_device
                                    : kind == host_to_host     ? Direction::on_host
                                                               : Direction::as_addresses_say;
        log.copied(call, direction, kind == device_to_host ? from : to, bytes);
      },
      arguments...);
}

[[nodiscard]] std::uint64_t bytes_of_array(std::size_t width, std::size_t height, std::size_t depth,
                                           std::uint64_t bits) {
  return std::uint64_t{width} * (height == 0 ? 1 : height) * (depth == 0 ? 1 : depth) * bits / 8;
}
[[nodiscard]] std::uint64_t bits_of(const ChannelFormat& format) {
  return static_cast<std::uint64_t>(format.x + format.y + format.z + format.w);
}
/// As HIP's `hipArray_Format` numbers them.
[[nodiscard]] std::uint64_t bits_of(int format, unsigned channels) {
  const bool is_of_8 = format == 0x01 || format == 0x08;
  const bool is_of_16 = format == 0x02 || format == 0x09 || format == 0x10;
  return std::uint64_t{channels} * (is_of_8 ? 8 : is_of_16 ? 16 : 32);
}

/// Ends the file with the process. If the program called nothing of HIP, a message says so.
[[gnu::destructor]] void end() {
  CallLog::end_if_made();
  if (CallLog::is_made() || !is_first_process()) return;
  std::fputs(
      "allot: no HIP call about memory was seen: the program made none, or it is linked to HIP "
      "statically\n",
      stderr);
}

}  // namespace

// Every function finds the next of its name once, and knows where it was called from.
#define ALLOT_CALL(function, ...)        \
  static constinit Next next{#function}; \
  const Call call { #function, __builtin_return_address(0) __VA_OPT__(, ) __VA_ARGS__ }

extern "C" {

// Which device is current

HipError hipSetDevice(int device) {
  static constinit Next next{"hipSetDevice"};
  const HipError code = next(device);
  if (code == hip_success) set_current_device(device);
  return code;
}

// Device memory

HipError hipMalloc(void** address, std::size_t bytes) {
  ALLOT_CALL(hipMalloc);
  return noted_allocation(next, call, bytes, address, address, bytes);
}
HipError hipExtMallocWithFlags(void** address, std::size_t bytes, unsigned flags) {
  ALLOT_CALL(hipExtMallocWithFlags);
  return noted_allocation(next, call, bytes, address, address, bytes, flags);
}
HipError hipMallocManaged(void** address, std::size_t bytes, unsigned flags) {
  ALLOT_CALL(hipMallocManaged);
  return noted_allocation(next, call, bytes, address, address, bytes, flags);
}
HipError hipMallocPitch(void** address, std::size_t* pitch, std::size_t width, std::size_t height) {
  ALLOT_CALL(hipMallocPitch);
  const Outermost outermost;
  const HipError code = next(address, pitch, width, height);
  if (!outermost) return code;
  const KeptErrno kept;
  if (code == hip_success) {
    CallLog::get().allocated(call, number_of(*address), std::uint64_t{*pitch} * height);
  } else {
    CallLog::get().failed(call, code, std::uint64_t{width} * height);
  }
  return code;
}
HipError hipMemAllocPitch(void** address, std::size_t* pitch, std::size_t width, std::size_t height,
                          unsigned element) {
  ALLOT_CALL(hipMemAllocPitch);
  const Outermost outermost;
  const HipError code = next(address, pitch, width, height, element);
  if (!outermost) return code;
  const KeptErrno kept;
  if (code == hip_success) {
    CallLog::get().allocated(call, number_of(*address), std::uint64_t{*pitch} * height);
  } else {
    CallLog::get().failed(call, code, std::uint64_t{width} * height);
  }
  return code;
}
HipError hipMalloc3D(PitchedPointer* pointer, Extent extent) {
  ALLOT_CALL(hipMalloc3D);
  const Outermost outermost;
  const HipError code = next(pointer, extent);
  if (!outermost) return code;
  const KeptErrno kept;
  if (code == hip_success) {
    const std::uint64_t bytes = std::uint64_t{pointer->pitch} * extent.height * extent.depth;
    CallLog::get().allocated(call, number_of(pointer->address), bytes);
  } else {
    CallLog::get().failed(call, code, std::uint64_t{extent.width} * extent.height * extent.depth);
  }
  return code;
}
HipError hipFree(void* address) {
  ALLOT_CALL(hipFree);
  return noted_free(next, call, number_of(address), address);
}

// Pinned memory of the host

HipError hipHostMalloc(void** address, std::size_t bytes, unsigned flags) {
  ALLOT_CALL(hipHostMalloc, nullptr, Call::host);
  return noted_allocation(next, call, bytes, address, address, bytes, flags);
}
HipError hipHostAlloc(void** address, std::size_t bytes, unsigned flags) {
  ALLOT_CALL(hipHostAlloc, nullptr, Call::host);
  return noted_allocation(next, call, bytes, address, address, bytes, flags);
}
HipError hipMallocHost(void** address, std::size_t bytes) {
  ALLOT_CALL(hipMallocHost, nullptr, Call::host);
  return noted_allocation(next, call, bytes, address, address, bytes);
}
HipError hipMemAllocHost(void** address, std::size_t bytes) {
  ALLOT_CALL(hipMemAllocHost, nullptr, Call::host);
  return noted_allocation(next, call, bytes, address, address, bytes);
}
HipError hipHostFree(void* address) {
  ALLOT_CALL(hipHostFree, nullptr, Call::host);
  return noted_free(next, call, number_of(address), address);
}
HipError hipFreeHost(void* address) {
  ALLOT_CALL(hipFreeHost, nullptr, Call::host);
  return noted_free(next, call, number_of(address), address);
}
HipError hipHostRegister(void* address, std::size_t bytes, unsigned flags) {
  ALLOT_CALL(hipHostRegister, nullptr, Call::host);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(address), bytes); }, address,
      bytes, flags);
}
HipError hipHostUnregister(void* address) {
  ALLOT_CALL(hipHostUnregister, nullptr, Call::host);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(address), 0); }, address);
}

// Arrays

HipError hipMallocArray(void** array, const ChannelFormat* format, std::size_t width,
                        std::size_t height, unsigned flags) {
  ALLOT_CALL(hipMallocArray);
  const std::uint64_t bytes =
      format == nullptr ? 0 : bytes_of_array(width, height, 1, bits_of(*format));
  return noted_handle(next, call, bytes, array, array, format, width, height, flags);
}
HipError hipMalloc3DArray(void** array, const ChannelFormat* format, Extent extent,
                          unsigned flags) {
  ALLOT_CALL(hipMalloc3DArray);
  const std::uint64_t bytes = format == nullptr ? 0
                                                : bytes_of_array(extent.width, extent.height,
                                                                 extent.depth, bits_of(*format));
  return noted_handle(next, call, bytes, array, array, format, extent, flags);
}
HipError hipArrayCreate(void** array, const ArrayDescriptor* wanted) {
  ALLOT_CALL(hipArrayCreate);
  const std::uint64_t bytes = wanted == nullptr
                                  ? 0
                                  : bytes_of_array(wanted->width, wanted->height, 1,
                                                   bits_of(wanted->format, wanted->channels));
  return noted_handle(next, call, bytes, array, array, wanted);
}
HipError hipArray3DCreate(void** array, const Array3DDescriptor* wanted) {
  ALLOT_CALL(hipArray3DCreate);
  const std::uint64_t bytes = wanted == nullptr
                                  ? 0
                                  : bytes_of_array(wanted->width, wanted->height, wanted->depth,
                                                   bits_of(wanted->format, wanted->channels));
  return noted_handle(next, call, bytes, array, array, wanted);
}
HipError hipFreeArray(void* array) {
  ALLOT_CALL(hipFreeArray);
  return noted_free(next, call, offset_of_handle(array), array);
}
HipError hipArrayDestroy(void* array) {
  ALLOT_CALL(hipArrayDestroy);
  return noted_free(next, call, offset_of_handle(array), array);
}

// In the order of streams

HipError hipMallocAsync(void** address, std::size_t bytes, void* stream) {
  ALLOT_CALL(hipMallocAsync, stream);
  return noted_allocation(next, call, bytes, address, address, bytes, stream);
}
HipError hipMallocFromPoolAsync(void** address, std::size_t bytes, void* pool, void* stream) {
  ALLOT_CALL(hipMallocFromPoolAsync, stream);
  return noted_allocation(next, call, bytes, address, address, bytes, pool, stream);
}
HipError hipFreeAsync(void* address, void* stream) {
  ALLOT_CALL(hipFreeAsync, stream);
  return noted_free(next, call, number_of(address), address, stream);
}
HipError hipMemPoolCreate(void** pool, const void* properties) {
  ALLOT_CALL(hipMemPoolCreate);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(*pool), 0); }, pool, properties);
}
HipError hipMemPoolDestroy(void* pool) {
  ALLOT_CALL(hipMemPoolDestroy);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(pool), 0); }, pool);
}
HipError hipMemPoolTrimTo(void* pool, std::size_t bytes) {
  ALLOT_CALL(hipMemPoolTrimTo);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(pool), bytes); }, pool, bytes);
}

// Other processes

HipError hipIpcGetMemHandle(IpcHandle* handle, void* address) {
  ALLOT_CALL(hipIpcGetMemHandle);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(address), 0); }, handle, address);
}
HipError hipIpcOpenMemHandle(void** address, IpcHandle handle, unsigned flags) {
  ALLOT_CALL(hipIpcOpenMemHandle);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(*address), 0); }, address, handle,
      flags);
}
HipError hipIpcCloseMemHandle(void* address) {
  ALLOT_CALL(hipIpcCloseMemHandle);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(address), 0); }, address);
}
HipError hipMemPoolExportToShareableHandle(void* shared, void* pool, int type, unsigned flags) {
  ALLOT_CALL(hipMemPoolExportToShareableHandle);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(pool), 0); }, shared, pool, type,
      flags);
}
HipError hipMemPoolImportFromShareableHandle(void** pool, void* shared, int type, unsigned flags) {
  ALLOT_CALL(hipMemPoolImportFromShareableHandle);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(*pool), 0); }, pool, shared, type,
      flags);
}
HipError hipMemPoolExportPointer(void* exported, void* address) {
  ALLOT_CALL(hipMemPoolExportPointer);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(address), 0); }, exported,
      address);
}
HipError hipMemPoolImportPointer(void** address, void* pool, void* exported) {
  ALLOT_CALL(hipMemPoolImportPointer);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(*address), 0); }, address, pool,
      exported);
}

// Virtual memory: what hipMemCreate makes is memory, and has no address of its own

HipError hipMemCreate(void** handle, std::size_t bytes, const void* properties,
                      unsigned long long flags) {
  ALLOT_CALL(hipMemCreate);
  return noted_handle(next, call, bytes, handle, handle, bytes, properties, flags);
}
HipError hipMemRelease(void* handle) {
  ALLOT_CALL(hipMemRelease);
  return noted_free(next, call, offset_of_handle(handle), handle);
}
HipError hipMemAddressReserve(void** address, std::size_t bytes, std::size_t alignment,
                              void* wanted, unsigned long long flags) {
  ALLOT_CALL(hipMemAddressReserve);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(*address), bytes); }, address,
      bytes, alignment, wanted, flags);
}
HipError hipMemAddressFree(void* address, std::size_t bytes) {
  ALLOT_CALL(hipMemAddressFree);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(address), bytes); }, address,
      bytes);
}
HipError hipMemMap(void* address, std::size_t bytes, std::size_t offset, void* handle,
                   unsigned long long flags) {
  ALLOT_CALL(hipMemMap);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(address), bytes); }, address,
      bytes, offset, handle, flags);
}
HipError hipMemUnmap(void* address, std::size_t bytes) {
  ALLOT_CALL(hipMemUnmap);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(address), bytes); }, address,
      bytes);
}
HipError hipMemSetAccess(void* address, std::size_t bytes, const void* wanted, std::size_t count) {
  ALLOT_CALL(hipMemSetAccess);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, number_of(address), bytes); }, address,
      bytes, wanted, count);
}
HipError hipMemExportToShareableHandle(void* shared, void* handle, int type,
                                       unsigned long long flags) {
  ALLOT_CALL(hipMemExportToShareableHandle);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, offset_of_handle(handle), 0); }, shared,
      handle, type, flags);
}
HipError hipMemImportFromShareableHandle(void** handle, void* shared, int type) {
  ALLOT_CALL(hipMemImportFromShareableHandle);
  return noted(
      next, call, [&](CallLog& log) { log.called(call, offset_of_handle(*handle), 0); }, handle,
      shared, type);
}

// Copies

HipError hipMemcpy(void* to, const void* from, std::size_t bytes, int kind) {
  ALLOT_CALL(hipMemcpy);
  return noted_copy(next, call, to, from, bytes, kind, to, from, bytes, kind);
}
HipError hipMemcpy_spt(void* to, const void* from, std::size_t bytes, int kind) {
  ALLOT_CALL(hipMemcpy_spt);
  return noted_copy(next, call, to, from, bytes, kind, to, from, bytes, kind);
}
HipError hipMemcpyAsync(void* to, const void* from, std::size_t bytes, int kind, void* stream) {
  ALLOT_CALL(hipMemcpyAsync, stream);
  return noted_copy(next, call, to, from, bytes, kind, to, from, bytes, kind, stream);
}
HipError hipMemcpyAsync_spt(void* to, const void* from, std::size_t bytes, int kind, void* stream) {
  ALLOT_CALL(hipMemcpyAsync_spt, stream);
  return noted_copy(next, call, to, from, bytes, kind, to, from, bytes, kind, stream);
}
HipError hipMemcpyWithStream(void* to, const void* from, std::size_t bytes, int kind,
                             void* stream) {
  ALLOT_CALL(hipMemcpyWithStream, stream);
  return noted_copy(next, call, to, from, bytes, kind, to, from, bytes, kind, stream);
}
HipError hipMemcpyHtoD(void* to, const void* from, std::size_t bytes) {
  ALLOT_CALL(hipMemcpyHtoD);
  return noted_copy(next, call, to, from, bytes, host_to_device, to, from, bytes);
}
HipError hipMemcpyDtoH(void* to, const void* from, std::size_t bytes) {
  ALLOT_CALL(hipMemcpyDtoH);
  return noted_copy(next, call, to, from, bytes, device_to_host, to, from, bytes);
}
HipError hipMemcpyDtoD(void* to, const void* from, std::size_t bytes) {
  ALLOT_CALL(hipMemcpyDtoD);
  return noted_copy(next, call, to, from, bytes, device_to_device, to, from, bytes);
}
HipError hipMemcpyHtoDAsync(void* to, const void* from, std::size_t bytes, void* stream) {
  ALLOT_CALL(hipMemcpyHtoDAsync, stream);
  return noted_copy(next, call, to, from, bytes, host_to_device, to, from, bytes, stream);
}
HipError hipMemcpyDtoHAsync(void* to, const void* from, std::size_t bytes, void* stream) {
  ALLOT_CALL(hipMemcpyDtoHAsync, stream);
  return noted_copy(next, call, to, from, bytes, device_to_host, to, from, bytes, stream);
}
HipError hipMemcpyDtoDAsync(void* to, const void* from, std::size_t bytes, void* stream) {
  ALLOT_CALL(hipMemcpyDtoDAsync, stream);
  return noted_copy(next, call, to, from, bytes, device_to_device, to, from, bytes, stream);
}
HipError hipMemcpyPeer(void* to, int to_device, const void* from, int from_device,
                       std::size_t bytes) {
  ALLOT_CALL(hipMemcpyPeer, nullptr, static_cast<std::uint64_t>(to_device));
  return noted_copy(next, call, to, from, bytes, device_to_device, to, to_device, from, from_device,
                    bytes);
}
HipError hipMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device,
                            std::size_t bytes, void* stream) {
  ALLOT_CALL(hipMemcpyPeerAsync, stream, static_cast<std::uint64_t>(to_device));
  return noted_copy(next, call, to, from, bytes, device_to_device, to, to_device, from, from_device,
                    bytes, stream);
}
HipError hipMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                     std::size_t width, std::size_t height, int kind) {
  ALLOT_CALL(hipMemcpy2D);
  return noted_copy(next, call, to, from, std::uint64_t{width} * height, kind, to, to_pitch, from,
                    from_pitch, width, height, kind);
}
HipError hipMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                          std::size_t width, std::size_t height, int kind, void* stream) {
  ALLOT_CALL(hipMemcpy2DAsync, stream);
  return noted_copy(next, call, to, from, std::uint64_t{width} * height, kind, to, to_pitch, from,
                    from_pitch, width, height, kind, stream);
}

}  // extern "C"
