// SPDX-License-Identifier: MIT
/// \file
/// `DeviceOver`: a device type as an `AnyDevice`, with its streams, pools and models.
#pragma once

#include <allot/core/errors.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/report/dump.hpp>
#include <allot/stream/shared_stream.hpp>

#include <memory>
#include <mutex>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "devices.hpp"
#include "guarded.hpp"

namespace allot::capi {

template <Device DeviceType>
class StreamOver final : public AnyStream {
  static constexpr bool is_at_once = std::is_empty_v<typename DeviceType::stream_type>;

 public:
  StreamOver(const DeviceType& device, SharedStream<DeviceType> stream, bool is_borrowed)
      : device_{device}, stream_{std::move(stream)}, is_borrowed_{is_borrowed} {}

  std::string device() const override { return device_.name(); }
  void synchronize() override { device_.synchronize(*stream_); }
  void* native() override {
    if constexpr (is_at_once) {
      throw Failure{ALLOT_UNSUPPORTED, "the host's streams are not HIP's; create one on a GPU"};
    } else {
      return stream_->get();
    }
  }

  /// Calls `function(stream)` with the stream as pools take it. What they are given of a borrowed one, they
  /// order by events and use no longer than until a buffer is returned: it may be destroyed then.
  template <class Function>
  decltype(auto) as_pools_take_it(Function&& function) {
    return is_borrowed_ ? function(*stream_) : function(stream_);
  }

 private:
  DeviceType device_;
  SharedStream<DeviceType> stream_;
  bool is_borrowed_;
};

template <Device DeviceType>
class PoolOver final : public AnyPool {
  using Stream = StreamOver<DeviceType>;
  using Buffer = PooledBuffer<DeviceType>;

 public:
  PoolOver(const DeviceType& device, std::uint64_t capacity, const PoolOptions& options)
      : device_{device.name()}, pool_{device, capacity, options} {}

  Taken acquire(std::uint64_t bytes, const std::shared_ptr<AnyStream>& any) override {
    const std::shared_ptr<Stream> stream = own(any);
    Buffer buffer =
        stream->as_pools_take_it([&](auto& taken) { return pool_.acquire(bytes, taken); });
    const Taken taken{buffer.address(), buffer.capacity()};
    const std::lock_guard lock{mutex_};
    live_.emplace(taken.address, Live{stream, std::move(buffer)});
    return taken;
  }

  void release(void* address, const std::shared_ptr<AnyStream>& any) override {
    const std::shared_ptr<Stream> stream = any ? own(any) : nullptr;
    Live last;  // its stream may be waited for after the lock is released
    const std::lock_guard lock{mutex_};
    const auto found = live_.find(address);
    if (found == live_.end()) throw InvalidBlock{address};
    if (stream)
      stream->as_pools_take_it([&](auto& taken) { found->second.buffer.release(taken); });
    else
      found->second.buffer.release();
    last = std::move(found->second);
    live_.erase(found);
  }

  void warm_up(std::span<const std::uint64_t> sizes) override { pool_.warm_up(sizes); }
  std::uint64_t trim(std::uint64_t bytes) override { return pool_.trim(bytes); }
  PoolStats stats() override { return pool_.stats(); }
  std::string dump() override { return report::dump(pool_, device_); }

 private:
  struct Live {
    std::shared_ptr<Stream> stream;  // which the buffer needs until it is returned
    Buffer buffer;
  };

  /// Throws: `Failure` for a stream of another device.
  [[nodiscard]] std::shared_ptr<Stream> own(const std::shared_ptr<AnyStream>& any) const {
    auto stream = std::dynamic_pointer_cast<Stream>(any);
    if (!stream || stream->device() != device_)
      throw Failure{ALLOT_INVALID_ARGUMENT, "a stream of " + any->device() + " for a pool of " +
                                                device_ + "; give a stream of the pool's device"};
    return stream;
  }

  std::string device_;
  BufferPool<DeviceType> pool_;
  std::mutex mutex_;
  std::unordered_map<void*, Live> live_;  // destroyed first
};

template <class ModelType>
class ModelOver final : public AnyModel {
 public:
  explicit ModelOver(ModelType model) : model_{std::move(model)} {}

  std::optional<Found> find(std::string_view name) const override {
    const auto* const tensor = model_.find(name);
    if (tensor == nullptr) return std::nullopt;
    return Found{tensor->address(), tensor->bytes()};
  }

 private:
  ModelType model_;
};

template <Device DeviceType>
class DeviceOver final : public AnyDevice {
  using Stream = StreamOver<DeviceType>;

 public:
  explicit DeviceOver(const DeviceType& device) : device_{device} {}

  MemoryInfo memory_info() const override { return device_.memory_info(); }
  std::shared_ptr<AnyStream> make_stream() override {
    return std::make_shared<Stream>(device_, SharedStream<DeviceType>{device_}, false);
  }
  std::shared_ptr<AnyStream> borrow_stream([[maybe_unused]] void* native) override {
    using Native = typename DeviceType::stream_type;
    if constexpr (std::is_empty_v<Native>) {
      throw Failure{ALLOT_UNSUPPORTED, "the host has no streams to borrow; create one"};
    } else {
      auto borrowed = Native::borrow(static_cast<decltype(std::declval<Native&>().get())>(native),
                                     device_.id());
      return std::make_shared<Stream>(device_, SharedStream<DeviceType>{std::move(borrowed)}, true);
    }
  }
  std::shared_ptr<AnyPool> make_pool(std::uint64_t capacity, const PoolOptions& options) override {
    return std::make_shared<PoolOver<DeviceType>>(device_, capacity, options);
  }
  void check(const load::Plan& plan) const override { load::check(plan, device_); }
  std::shared_ptr<AnyModel> load(const gguf::File& file, const load::Plan& plan,
                                 allot_progress progress, void* user) override {
    auto model = load::load(file, plan, device_, [&](const Progress& at) {
      return progress == nullptr || progress(at.done, at.total, user) == 0;
    });
    return std::make_shared<ModelOver<decltype(model)>>(std::move(model));
  }

 private:
  DeviceType device_;
};

}  // namespace allot::capi
