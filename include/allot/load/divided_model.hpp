// SPDX-License-Identifier: MIT
/// \file
/// `DividedModel`: a model whose tensors are on devices of different types, such as a GPU and the
/// host. One type, whatever the devices and policies: it can be stored, and passed to code that is
/// no template.
///
/// | type            | what it is                                                              |
/// |-----------------|-------------------------------------------------------------------------|
/// | `DividedModel`  | what `load` returns for `devices(gpu, host)`                            |
/// | `DividedTensor` | a tensor, the name of its device, and slices of the kinds that it has   |
/// | `DividedArena`  | one device allocation of the model                                      |
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/callback.hpp>
#include <allot/device/device.hpp>
#include <allot/load/detail/take.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/model.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/slice.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::load {

/// One device allocation of a divided model. Kept alive by the tensors in it, too.
class DividedArena {
 public:
  /// Takes the name of its device.
  explicit DividedArena(std::string device) : device_{std::move(device)} {}
  DividedArena(const DividedArena&) = delete;
  DividedArena& operator=(const DividedArena&) = delete;
  virtual ~DividedArena() = default;

  /// Returns the name of its device: `hip:0`, `host`.
  [[nodiscard]] const std::string& device() const noexcept { return device_; }
  /// Returns a consistent snapshot.
  [[nodiscard]] virtual Usage usage() const = 0;
  /// Calls `visitor(offset, size, used)`, in bytes, for every block in the order of offsets.
  virtual void for_each(
      const Callback<void(std::uint64_t, std::uint64_t, bool)>& visitor) const = 0;
  /// Gives the pages of its free blocks back to the system, if its memory can.
  virtual void return_free_pages() const = 0;

 private:
  std::string device_;
};

/// Bytes of a divided model, and what keeps them alive.
struct DividedBytes {
  std::shared_ptr<const void> owner{};  ///< keeps them alive
  void* address = nullptr;              ///< of the first byte
  std::uint64_t bytes = 0;              ///< from the first to the last
  bool is_host_accessible = false;      ///< the host may touch them
  bool is_device_accessible = false;    ///< a device may touch them
};

/// One tensor of a divided model. Every copy keeps its memory alive.
class DividedTensor : public TensorForm {
 public:
  /// For `load`.
  DividedTensor(const Item& item, std::string device, DividedBytes bytes)
      : TensorForm{item}, device_{std::move(device)}, bytes_{std::move(bytes)} {}

  /// Returns the name of the device that it is on; empty if it has no bytes.
  [[nodiscard]] const std::string& device() const noexcept { return device_; }
  [[nodiscard]] void* address() const noexcept { return bytes_.address; }
  /// Returns the bytes from its first to its last, including the zeros after it.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_.bytes; }

  /// Returns its bytes, if the host may touch them; nothing for device memory.
  [[nodiscard]] std::optional<Slice<HostAccessible>> host_slice() const noexcept {
    if (!bytes_.is_host_accessible) return std::nullopt;
    return Slice<HostAccessible>{bytes_.owner, bytes_.address, bytes_.bytes};
  }
  /// Returns its bytes, if a device may touch them; nothing for ordinary host memory.
  [[nodiscard]] std::optional<Slice<DeviceAccessible>> device_slice() const noexcept {
    if (!bytes_.is_device_accessible) return std::nullopt;
    return Slice<DeviceAccessible>{bytes_.owner, bytes_.address, bytes_.bytes};
  }

  /// Gives up this object's share of the memory; for `DividedModel::release`.
  void release() noexcept {
    bytes_ = {};
    unload();
  }

 private:
  std::string device_;
  DividedBytes bytes_;
};

/// The items of a plan in memory, on devices of different types. Movable.
class DividedModel : public ModelTensors<DividedTensor> {
 public:
  /// \param plan  the plan as carried out; `tensors` has one tensor for each of its items
  DividedModel(Plan plan, std::vector<std::shared_ptr<const DividedArena>> arenas,
               std::vector<DividedTensor> tensors, LoadReport report)
      : ModelTensors{std::move(plan), std::move(tensors), std::move(report)},
        arenas_{std::move(arenas)} {}

  /// As `Model::release`.
  void release(std::string_view name) {
    const Item& item = plan().items[give_up(name)];
    if (item.has_own_memory()) arenas_[item.arena]->return_free_pages();
  }

  /// As `Model::take`.
  /// Throws: also `std::invalid_argument` for a tensor that neither that device nor the host may touch.
  template <Device DeviceType>
  [[nodiscard]] Tensor<AccessOf<typename DeviceType::memory_type>> take(std::string_view name,
                                                                        DeviceType& device) const {
    const DividedTensor& tensor = (*this)[name];
    return {tensor, detail::take(device, tensor.name(), tensor.address(), tensor.bytes(),
                                 tensor.host_slice().has_value(),
                                 tensor.device() == std::string{device.name()})};
  }

  /// Returns the arenas that hold everything; each was one allocation on its device.
  [[nodiscard]] std::span<const std::shared_ptr<const DividedArena>> arenas() const noexcept {
    return arenas_;
  }

 private:
  std::vector<std::shared_ptr<const DividedArena>> arenas_;
};

}  // namespace allot::load
