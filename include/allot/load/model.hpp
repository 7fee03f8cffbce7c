// SPDX-License-Identifier: MIT
/// \file
/// `load::Model`: a loaded model. Its tensors are slices, which keep their memory alive.
#pragma once

#include <allot/core/block.hpp>
#include <allot/gguf/tensor.hpp>
#include <allot/load/plan.hpp>
#include <allot/slice.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace allot::load {

/// One tensor in memory. A copy keeps the memory alive on its own.
template <class Access>
class Tensor {
 public:
  Tensor(const Item& item, Slice<Access> slice)
      : name_{item.name}, type_{item.type}, shape_{item.shape}, slice_{std::move(slice)} {}

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] gguf::TensorType type() const noexcept { return type_; }
  [[nodiscard]] const gguf::Shape& shape() const noexcept { return shape_; }
  [[nodiscard]] void* address() const noexcept { return slice_.address(); }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return slice_.bytes(); }
  [[nodiscard]] const Slice<Access>& slice() const noexcept { return slice_; }

 private:
  std::string name_;
  gguf::TensorType type_;
  gguf::Shape shape_;
  Slice<Access> slice_;
};

/// The tensors of a plan, each in its place. Movable; copies share nothing but the memory.
template <class SharedArena>
class Model {
 public:
  using access_type = AccessOf<typename SharedArena::memory_type>;
  using tensor_type = Tensor<access_type>;

  Model(std::vector<SharedArena> arenas, std::vector<tensor_type> tensors)
      : arenas_{std::move(arenas)}, tensors_{std::move(tensors)} {
    places_.reserve(tensors_.size());
    for (std::size_t i = 0; i < tensors_.size(); ++i) places_.emplace(tensors_[i].name(), i);
  }

  /// Complexity: constant. `nullptr` where there is none of that name.
  [[nodiscard]] const tensor_type* find(const std::string& name) const noexcept {
    const auto found = places_.find(name);
    return found == places_.end() ? nullptr : &tensors_[found->second];
  }

  /// Throws: `std::out_of_range` naming the tensor where there is none.
  [[nodiscard]] const tensor_type& operator[](const std::string& name) const {
    if (const tensor_type* tensor = find(name)) return *tensor;
    throw std::out_of_range{"the model has no tensor " + name};
  }

  /// In file order.
  [[nodiscard]] std::span<const tensor_type> tensors() const noexcept { return tensors_; }
  [[nodiscard]] auto begin() const noexcept { return tensors_.begin(); }
  [[nodiscard]] auto end() const noexcept { return tensors_.end(); }

  /// The arenas that the tensors lie in; each was one allocation on its device.
  [[nodiscard]] std::span<const SharedArena> arenas() const noexcept { return arenas_; }

 private:
  std::vector<SharedArena> arenas_;
  std::vector<tensor_type> tensors_;
  std::unordered_map<std::string, std::size_t> places_;
};

}  // namespace allot::load
