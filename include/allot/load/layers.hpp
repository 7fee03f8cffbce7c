// SPDX-License-Identifier: MIT
/// \file
/// `ModelLayer`: the tensors of one layer of a model, by their roles.
///
///     for (const auto& layer : model.layers())
///       attention(layer["attn_q"], layer["attn_k"], layer.find("attn_q.bias"));
#pragma once

#include <allot/load/plan/layer_name.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::load {

/// One layer of a loaded model. A role is what follows the layer's number in a tensor's name, as
/// in `blk.3.attn_q.weight`; of `attn_q.weight` the ending may be left out. Parts of the KV cache have the roles `cache.k` and
/// `cache.v`.
template <class TensorType>
class ModelLayer {
 public:
  /// For `layers()`: a layer of which nothing is known but its name.
  ModelLayer(std::string_view stack, std::uint64_t number) noexcept
      : stack_{stack}, number_{number} {}

  /// Returns the name of the stack that it belongs to, with a dot behind it (`enc` and a dot); empty
  /// for `blk`.
  [[nodiscard]] std::string_view stack() const noexcept { return stack_; }
  /// Returns its number in the stack, from 0.
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

  /// Returns the tensor with a role, or null. Complexity: linear in the layer's tensors.
  [[nodiscard]] const TensorType* find(std::string_view role) const noexcept {
    for (const Entry& entry : entries_) {
      if (entry.has(role)) return entry.tensor;
    }
    constexpr std::string_view weight = ".weight";
    for (const Entry& entry : entries_) {
      if (entry.prefix.empty() && entry.role.size() == role.size() + weight.size() &&
          entry.role.starts_with(role) && entry.role.ends_with(weight)) {
        return entry.tensor;
      }
    }
    return nullptr;
  }

  /// The same. Throws: `std::out_of_range` naming layer and role if there is none.
  [[nodiscard]] const TensorType& operator[](std::string_view role) const {
    if (const TensorType* tensor = find(role)) return *tensor;
    const std::string_view last = stack_.substr(0, stack_.empty() ? 0 : stack_.size() - 1);
    const bool is_named = detail::is_layer_word(last.substr(last.rfind('.') + 1));
    throw std::out_of_range{"layer " + std::string{stack_} + (is_named ? "" : "blk.") +
                            std::to_string(number_) + " has no tensor " + std::string{role} +
                            "; find returns null for one"};
  }

  /// Calls `visitor(role, tensor)` for each of its tensors, in the order of the plan. Roles are
  /// complete: `attn_q.weight`. Complexity: linear in its tensors.
  template <class Visitor>
  void for_each(Visitor&& visitor) const {
    for (const Entry& entry : entries_)
      visitor(std::string{entry.prefix} + std::string{entry.role}, *entry.tensor);
  }

  /// Returns the number of its tensors.
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

  /// Adds a tensor; for what makes layers.
  void add(std::string_view prefix, std::string_view role, const TensorType& tensor) {
    entries_.push_back({prefix, role, &tensor});
  }

 private:
  struct Entry {
    std::string_view prefix;  // `cache.`, or empty
    std::string_view role;
    const TensorType* tensor;

    [[nodiscard]] bool has(std::string_view name) const noexcept {
      return name.size() == prefix.size() + role.size() && name.starts_with(prefix) &&
             name.ends_with(role);
    }
  };

  std::string_view stack_;
  std::uint64_t number_;
  std::vector<Entry> entries_;
};

namespace detail {

/// Returns the layers that tensors belong to: stack after stack in the order of their first tensors,
/// each by number. The cache belongs to the stack without a name, or else to the last.
template <class TensorType>
[[nodiscard]] std::vector<ModelLayer<TensorType>> layers_of(std::span<const TensorType> tensors) {
  struct Stack {
    std::string_view name;
    std::vector<ModelLayer<TensorType>> layers;

    /// Layers come mostly in order, so the last is the likeliest.
    ModelLayer<TensorType>& at(std::uint64_t number) {
      std::size_t place = layers.size();
      while (place != 0 && layers[place - 1].number() > number) --place;
      if (place != 0 && layers[place - 1].number() == number) return layers[place - 1];
      return *layers.insert(layers.begin() + static_cast<std::ptrdiff_t>(place), {name, number});
    }
  };
  constexpr std::string_view cache = "cache.";
  std::vector<Stack> stacks;
  const auto stack_named = [&](std::string_view name) -> Stack* {
    for (Stack& stack : stacks) {
      if (stack.name == name) return &stack;
    }
    return nullptr;
  };
  for (const bool adds_cache : {false, true}) {
    for (const TensorType& tensor : tensors) {
      if (!tensor.is_loaded()) continue;
      const auto name = layer_name_of(tensor.name());
      if (!name || (name->stack == cache) != adds_cache) continue;
      Stack* stack = stack_named(adds_cache ? std::string_view{} : name->stack);
      if (stack == nullptr && adds_cache && !stacks.empty()) stack = &stacks.back();
      if (stack == nullptr)
        stack = &stacks.emplace_back(Stack{adds_cache ? std::string_view{} : name->stack, {}});
      stack->at(name->number).add(adds_cache ? cache : std::string_view{}, name->role, tensor);
    }
  }
  std::vector<ModelLayer<TensorType>> layers;
  for (Stack& stack : stacks) {
    for (ModelLayer<TensorType>& layer : stack.layers) layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace detail

}  // namespace allot::load
