// SPDX-License-Identifier: MIT
/// \file
/// `PooledBuffer`: a buffer of a pool, returned at the end of its scope.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/buffers/detail/entry_list.hpp>
#include <allot/slice.hpp>
#include <allot/stream/shared_stream.hpp>
#include <allot/stream/stream_timeline.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <utility>

namespace allot {

namespace detail {

template <Device DeviceType>
struct PoolEntry;
template <Device DeviceType>
struct PoolClass;  // detail/cached.hpp
struct PoolChunk;  // detail/chunks.hpp
struct OfClass;    // tags of the lists that an entry is in
struct OfAge;

/// What a buffer knows of the pool it came from, whatever the pool's policies are.
template <Device DeviceType>
class PoolBase {
 public:
  using stream_type = typename DeviceType::stream_type;

  virtual ~PoolBase() = default;
  /// Called when nothing but work on the entry's stream refers to its memory any more.
  virtual void returned(PoolEntry<DeviceType>& entry) noexcept = 0;
  /// Sets the stream that the entry will be returned on.
  virtual void return_on(PoolEntry<DeviceType>& entry, stream_type& stream,
                         const std::shared_ptr<stream_type>* owner) = 0;

 protected:
  PoolBase() = default;
  PoolBase(const PoolBase&) = default;
  PoolBase& operator=(const PoolBase&) = default;
};

/// The record of one block of a pool. It has room for the control block of the `shared_ptr` by
/// which a buffer and its slices share the block.
///
/// While it is cached it is in two lists: of its class and the stream it was returned on, and of all
/// by time of return.
template <Device DeviceType>
struct PoolEntry : EntryLink<OfClass>, EntryLink<OfAge> {
  PoolClass<DeviceType>* size_class = nullptr;
  PoolChunk* chunk = nullptr;  // null: it has no block
  Block block{};
  std::byte* address = nullptr;
  std::uint64_t capacity = 0;
  std::uint64_t requested = 0;  // 0: it is not in use

  // Where it is returned, or was.
  std::uint32_t lane = 0;
  std::uint32_t number = 0;  // of this record, from 0
  typename DeviceType::stream_type* stream = nullptr;
  Stamp returned{};
  std::uint64_t idle_since = 0;  // in ticks; while an observed pool's is in use: which use it is

  PoolBase<DeviceType>* pool = nullptr;  // which lives while it is in use

  static constexpr std::size_t control_block_room = 64;
  alignas(std::max_align_t) std::byte control_block[control_block_room];
};

/// Places the control block of a `shared_ptr` to an entry inside that entry.
///
/// Why: a hit promises no call to the system allocator, but `slice()` has to hand out a
/// `std::shared_ptr`, as every slice has one, and each new `shared_ptr` allocates a
/// control block. An allocator for it is the one hook that the standard offers. The entry lives in
/// the pool, which outlives all of its buffers, so the room is there.
///
/// The entry returns to the pool in `deallocate`, not in the pointer's deleter: the deleter runs
/// with the last `shared_ptr`, but while the control block is still in use (by the release itself,
/// and by any `weak_ptr`). In `deallocate` nothing refers to it any more, so the next user of the
/// entry may build a new one in the same room. Hence the deleter does nothing.
///
/// The standard does not say how large a control block is: libstdc++ takes 40 bytes (a table, two
/// counts, the pointer, this allocator), libc++ 48. A library that takes more than the room does
/// not compile here, and needs a larger `control_block_room`.
template <class Value, Device DeviceType>
class EntryAllocator {
 public:
  using value_type = Value;

  explicit EntryAllocator(PoolEntry<DeviceType>& entry) noexcept : entry_{&entry} {}
  template <class OtherValue>
  EntryAllocator(const EntryAllocator<OtherValue, DeviceType>&
                     other) noexcept  // NOLINT(google-explicit-constructor)
      : entry_{other.entry_} {}

  [[nodiscard]] Value* allocate(std::size_t) noexcept {
    static_assert(sizeof(Value) <= PoolEntry<DeviceType>::control_block_room &&
                  alignof(Value) <= alignof(std::max_align_t));
    return reinterpret_cast<Value*>(entry_->control_block);
  }
  void deallocate(Value*, std::size_t) noexcept { entry_->pool->returned(*entry_); }

  template <class OtherValue>
  friend bool operator==(const EntryAllocator& a,
                         const EntryAllocator<OtherValue, DeviceType>& b) noexcept {
    return a.entry_ == b.entry_;
  }

 private:
  template <class, Device>
  friend class EntryAllocator;

  PoolEntry<DeviceType>* entry_;
};

template <Device DeviceType>
struct PooledBufferMaker;

}  // namespace detail

/// Bytes of a pool, for as long as this object and its slices live. They then go back to the pool,
/// on the stream for which they were acquired: their next user does not disturb work that was given
/// to that stream before. Empty if default-constructed or moved from.
///
/// It may outlive the pool, and be destroyed on any thread. If it was acquired for a stream that is
/// not a `SharedStream`, do not move or destroy that stream until the buffer is returned.
template <Device DeviceType>
class PooledBuffer {
 public:
  using memory_type = typename DeviceType::memory_type;
  using stream_type = typename DeviceType::stream_type;
  using slice_type = Slice<AccessOf<memory_type>>;

  PooledBuffer() noexcept = default;
  PooledBuffer(PooledBuffer&& other) noexcept
      : entry_{std::move(other.entry_)}, size_{std::exchange(other.size_, 0)} {}
  PooledBuffer& operator=(PooledBuffer&& other) noexcept {
    PooledBuffer old{std::move(*this)};
    entry_ = std::move(other.entry_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  ~PooledBuffer() = default;

  /// Returns the bytes that were asked for.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Returns the bytes that it has: those of its class.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return entry_ ? entry_->capacity : 0; }
  [[nodiscard]] bool empty() const noexcept { return entry_ == nullptr; }
  [[nodiscard]] void* address() const noexcept { return entry_ ? entry_->address : nullptr; }

  /// Changes the size within the capacity; the bytes stay. Throws: `std::out_of_range` above it.
  void set_size(std::uint64_t bytes) {
    if (bytes > capacity()) {
      throw std::out_of_range{(FixedText<160>{} << "a pooled buffer of capacity " << capacity()
                                                << " bytes cannot have a size of " << bytes
                                                << " bytes; acquire a larger one")
                                  .c_str()};
    }
    size_ = bytes;
  }

  /// Shares its `size()` bytes: they go back to the pool once the last slice is gone, too. Does not
  /// allocate.
  [[nodiscard]] slice_type slice() const noexcept {
    return entry_ ? slice_type{entry_, entry_->address, size_} : slice_type{};
  }
  /// The same, if a slice is asked for.
  template <class Access>
  requires std::convertible_to<slice_type, Slice<Access>>
  operator Slice<Access>() const noexcept {  // NOLINT(google-explicit-constructor)
    return slice();
  }
  /// Throws: `std::out_of_range` if they reach beyond `size()`.
  [[nodiscard]] slice_type slice(std::uint64_t offset, std::uint64_t bytes) const {
    return slice().part(offset, bytes);
  }

  /// Returns its `size()` bytes, if the host may touch them.
  [[nodiscard]] DeferredSpan<std::byte, DeviceType> span() const noexcept
      requires(memory_type::host_accessible) {
    return {static_cast<std::byte*>(address()), static_cast<std::size_t>(size_)};
  }

  /// Returns it to the pool now: it is empty then.
  void release() noexcept {
    entry_.reset();
    size_ = 0;
  }
  /// Returns it on another stream than the one it was acquired for: the stream that used it last.
  /// Throws: what the device throws for a stream that is new to the pool; nothing has changed then.
  void release(stream_type& stream) {
    if (entry_) entry_->pool->return_on(*entry_, stream, nullptr);
    release();
  }
  void release(const SharedStream<DeviceType>& stream) {
    if (entry_) entry_->pool->return_on(*entry_, *stream, &stream.owner());
    release();
  }

 private:
  friend struct detail::PooledBufferMaker<DeviceType>;

  PooledBuffer(detail::PoolEntry<DeviceType>& entry, std::uint64_t size) noexcept
      : entry_{&entry, [](detail::PoolEntry<DeviceType>*) noexcept {},
               detail::EntryAllocator<detail::PoolEntry<DeviceType>, DeviceType>{entry}},
        size_{size} {}

  std::shared_ptr<detail::PoolEntry<DeviceType>> entry_;
  std::uint64_t size_ = 0;
};

namespace detail {

/// For pools: makes a buffer from an entry that is in use.
template <Device DeviceType>
struct PooledBufferMaker {
  [[nodiscard]] static PooledBuffer<DeviceType> make(PoolEntry<DeviceType>& entry,
                                                     std::uint64_t size) noexcept {
    return {entry, size};
  }
};

}  // namespace detail
}  // namespace allot
