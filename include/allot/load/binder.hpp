// SPDX-License-Identifier: MIT
/// \file
/// `load::Binder`: gives an engine its tensors by name, each compared with the shape that the engine
/// expects. Of a plan it does so before anything is loaded, so that a file is refused in time.
///
///     allot::load::Binder tensors{model};
///     const float* norm = tensors.floats("blk.0.attn_norm.weight", width);
///     const std::vector<allot::load::Matrix> qkv = tensors.matrices(
///         "blk.0.", width, {{"attn_q", queries}, {"attn_k", keys}, {"attn_v", values}});
///     tensors.require_all_taken();
#pragma once

#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/load/model.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace allot::load {

/// Rows in memory, for one product with a vector: a tensor's, or those of several tensors that are
/// parts of a fused one.
struct Matrix {
  const std::byte* address;  ///< of the first row; null: nothing is loaded yet
  gguf::TensorType type;     ///< of its elements
  std::uint64_t columns;     ///< elements of a row
  std::uint64_t rows;        ///< how many there are
  std::uint64_t row_bytes;   ///< from one row to the next
  const float* bias;         ///< one for each row; null: none, or nothing is loaded yet
};

/// A matrix that is expected.
struct ExpectedMatrix {
  std::string_view name;  ///< without `.weight`, `.bias`
  std::uint64_t rows;     ///< its outputs
};

/// Valid as long as the plan or the model that it is made of.
class Binder {
 public:
  /// For a plan: everything is compared, and every address is null.
  explicit Binder(const Plan& plan) : items_{&plan.items}, taken_(plan.items.size()) {
    for (std::size_t i = 0; i < items_->size(); ++i) {
      const Item& item = (*items_)[i];
      if (item.purpose != Purpose::weight || item.left_out) continue;
      if (names_.add(item.name, i, NameAt{items_})) ++untaken_;
    }
  }

  /// What it reads must live as long as it does.
  explicit Binder(const Plan&& plan) = delete;

  /// For a model in memory. The addresses are those that its device's kernels get.
  template <class TensorType>
  explicit Binder(const ModelTensors<TensorType>& model) : Binder{model.plan()} {
    for (const TensorType& tensor : model.planned())
      addresses_.push_back(static_cast<const std::byte*>(tensor.address()));
  }

  /// Returns whether there is a tensor with a name.
  [[nodiscard]] bool has(std::string_view name) const noexcept {
    return names_.find(name, NameAt{items_}).has_value();
  }

  /// Returns a vector of F32.
  /// Throws: `std::runtime_error` if there is no such tensor, or if it has another length or type.
  [[nodiscard]] const float* floats(std::string_view name, std::uint64_t count) {
    const std::size_t number = place_of(name, count, 1);
    if (item(number).type != gguf::TensorType::F32) {
      throw std::runtime_error{"tensor " + std::string{name} + " is " +
                               std::string{gguf::type_name(item(number).type)} +
                               ", not F32; give the plan a rule that makes it so "
                               "(TransformOptions::dequantize)"};
    }
    take(number);
    return reinterpret_cast<const float*>(address(number));
  }

  /// The same for a tensor that models may leave out. Returns null if there is none.
  [[nodiscard]] const float* optional_floats(std::string_view name, std::uint64_t count) {
    return has(name) ? floats(name, count) : nullptr;
  }

  /// Returns matrices that have the same inputs, with their biases, which may be left out: those that
  /// the plan has fused as one.
  /// \param prefix   of all names, such as `blk.0.`
  /// \param columns  their inputs
  /// Throws: `std::runtime_error` if a tensor is missing, if one has another shape, a type without
  /// values, or a bias that is not F32.
  [[nodiscard]] std::vector<Matrix> matrices(std::string_view prefix, std::uint64_t columns,
                                             std::initializer_list<ExpectedMatrix> expected) {
    std::vector<Matrix> made;
    const Item* last = nullptr;
    const Item* last_bias = nullptr;
    for (const auto& [name, rows] : expected) {
      const std::string base = std::string{prefix} + std::string{name};
      const std::size_t number = place_of(base + ".weight", columns, rows);
      take(number);
      const float* const bias = optional_floats(base + ".bias", rows);
      const Item* const bias_item = find(base + ".bias");
      if (last != nullptr && follows(item(number), *last, 1) &&
          (last_bias == nullptr ? bias_item == nullptr
                                : bias_item != nullptr && follows(*bias_item, *last_bias, 0))) {
        made.back().rows += rows;
      } else {
        made.push_back(
            {address(number), item(number).type, columns, rows, item(number).strides[1], bias});
      }
      last = &item(number);
      last_bias = bias_item;
    }
    return made;
  }

  /// Throws: `std::runtime_error` naming a tensor that the model has and that was not taken: computing
  /// without it would give other results than its makers have seen.
  void require_all_taken() const {
    if (untaken_ == 0) return;
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      if (taken_[i] || !is_named(i)) continue;
      throw std::runtime_error{
          "this engine does not use the model's tensor " + item(i).name +
          (untaken_ == 1 ? "" : " and " + std::to_string(untaken_ - 1) + " more") +
          "; it would compute another model"};
    }
  }

 private:
  /// Returns the name at a place, for the index.
  struct NameAt {
    const std::vector<Item>* items;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      return (*items)[place].name;
    }
  };

  [[nodiscard]] const Item& item(std::size_t number) const noexcept { return (*items_)[number]; }
  [[nodiscard]] const std::byte* address(std::size_t number) const noexcept {
    return addresses_.empty() ? nullptr : addresses_[number];
  }
  [[nodiscard]] const Item* find(std::string_view name) const noexcept {
    const auto found = names_.find(name, NameAt{items_});
    return found ? &item(*found) : nullptr;
  }
  [[nodiscard]] bool is_named(std::size_t number) const noexcept {
    return find(item(number).name) == &item(number);
  }

  /// Returns the number of a tensor that is as expected.
  [[nodiscard]] std::size_t place_of(std::string_view name, std::uint64_t columns,
                                     std::uint64_t rows) const {
    const auto number = names_.find(name, NameAt{items_});
    if (!number) throw std::runtime_error{"tensor " + std::string{name} + " is missing"};
    const Item& found = item(*number);
    const auto& extent = found.shape.extent;
    if (extent[0] != columns || extent[1] != rows || extent[2] != 1 || extent[3] != 1) {
      throw std::runtime_error{"tensor " + std::string{name} + " has the shape " +
                               text_of(found.shape) + "; expected is " + std::to_string(columns) +
                               " x " + std::to_string(rows)};
    }
    if (!gguf::has_values(found.type)) {
      throw std::runtime_error{"tensor " + std::string{name} + " is " +
                               std::string{gguf::type_name(found.type)} +
                               ", a type for intermediate results, not for weights"};
    }
    return *number;
  }

  void take(std::size_t number) noexcept {
    if (!taken_[number]) --untaken_;
    taken_[number] = true;
  }

  [[nodiscard]] static std::string text_of(const gguf::Shape& shape) {
    std::string text;
    for (const std::uint64_t extent : shape.extent)
      text += (text.empty() ? "" : " x ") + std::to_string(extent);
    return text;
  }

  /// Returns whether both are parts of one fused item, with no byte between them.
  /// \param axis  the dimension in which they follow each other
  [[nodiscard]] static bool follows(const Item& part, const Item& last, std::size_t axis) noexcept {
    return part.part_of && last.part_of && part.part_of->item == last.part_of->item &&
           last.part_of->offset + last.shape.extent[axis] * last.strides[axis] ==
               part.part_of->offset;
  }

  const std::vector<Item>* items_;
  std::vector<const std::byte*> addresses_{};  // by item; empty: nothing is loaded yet
  gguf::NameIndex names_{};                    // of the weights
  std::vector<bool> taken_;
  std::size_t untaken_ = 0;
};

}  // namespace allot::load
