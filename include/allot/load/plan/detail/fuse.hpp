// SPDX-License-Identifier: MIT
/// \file
/// Concatenates, by rows, the weights of a layer that share an input. Their rows must have the same
/// type and length; quantizations that mix types by layer (Q4_K_M) leave some weights apart, and
/// the plan says which.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/transform.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// Tensors that can become one. `short_names` distinguish them in the fused tensor's name.
template <class Owner>
struct FusionKind {
  DeferredVector<std::string_view, Owner> parts;
  DeferredVector<std::string_view, Owner> short_names;
  std::string_view prefix;
  std::string_view suffix;
};

template <class Owner = void>
[[nodiscard]] DeferredVector<FusionKind<Owner>, Owner> fusion_kinds(const FuseOptions& options) {
  DeferredVector<FusionKind<Owner>, Owner> kinds;
  if (options.qkv) kinds.push_back({{"attn_q", "attn_k", "attn_v"}, {"q", "k", "v"}, "attn_", ""});
  if (options.gate_up) {
    kinds.push_back({{"ffn_gate", "ffn_up"}, {"gate", "_up"}, "ffn_", ""});
    kinds.push_back({{"ffn_gate_exps", "ffn_up_exps"}, {"gate", "_up"}, "ffn_", "_exps"});
    kinds.push_back({{"ffn_gate_shexp", "ffn_up_shexp"}, {"gate", "_up"}, "ffn_", "_shexp"});
  }
  return kinds;
}

/// The layout of every item, and which tensors were joined.
template <class Owner = void>
struct Layouts {
  DeferredVector<ItemLayout, Owner> items;
  DeferredVector<Fusion, Owner> fusions{};
};

/// Fuses what the options name: fused tensors follow the others, some of which become their parts.
template <class Owner = void>
class Fuser {
  /// Returns the name at a place, for the index.
  struct NameAt {
    const Fuser* self;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      return self->items_[place].name;
    }
  };

 public:
  Fuser(DeferredVector<ItemLayout, Owner> tensors, const TransformOptions& options)
      : items_{std::move(tensors)}, options_{options} {
    names_.reserve(items_.size());
    for (std::size_t i = 0; i < items_.size(); ++i) add_name(i);
  }

  [[nodiscard]] Layouts<Owner> run(const DeferredVector<FusionKind<Owner>, Owner>& kinds) {
    for (const FusionKind<Owner>& kind : kinds) {
      for (const std::string& layer : layers_of(kind)) fuse_layer(kind, layer);
    }
    return {std::move(items_), std::move(fusions_)};
  }

 private:
  static constexpr std::uint32_t missing = ~std::uint32_t{0};
  /// Each matrix of a part is a separate step; a file that claims millions of them is not a model.
  static constexpr std::uint64_t most_copies = 65'536;

  [[nodiscard]] static std::uint64_t matrices_of(const ItemLayout& item) {
    return multiply_sizes(item.shape.extent[2], item.shape.extent[3]);
  }

  /// Returns the prefixes of the parts' names in the file, such as `blk.0.`; in file order.
  [[nodiscard]] DeferredVector<std::string, Owner> layers_of(const FusionKind<Owner>& kind) const {
    DeferredVector<std::string, Owner> layers;
    gguf::NameIndex seen;
    const auto name_of = [&](std::size_t i) { return std::string_view{layers[i]}; };
    for (const ItemLayout& item : items_) {
      for (const std::string_view part : kind.parts) {
        const std::string ending = std::string{part} + ".weight";
        if (!item.name.ends_with(ending) || item.left_out) continue;
        std::string layer = item.name.substr(0, item.name.size() - ending.size());
        if (!layer.empty() && !layer.ends_with('.')) continue;
        if (seen.add(layer, layers.size(), name_of)) layers.push_back(std::move(layer));
      }
    }
    return layers;
  }

  [[nodiscard]] std::uint32_t find(const std::string& name) const {
    const auto found = names_.find(name, NameAt{this});
    return found ? static_cast<std::uint32_t>(*found) : missing;
  }

  void add_name(std::size_t number) {
    static_cast<void>(names_.add(items_[number].name, number, NameAt{this}));
  }

  /// Returns why two neighbors cannot be rows of one matrix; empty if they can.
  [[nodiscard]] std::string why_apart(const FusionKind<Owner>& kind, const std::string& layer,
                                      std::size_t a, std::size_t b) const {
    const auto name = [&](std::size_t part) { return std::string{kind.parts[part]} + ".weight"; };
    const std::uint32_t first = find(layer + name(a));
    const std::uint32_t second = find(layer + name(b));
    for (const auto& [index, part] : {std::pair{first, a}, std::pair{second, b}}) {
      if (index == missing) return "there is no " + name(part);
      if (items_[index].left_out) return name(part) + " is left out";
      if (items_[index].bytes == 0) return name(part) + " has no elements";
      if (items_[index].transposed) return name(part) + " is transposed";
      if (matrices_of(items_[index]) > most_copies) return name(part) + " has too many matrices";
    }
    const ItemLayout& one = items_[first];
    const ItemLayout& two = items_[second];
    if (one.type != two.type) {
      return name(a) + " is " + std::string{gguf::type_name(one.type)} + ", " + name(b) + " " +
             std::string{gguf::type_name(two.type)};
    }
    for (const std::size_t d : {std::size_t{0}, std::size_t{2}, std::size_t{3}}) {
      if (one.shape.extent[d] == two.shape.extent[d]) continue;
      return "dimension " + std::to_string(d) + " of " + name(a) + " is " +
             std::to_string(one.shape.extent[d]) + ", of " + name(b) + " " +
             std::to_string(two.shape.extent[d]);
    }
    return {};
  }

  /// Finds the longest run of neighbors that can be joined; the first of several.
  void fuse_layer(const FusionKind<Owner>& kind, const std::string& layer) {
    const std::size_t count = kind.parts.size();
    Fusion fusion{.layer = layer.ends_with('.') ? layer.substr(0, layer.size() - 1) : layer};
    std::size_t best = 0;
    std::size_t length = 1;
    std::size_t from = 0;
    for (std::size_t i = 1; i < count; ++i) {
      const std::string why = why_apart(kind, layer, i - 1, i);
      if (!why.empty()) {
        fusion.reason += (fusion.reason.empty() ? "" : "; ") + why;
        from = i;
      }
      if (i + 1 - from > length) {
        best = from;
        length = i + 1 - from;
      }
    }
    std::string base{kind.prefix};
    for (std::size_t i = best; i < best + length; ++i) base += kind.short_names[i];
    base += kind.suffix;
    if (length > 1 && find(layer + base + ".weight") != missing) {
      fusion.reason = "the file has a tensor " + layer + base + ".weight already";
      length = 0;
    }
    if (length < 2) length = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::string name = layer + std::string{kind.parts[i]} + ".weight";
      const bool is_in = i >= best && i < best + length;
      const std::uint32_t part = find(name);
      if (part != missing && items_[part].left_out) continue;
      if (is_in || part != missing) (is_in ? fusion.parts : fusion.left_out).push_back(name);
    }
    if (length != 0) {
      fusion.name = layer + base + ".weight";
      DeferredVector<std::uint32_t, Owner> biases;
      DeferredVector<std::uint32_t, Owner> weights;
      for (std::size_t i = best; i < best + length; ++i) {
        weights.push_back(find(layer + std::string{kind.parts[i]} + ".weight"));
        biases.push_back(find(layer + std::string{kind.parts[i]} + ".bias"));
      }
      fuse(fusion.name, weights, 1);
      fuse_biases(fusion, layer + base + ".bias", biases);
    }
    fusions_.push_back(std::move(fusion));
  }

  void fuse_biases(Fusion& fusion, const std::string& name,
                   const DeferredVector<std::uint32_t, Owner>& biases) {
    std::size_t absent = 0;
    for (const std::uint32_t index : biases) absent += index == missing ? 1 : 0;
    if (absent == biases.size()) return;
    const auto agrees = [&](std::uint32_t index) {
      const ItemLayout& item = items_[index];
      const ItemLayout& first = items_[biases.front()];
      return item.type == first.type && item.bytes != 0 && !item.transposed &&
             has_own_elements(item.type) && item.shape.rank == first.shape.rank &&
             multiply_sizes(matrices_of(item), item.shape.extent[1]) <= most_copies &&
             item.shape.extent[1] == first.shape.extent[1] &&
             item.shape.extent[2] == first.shape.extent[2] &&
             item.shape.extent[3] == first.shape.extent[3];
    };
    bool all_agree = absent == 0;
    for (std::size_t i = 0; all_agree && i < biases.size(); ++i) all_agree = agrees(biases[i]);
    if (all_agree && find(name) == missing) {
      fuse(name, biases, 0);
      return;
    }
    for (const std::uint32_t index : biases) {
      if (index != missing && !items_[index].left_out)
        fusion.left_out.push_back(items_[index].name);
    }
    fusion.reason +=
        std::string{fusion.reason.empty() ? "" : "; "} + why_not_fused(name, absent != 0);
  }

  [[nodiscard]] std::string why_not_fused(const std::string& bias, bool is_one_absent) const {
    if (is_one_absent) return "not every part has a bias";
    if (find(bias) != missing) return "the file has a tensor " + bias;
    return "the biases differ in type or shape";
  }

  /// Joins several items into one, along dimension `axis`.
  void fuse(const std::string& name, const DeferredVector<std::uint32_t, Owner>& parts,
            std::size_t axis) {
    const ItemLayout& first = items_[parts.front()];
    Form form{name, first.type, first.shape, Purpose::fused, first.transposed};
    form.shape.extent[axis] = 0;
    for (const std::uint32_t part : parts) {
      const gguf::Shape& shape = items_[part].shape;
      form.shape.extent[axis] = add_sizes(form.shape.extent[axis], shape.extent[axis]);
      form.shape.rank = larger(form.shape.rank, shape.rank);
    }
    form.shape.rank = larger(form.shape.rank, static_cast<std::uint32_t>(axis + 1));
    ItemLayout fused = lay_out(std::move(form), options_.padding);
    const auto index = static_cast<std::uint32_t>(items_.size());
    std::uint64_t before = 0;
    for (const std::uint32_t part : parts) {
      ItemLayout& item = items_[part];
      for (std::size_t d = 1; d < item.strides.size(); ++d) item.strides[d] = fused.strides[d];
      if (axis != 0) item.row_bytes = fused.row_bytes;  // a vector's row had no separate zeros
      item.part_of = PartOf{index, before * fused.strides[axis]};
      item.bytes = extent_of(item);
      before += item.shape.extent[axis];
    }
    items_.push_back(std::move(fused));
    add_name(index);
  }

  DeferredVector<ItemLayout, Owner> items_;
  const TransformOptions& options_;
  gguf::NameIndex names_;
  DeferredVector<Fusion, Owner> fusions_;
};

/// Fuses what the options name.
template <class Owner>
[[nodiscard]] Layouts<Owner> fuse(DeferredVector<ItemLayout, Owner> tensors,
                                  const TransformOptions& options) {
  const auto kinds = fusion_kinds<Owner>(options.fuse);
  if (kinds.empty()) return {std::move(tensors)};
  return Fuser<Owner>{std::move(tensors), options}.run(kinds);
}

}  // namespace allot::load::detail
