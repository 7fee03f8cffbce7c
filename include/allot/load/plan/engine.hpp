// SPDX-License-Identifier: MIT
/// \file
/// `load::EngineRules`: how an engine makes its caches. Engines differ by these numbers alone; a
/// further engine is one more constant here.
///
/// | constant    | counts                                                                |
/// |-------------|-----------------------------------------------------------------------|
/// | `no_engine` | exactly the tokens that are asked for, for each sequence              |
/// | `llama_cpp` | as llama.cpp v0.5.0 does: what it allocates, to the byte (CPU)        |
#pragma once

#include <allot/gguf/metadata_rules.hpp>

#include <cstdint>
#include <string_view>

namespace allot::load {

/// How an engine sizes its caches.
struct EngineRules {
  std::string_view name{};                           ///< empty: no engine
  gguf::MetadataRules metadata{};                    ///< how it reads metadata
  std::uint64_t cells_multiple = 1;                  ///< contexts and windows are rounded up to
  std::uint64_t usual_batch = 1;                     ///< tokens that are computed at once
  std::uint64_t most_batch = ~std::uint64_t{0};      ///< the same, whatever is asked for
  std::uint64_t most_sequences = ~std::uint64_t{0};  ///< at once
  std::uint64_t most_context = ~std::uint64_t{0};    ///< tokens
  bool context_is_for_all = false;    ///< the sequences share the context, and do not have one each
  bool batch_within_context = false;  ///< a batch is no longer than the context
  bool windows_in_32_bits = false;    ///< a window and the batch are added in 32 bits
  bool whole_heads_in_blocks = false;  ///< blocks of a quantized cache divide each head
  bool transposes_values =
      false;  ///< without flash attention, all values are as wide as the widest

  /// Returns whether these are an engine's rules.
  [[nodiscard]] constexpr bool is_an_engine() const noexcept { return !name.empty(); }
};

inline constexpr EngineRules no_engine{};  ///< exactly what the model needs

/// Source: llama.cpp v0.5.0: `llama-context.cpp`, `llama-kv-cache.cpp`, `llama-kv-cache-iswa.cpp`.
inline constexpr EngineRules llama_cpp{
    .name = "llama.cpp",
    .metadata = {.engine = "llama.cpp",
                 .only_known_architectures = true,
                 .only_32_bit_counts = true,
                 .lists_match_layers = true,
                 .heads_from_first_layer = true,
                 .architecture_before_keys = true,
                 .caches_what_is_unused = true,
                 .most_layers = 512},
    .cells_multiple = 256,
    .usual_batch = 512,
    .most_batch = 2048,
    .most_sequences = 256,
    .most_context = 0xFFFF'FF00U,
    .context_is_for_all = true,
    .batch_within_context = true,
    .windows_in_32_bits = true,
    .whole_heads_in_blocks = true,
    .transposes_values = true,
};

}  // namespace allot::load
