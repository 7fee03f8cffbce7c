// SPDX-License-Identifier: MIT
/// \file
/// `Server`: gives a program that knows HIP alone its device memory, from one arena for each device and a
/// `BufferPool` on it.
///
/// | what a program calls                    | what it gets                                          |
/// |------------------------------------------|-------------------------------------------------------|
/// | `hipMalloc`                              | a block of the arena                                  |
/// | `hipMallocAsync`, from a pool, too       | a buffer of the `BufferPool`, for that stream         |
/// | `hipFree` of either                      | a wait for the device, then it is free                |
/// | `hipFreeAsync`                           | returned to the pool on that stream                   |
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "hip_abi.hpp"

namespace allot::seam {

/// As the environment says: what `allot run` was given.
struct ServerOptions {
  std::uint64_t budget = 0;  // bytes of each device; 0: nine tenths of what is free
  std::uint64_t direct_above = ~std::uint64_t{0};  // larger requests are the driver's
};

/// Reads `ALLOT_RUN_BUDGET` and `ALLOT_RUN_DIRECT_ABOVE`, numbers of bytes.
[[nodiscard]] ServerOptions server_options_of_environment();

/// What HIP is to answer; nothing: ask the driver.
using Answer = std::optional<HipError>;

/// Where an address lies.
struct Place {
  enum class Kind : std::uint8_t { foreign, free, live };
  Kind kind = Kind::foreign;  // free: in an arena, but in no block that the program has
  std::uint64_t address = 0;  // of the block
  std::uint64_t bytes = 0;    // as the program asked
};

/// What came of it all: for the summary.
struct ServedDevice {
  int device;
  std::uint64_t budget, live_blocks, live_bytes, peak_bytes, peak_held;
};

/// All members may be called by several threads at once. Nothing is served to a child that was forked after
/// its parent was: HIP does not work there.
class Server {
 public:
  /// The process's; never destroyed, as static destructors free memory too.
  [[nodiscard]] static Server& get();

  [[nodiscard]] Answer allocate(void** address, std::size_t bytes) noexcept;
  /// \param pool  null: the stream's device's own
  [[nodiscard]] Answer allocate_async(void** address, std::size_t bytes, void* pool,
                                      void* stream) noexcept;
  [[nodiscard]] Answer free(void* address) noexcept;
  [[nodiscard]] Answer free_async(void* address, void* stream) noexcept;
  /// Of the current device.
  [[nodiscard]] Answer memory_info(std::size_t* free, std::size_t* total) noexcept;

  [[nodiscard]] Place place_of(const void* address) noexcept;

  void stream_made(void* stream) noexcept;
  /// Waits for its work: nothing of it may be asked of the stream later.
  void stream_ends(void* stream) noexcept;
  void pool_made(void* pool, int device, bool is_exported) noexcept;
  void pool_ends(void* pool) noexcept;
  /// The current device is about to lose all that it has.
  void device_ends() noexcept;

  /// For each device that was served.
  [[nodiscard]] std::map<int, ServedDevice> devices() noexcept;

 private:
  struct OnDevice;
  struct Live;
  struct PoolOf {
    int device;
    bool is_exported;
  };

  Server();
  [[nodiscard]] bool is_too_large(const char* call, std::size_t bytes) noexcept;
  [[nodiscard]] OnDevice* device(int number);
  [[nodiscard]] int device_of(void* stream);
  [[nodiscard]] Answer no_block_at(const void* address, const char* call) noexcept;
  Answer give(void** address, std::size_t bytes, OnDevice& on, Live live);
  using LiveNode = std::map<std::uint64_t, Live>::node_type;
  [[nodiscard]] HipError settle_and_free(LiveNode node) noexcept;

  const ServerOptions options_;
  std::mutex mutex_;                                  // not held while the device works
  std::map<int, std::unique_ptr<OnDevice>> devices_;  // null: the driver refused its budget
  std::map<std::uint64_t, Live> live_;                // by address
  std::unordered_map<void*, int> streams_;            // the devices of those that the program made
  std::unordered_map<void*, PoolOf> pools_;
};

}  // namespace allot::seam
