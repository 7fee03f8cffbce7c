// SPDX-License-Identifier: MIT
/// \file
/// `load::PlannedCache`: what a model's caches and states take, by groups of like layers.
#pragma once

#include <allot/core/deferred.hpp>
#include <allot/gguf/layer_memory.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace allot::load {

/// Layers that keep the same: `bytes` = `layers` x `cells` x `streams` x (key + value row bytes).
struct CacheGroup {
  gguf::Keeps kind;               ///< what they keep
  std::uint64_t layers;           ///< how many they are
  std::uint64_t cells;            ///< tokens of a stream; of a state: sequences
  std::uint64_t streams;          ///< copies, one for each sequence that has its own
  std::uint64_t key_row_bytes;    ///< of one layer and cell
  std::uint64_t value_row_bytes;  ///< likewise
  std::uint64_t bytes;            ///< of all of it
};

/// The bytes of some groups.
struct CacheBytes {
  std::uint64_t cache = 0;  ///< keys, values, index rows
  std::uint64_t state = 0;  ///< recurrent and convolutional states

  /// Returns the sum of both.
  [[nodiscard]] std::uint64_t all() const noexcept { return cache + state; }
};

/// Returns the bytes of these groups. Complexity: linear.
template <class Owner = void>
[[nodiscard]] CacheBytes bytes_of(const std::vector<CacheGroup>& groups) noexcept {
  CacheBytes bytes;
  for (const auto& group : deferred<Owner>(groups))
    (gguf::is_state(group.kind) ? bytes.state : bytes.cache) += group.bytes;
  return bytes;
}

/// What a plan says of its caches.
struct PlannedCache {
  std::uint64_t context = 0;             ///< tokens that were asked for
  std::vector<CacheGroup> groups{};      ///< of the context
  std::vector<CacheGroup> prediction{};  ///< of the second context, for layers that predict
  std::vector<std::string> assumed{};    ///< sentences: what the metadata do not say
  std::string refused{};                 ///< why the engine would not do it; empty: it would
};

/// Returns the part of the bytes that a longer context makes larger, 0 to 1: what is not in states,
/// or in windows that are shorter than the context. Complexity: linear in the groups.
template <class Owner = void>
[[nodiscard]] double growing_part(const PlannedCache& planned) noexcept {
  std::uint64_t growing = 0;
  for (const auto* groups : {&planned.groups, &planned.prediction}) {
    for (const auto& group : deferred<Owner>(*groups)) {
      const bool is_window =
          group.kind == gguf::Keeps::window || group.kind == gguf::Keeps::chunked;
      const bool is_fixed =
          gguf::is_state(group.kind) || (is_window && group.cells < planned.context);
      growing += is_fixed ? 0 : group.bytes;
    }
  }
  const std::uint64_t all =
      bytes_of<Owner>(planned.groups).all() + bytes_of<Owner>(planned.prediction).all();
  return all == 0 ? 0 : static_cast<double>(growing) / static_cast<double>(all);
}

}  // namespace allot::load
