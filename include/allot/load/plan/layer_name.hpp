// SPDX-License-Identifier: MIT
/// \file
/// `layer_name_of`: the layer that a tensor's name says it belongs to. One rule for every naming in
/// use: **a layer is a number between two dots that follows a word for layers**, which is `blk`, `h`,
/// or a word with `block`, `layer` or `refiner` in it. Of several such numbers the first counts.
///
/// | name                                     | stack             | layer | role                  |
/// |------------------------------------------|-------------------|-------|-----------------------|
/// | `blk.12.attn_q.weight`                   |                   | 12    | `attn_q.weight`       |
/// | `enc.blk.3.attn_q.weight`                | `enc.`            | 3     | `attn_q.weight`       |
/// | `model.layers.3.mlp.up_proj.weight`      | `model.layers.`   | 3     | `mlp.up_proj.weight`  |
/// | `double_blocks.0.img_attn.qkv.weight`    | `double_blocks.`  | 0     | `img_attn.qkv.weight` |
/// | `transformer.h.7.ln_1.weight`            | `transformer.h.`  | 7     | `ln_1.weight`         |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace allot::load {

/// A tensor's layer and its role there. The stack is what precedes the number; `blk.` is left out of
/// it: `blk.3...` belongs to the stack without a name. Views of the name.
struct LayerName {
  std::string_view stack;  ///< empty: the stack without a name
  std::uint64_t number;    ///< in the stack, from 0
  std::string_view role;   ///< what follows: `attn_q.weight`
};

namespace detail {

/// Returns true for a word that numbers of layers follow.
template <class = void>
[[nodiscard]] bool is_layer_word(std::string_view word) noexcept {
  if (word == "blk" || word == "h") return true;
  for (const std::string_view part : {"block", "layer", "refiner"}) {
    if (word.find(part) != std::string_view::npos) return true;
  }
  return false;
}

/// The words that numbers of layers follow: those of the rule, or any, for a model that has none of
/// them.
enum class LayerWord { named, any };

/// Returns the layer in a name such as `blk.12.attn_q.weight`, or nothing. In `cache.12.k` the stack
/// is `cache.`: which stack of the model that means depends on the others. A file's own prefix, as
/// in `draft:blk.0.attn_q.weight`, is part of the stack.
template <class Owner = void>
[[nodiscard]] std::optional<Deferred<LayerName, Owner>> layer_name_of(
    std::string_view name, LayerWord words = LayerWord::named) noexcept {
  std::size_t start = 0;  // of a word
  for (std::size_t dot = 0; (dot = name.find('.', start)) != std::string_view::npos;
       start = dot + 1) {
    const std::size_t prefix = name.substr(0, dot).rfind(':') + 1;
    const std::size_t first = larger(prefix, start);
    const std::string_view word = name.substr(first, dot - first);
    const bool counts = words == LayerWord::any || is_layer_word(word) || word == "cache";
    if (!counts) continue;
    const std::string_view rest = name.substr(dot + 1);
    std::size_t digits = 0;
    std::optional<std::uint64_t> number = 0;
    for (; digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9'; ++digits) {
      if (number) number = checked_multiply(*number, 10);
      if (number) number = checked_add(*number, static_cast<std::uint64_t>(rest[digits] - '0'));
    }
    if (digits == 0 || !number || digits == rest.size() || rest[digits] != '.') continue;
    return Deferred<LayerName, Owner>{name.substr(0, word == "blk" ? first : dot + 1), *number,
                                      rest.substr(digits + 1)};
  }
  return std::nullopt;
}

}  // namespace detail

}  // namespace allot::load
