// SPDX-License-Identifier: MIT
/// \file
/// The shapes of a model's paged caches, from its file.
///
/// | function       | returns                                                                     |
/// |----------------|-----------------------------------------------------------------------------|
/// | `kv_shape_of`  | the shape of all layers, if they keep the same: for a `KvCache`             |
/// | `kv_groups_of` | groups of layers, each with its window: for a `KvGroupCache`                |
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/gguf/model_memory.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/pool/kv/kv_layout.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace allot {

/// Layers that keep the same rows, and as many tokens.
struct KvGroup {
  KvShape shape;                         ///< of these layers alone
  gguf::Keeps kind = gguf::Keeps::full;  ///< what they keep
  std::uint64_t window = 0;  ///< tokens that its layers look back, the last included; 0: all
  std::vector<std::uint32_t> layers{};  ///< the model's numbers of its layers
};

namespace detail {

template <class = void>
[[nodiscard]] std::string attention_text(const KvShape& shape) {
  return std::to_string(shape.kv_heads) + " KV heads with keys of " +
         std::to_string(shape.key_dimension) + " and values of " +
         std::to_string(shape.keeps_values ? shape.value_dimension : 0);
}

[[nodiscard]] inline bool have_same_rows(const KvShape& a, const KvShape& b) noexcept {
  return a.kv_heads == b.kv_heads && a.key_dimension == b.key_dimension &&
         a.value_dimension == b.value_dimension && a.keeps_values == b.keeps_values;
}

/// Returns what a layer keeps as a shape of one layer.
template <class = void>
[[nodiscard]] KvShape shape_of(const gguf::LayerMemory& kept, gguf::TensorType key_type,
                               gguf::TensorType value_type) {
  const auto element_of = [](gguf::TensorType type) {
    const gguf::TypeInfo info = gguf::checked_type_info(type);
    return ElementSize{info.block_bytes, info.block_elements};
  };
  return {.layers = 1,
          .kv_heads = kept.heads,
          .key_dimension = kept.heads == 0 ? 0 : kept.key_elements / kept.heads,
          .value_dimension = kept.heads == 0 ? 0 : kept.value_elements / kept.heads,
          .key_element = element_of(key_type),
          .value_element = element_of(value_type),
          .keeps_values = kept.value_elements != 0};
}

/// Returns what layers keep in groups, as `kv_groups_of` does. Complexity: linear.
/// \tparam Kept  a range of `LayerMemory`; as a parameter, so that this is compiled only where it is
/// called
template <class Kept>
[[nodiscard]] std::vector<KvGroup> groups_of_kept(const Kept& all_kept, gguf::TensorType key_type,
                                                  gguf::TensorType value_type) {
  struct Alike {  // what the layers of a group have in common
    std::uint64_t kind;
    std::uint64_t window;
    std::uint64_t heads;
    std::uint64_t key_dimension;
    std::uint64_t value_dimension;
    std::uint64_t keeps_values;
  };
  std::vector<KvGroup> groups;
  std::vector<Alike> alike;  // by group
  gguf::NameIndex places;
  const auto name_of = [&](std::size_t place) { return gguf::bytes_as_name(alike[place]); };
  for (const auto& kept : all_kept) {
    if (gguf::is_state(kept.kind) || kept.tokens_a_row != 1 || kept.key_elements == 0) continue;
    const KvShape shape = shape_of(kept, key_type, value_type);
    const Alike own{static_cast<std::uint64_t>(kept.kind),
                    kept.window,
                    shape.kv_heads,
                    shape.key_dimension,
                    shape.value_dimension,
                    shape.keeps_values ? std::uint64_t{1} : std::uint64_t{0}};
    const auto place = places.find(gguf::bytes_as_name(own), name_of);
    if (place) {
      ++groups[*place].shape.layers;
    } else {
      static_cast<void>(places.add(gguf::bytes_as_name(own), groups.size(), name_of));
      alike.push_back(own);
      groups.push_back({.shape = shape, .kind = kept.kind, .window = kept.window});
    }
    groups[place.value_or(groups.size() - 1)].layers.push_back(kept.layer);
  }
  return groups;
}

}  // namespace detail

/// Returns a model's layers in groups that keep the same rows and as many tokens, in the order of
/// their first layers. States of fixed size, and compressed rows of several tokens, are none.
/// Throws: `std::runtime_error` naming the key that is missing or wrong.
[[nodiscard]] std::vector<KvGroup> kv_groups_of(
    const std::same_as<gguf::File> auto& file, gguf::TensorType key_type = gguf::TensorType::F16,
    gguf::TensorType value_type = gguf::TensorType::F16) {
  const auto memory = gguf::model_memory_of(file);
  if (!memory.problem.empty()) {
    throw std::runtime_error{"the KV cache cannot be planned: " + memory.problem +
                             "; plan without a context, or correct the key in the file"};
  }
  return detail::groups_of_kept(memory.kept, key_type, value_type);
}

/// Returns the shape of a model's paged cache (`KvCache`): of the layers that keep anything. Windows
/// are as long as the context.
/// Throws: `std::runtime_error` naming the key that is missing or wrong, if no layer keeps
/// anything, and if layers keep different amounts: such a model needs a group for each kind.
[[nodiscard]] KvShape kv_shape_of(const std::same_as<gguf::File> auto& file,
                                  gguf::TensorType key_type = gguf::TensorType::F16,
                                  gguf::TensorType value_type = gguf::TensorType::F16) {
  const auto groups = kv_groups_of(file, key_type, value_type);
  if (groups.empty())
    throw std::runtime_error{
        "no layer of this model has keys and values to keep; it needs no KV cache"};
  KvShape shape = groups.front().shape;
  shape.layers = 0;
  for (const auto& group : groups) {
    if (!detail::have_same_rows(group.shape, groups.front().shape)) {
      throw std::runtime_error{"layers of this model keep different amounts: " +
                               detail::attention_text(groups.front().shape) + " and " +
                               detail::attention_text(group.shape) +
                               "; make a KvGroupCache of kv_groups_of(file)"};
    }
    shape.layers += group.shape.layers;
  }
  return shape;
}

}  // namespace allot
