// SPDX-License-Identifier: MIT
/// \file
/// `layer_name_of`: the layer that a tensor's name says it belongs to.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

namespace allot::load {

/// A tensor's layer and its role there: `enc.blk.3.attn_q.weight` is `attn_q.weight` in layer 3 of
/// the stack `enc.`; `blk.3...` belongs to the stack without a name. Views of the name.
struct LayerName {
  std::string_view stack;
  std::uint64_t number;
  std::string_view role;
};

namespace detail {

/// Returns the layer in a name such as `blk.12.attn_q.weight`, or nothing. In `cache.12.k` the stack
/// is `cache.`: which stack of the model that means depends on the others.
template <class = void>
[[nodiscard]] std::optional<LayerName> layer_name_of(std::string_view name) noexcept {
  for (const std::string_view word : {"blk.", "cache."}) {
    const std::size_t at = name.find(word);
    if (at == std::string_view::npos || (at != 0 && name[at - 1] != '.')) continue;
    const std::string_view rest = name.substr(at + word.size());
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc{} || end == rest.data() + rest.size() || *end != '.') continue;
    return LayerName{word == "cache." ? word : name.substr(0, at), number,
                     rest.substr(static_cast<std::size_t>(end - rest.data()) + 1)};
  }
  return std::nullopt;
}

}  // namespace detail

}  // namespace allot::load
