// SPDX-License-Identifier: MIT
/// \file
/// `ModelLayer`: the tensors of one layer of a model, by their roles.
///
///     for (const auto& layer : model.layers())
///       attention(layer["attn_q"], layer["attn_k"], layer.find("attn_q.bias"));
#pragma once

#include <allot/gguf/name_index.hpp>
#include <allot/load/plan/layer_name.hpp>
#include <allot/load/plan/sort.hpp>

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
/// Complexity: linear if the tensors come in the order of their layers, else O(n log n).
template <class TensorType>
[[nodiscard]] std::vector<ModelLayer<TensorType>> layers_of(std::span<const TensorType> tensors) {
  constexpr std::string_view cache = "cache.";
  struct Part {
    std::size_t stack = 0;
    std::uint64_t number = 0;
    std::string_view prefix{};
    std::string_view role{};
    const TensorType* tensor = nullptr;
  };
  std::vector<std::string_view> stacks;
  gguf::NameIndex places;
  const auto name_of = [&](std::size_t place) { return stacks[place]; };
  const auto place_of = [&](std::string_view stack) {
    if (const auto found = places.find(stack, name_of)) return *found;
    static_cast<void>(places.add(stack, stacks.size(), name_of));
    stacks.push_back(stack);
    return stacks.size() - 1;
  };
  std::vector<Part> parts;
  const auto add_parts = [&](bool of_cache) {
    for (const TensorType& tensor : tensors) {
      if (!tensor.is_loaded()) continue;
      const auto name = layer_name_of(tensor.name());
      if (!name || (name->stack == cache) != of_cache) continue;
      const bool is_of_last = of_cache && !stacks.empty() && !places.find({}, name_of);
      const std::size_t stack =
          is_of_last ? stacks.size() - 1 : place_of(of_cache ? std::string_view{} : name->stack);
      parts.push_back(
          {stack, name->number, of_cache ? cache : std::string_view{}, name->role, &tensor});
    }
  };
  add_parts(false);
  add_parts(true);
  sort_stably(parts, [](const Part& a, const Part& b) {
    return a.stack != b.stack ? a.stack < b.stack : a.number < b.number;
  });
  std::vector<ModelLayer<TensorType>> layers;
  const Part* last = nullptr;
  for (const Part& part : parts) {
    if (last == nullptr || last->stack != part.stack || last->number != part.number)
      layers.emplace_back(stacks[part.stack], part.number);
    layers.back().add(part.prefix, part.role, *part.tensor);
    last = &part;
  }
  return layers;
}

}  // namespace detail

}  // namespace allot::load
