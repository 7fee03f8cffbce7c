// SPDX-License-Identifier: MIT
/// \file
/// `load::Model`: a loaded model. Its tensors are slices, which keep their memory alive.
#pragma once

#include <allot/device/device.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/gguf/tensor.hpp>
#include <allot/load/detail/take.hpp>
#include <allot/load/layers.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/memory/free_pages.hpp>
#include <allot/slice.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::load {

/// What a tensor in memory is: its name, type and shape.
class TensorForm {
 public:
  /// Takes what a plan says of an item.
  explicit TensorForm(const Item& item)
      : name_{item.name},
        type_{item.type},
        shape_{item.shape},
        strides_{item.strides},
        is_loaded_{!item.left_out} {}

  /// Returns its name.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Returns the type of its elements, as loaded.
  [[nodiscard]] gguf::TensorType type() const noexcept { return type_; }
  /// Returns its dimensions, as loaded.
  [[nodiscard]] const gguf::Shape& shape() const noexcept { return shape_; }
  /// Returns the bytes from one block, row, matrix to the next.
  [[nodiscard]] const Strides& strides() const noexcept { return strides_; }
  /// Returns false for a tensor that the plan leaves in the file (`PlanOptions::only`), and for one
  /// that the model released.
  [[nodiscard]] bool is_loaded() const noexcept { return is_loaded_; }

 protected:
  /// Notes that its memory was released.
  void unload() noexcept { is_loaded_ = false; }

 private:
  std::string name_;
  gguf::TensorType type_;
  gguf::Shape shape_;
  Strides strides_;
  bool is_loaded_;
};

/// One tensor in memory, or a view of a part of a fused one. Every copy keeps the memory alive.
template <class Access>
class Tensor : public TensorForm {
 public:
  /// For `load`: a tensor, and where it is.
  Tensor(const Item& item, Slice<Access> slice) : TensorForm{item}, slice_{std::move(slice)} {}
  /// For `load`: a tensor, and where it is.
  Tensor(TensorForm form, Slice<Access> slice)
      : TensorForm{std::move(form)}, slice_{std::move(slice)} {}

  [[nodiscard]] void* address() const noexcept { return slice_.address(); }
  /// Returns the bytes from its first to its last, including the zeros after it.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return slice_.bytes(); }
  /// Returns its bytes.
  [[nodiscard]] const Slice<Access>& slice() const noexcept { return slice_; }

  /// Gives up this object's share of the memory; for `Model::release`.
  void release() noexcept {
    slice_ = {};
    this->unload();
  }

 private:
  Slice<Access> slice_;
};

/// The items of a plan in memory, whatever type their tensors have: the common part of `Model` and
/// `DividedModel`.
template <class TensorType>
class ModelTensors {
 public:
  using tensor_type = TensorType;

  /// \param plan  the plan as carried out; `tensors` has one tensor for each of its items
  ModelTensors(Plan plan, std::vector<tensor_type> tensors, LoadReport report)
      : plan_{std::move(plan)},
        tensors_{std::move(tensors)},
        report_{std::move(report)},
        weights_{static_cast<std::size_t>(plan_.count_of(Purpose::weight))},
        fused_{static_cast<std::size_t>(plan_.count_of(Purpose::fused))},
        copies_{static_cast<std::size_t>(plan_.count_of(Purpose::copy))} {
    names_.reserve(tensors_.size());
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (tensors_[i].is_loaded())
        static_cast<void>(names_.add(tensors_[i].name(), i, NameAt{&tensors_}));
    }
  }

  /// Finds a tensor, fused or not, a part of the cache (`cache.3.k`), or `scratch`. Returns null if
  /// no item has that name. Complexity: constant.
  [[nodiscard]] const tensor_type* find(std::string_view name) const noexcept {
    const auto found = names_.find(name, NameAt{&tensors_});
    return found && tensors_[*found].is_loaded() ? &tensors_[*found] : nullptr;
  }

  /// The same. Throws: `std::out_of_range` naming the tensor if there is none.
  [[nodiscard]] const tensor_type& operator[](std::string_view name) const {
    if (const tensor_type* tensor = find(name)) return *tensor;
    for (const tensor_type& tensor : tensors_) {
      if (tensor.name() != name) continue;
      throw std::out_of_range{"tensor " + std::string{name} +
                              " is not loaded: it was released, or left out of the plan "
                              "(PlanOptions::only)"};
    }
    throw std::out_of_range{"the model has no tensor " + std::string{name}};
  }

  /// Returns the file's tensors, in file order. Those that the plan leaves in the file have no bytes.
  [[nodiscard]] std::span<const tensor_type> tensors() const noexcept {
    return std::span{tensors_}.first(weights_);
  }
  [[nodiscard]] auto begin() const noexcept { return tensors().begin(); }
  [[nodiscard]] auto end() const noexcept { return tensors().end(); }

  /// Returns the model's layers, in order, each with its tensors by role: `layer["attn_q"]`. Valid as
  /// long as the model, also if that is moved. Complexity: O(n log n) in the tensors.
  [[nodiscard]] std::vector<ModelLayer<tensor_type>> layers() const {
    return detail::layers_of<tensor_type>(planned());
  }

  /// Returns the fused tensors, if the plan fuses any: several of the file's tensors are parts of
  /// each.
  [[nodiscard]] std::span<const tensor_type> fused() const noexcept {
    return std::span{tensors_}.subspan(weights_, fused_);
  }

  /// Returns all tensors, one for each item of the plan.
  [[nodiscard]] std::span<const tensor_type> planned() const noexcept { return tensors_; }

  /// Returns cache and scratch, if the plan has any; their contents are undefined.
  [[nodiscard]] std::span<const tensor_type> reserved() const noexcept {
    return std::span{tensors_}.subspan(weights_ + fused_ + copies_);
  }

  /// Returns the plan as carried out: differs from the one given if arenas had to be divided.
  [[nodiscard]] const Plan& plan() const noexcept { return plan_; }

  /// Returns what loading took.
  [[nodiscard]] const LoadReport& report() const noexcept { return report_; }

 protected:
  /// Gives up the model's share of a tensor's memory. Returns the number of its item.
  /// Throws: `std::out_of_range`, as `operator[]`.
  std::size_t give_up(std::string_view name) {
    const tensor_type& tensor = (*this)[name];
    const auto number = static_cast<std::size_t>(&tensor - tensors_.data());
    tensors_[number].release();
    return number;
  }

 private:
  /// Returns the name at a place, for the index.
  struct NameAt {
    const std::vector<tensor_type>* tensors;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      return (*tensors)[place].name();
    }
  };

  Plan plan_;
  std::vector<tensor_type> tensors_;
  LoadReport report_;
  std::size_t weights_;
  std::size_t fused_;
  std::size_t copies_;
  gguf::NameIndex names_;
};

/// The items of a plan in memory: tensors, cache, scratch. Movable; copies share only the memory.
template <class SharedArena>
class Model : public ModelTensors<Tensor<AccessOf<typename SharedArena::memory_type>>> {
 public:
  using access_type = AccessOf<typename SharedArena::memory_type>;
  using tensor_type = Tensor<access_type>;

  /// \param plan  the plan as carried out; `tensors` has one tensor for each of its items
  Model(Plan plan, std::vector<SharedArena> arenas, std::vector<tensor_type> tensors,
        LoadReport report)
      : ModelTensors<tensor_type>{std::move(plan), std::move(tensors), std::move(report)},
        arenas_{std::move(arenas)} {}

  /// Gives up the model's share of a tensor: once no other slice of it is left, its bytes can be used
  /// again in the arena, and pages of host memory go back to the system. A GPU's driver gets nothing
  /// back before all of the arena is free. A part of a fused tensor frees nothing by itself.
  /// Throws: `std::out_of_range`, as `operator[]`; nothing has changed.
  void release(std::string_view name) {
    const Item& item = this->plan().items[this->give_up(name)];
    if constexpr (ReturnsPages<typename SharedArena::memory_type>) {
      if (item.has_own_memory()) return_free_pages(arenas_[item.arena]);
    }
  }

  /// Returns a copy of a tensor in a separate allocation, which the caller owns; the model keeps its
  /// tensor. Waits until the bytes are there.
  /// \param device  the one that the tensor is on, or any for a tensor that the host may touch
  /// Throws: `std::out_of_range`, as `operator[]`; `OutOfMemory`; what the device throws.
  template <Device DeviceType>
  [[nodiscard]] Tensor<AccessOf<typename DeviceType::memory_type>> take(std::string_view name,
                                                                        DeviceType& device) const {
    const tensor_type& tensor = (*this)[name];
    return {tensor,
            detail::take(
                device, tensor.name(), tensor.address(), tensor.bytes(), access_type::host,
                std::same_as<typename DeviceType::memory_type, typename SharedArena::memory_type>)};
  }

  /// Returns the arenas that hold everything; each was one allocation on its device.
  [[nodiscard]] std::span<const SharedArena> arenas() const noexcept { return arenas_; }

 private:
  std::vector<SharedArena> arenas_;
};

}  // namespace allot::load
