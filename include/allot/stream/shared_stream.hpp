// SPDX-License-Identifier: MIT
/// \file
/// `SharedStream`: a device's stream that lives as long as any of its copies.
#pragma once

#include <allot/device/device.hpp>
#include <allot/os/smart_pointers.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace allot {

/// A shared stream: all copies refer to the same one. When the last of them is destroyed, the
/// stream is waited for and released.
///
/// A pool keeps a copy while it caches buffers of that stream, so it needs to record an event only
/// when another stream wants one of them: a loop on one stream makes no call. So destroying your
/// copy may not wait: synchronize the stream before you free host memory that it uses.
template <Device DeviceType>
class SharedStream {
 public:
  using stream_type = typename DeviceType::stream_type;

  /// A new stream. Throws: what `device.make_stream()` throws; `std::bad_alloc`.
  explicit SharedStream(DeviceType& device)
      : stream_{std::make_shared<stream_type>(device.make_stream())} {}
  /// Takes over a stream that exists.
  explicit SharedStream(stream_type stream)
      : stream_{std::make_shared<stream_type>(std::move(stream))} {}
  /// Shares a stream that something else owns and keeps alive (by an aliasing `std::shared_ptr`).
  /// Not null.
  explicit SharedStream(std::shared_ptr<stream_type> stream) noexcept
      : stream_{std::move(stream)} {}

  /// The stream, as the device's members take it.
  [[nodiscard]] stream_type& operator*() const noexcept { return *stream_; }
  /// The stream's members.
  [[nodiscard]] stream_type* operator->() const noexcept { return stream_.get(); }
  /// Returns what keeps the stream alive.
  [[nodiscard]] const std::shared_ptr<stream_type>& owner() const noexcept { return stream_; }
  /// The same, if a workspace, a cache or a set of streams asks for the owner of a stream.
  operator const std::shared_ptr<stream_type>&()
      const noexcept {  // NOLINT(google-explicit-constructor)
    return stream_;
  }

 private:
  std::shared_ptr<stream_type> stream_;
};

/// Makes a stream of that device.
template <Device DeviceType>
SharedStream(DeviceType&) -> SharedStream<DeviceType>;

namespace detail {

/// Returns a key that differs for each stream of a device; null if the streams do their work at
/// once, so that all are equivalent. A stream without a key or a handle is identified by its address.
template <class Stream>
[[nodiscard]] const void* key_of(const Stream& stream) noexcept {
  if constexpr (std::is_empty_v<Stream>) {
    return nullptr;
  } else if constexpr (requires {
                         { stream.key() } -> std::convertible_to<const void*>;
                       }) {
    return stream.key();
  } else if constexpr (requires {
                         { stream.get() } -> std::convertible_to<const void*>;
                       }) {
    return stream.get();
  } else {
    return &stream;
  }
}

}  // namespace detail
}  // namespace allot
