// SPDX-License-Identifier: MIT
/// \file
/// `Readback<Element>`: downloads into two pinned buffers in turn, so that the host reads one while
/// the other fills.
///
///     Readback<float, HipDevice<>> readback{device, elements};
///     readback.start(first, stream);
///     for (...) {
///       readback.start(next, stream);                    // under way while this is used:
///       for (float value : readback.wait()) ...          // the first
///     }
#pragma once

#include <allot/core/checked.hpp>
#include <allot/device/device.hpp>
#include <allot/slice.hpp>
#include <allot/stream/wait_noexcept.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace allot {

/// Two transfers can be under way; a third needs the buffer of the first. Keeps the source alive
/// until its bytes have arrived. Use it from one thread at a time. The device must outlive it.
template <class Element, Device DeviceType>
requires std::is_trivially_copyable_v<Element>
class Readback {
 public:
  using slice_type = Slice<AccessOf<typename DeviceType::memory_type>>;

  /// \param elements  the most in one transfer; takes pinned memory for twice as many
  /// Throws: `std::length_error` if that is too much; `OutOfMemory`; what the device throws.
  Readback(DeviceType& device, std::uint64_t elements)
      : device_{&device},
        elements_{elements},
        room_{room_for(elements)},
        region_{device.staging_memory().acquire(2 * room_, buffer_alignment)},
        buffers_{Buffer{device.make_event()}, Buffer{device.make_event()}} {}

  Readback(const Readback&) = delete;
  Readback& operator=(const Readback&) = delete;
  /// Waits for pending transfers: they write to memory that is released here.
  ~Readback() {
    for (Buffer& buffer : buffers_) {
      if (buffer.is_flying) detail::wait_noexcept(*device_, buffer.event);
    }
  }

  /// The most elements that a transfer can have.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return elements_; }

  /// Starts to copy `source` on a stream, after the stream's earlier work. If two transfers are
  /// pending, waits for the first of them and discards it.
  /// Throws: `std::length_error` for a source that is too large or not a whole number of elements;
  /// what the device throws; nothing was started then.
  void start(const slice_type& source, typename DeviceType::stream_type& stream) {
    check(source);
    if (pending_ == 2) land_oldest();
    begin(source, stream);
  }

  /// The same, but if two transfers are pending, returns false at once; nothing is lost.
  [[nodiscard]] bool try_start(const slice_type& source, typename DeviceType::stream_type& stream) {
    check(source);
    if (pending_ == 2) return false;
    begin(source, stream);
    return true;
  }

  /// Returns the number of transfers that were started but not waited for: 0, 1 or 2.
  [[nodiscard]] std::uint32_t pending() const noexcept { return pending_; }

  /// Returns true if `wait` would return at once; false if nothing is pending.
  [[nodiscard]] bool ready() const { return pending_ != 0 && device_->is_done(oldest().event); }

  /// Returns the elements of the oldest pending transfer; blocks until they have arrived. They stay
  /// valid until the second start after their own.
  /// Throws: `std::logic_error` if nothing is pending; what the device throws.
  [[nodiscard]] std::span<const Element> wait() {
    if (pending_ == 0)
      throw std::logic_error{"no transfer is pending; call start once before each wait"};
    const Buffer& buffer = land_oldest();
    return {static_cast<const Element*>(memory_of(buffer)), buffer.count};
  }

 private:
  static constexpr std::uint64_t buffer_alignment = 4096;

  struct Buffer {
    explicit Buffer(typename DeviceType::event_type made) : event{std::move(made)} {}
    typename DeviceType::event_type event;
    slice_type source{};
    std::size_t count = 0;
    bool is_flying = false;
  };

  [[nodiscard]] static std::uint64_t room_for(std::uint64_t elements) {
    const auto bytes = checked_multiply(elements, sizeof(Element));
    const auto room = bytes ? checked_align_up(*bytes, buffer_alignment) : std::nullopt;
    if (!room || *room > largest_of<std::uint64_t> / 2) {
      throw std::length_error{"two buffers of " + std::to_string(elements) + " elements of " +
                              std::to_string(sizeof(Element)) +
                              " bytes exceed 2^64 bytes; use fewer"};
    }
    return *room == 0 ? buffer_alignment : *room;
  }

  void check(const slice_type& source) const {
    if (source.bytes() % sizeof(Element) == 0 && source.bytes() / sizeof(Element) <= elements_)
      return;
    throw std::length_error{"a source of " + std::to_string(source.bytes()) +
                            " bytes cannot be read back: use whole elements of " +
                            std::to_string(sizeof(Element)) + " bytes, at most " +
                            std::to_string(elements_)};
  }

  void begin(const slice_type& source, typename DeviceType::stream_type& stream) {
    Buffer& buffer = buffers_[(first_ + pending_) % 2];
    if (source.bytes() != 0) {
      // If recording fails, the copy may be under way: wait for it before passing the error on.
      device_->copy_to_host(memory_of(buffer), source.address(), source.bytes(), stream);
      try {
        device_->record(buffer.event, stream);
      } catch (...) {
        detail::wait_noexcept(*device_, stream);
        throw;
      }
      buffer.source = source;
      buffer.is_flying = true;
    }
    buffer.count = static_cast<std::size_t>(source.bytes() / sizeof(Element));
    ++pending_;
  }

  const Buffer& land_oldest() {
    Buffer& buffer = buffers_[first_];
    if (buffer.is_flying) device_->synchronize(buffer.event);
    buffer.is_flying = false;
    buffer.source = {};
    first_ = (first_ + 1) % 2;
    --pending_;
    return buffer;
  }

  [[nodiscard]] const Buffer& oldest() const noexcept { return buffers_[first_]; }

  [[nodiscard]] void* memory_of(const Buffer& buffer) const noexcept {
    return static_cast<std::byte*>(region_.address()) +
           static_cast<std::uint64_t>(&buffer - buffers_.data()) * room_;
  }

  DeviceType* device_;
  std::uint64_t elements_;
  std::uint64_t room_;
  typename DeviceType::staging_memory_type::Region region_;
  std::array<Buffer, 2> buffers_;
  std::size_t first_ = 0;
  std::uint32_t pending_ = 0;
};

}  // namespace allot
