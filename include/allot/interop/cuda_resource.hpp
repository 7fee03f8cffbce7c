// SPDX-License-Identifier: MIT
/// \file
/// Arenas and pools as models of `cuda::mr::resource`, as libcu++ 3.1 (CUDA 13) and libhipcxx define it: what
/// RMM 26 takes. Includes neither: streams and properties are whatever types the caller has.
///
/// | model                              | over            | `allocate(stream, ...)`     | `deallocate(stream, ...)`   |
/// |------------------------------------|-----------------|------------------------------|-----------------------------|
/// | `mr::PoolResource<Pool, Props...>` | a `BufferPool`  | in the order of the stream  | in its order: no host waits |
/// | `mr::ArenaResource<Arena, Props...>`| any arena      | at once                      | the host waits for the stream|
///
/// `Props` are the properties that the memory has: `cuda::mr::device_accessible`,
/// `cuda::mr::host_accessible`. Copies of a resource are equal and share everything. What cannot be freed,
/// such as a foreign address, goes to a handler, as no error may leave a `deallocate`.
#pragma once

#include <allot/core/errors.hpp>
#include <allot/interop/detail/addressed_arena.hpp>
#include <allot/os/mutex.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>

namespace allot::mr {

/// Receives what a `deallocate` cannot throw; the memory is as it was. Must not throw.
using FreeErrorHandler = void (*)(const std::exception& error);

namespace detail {

inline void print_free_error(const std::exception& error) {
  std::fprintf(stderr, "allot: while freeing: %s\n", error.what());
}

inline std::atomic<FreeErrorHandler> free_error_handler{&print_free_error};

/// Runs what frees.
template <class Function>
void free_noexcept(Function&& function) noexcept {
  try {
    function();
  } catch (const std::exception& error) {
    free_error_handler.load()(error);
  }
}

/// The host waits: `cuda::stream_ref` has `sync()`, its predecessors `wait()`.
template <class Stream>
void wait_for(const Stream& stream) {
  if constexpr (requires { stream.sync(); }) {
    stream.sync();
  } else if constexpr (requires { stream.synchronize(); }) {
    stream.synchronize();
  } else {
    stream.wait();
  }
}

}  // namespace detail

/// Sets the handler of the whole process; null restores the default, which prints to standard error. Returns
/// the one before.
inline FreeErrorHandler set_free_error_handler(FreeErrorHandler handler) noexcept {
  return detail::free_error_handler.exchange(handler != nullptr ? handler
                                                                : &detail::print_free_error);
}

/// Allocates from an arena, by address. It has the arena's thread safety, and the arena outlives it. Where the
/// arena has no `AddressIndex`, the copies of a resource share an index of 43 to 86 bytes a block.
///
/// \tparam Properties  of the memory, as types
template <class ArenaType, class... Properties>
class ArenaResource {
  static constexpr std::size_t usual_alignment = ArenaType::alignment_type::value;

 public:
  /// Throws: `std::bad_alloc` for its index.
  explicit ArenaResource(ArenaType& arena) : arena_{arena} {}

  /// Returns memory that any stream may use at once. Throws: as the arena; `std::bad_alloc`.
  [[nodiscard]] void* allocate_sync(std::size_t bytes, std::size_t alignment = usual_alignment) {
    return arena_.allocate(bytes, alignment);
  }
  /// Requires: no work uses the memory any more.
  void deallocate_sync(void* address, std::size_t, std::size_t = usual_alignment) noexcept {
    detail::free_noexcept([&] { arena_.deallocate(address); });
  }
  /// As `allocate_sync`.
  template <class Stream>
  [[nodiscard]] void* allocate(const Stream&, std::size_t bytes,
                               std::size_t alignment = usual_alignment) {
    return allocate_sync(bytes, alignment);
  }
  /// The host waits for the stream first: an arena knows no streams, and may hand the memory to any.
  template <class Stream>
  void deallocate(const Stream& stream, void* address, std::size_t,
                  std::size_t = usual_alignment) noexcept {
    detail::free_noexcept([&] {
      detail::wait_for(stream);
      arena_.deallocate(address);
    });
  }

  /// Returns whether what one allocates, the other can free.
  friend bool operator==(const ArenaResource& a, const ArenaResource& b) noexcept {
    return a.arena_ == b.arena_;
  }
  /// The memory has these properties, and no others.
  template <class Property>
  requires(std::same_as<Property, Properties> ||
           ...) friend constexpr void get_property(const ArenaResource&, Property) noexcept {}

 private:
  allot::detail::AddressedArena<ArenaType> arena_;
};

/// Allocates from a pool in the order of streams, by address. Any thread may call any member; the pool outlives
/// it. Streams that are passed must outlive it, or be synchronized before they are destroyed: another stream may
/// get the same handle.
///
/// A call costs the pool's own, a lock and two searches; a free records an event.
///
/// \tparam PoolType    a `BufferPool` of a device whose streams can be borrowed: `HipDevice`
/// \tparam Properties  of the memory, as types
template <class PoolType, class... Properties>
class PoolResource {
  using Device = typename PoolType::device_type;
  using Stream = typename PoolType::stream_type;
  static constexpr std::size_t usual_alignment = PoolType::alignment_type::value;

 public:
  /// Throws: what making a stream throws; `std::bad_alloc`.
  PoolResource(PoolType& pool, const Device& device)
      : state_{std::make_shared<State>(pool, device)} {}

  /// Returns memory for work of that stream, and of what is ordered behind it.
  /// Throws: as `BufferPool::acquire`; `std::invalid_argument` for an alignment beyond the pool's.
  template <class StreamRef>
  [[nodiscard]] void* allocate(const StreamRef& stream, std::size_t bytes,
                               std::size_t alignment = usual_alignment) {
    State& state = *state_;
    require(alignment);
    return state.keep(state.pool->acquire(bytes == 0 ? 1 : bytes, state.borrowed(stream.get())));
  }
  /// The memory is free behind what that stream was given so far. The host does not wait.
  template <class StreamRef>
  void deallocate(const StreamRef& stream, void* address, std::size_t,
                  std::size_t = usual_alignment) noexcept {
    detail::free_noexcept([&] { state_->give_back(address, state_->borrowed(stream.get())); });
  }
  /// Returns memory that any stream may use at once: the host waits for those that used it before.
  /// Throws: as `allocate`.
  [[nodiscard]] void* allocate_sync(std::size_t bytes, std::size_t alignment = usual_alignment) {
    State& state = *state_;
    require(alignment);
    auto buffer = state.pool->acquire(bytes == 0 ? 1 : bytes, state.settled);
    state.device.synchronize(state.settled);
    return state.keep(std::move(buffer));
  }
  /// Requires: no work uses the memory any more.
  void deallocate_sync(void* address, std::size_t, std::size_t = usual_alignment) noexcept {
    detail::free_noexcept([&] { state_->give_back(address, state_->settled); });
  }

  /// Returns whether what one allocates, the other can free.
  friend bool operator==(const PoolResource& a, const PoolResource& b) noexcept {
    return a.state_ == b.state_;
  }
  /// The memory has these properties, and no others.
  template <class Property>
  requires(std::same_as<Property, Properties> ||
           ...) friend constexpr void get_property(const PoolResource&, Property) noexcept {}

 private:
  using Buffer = typename PoolType::buffer_type;

  struct State {
    State(PoolType& from, const Device& of)
        : pool{&from}, device{of}, settled{device.make_stream()} {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() =
        default;  // what was never freed goes back to the pool on the stream that it was made for

    /// The same object for each stream.
    [[nodiscard]] Stream& borrowed(auto handle) {
      const std::lock_guard lock{mutex};
      const void* const key = handle;
      const auto found = streams.find(key);
      if (found != streams.end()) return *found->second;
      auto made = std::make_unique<Stream>(Stream::borrow(handle, device.id()));
      return *streams.emplace(key, std::move(made)).first->second;
    }
    [[nodiscard]] void* keep(Buffer buffer) {
      void* const address = buffer.address();
      const std::lock_guard lock{mutex};
      live.emplace(address, std::move(buffer));
      return address;
    }
    /// Throws: `InvalidBlock`; what the device throws: the memory is then live as before.
    void give_back(void* address, Stream& stream) {
      if (address == nullptr) return;
      std::unordered_map<void*, Buffer> taken;  // its one node: nothing allocates
      {
        const std::lock_guard lock{mutex};
        auto node = live.extract(address);
        if (node.empty()) throw InvalidBlock{address};
        taken.insert(std::move(node));
      }
      Buffer& buffer = taken.begin()->second;
      try {
        buffer.release(stream);
      } catch (...) {
        const std::lock_guard lock{mutex};
        live.insert(taken.extract(taken.begin()));
        throw;
      }
    }

    PoolType* pool;
    Device device;
    Stream settled;  // no work is given to it: what is returned on it is free at once
    std::mutex mutex;
    std::unordered_map<const void*, std::unique_ptr<Stream>> streams;
    std::unordered_map<void*, Buffer> live;  // destroyed first
  };

  static void require(std::size_t alignment) {
    if (alignment <= usual_alignment) return;
    throw std::invalid_argument{"an alignment of " + std::to_string(alignment) +
                                " bytes from a pool whose buffers are aligned to " +
                                std::to_string(usual_alignment) +
                                "; give the pool a larger AlignTo"};
  }

  std::shared_ptr<State> state_;
};

}  // namespace allot::mr
