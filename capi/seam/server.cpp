// SPDX-License-Identifier: MIT
#include "server.hpp"

#include <allot/core/errors.hpp>
#include <allot/core/units.hpp>
#include <allot/device/hip_device.hpp>
#include <allot/hip/current_device.hpp>
#include <allot/hip/properties.hpp>
#include <allot/memory/reclaimer.hpp>
#include <allot/os/fork.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>

#include <pthread.h>

#include <charconv>
#include <new>
#include <stdexcept>
#include <utility>

#include "budget_memory.hpp"
#include "own_file.hpp"
#include "run_counts.hpp"

namespace allot::seam {
namespace {

/// `HipDevice`, whose arenas are parts of the device's budget.
class PooledDevice : public HipDevice<BudgetMemory> {
 public:
  PooledDevice(int id, BudgetArena& arena) : HipDevice<BudgetMemory>{id}, arena_{&arena} {}

  [[nodiscard]] BudgetMemory memory() const noexcept { return BudgetMemory{*arena_}; }

 private:
  BudgetArena* arena_;
};

using Pool = BufferPool<PooledDevice, FourSteps, BestFit, AlignTo<256>>;
using Buffer = PooledBuffer<PooledDevice>;

[[nodiscard]] std::uint64_t number_of(const void* address) {
  return reinterpret_cast<std::uint64_t>(address);
}

[[nodiscard]] std::uint64_t bytes_of(const char* name, std::uint64_t otherwise) {
  const std::string text = variable(name);
  std::uint64_t bytes = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), bytes);
  return bytes;
}

/// Runs what answers a call; what it throws is HIP's error for it.
template <class Function>
Answer answered(Function&& function) noexcept {
  try {
    return function();
  } catch (const hip::NoDevice&) {
    return std::nullopt;  // the driver says it best
  } catch (const hip::Forked&) {
    return std::nullopt;
  } catch (const hip::Error& error) {
    return static_cast<HipError>(error.code());
  } catch (const std::bad_alloc&) {  // OutOfMemory is one
    return hip_out_of_memory;
  } catch (...) {
    return hip_invalid_value;
  }
}

/// The pool takes a part of the budget at a time.
[[nodiscard]] std::uint64_t chunk_bytes(std::uint64_t budget) {
  const std::uint64_t part = budget / 16 / MiB * MiB;
  return part < 2 * MiB ? 2 * MiB : smaller(part, 256 * MiB);
}

}  // namespace

ServerOptions server_options_of_environment() {
  return {bytes_of("ALLOT_RUN_BUDGET", 0), bytes_of("ALLOT_RUN_DIRECT_ABOVE", ~std::uint64_t{0})};
}

struct Server::OnDevice {
  OnDevice(int id, std::uint64_t budget)
      : arena{budget, hip::DeviceMemory{id}}, device{id, arena}, settled{id} {}

  /// The pool is made when it is first needed. Requires: the server's mutex.
  [[nodiscard]] Pool& pool() {
    if (!made_pool) {
      const std::uint64_t chunk = smaller(chunk_bytes(arena.capacity()), arena.capacity());
      made_pool.emplace(device, chunk, PoolOptions{.growth = chunk});
    }
    return *made_pool;
  }
  /// The same object for each of the program's streams. Requires: the server's mutex.
  [[nodiscard]] hip::Stream& stream(void* handle) {
    const auto found = streams.find(handle);
    if (found != streams.end()) return *found->second;
    auto made = std::make_unique<hip::Stream>(
        hip::Stream::borrow(static_cast<hipStream_t>(handle), device.id()));
    return *streams.emplace(handle, std::move(made)).first->second;
  }
  [[nodiscard]] bool holds(std::uint64_t address) const noexcept {
    return address - number_of(arena.base_address()) < arena.capacity();
  }

  BudgetArena arena;
  PooledDevice device;
  hip::Stream settled;  // no work is ever given to it: what is returned on it is free at once
  std::optional<Pool> made_pool;
  std::unordered_map<void*, std::unique_ptr<hip::Stream>> streams;
  os::ForkMark made_in;
  std::uint64_t live_blocks = 0;
  std::uint64_t live_bytes = 0;
  std::uint64_t peak_bytes = 0;
};

struct Server::Live {
  std::uint64_t bytes = 0;
  OnDevice* on = nullptr;
  Block block{};    // of the arena
  Buffer buffer{};  // or of the pool
};

Server::Server() : options_{server_options_of_environment()} {
  ::pthread_atfork(
      [] {
        get().mutex_.lock();
        RunCounts::get().before_fork();
      },
      [] {
        RunCounts::get().after_fork(false);
        get().mutex_.unlock();
      },
      [] {
        RunCounts::get().after_fork(true);
        get().mutex_.unlock();
      });
}

Server& Server::get() {
  static Server& server = *new Server;
  return server;
}

bool Server::is_too_large(const char* call, std::size_t bytes) noexcept {
  if (bytes <= options_.direct_above) return false;
  RunCounts::get().not_served(call, "larger than --direct-above", bytes);
  return true;
}

/// The arena of a device, which takes its budget when it is first asked for. Null if the driver refused
/// it, and in a forked child of a process that has one. Requires: the mutex.
Server::OnDevice* Server::device(int number) {
  const auto found = devices_.find(number);
  if (found != devices_.end()) {
    const bool is_own = found->second != nullptr && !found->second->made_in.is_of_parent();
    return is_own ? found->second.get() : nullptr;
  }
  try {
    std::uint64_t budget = options_.budget;
    if (budget == 0) budget = hip::memory_info(number).free / 10 * 9;
    budget = budget / 256 * 256;
    return devices_.emplace(number, std::make_unique<OnDevice>(number, budget)).first->second.get();
  } catch (const OutOfMemory& error) {
    RunCounts::get().not_served("the budget", "the driver refused it", error.requested());
  } catch (const hip::NoDevice&) {
    throw;
  } catch (const hip::Error&) {
    RunCounts::get().not_served("the budget", "the device could not be set up", 0);
  }
  devices_.emplace(number, nullptr);
  return nullptr;
}

/// Where a stream's memory lies. Requires: the mutex.
int Server::device_of(void* stream) {
  const auto known = streams_.find(stream);
  return known != streams_.end() ? known->second : hip::current_device();
}

/// Requires: the mutex.
Answer Server::give(void** address, std::size_t bytes, OnDevice& on, Live live) {
  void* const given = live.buffer.empty()
                          ? static_cast<std::byte*>(on.arena.base_address()) + live.block.offset
                          : live.buffer.address();
  live_.emplace(number_of(given), std::move(live));
  ++on.live_blocks;
  on.live_bytes += bytes;
  on.peak_bytes = larger(on.peak_bytes, on.live_bytes);
  *address = given;
  return hip_success;
}

Answer Server::allocate(void** address, std::size_t bytes) noexcept {
  if (address == nullptr || is_too_large("hipMalloc", bytes)) return std::nullopt;
  return answered([&]() -> Answer {
    std::unique_lock lock{mutex_};
    OnDevice* const on = device(hip::current_device());
    if (on == nullptr) return std::nullopt;
    RunCounts::get().served("hipMalloc");
    if (bytes == 0) {
      *address = nullptr;
      return hip_success;
    }
    auto block = on->arena.try_allocate(bytes);
    if (!block) {
      // The pool has chunks that it may not need. It may have to wait for streams.
      lock.unlock();
      static_cast<void>(reclaim_memory(on->device.name(), bytes));
      lock.lock();
      block = on->arena.try_allocate(bytes);
    }
    if (!block) return hip_out_of_memory;
    try {
      return give(address, bytes, *on, {bytes, on, *block, {}});
    } catch (...) {
      on->arena.deallocate(*block);
      throw;
    }
  });
}

Answer Server::allocate_async(void** address, std::size_t bytes, void* pool,
                              void* stream) noexcept {
  constexpr auto call = "hipMallocAsync";
  if (address == nullptr || is_too_large(call, bytes)) return std::nullopt;
  return answered([&]() -> Answer {
    std::unique_lock lock{mutex_};
    int number = device_of(stream);
    if (const auto of = pools_.find(pool); of != pools_.end()) {
      number = of->second.device;
      if (of->second.is_exported) {
        RunCounts::get().not_served("hipMallocFromPoolAsync", "of a pool for other processes",
                                    bytes);
        return std::nullopt;
      }
    }
    OnDevice* const on = device(number);
    if (on == nullptr) return std::nullopt;
    RunCounts::get().served(call);
    if (bytes == 0) {
      *address = nullptr;
      return hip_success;
    }
    Pool& from = on->pool();
    hip::Stream& for_stream = on->stream(stream);
    lock.unlock();  // the pool has its own, and may wait
    Buffer buffer = from.acquire(bytes, for_stream);
    lock.lock();
    return give(address, bytes, *on, {bytes, on, {}, std::move(buffer)});
  });
}

/// Nothing may be handed out again before what the device was given is done. If that cannot be known, the
/// memory stays the program's.
HipError Server::settle_and_free(LiveNode node) noexcept {
  Live& live = node.mapped();
  OnDevice& on = *live.on;
  HipError code = hip_success;
  try {
    const hip::CurrentDevice current{on.device.id()};
    RunCounts::get().waited();
    code = static_cast<HipError>(hipDeviceSynchronize());
    if (code == hip_success && !live.buffer.empty()) live.buffer.release(on.settled);
  } catch (const hip::Error& error) {
    code = static_cast<HipError>(error.code());
  } catch (...) {
    code = hip_out_of_memory;
  }
  const std::scoped_lock lock{mutex_};
  if (code != hip_success) {
    live_.insert(std::move(node));
    return code;
  }
  if (live.block.size != 0) on.arena.deallocate(live.block);
  --on.live_blocks;
  on.live_bytes -= live.bytes;
  return code;
}

/// Of an address that none of the blocks begins at: it is the driver's, or wrong.
Answer Server::no_block_at(const void* address, const char* call) noexcept {
  if (place_of(address).kind == Place::Kind::foreign) return std::nullopt;
  RunCounts::get().not_served(call, "no block begins there", 0);
  return hip_invalid_value;
}

Answer Server::free(void* address) noexcept {
  if (address == nullptr) return std::nullopt;
  std::unique_lock lock{mutex_};
  const auto found = live_.find(number_of(address));
  if (found == live_.end()) {
    lock.unlock();
    return no_block_at(address, "hipFree");
  }
  if (found->second.on->made_in.is_of_parent()) return hip_not_initialized;
  LiveNode node = live_.extract(found);
  lock.unlock();
  RunCounts::get().served("hipFree");
  return settle_and_free(std::move(node));
}

Answer Server::free_async(void* address, void* stream) noexcept {
  if (address == nullptr) return std::nullopt;
  std::unique_lock lock{mutex_};
  const auto found = live_.find(number_of(address));
  if (found == live_.end()) {
    lock.unlock();
    return no_block_at(address, "hipFreeAsync");
  }
  if (found->second.on->made_in.is_of_parent()) return hip_not_initialized;
  return answered([&]() -> Answer {
    OnDevice& on = *found->second.on;
    RunCounts::get().served("hipFreeAsync");
    if (found->second.buffer.empty() || device_of(stream) != on.device.id()) {
      // Not of the pool, or on a stream of another device: the wait covers all.
      LiveNode node = live_.extract(found);
      lock.unlock();
      return settle_and_free(std::move(node));
    }
    hip::Stream& returned_on = on.stream(stream);
    LiveNode node = live_.extract(found);
    lock.unlock();
    try {
      node.mapped().buffer.release(returned_on);
    } catch (...) {
      return settle_and_free(std::move(node));
    }
    lock.lock();
    --on.live_blocks;
    on.live_bytes -= node.mapped().bytes;
    return hip_success;
  });
}

Answer Server::memory_info(std::size_t* free, std::size_t* total) noexcept {
  return answered([&]() -> Answer {
    const std::scoped_lock lock{mutex_};
    OnDevice* const on = device(hip::current_device());
    if (on == nullptr) return std::nullopt;
    const std::uint64_t capacity = on->arena.capacity();
    std::uint64_t left = on->arena.usage().free;
    if (on->made_pool) {
      const PoolStats pool = on->made_pool->stats();
      left += pool.capacity - smaller(pool.capacity, pool.in_use);  // what it keeps is free
    }
    if (free != nullptr) *free = left;
    if (total != nullptr) *total = capacity;
    return hip_success;
  });
}

Place Server::place_of(const void* address) noexcept {
  const std::uint64_t at = number_of(address);
  const std::scoped_lock lock{mutex_};
  auto after = live_.upper_bound(at);
  if (after != live_.begin()) {
    const auto& [begin, live] = *--after;
    if (at - begin < live.bytes) return {Place::Kind::live, begin, live.bytes};
  }
  for (const auto& [number, on] : devices_) {
    if (on != nullptr && on->holds(at)) return {Place::Kind::free, 0, 0};
  }
  return {};
}

void Server::stream_made(void* stream) noexcept {
  static_cast<void>(answered([&]() -> Answer {
    const int device = hip::current_device();
    const std::scoped_lock lock{mutex_};
    streams_[stream] = device;
    return hip_success;
  }));
}

void Server::stream_ends(void* stream) noexcept {
  if (stream == nullptr) return;
  bool is_known = false;
  {
    const std::scoped_lock lock{mutex_};
    for (const auto& [number, on] : devices_)
      is_known |= on != nullptr && !on->made_in.is_of_parent() && on->streams.contains(stream);
  }
  // A stream with the same handle may come: what this one waited for must be done, too.
  if (is_known) static_cast<void>(hipStreamSynchronize(static_cast<hipStream_t>(stream)));
  const std::scoped_lock lock{mutex_};
  streams_.erase(stream);
}

void Server::pool_made(void* pool, int device, bool is_exported) noexcept {
  static_cast<void>(answered([&]() -> Answer {
    const std::scoped_lock lock{mutex_};
    pools_[pool] = {device, is_exported};
    return hip_success;
  }));
}

void Server::pool_ends(void* pool) noexcept {
  const std::scoped_lock lock{mutex_};
  pools_.erase(pool);
}

void Server::device_ends() noexcept {
  static_cast<void>(answered([&]() -> Answer {
    const int number = hip::current_device();
    const std::scoped_lock lock{mutex_};
    const auto found = devices_.find(number);
    if (found == devices_.end() || found->second == nullptr ||
        found->second->made_in.is_of_parent())
      return hip_success;
    OnDevice& on = *found->second;
    static_cast<void>(hipDeviceSynchronize());
    for (auto live = live_.begin(); live != live_.end();) {
      if (live->second.on != &on) {
        ++live;
        continue;
      }
      if (live->second.buffer.empty()) {
        on.arena.deallocate(live->second.block);
      } else {
        live->second.buffer.release(on.settled);
      }
      live = live_.erase(live);
    }
    devices_.erase(found);
    return hip_success;
  }));
}

std::map<int, ServedDevice> Server::devices() noexcept {
  std::map<int, ServedDevice> all;
  const std::scoped_lock lock{mutex_};
  for (const auto& [number, on] : devices_) {
    if (on == nullptr || on->made_in.is_of_parent()) continue;
    const std::uint64_t held =
        on->arena.with_observer([](const PeakOf& observer) { return observer.peak(); });
    all.emplace(number, ServedDevice{number, on->arena.capacity(), on->live_blocks, on->live_bytes,
                                     on->peak_bytes, held});
  }
  return all;
}

}  // namespace allot::seam
