// SPDX-License-Identifier: MIT
/// \file
/// `MakingBuffers`: keeps a class and a lane of a pool while buffers are made for them, as the
/// pool's mutex is not held all that time.
#pragma once

#include <allot/pool/buffers/detail/cached.hpp>
#include <allot/pool/buffers/detail/stream_order.hpp>

#include <cstdint>
#include <utility>

namespace allot::detail {

template <Device DeviceType, SizeClasses Classes>
class MakingBuffers {
 public:
  using Cached = CachedEntries<DeviceType, Classes>;
  using Class = PoolClass<DeviceType>;

  MakingBuffers(Cached& cached, StreamOrder<DeviceType>& streams, Class& of,
                std::uint32_t lane) noexcept
      : cached_{cached}, streams_{streams}, of_{of}, lane_{lane} {
    ++of.in_making;
    streams.acquire(lane);
  }
  MakingBuffers(const MakingBuffers&) = delete;
  MakingBuffers& operator=(const MakingBuffers&) = delete;
  ~MakingBuffers() {
    of_.wanted = of_.wanted_bytes = 0;
    of_.kept -= wanted_;
    if (of_.kept == 0) of_.kept_bytes = PoolOptions::unlimited;
    streams_.release(lane_);
    --of_.in_making;
    cached_.forget_if_empty(of_);
  }

  [[nodiscard]] Class& of() const noexcept { return of_; }

  /// Takes over the buffers that a warm-up has counted in the class; until the end, as many that
  /// are cached and large enough stay.
  void take_wanted() noexcept {
    wanted_ = std::exchange(of_.wanted, 0);
    bytes_ = std::exchange(of_.wanted_bytes, 0);
    of_.kept += wanted_;
    if (wanted_ != 0) of_.kept_bytes = smaller(of_.kept_bytes, bytes_);
  }
  [[nodiscard]] std::uint64_t wanted() const noexcept { return wanted_; }
  /// The most bytes of any of them.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  Cached& cached_;
  StreamOrder<DeviceType>& streams_;
  Class& of_;
  std::uint32_t lane_;
  std::uint64_t wanted_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace allot::detail
