// SPDX-License-Identifier: MIT
#include "torch_allocator.hpp"

#include <allot/core/errors.hpp>
#include <allot/memory/reclaimer.hpp>
#include <allot/report/dump.hpp>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace allot::capi {
namespace {

std::uint64_t bytes_of(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  if (text == nullptr) return otherwise;
  std::uint64_t number = 0;
  const char* const end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, number);
  const std::string_view unit{rest, static_cast<std::size_t>(end - rest)};
  for (const auto& [name, bytes] : {std::pair<std::string_view, std::uint64_t>{"", 1},
                                    {"KiB", KiB},
                                    {"MiB", MiB},
                                    {"GiB", GiB}}) {
    if (error == std::errc{} && unit == name && number <= largest_of<std::uint64_t> / bytes)
      return number * bytes;
  }
  throw std::invalid_argument{std::string{variable} + "=" + text +
                              " is not a size; use a number of bytes, or one with KiB, MiB or GiB"};
}

}  // namespace

TorchOptions torch_options_of_environment() {
  TorchOptions options;
  options.capacity = bytes_of("ALLOT_TORCH_BYTES", options.capacity);
  options.growth = bytes_of("ALLOT_TORCH_GROWTH", options.growth);
  options.max_capacity = bytes_of("ALLOT_TORCH_MAX_BYTES", options.max_capacity);
  return options;
}

TorchAllocator::OnDevice::OnDevice(int id, const TorchOptions& options)
    : device{id},
      pool{device,
           options.capacity,
           {.growth = options.growth, .max_capacity = options.max_capacity}} {}

const TorchAllocator::Stream& TorchAllocator::OnDevice::stream(hipStream_t handle) {
  const auto found = streams.find(handle);
  if (found != streams.end()) return found->second;
  return streams.emplace(handle, Stream{hip::Stream::borrow(handle, device.id())}).first->second;
}

void TorchAllocator::OnDevice::release_pending(bool must_wait) {
  while (!pending.empty()) {
    for (const hip::Event& event : pending.front().events) {
      if (must_wait) event.synchronize();
      if (!must_wait && !event.is_done()) return;
    }
    pending.pop_front();
  }
}

void* TorchAllocator::allocate(std::uint64_t bytes, int device, hipStream_t stream) {
  if (bytes == 0) return nullptr;
  const std::scoped_lock lock{mutex_};
  auto found = devices_.find(device);
  if (found == devices_.end()) {
    found = devices_
                .emplace(std::piecewise_construct, std::forward_as_tuple(device),
                         std::forward_as_tuple(device, options_))
                .first;
  }
  OnDevice& on = found->second;
  on.release_pending(false);
  const Stream& borrowed = on.stream(stream);
  PooledBuffer<Device> buffer;
  try {
    buffer = on.pool.acquire(bytes, borrowed);
  } catch (const OutOfMemory&) {
    if (on.pending.empty()) throw;
    on.release_pending(true);
    buffer = on.pool.acquire(bytes, borrowed);
  }
  void* const address = buffer.address();
  live_.emplace(address, Live{std::move(buffer), device, {}});
  return address;
}

void TorchAllocator::deallocate(void* address) {
  if (address == nullptr) return;
  const std::scoped_lock lock{mutex_};
  const auto found = live_.find(address);
  if (found == live_.end()) throw InvalidBlock{address};
  Live& live = found->second;
  if (!live.used_on.empty()) {
    OnDevice& on = devices_.at(live.device);
    Pending pending;
    for (const hipStream_t stream : live.used_on)
      on.stream(stream)->record(pending.events.emplace_back(live.device));
    Pending& kept = on.pending.emplace_back(std::move(pending));
    kept.buffer = std::move(live.buffer);
  }
  live_.erase(found);
}

void TorchAllocator::record_stream(void* address, hipStream_t stream) {
  if (address == nullptr) return;
  const std::scoped_lock lock{mutex_};
  const auto found = live_.find(address);
  if (found == live_.end()) throw InvalidBlock{address};
  found->second.used_on.push_back(stream);
}

void TorchAllocator::empty_cache() {
  const std::scoped_lock lock{mutex_};
  for (auto& [id, on] : devices_) {
    on.release_pending(true);
    static_cast<void>(reclaim_memory(on.device.name(), largest_of<std::uint64_t>));
  }
}

std::optional<PoolStats> TorchAllocator::stats(int device) {
  const std::scoped_lock lock{mutex_};
  const auto found = devices_.find(device);
  if (found == devices_.end()) return std::nullopt;
  return found->second.pool.stats();
}

std::optional<std::string> TorchAllocator::snapshot(int device) {
  const std::scoped_lock lock{mutex_};
  const auto found = devices_.find(device);
  if (found == devices_.end()) return std::nullopt;
  return report::dump(found->second.pool, found->second.device.name());
}

}  // namespace allot::capi
