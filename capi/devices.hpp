// SPDX-License-Identifier: MIT
/// \file
/// Devices that are chosen at run time, by name, and what is made on them. `device_over.hpp` has the one
/// implementation, for any device type; a library that is built without HIP knows only the host.
///
/// | class       | stands for                                                            |
/// |-------------|-----------------------------------------------------------------------|
/// | `AnyDevice` | the host, or a GPU: makes all the others                              |
/// | `AnyStream` | work in order, on one device                                          |
/// | `AnyPool`   | a `BufferPool` whose buffers are found by address                     |
/// | `AnyModel`  | a model's weights on a device                                         |
/// | `AnyRegion` | memory of HIP's for an arena                                          |
#pragma once

#include <allot.h>
#include <allot/core/memory_info.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/pool/buffers/stats.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace allot::capi {

/// What a virtual base has in common.
class Polymorphic {
 public:
  Polymorphic() = default;
  Polymorphic(const Polymorphic&) = delete;
  Polymorphic& operator=(const Polymorphic&) = delete;
  virtual ~Polymorphic() = default;
};

/// All but the destructor may be called by several threads at once, as of all classes here. Errors are
/// those of the members that they call; what a device does not have throws a `Failure`.
class AnyStream : public Polymorphic {
 public:
  [[nodiscard]] virtual std::string device() const = 0;
  virtual void synchronize() = 0;
  /// Returns HIP's stream; throws `Failure` for the host, which has none.
  [[nodiscard]] virtual void* native() = 0;
};

class AnyPool : public Polymorphic {
 public:
  struct Taken {
    void* address;
    std::uint64_t size;
  };
  [[nodiscard]] virtual Taken acquire(std::uint64_t bytes,
                                      const std::shared_ptr<AnyStream>& stream) = 0;
  /// \param stream  null: the one that it was acquired for
  virtual void release(void* address, const std::shared_ptr<AnyStream>& stream) = 0;
  virtual void warm_up(std::span<const std::uint64_t> sizes) = 0;
  virtual std::uint64_t trim(std::uint64_t bytes) = 0;
  [[nodiscard]] virtual PoolStats stats() = 0;
  /// Returns it as JSON.
  [[nodiscard]] virtual std::string dump() = 0;
};

class AnyModel : public Polymorphic {
 public:
  struct Found {
    void* address;
    std::uint64_t bytes;
  };
  [[nodiscard]] virtual std::optional<Found> find(std::string_view name) const = 0;
};

class AnyDevice : public Polymorphic {
 public:
  [[nodiscard]] virtual MemoryInfo memory_info() const = 0;
  [[nodiscard]] virtual std::shared_ptr<AnyStream> make_stream() = 0;
  /// Throws: `Failure` for the host.
  [[nodiscard]] virtual std::shared_ptr<AnyStream> borrow_stream(void* native) = 0;
  [[nodiscard]] virtual std::shared_ptr<AnyPool> make_pool(std::uint64_t capacity,
                                                           const PoolOptions& options) = 0;
  virtual void check(const load::Plan& plan) const = 0;
  [[nodiscard]] virtual std::shared_ptr<AnyModel> load(const gguf::File& file,
                                                       const load::Plan& plan,
                                                       allot_progress progress, void* user) = 0;
};

/// Memory that is freed with the object.
class AnyRegion : public Polymorphic {
 public:
  [[nodiscard]] virtual void* address() const noexcept = 0;
  [[nodiscard]] virtual std::uint64_t alignment() const noexcept = 0;
};

/// Returns the device of that name. Throws: `Failure` if there is none such; as `HipDevice`'s constructor.
[[nodiscard]] std::shared_ptr<AnyDevice> device_of(const char* name);

[[nodiscard]] std::shared_ptr<AnyDevice> make_host_device();
/// Throws: as `HipDevice`'s constructor; `Failure` in a library that is built without HIP.
[[nodiscard]] std::shared_ptr<AnyDevice> make_hip_device(int id);
/// Takes memory for an arena.
/// \param memory  `ALLOT_HIP`, `ALLOT_HIP_PINNED` or `ALLOT_HIP_MANAGED`
/// Throws: as the memory policy's `acquire`, and as above.
[[nodiscard]] std::unique_ptr<AnyRegion> take_hip_memory(allot_memory memory, int device,
                                                         std::uint64_t bytes,
                                                         std::uint64_t alignment);

}  // namespace allot::capi
