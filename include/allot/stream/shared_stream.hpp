// SPDX-License-Identifier: MIT
/// \file
/// `SharedStream`: a device's stream that lives as long as anyone has work to order with it.
#pragma once

#include <allot/device/device.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace allot {

/// A stream, shared: copies stand for the same one. It is released, and waited for before that,
/// when the last of them is gone.
///
/// A pool keeps those that it was given while their buffers are cached, so it needs to record an
/// event only when another stream wants one of them: a loop on one stream costs no call. Hence to
/// drop your copy need not wait: synchronize the stream before you free host memory that it uses.
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
  /// A stream that something else owns and keeps alive: the first argument of an aliasing
  /// constructor. Not null.
  explicit SharedStream(std::shared_ptr<stream_type> stream) noexcept
      : stream_{std::move(stream)} {}

  /// For the members of the device.
  [[nodiscard]] stream_type& operator*() const noexcept { return *stream_; }
  [[nodiscard]] stream_type* operator->() const noexcept { return stream_.get(); }
  [[nodiscard]] const std::shared_ptr<stream_type>& owner() const noexcept { return stream_; }

 private:
  std::shared_ptr<stream_type> stream_;
};

template <Device DeviceType>
SharedStream(DeviceType&) -> SharedStream<DeviceType>;

namespace detail {

/// Tells two streams of one device apart; null where all of them are as one, since they do their
/// work at once. A stream that has no handle is known by its address.
template <class Stream>
[[nodiscard]] const void* key_of(const Stream& stream) noexcept {
  if constexpr (std::is_empty_v<Stream>) {
    return nullptr;
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
