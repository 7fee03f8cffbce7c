// SPDX-License-Identifier: MIT
/// \file
/// `ModelPart`: which tensors, or parts of tensors, and which caches one share of a model has.
#pragma once

#include <allot/core/deferred.hpp>
#include <allot/load/plan/tensor_cut.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace allot::load::detail {

/// What a share has of one of the file's tensors.
struct TensorPart {
  bool is_there = true;
  std::optional<TensorCut> cut{};  // empty: all of it
  std::string repeated{};          // why other shares have the same elements; empty: they do not
};

/// The heads whose keys and values a share keeps for one layer.
struct LayerHeads {
  std::uint64_t kept = 1;  // of `all`; 0: nothing of the layer, whatever it keeps
  std::uint64_t all = 1;
};

/// What one share has of a model.
struct ModelPart {
  std::vector<TensorPart> tensors{};  // one for each of the file's
  std::vector<LayerHeads> layers{};   // by number
  bool runs_layers_again = false;     // later numbers are the same layers, in turn
  LayerHeads others{};                // of later numbers, if they are not

  template <class Owner = void>
  [[nodiscard]] LayerHeads heads_of(std::uint64_t layer) const noexcept {
    const auto& own = deferred<Owner>(layers);
    if (layer < own.size()) return own[static_cast<std::size_t>(layer)];
    return runs_layers_again && !own.empty() ? own[static_cast<std::size_t>(layer % own.size())]
                                             : others;
  }
};

}  // namespace allot::load::detail
