// SPDX-License-Identifier: MIT
/// \file
/// `StagingRing`: slots of host memory for copies to a device, in one allocation. Takes the slot
/// that was returned longest ago, as its copy is the likeliest to be done.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/load/load_options.hpp>
#include <allot/os/direct_file.hpp>
#include <allot/os/monitor.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace allot::load::detail {

template <Device DeviceType>
class StagingRing {
 public:
  /// If the system refuses, slots of half the size are tried, down to 1 MiB or what was asked
  /// for, then half as many slots. Throws: `OutOfMemory`.
  StagingRing(DeviceType& device, const LoadOptions& options, std::vector<std::string>& fallbacks)
      : slot_bytes_{options.slot_bytes}, slots_(options.slots) {
    auto memory = device.staging_memory();
    for (;;) {
      try {
        room_ = os::DirectFile::room_for(slot_bytes_);
        region_ = memory.acquire(room_ * slots_.size(), os::DirectFile::alignment);
        break;
      } catch (const OutOfMemory&) {
        if (slot_bytes_ / 2 >= 1 * MiB) {
          slot_bytes_ /= 2;
        } else if (slots_.size() > 1) {
          slots_.resize(slots_.size() / 2);
        } else {
          throw;
        }
      }
    }
    if (slot_bytes_ != options.slot_bytes || slots_.size() != options.slots) {
      fallbacks.push_back(std::to_string(options.slots) + " staging slots of " +
                          ReadableBytes{options.slot_bytes}.c_str() + " were refused; used " +
                          std::to_string(slots_.size()) + " of " +
                          ReadableBytes{slot_bytes_}.c_str());
    }
    for (std::size_t i = 0; i < slots_.size(); ++i) waiting_.push_back(i);
    waiting_count_ = slots_.size();
  }

  [[nodiscard]] std::uint64_t slot_bytes() const noexcept { return slot_bytes_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return room_ * slots_.size(); }
  [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }

  /// Returns the memory of a slot: a multiple of `DirectFile::alignment`, with room for a direct
  /// read.
  [[nodiscard]] DeferredSpan<std::byte, DeviceType> memory(std::size_t slot) const noexcept {
    return {static_cast<std::byte*>(region_.address()) + slot * room_,
            static_cast<std::size_t>(room_)};
  }

  /// A copy from a slot that may still be under way.
  struct Flight {
    std::size_t lane;
    std::size_t stream;
    std::uint64_t bytes;
  };

  /// A slot in use: returned at the end of the scope, in flight if a copy was launched.
  class Held {
   public:
    Held(StagingRing& ring, std::size_t slot) noexcept : ring_{&ring}, slot_{slot} {}
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() { ring_->give_back(slot_); }

    [[nodiscard]] std::size_t slot() const noexcept { return slot_; }
    [[nodiscard]] DeferredSpan<std::byte, DeviceType> memory() const noexcept {
      return ring_->memory(slot_);
    }
    /// Returns the copy from it that may still be in flight.
    [[nodiscard]] std::optional<Flight>& flight() noexcept { return ring_->slots_[slot_]; }

   private:
    StagingRing* ring_;
    std::size_t slot_;
  };

  /// Waits for a free slot. Cannot deadlock if each thread holds at most one.
  [[nodiscard]] Held take() {
    os::Monitor::Lock lock{monitor_};
    lock.wait([this] { return waiting_count_ != 0; });
    const std::size_t slot = waiting_[first_waiting_];
    first_waiting_ = (first_waiting_ + 1) % waiting_.size();
    --waiting_count_;
    return Held{*this, slot};
  }

 private:
  void give_back(std::size_t slot) noexcept {
    {
      const os::Monitor::Lock lock{monitor_};
      waiting_[(first_waiting_ + waiting_count_++) % waiting_.size()] = slot;
    }
    monitor_.notify_one();
  }

  std::uint64_t slot_bytes_;
  std::uint64_t room_ = 0;
  typename DeviceType::staging_memory_type::Region region_;
  std::vector<std::optional<Flight>> slots_;
  os::Monitor monitor_;
  std::vector<std::size_t>
      waiting_;  // a circle: room for all, so that returning a slot cannot fail
  std::size_t first_waiting_ = 0;
  std::size_t waiting_count_ = 0;
};

}  // namespace allot::load::detail
