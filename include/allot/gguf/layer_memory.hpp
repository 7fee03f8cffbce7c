// SPDX-License-Identifier: MIT
/// \file
/// What a model's layers keep between tokens, as plain values. `model_memory_of` reads them from a
/// file's metadata (`model_memory.hpp`); `load/plan/cache.hpp` makes bytes of them.
///
/// | `Keeps`       | what a layer keeps                                                          |
/// |---------------|-----------------------------------------------------------------------------|
/// | `full`        | keys and values of every token                                              |
/// | `window`      | keys and values of the last tokens                                          |
/// | `chunked`     | keys and values of the tokens of one chunk                                  |
/// | `latent`      | a compressed row for a token, or for several, and no values                 |
/// | `index`       | an indexer's row for each token, beside the others                          |
/// | `recurrent`   | a state of fixed size for each sequence                                     |
/// | `convolution` | the last inputs of a short convolution, for each sequence                   |
/// | `cross`       | keys and values of every token of the encoder's output                      |
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace allot::gguf {

/// What a layer keeps between tokens.
enum class Keeps : std::uint8_t {
  full,
  window,
  chunked,
  latent,
  index,
  recurrent,
  convolution,
  cross,
};

[[nodiscard]] constexpr const char* to_text(Keeps kind) noexcept {
  constexpr const char* names[] = {"full",  "window",    "chunked",     "latent",
                                   "index", "recurrent", "convolution", "cross"};
  return names[static_cast<std::size_t>(kind)];
}

/// Returns true for what has a fixed size, whatever the context.
[[nodiscard]] constexpr bool is_state(Keeps kind) noexcept {
  return kind == Keeps::recurrent || kind == Keeps::convolution;
}

/// One thing that a layer keeps; a layer may keep several. All sizes in elements.
struct LayerMemory {
  std::uint32_t layer;              ///< its number, from 0
  Keeps kind;                       ///< what it is
  std::uint64_t key_elements;       ///< of a token's row; of a state: its convolution's inputs
  std::uint64_t value_elements;     ///< of a token's row; of a state: the rest of it
  std::uint64_t heads = 1;          ///< that a row is made of
  std::uint64_t window = 0;         ///< tokens that a window or a chunk covers
  std::uint32_t tokens_a_row = 1;   ///< a compressed row stands for that many tokens
  std::uint64_t widest_values = 0;  ///< the most `value_elements` in any layer of its cache
  bool is_apart = false;            ///< each sequence has its own, even in a shared cache
};

/// The lengths of one head in a layer.
struct HeadLengths {
  std::uint64_t key;    ///< elements
  std::uint64_t value;  ///< elements
};

/// What a model keeps, layer by layer.
struct ModelMemory {
  std::vector<LayerMemory> kept{};          ///< in the order of layers
  std::vector<LayerMemory> prediction{};    ///< kept by layers that predict further tokens (MTP)
  std::vector<HeadLengths> heads{};         ///< of each layer, without those that predict
  bool is_latent = false;                   ///< keys and values are one row
  bool has_one_cache_type = false;          ///< keys and values must have the same type
  bool never_uses_flash_attention = false;  ///< whatever is asked for
  bool is_causal = true;                    ///< tokens see only those before them
  /// Sentences: what the metadata do not say, and what was taken instead.
  std::vector<std::string> assumed{};
  /// Why the memory is not known, or an engine would not take the file: a key, and what is wrong
  /// with it. Empty: all is well.
  std::string problem{};
  std::string prediction_problem{};  ///< the same, for `prediction`
};

}  // namespace allot::gguf
