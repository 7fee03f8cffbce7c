// SPDX-License-Identifier: MIT
/// \file
/// `NamedBuffers`: working buffers of one device by name, typed, growing, limited and leak-checked.
/// For buffers that live as long as a simulation or an engine and change their sizes; `Slice` is
/// enough for those that do not.
///
///     allot::NamedBuffers buffers{device, 1 * GiB};
///     buffers.add<float>("positions", 1000, {.bytes_per_element = 12});   // three floats each
///     buffers.ensure_capacity<float>("positions", 5000, stream);   // keeps the first 1000
///     buffers.free("positions");
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/core/source_location.hpp>
#include <allot/device/device.hpp>
#include <allot/os/chrono.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/named/byte_budget.hpp>
#include <allot/pool/named/config.hpp>
#include <allot/pool/named/detail/untyped_buffers.hpp>
#include <allot/pool/named/element_type.hpp>
#include <allot/pool/named/errors.hpp>
#include <allot/pool/named/external_memory.hpp>
#include <allot/pool/named/key.hpp>
#include <allot/pool/named/typed_slice.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace allot {

/// Returns one resize, for `NamedBuffers::resize_all`.
template <class Element>
[[nodiscard]] BufferResize resize_to(std::string_view name, std::uint64_t elements) {
  return {name, detail::ElementType::of<Element>(), elements};
}
template <class Element>
[[nodiscard]] BufferResize resize_to(const BufferKey<Element>& key, std::uint64_t elements) {
  return resize_to<Element>(key.name(), elements);
}

/// Buffers by name. Thread-safe: one mutex guards every member. A member that throws has changed
/// nothing.
///
/// **Handles.** What `add`, `get` and `ensure_capacity` return keeps its memory alive. After a
/// resize, an old handle keeps the old size, and points to the old memory with the old contents
/// (unless the buffer grew in place: then both are the same memory). Get a new handle. Destroying
/// the buffers, and freeing or resizing one, is safe at any time on any thread, but not in work of
/// a stream (a host function): members wait for streams while they hold the mutex.
///
/// **Streams.** A member that takes a stream submits its copies to it and returns: they come after
/// the stream's earlier work and before its later work, and after copies that this object submitted
/// to other streams for the same buffer. Without a stream, the host waits for the copies. Memory
/// without a handle goes back to the arena when the last such copy is done. Kernels on other
/// streams are unknown here: hold a handle until they are done, or call `free` with their stream.
///
/// **Limit.** All capacities together, with external bytes, never exceed it. A resize counts the
/// new capacity instead of the old one; while it copies, and while handles hold old memory, the
/// arena holds both (`stats().held_bytes`), so make the arena larger than the limit by the largest
/// buffer.
///
/// Sizes are elements: `BufferConfig::bytes_per_element` each.
///
/// \tparam DeviceType  the device of the memory
/// \tparam ArenaType   the arena that the memory comes from
/// \tparam Clock       measures ages
template <Device DeviceType,
          class ArenaType =
              Arena<BestFit, AlignTo<256>, Locked<>, typename DeviceType::memory_type>,
          class Clock = std::chrono::steady_clock>
class NamedBuffers : public detail::UntypedBuffers<DeviceType, ArenaType, Clock> {
  using Base = detail::UntypedBuffers<DeviceType, ArenaType, Clock>;
  using typename Base::Range;

 public:
  using device_type = DeviceType;
  using arena_type = ArenaType;
  using stream_type = typename DeviceType::stream_type;
  using access_type = AccessOf<typename ArenaType::memory_type>;
  template <class Element>
  using Handle = TypedSlice<Element, access_type>;  ///< keeps a buffer's memory alive

  static_assert(ArenaType::synchronization_type::is_thread_safe,
                "memory is freed from any thread: take an arena with Locked<Mutex>");

  /// Makes a private arena, with one allocation from the device.
  /// Throws: what the arena's constructor and the device throw.
  NamedBuffers(DeviceType device, std::uint64_t capacity_bytes, const MemoryLimit& limit = {})
      : NamedBuffers{device, std::make_shared<ArenaType>(capacity_bytes, device.memory()), limit} {}

  /// Uses an arena that other code may use, too.
  NamedBuffers(DeviceType device, std::shared_ptr<ArenaType> arena, const MemoryLimit& limit = {})
      : Base{std::move(device), std::move(arena), limit} {}

  /// Adds a buffer of at least `elements` elements; its contents are undefined. If one with that
  /// name, type, size (as it was added) and configuration exists, returns that one.
  /// \param site  the caller's source line, for `check_leaks`
  /// Complexity: one allocation of the arena.
  /// Throws: `std::invalid_argument` if one with another type, size or configuration exists, and
  /// for configurations that hold no `Element`; `LimitExceeded` above its maximum or the limit;
  /// `OutOfMemory`; `std::bad_alloc` for the bookkeeping.
  template <class Element>
  Handle<Element> add(std::string_view name, std::uint64_t elements,
                      const BufferConfig& config = {},
                      const SourceLocation& site = SourceLocation::current()) {
    static_assert(std::is_trivially_copyable_v<Element>, "contents are copied as bytes");
    return Handle<Element>{
        Base::add(name, type_of<Element>(), alignof(Element), elements, config, site)};
  }
  template <class Element>
  Handle<Element> add(const BufferKey<Element>& key, std::uint64_t elements,
                      const SourceLocation& site = SourceLocation::current()) {
    return add<Element>(key.name(), elements, key.config(), site);
  }

  /// Returns the buffer as it is now. Complexity: one look-up of the name.
  /// Throws: `std::out_of_range` for an unknown name, with the nearest; `std::invalid_argument` for
  /// another type.
  template <class Element>
  [[nodiscard]] Handle<Element> get(std::string_view name) {
    return Handle<Element>{Base::find(name, type_of<Element>())};
  }
  template <class Element>
  [[nodiscard]] Handle<Element> get(const BufferKey<Element>& key) {
    return get<Element>(key.name());
  }

  /// Makes room for at least `elements` elements; keeps the contents. Never makes the buffer
  /// smaller. Grows in place, without a copy, if the memory after it in the arena is free.
  /// Throws: as `get`; `LimitExceeded`; `OutOfMemory`; what the device throws.
  template <class Element>
  Handle<Element> ensure_capacity(std::string_view name, std::uint64_t elements,
                                  stream_type& stream) {
    return Handle<Element>{Base::resize(resize_to<Element>(name, elements), &stream)};
  }
  template <class Element>
  Handle<Element> ensure_capacity(const BufferKey<Element>& key, std::uint64_t elements,
                                  stream_type& stream) {
    return ensure_capacity<Element>(key.name(), elements, stream);
  }
  /// The same, and waits for the copy.
  template <class Element>
  Handle<Element> ensure_capacity(std::string_view name, std::uint64_t elements) {
    return Handle<Element>{Base::resize(resize_to<Element>(name, elements), nullptr)};
  }
  template <class Element>
  Handle<Element> ensure_capacity(const BufferKey<Element>& key, std::uint64_t elements) {
    return ensure_capacity<Element>(key.name(), elements);
  }

  /// Does `ensure_capacity` for several buffers: all of them or, if it throws, none.
  /// Throws: also `std::invalid_argument` for a name that occurs twice.
  void resize_all(std::span<const BufferResize> resizes, stream_type& stream) {
    Base::resize_all(resizes, &stream);
  }
  void resize_all(std::initializer_list<BufferResize> resizes, stream_type& stream) {
    Base::resize_all({resizes.begin(), resizes.size()}, &stream);
  }
  void resize_all(std::span<const BufferResize> resizes) { Base::resize_all(resizes, nullptr); }
  void resize_all(std::initializer_list<BufferResize> resizes) {
    Base::resize_all({resizes.begin(), resizes.size()}, nullptr);
  }

  using Base::free;
  /// The same by key.
  template <class Element>
  void free(const BufferKey<Element>& key) {
    free(key.name());
  }
  /// The same by key.
  template <class Element>
  void free(const BufferKey<Element>& key, stream_type& stream) {
    free(key.name(), stream);
  }

  /// Copies into a buffer, from its `first`-th `Element` on. Written elements count as used.
  /// \param from  memory of `device.staging_memory()`; it must live until the copy is done
  /// Throws: as `get`; `std::out_of_range` beyond the capacity; what the device throws.
  template <class Element>
  void write(std::string_view name, std::uint64_t first,
             std::type_identity_t<std::span<const Element>> from, stream_type& stream) {
    Base::write(name, range_of<Element>(first, from.size()), from.data(), &stream);
  }
  template <class Element>
  void write(std::string_view name, std::uint64_t first,
             std::type_identity_t<std::span<const Element>> from) {
    Base::write(name, range_of<Element>(first, from.size()), from.data(), nullptr);
  }
  template <class Element>
  void write(const BufferKey<Element>& key, std::uint64_t first,
             std::type_identity_t<std::span<const Element>> from, stream_type& stream) {
    write<Element>(key.name(), first, from, stream);
  }
  template <class Element>
  void write(const BufferKey<Element>& key, std::uint64_t first,
             std::type_identity_t<std::span<const Element>> from) {
    write<Element>(key.name(), first, from);
  }

  /// Copies out of a buffer, from its `first`-th `Element` on. Takes a stream, and does not wait,
  /// only if the configuration allows asynchronous readback.
  /// Throws: as `write`; `std::invalid_argument` if that is not allowed.
  template <class Element>
  void read(std::string_view name, std::uint64_t first, std::type_identity_t<std::span<Element>> to,
            stream_type& stream) {
    Base::copy_out(name, range_of<Element>(first, to.size()), to.data(), &stream);
  }
  template <class Element>
  void read(std::string_view name, std::uint64_t first,
            std::type_identity_t<std::span<Element>> to) {
    Base::copy_out(name, range_of<Element>(first, to.size()), to.data(), nullptr);
  }
  template <class Element>
  void read(const BufferKey<Element>& key, std::uint64_t first,
            std::type_identity_t<std::span<Element>> to, stream_type& stream) {
    read<Element>(key.name(), first, to, stream);
  }
  template <class Element>
  void read(const BufferKey<Element>& key, std::uint64_t first,
            std::type_identity_t<std::span<Element>> to) {
    read<Element>(key.name(), first, to);
  }

 private:
  template <class Element>
  [[nodiscard]] static detail::ElementType type_of() noexcept {
    return detail::ElementType::of<Element>();
  }
  template <class Element>
  [[nodiscard]] static Range range_of(std::uint64_t first, std::uint64_t count) noexcept {
    return {type_of<Element>(), first, count};
  }
};

}  // namespace allot
