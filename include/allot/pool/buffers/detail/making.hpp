// SPDX-License-Identifier: MIT
/// \file
/// `MakingBuffers`: keeps a class and a lane of a pool while buffers are made for them, as the
/// pool's mutex is not held all that time. `MadeBuffers`: what a warm-up makes.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/pool/buffers/detail/cached.hpp>
#include <allot/pool/buffers/detail/stream_order.hpp>

#include <cstdint>
#include <list>
#include <utility>
#include <vector>

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

/// Entries that no buffer uses yet: freed, unless they are taken out.
template <Device DeviceType, SizeClasses Classes, class Supply>
struct MadeBuffers {
  using Making = MakingBuffers<DeviceType, Classes>;

  MadeBuffers(Supply& supply, typename Making::Cached& cached,
              StreamOrder<DeviceType>& streams) noexcept
      : supply_{supply}, cached_{cached}, streams_{streams} {}
  MadeBuffers(const MadeBuffers&) = delete;
  MadeBuffers& operator=(const MadeBuffers&) = delete;
  ~MadeBuffers() {
    for (PoolEntry<DeviceType>* const entry : entries) supply_.free(*entry);
  }

  /// Counts one more buffer of a class. The mutex is held from the first one to `end_wants`.
  void want(typename Making::Class& of, std::uint64_t bytes) {
    if (of.wanted == 0) classes.emplace_back(cached_, streams_, of, 0);
    ++of.wanted;
    of.wanted_bytes = larger(of.wanted_bytes, Supply::whole_units(bytes));
  }
  void end_wants() noexcept {
    for (Making& making : classes) making.take_wanted();
  }
  /// Returns the bytes of all that is wanted, if each has `bytes_of(making)`.
  template <class Function>
  [[nodiscard]] std::uint64_t total(Function&& bytes_of) const {
    std::uint64_t sum = 0;
    for (const Making& making : classes) {
      const auto bytes = checked_multiply(making.wanted(), bytes_of(making));
      sum =
          checked_add(sum, bytes.value_or(PoolOptions::unlimited)).value_or(PoolOptions::unlimited);
    }
    return sum;
  }

  Supply& supply_;
  typename Making::Cached& cached_;
  StreamOrder<DeviceType>& streams_;
  std::list<Making> classes;
  std::vector<PoolEntry<DeviceType>*> entries;
};

}  // namespace allot::detail
