// SPDX-License-Identifier: MIT
/// \file
/// What files do not say about their models: facts about architectures, as a table. If a file's
/// keys do say it, the keys are right. Source: llama.cpp v0.5.0, `src/models/` and
/// `llama_model::create_memory`.
#pragma once

#include <allot/core/deferred.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace allot::gguf::detail {

/// Where a model remembers.
enum class Remembers : std::uint8_t { in_a_cache, nowhere, in_states, in_both };

/// Which layers of a model with states have one.
enum class StateLayers : std::uint8_t {
  without_kv_heads,        // those whose head_count_kv is 0
  without_anything_else,   // those whose head_count_kv and feed_forward_length are 0
  between_full_attention,  // all but every Nth
  every,                   // all, beside their attention
};

/// Which keys give a state's size.
enum class StateKeys : std::uint8_t {
  whichever_are_there,
  state_space,        // ssm.*
  wkv,                // wkv.*
  short_convolution,  // shortconv.*
  delta_attention,    // kda.*
  heads,              // linear attention: a square of the heads' length
};

/// Which layers have an indexer.
enum class IndexLayers : std::uint8_t {
  none,
  after_dense_blocks,  // from leading_dense_block_count on
  all,
  listed,           // indexer.types says which; none without it
  listed_or_usual,  // indexer.types, or the first two, then every fourth of 78, if the model was
                    // made for a million tokens; all otherwise
  with_full_attention,
};

/// When layers have a sliding window.
enum class Windows : std::uint8_t {
  never,
  if_positive,  // if the file has a window larger than 0
  required,     // always; the file must say how large it is
  usual,        // always; `window` unless the file says otherwise
  unless_zero,  // `window`, unless the file says 0
  fixed,        // `window`, if the file has one larger than 0
};

/// A window's period that leaves no layer out.
inline constexpr std::uint8_t every_layer_has_a_window = 255;

struct Architecture {
  std::string_view name{};
  Remembers remembers = Remembers::in_a_cache;
  StateKeys state_keys = StateKeys::whichever_are_there;

  Windows windows = Windows::never;
  std::uint32_t window = 0;        // tokens
  std::uint8_t window_period = 0;  // layers, of which the last keeps all; 0: the file lists them
  bool full_layer_first = false;   // the first keeps all, not the last
  bool is_chunked = false;
  std::uint16_t windows_with_layers = 0;  // windows only in models of that many layers; 0: in all

  StateLayers state_layers = StateLayers::without_kv_heads;
  std::uint8_t full_attention_interval = 0;  // unless the file says otherwise
  bool has_state_groups = false;             // the convolution's inputs include ssm.group_count

  std::uint16_t layers_with_cache = 0;  // of the first layers; 0: all
  bool shares_last_layers = false;      // those of shared_kv_layers
  bool is_latent = false;               // key_length_mla and value_length_mla count
  IndexLayers index = IndexLayers::none;
  bool is_compressed = false;  // compress_ratios: rows for several tokens

  bool predicts = false;                 // an engine can run its prediction layers
  bool keeps_prediction_layers = false;  // they are in the main context too
  bool predicts_without_windows = false;
  bool has_decoder = false;     // an encoder, then a decoder with cross attention
  bool is_encoder = false;      // nothing is generated: what is cached is never used
  bool repeats_layers = false;  // num_loops
  bool has_router = false;      // one more layer, of one head
  bool never_uses_flash_attention = false;
  bool has_lengths_without_heads = false;  // its heads' lengths count whatever layer 0 has
  bool is_draft = false;                   // shares memory with the model that it drafts for
};

/// Facts that several architectures share.
inline constexpr Architecture states_between_full_attention{
    .remembers = Remembers::in_both,
    .state_keys = StateKeys::state_space,
    .state_layers = StateLayers::between_full_attention,
    .full_attention_interval = 4,
    .has_state_groups = true,
    .predicts = true};
inline constexpr Architecture latent_with_delta_attention{.remembers = Remembers::in_both,
                                                          .state_keys = StateKeys::delta_attention,
                                                          .is_latent = true,
                                                          .keeps_prediction_layers = true};

/// Returns the facts under a name.
[[nodiscard]] constexpr Architecture with_name(std::string_view name, Architecture facts) noexcept {
  facts.name = name;
  return facts;
}

/// Architectures about which there is something to say. A template: evaluated if something is planned.
template <class Owner = void>
inline constexpr Deferred<Architecture, Owner> architectures[] = {
    // Encoders and diffusion models: every step computes all tokens again.
    {.name = "bert", .remembers = Remembers::nowhere},
    {.name = "modern-bert", .remembers = Remembers::nowhere},
    {.name = "nomic-bert", .remembers = Remembers::nowhere},
    {.name = "nomic-bert-moe", .remembers = Remembers::nowhere},
    {.name = "neo-bert", .remembers = Remembers::nowhere},
    {.name = "jina-bert-v2", .remembers = Remembers::nowhere},
    {.name = "jina-bert-v3", .remembers = Remembers::nowhere},
    {.name = "eurobert", .remembers = Remembers::nowhere},
    {.name = "gemma-embedding", .remembers = Remembers::nowhere},
    {.name = "wavtokenizer-dec", .remembers = Remembers::nowhere},
    {.name = "dream", .remembers = Remembers::nowhere},
    {.name = "llada", .remembers = Remembers::nowhere},
    {.name = "llada-moe", .remembers = Remembers::nowhere},
    {.name = "rnd1", .remembers = Remembers::nowhere},
    {.name = "t5encoder", .is_encoder = true},
    {.name = "t5", .has_decoder = true},

    // Windows.
    {.name = "afmoe", .windows = Windows::if_positive, .window_period = 4},
    {.name = "cohere2", .windows = Windows::required, .window_period = 4},
    {.name = "cohere2moe",
     .windows = Windows::required,
     .window_period = 4,
     .full_layer_first = true,
     .predicts = true},
    {.name = "exaone-moe", .windows = Windows::required, .window_period = 4},
    {.name = "exaone4",
     .windows = Windows::usual,
     .window = 4096,
     .window_period = 4,
     .windows_with_layers = 64},
    {.name = "gemma2", .windows = Windows::usual, .window = 4096, .window_period = 2},
    {.name = "gemma3", .windows = Windows::if_positive, .window_period = 6},
    {.name = "gemma3n",
     .windows = Windows::required,
     .window_period = 5,
     .layers_with_cache = 20,
     .shares_last_layers = true},
    {.name = "gemma4", .windows = Windows::required, .shares_last_layers = true},
    {.name = "gemma4-assistant", .windows = Windows::required, .is_draft = true},
    {.name = "gpt-oss", .windows = Windows::required, .window_period = 2},
    {.name = "granite_swa", .windows = Windows::required},
    {.name = "laguna",
     .windows = Windows::if_positive,
     .window_period = 4,
     .full_layer_first = true},
    {.name = "llama4",
     .windows = Windows::unless_zero,
     .window = 8192,
     .window_period = 4,
     .is_chunked = true},
    {.name = "maple", .windows = Windows::required},
    {.name = "mellum", .windows = Windows::if_positive, .window_period = 4},
    {.name = "mimo2", .windows = Windows::required, .predicts = true},
    {.name = "muse-glimmer", .windows = Windows::required, .window_period = 4},
    {.name = "olmo2", .windows = Windows::if_positive, .window_period = 4},
    {.name = "plamo3", .windows = Windows::if_positive, .window_period = 8},
    {.name = "smallthinker",
     .windows = Windows::fixed,
     .window = 4096,
     .window_period = 4,
     .full_layer_first = true},
    {.name = "spark2_5", .windows = Windows::required},
    {.name = "step35", .windows = Windows::required, .predicts = true},
    {.name = "dflash", .windows = Windows::if_positive},

    // Compressed rows.
    {.name = "deepseek2", .is_latent = true, .predicts = true},
    {.name = "mistral4", .is_latent = true},
    {.name = "deepseek32", .is_latent = true, .index = IndexLayers::all, .predicts = true},
    {.name = "glm-dsa", .is_latent = true, .index = IndexLayers::listed_or_usual, .predicts = true},
    {.name = "hy_v4",
     .is_latent = true,
     .index = IndexLayers::listed,
     .keeps_prediction_layers = true},
    {.name = "dots3note",
     .windows = Windows::required,
     .is_latent = true,
     .index = IndexLayers::listed,
     .predicts_without_windows = true},
    {.name = "minimax-m3",
     .index = IndexLayers::after_dense_blocks,
     .keeps_prediction_layers = true},
    {.name = "deepseek4",
     .windows = Windows::required,
     .window_period = every_layer_has_a_window,
     .is_compressed = true,
     .predicts = true,
     .keeps_prediction_layers = true},

    // States.
    {.name = "mamba", .remembers = Remembers::in_states, .state_keys = StateKeys::state_space},
    {.name = "mamba2",
     .remembers = Remembers::in_states,
     .state_keys = StateKeys::state_space,
     .has_state_groups = true},
    {.name = "rwkv6", .remembers = Remembers::in_states, .state_keys = StateKeys::wkv},
    {.name = "rwkv6qwen2", .remembers = Remembers::in_states, .state_keys = StateKeys::wkv},
    {.name = "rwkv7", .remembers = Remembers::in_states, .state_keys = StateKeys::wkv},
    {.name = "arwkv7", .remembers = Remembers::in_states, .state_keys = StateKeys::wkv},

    // States and a cache.
    {.name = "jamba",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::state_space,
     .keeps_prediction_layers = true},
    {.name = "falcon-h1",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::state_space,
     .state_layers = StateLayers::every,
     .has_state_groups = true,
     .keeps_prediction_layers = true},
    {.name = "plamo2",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::state_space,
     .has_state_groups = true,
     .keeps_prediction_layers = true,
     .has_lengths_without_heads = true},
    {.name = "granitehybrid",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::state_space,
     .has_state_groups = true,
     .keeps_prediction_layers = true},
    {.name = "lfm2",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::short_convolution,
     .windows = Windows::if_positive,
     .window_period = every_layer_has_a_window,
     .keeps_prediction_layers = true},
    {.name = "lfm2moe",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::short_convolution,
     .keeps_prediction_layers = true},
    {.name = "nemotron_h",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::state_space,
     .state_layers = StateLayers::without_anything_else,
     .has_state_groups = true,
     .keeps_prediction_layers = true},
    {.name = "nemotron_h_moe",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::state_space,
     .state_layers = StateLayers::without_anything_else,
     .has_state_groups = true,
     .predicts = true,
     .keeps_prediction_layers = true},
    with_name("qwen3next", states_between_full_attention),
    with_name("qwen35", states_between_full_attention),
    with_name("qwen35moe", states_between_full_attention),
    {.name = "qwen4exp",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::state_space,
     .state_layers = StateLayers::between_full_attention,
     .full_attention_interval = 4,
     .has_state_groups = true,
     .index = IndexLayers::with_full_attention},
    {.name = "minimax-01",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::heads,
     .state_layers = StateLayers::between_full_attention,
     .full_attention_interval = 8},
    with_name("kimi-linear", latent_with_delta_attention),
    with_name("kimi-k3", latent_with_delta_attention),
    {.name = "bailingmoe3",
     .remembers = Remembers::in_both,
     .state_keys = StateKeys::delta_attention,
     .is_latent = true,
     .predicts = true,
     .keeps_prediction_layers = true},

    // Others.
    {.name = "glm4moe", .predicts = true},
    {.name = "hy_v3", .predicts = true},
    {.name = "nanbeige", .repeats_layers = true},
    {.name = "graniteswitch", .has_router = true},
    {.name = "grok", .never_uses_flash_attention = true},
    {.name = "eagle3", .is_draft = true},
};

/// Architectures that keep keys and values of every token in every layer.
template <class Owner = void>
inline constexpr Deferred<std::string_view, Owner> plain_architectures[] = {
    "apertus",       "arcee",        "arctic",         "baichuan",   "bailingmoe",    "bailingmoe2",
    "bitnet",        "bloom",        "chameleon",      "chatglm",    "codeshell",     "cogvlm",
    "command-r",     "dbrx",         "deci",           "deepseek",   "deepseek2-ocr", "dots1",
    "ernie4_5",      "ernie4_5-moe", "exaone",         "falcon",     "gemma",         "glm4",
    "gpt2",          "gptneox",      "granite",        "granitemoe", "grovemoe",      "hrm_text",
    "hunyuan-dense", "hunyuan-moe",  "hunyuan_vl",     "internlm2",  "jais",          "jais2",
    "llama",         "llama-embed",  "maincoder",      "minicpm",    "minicpm3",      "minimax-m2",
    "mistral3",      "mpt",          "nemotron",       "olmo",       "olmoe",         "openelm",
    "orion",         "paddleocr",    "pangu-embedded", "phi2",       "phi3",          "phimoe",
    "plamo",         "plm",          "pockettts",      "qwen",       "qwen2",         "qwen2moe",
    "qwen2vl",       "qwen3",        "qwen3moe",       "qwen3tts",   "qwen3vl",       "qwen3vlmoe",
    "refact",        "seed_oss",     "smollm3",        "stablelm",   "starcoder",     "starcoder2",
    "talkie",        "xverse",
};

/// Returns the facts about an architecture. `is_known` is false if there are none.
struct FoundArchitecture {
  Architecture facts;
  bool is_known;
};
template <class Owner = void>
[[nodiscard]] constexpr FoundArchitecture find_architecture(std::string_view name) noexcept {
  for (const auto& row : architectures<Owner>) {
    if (row.name == name) return {row, true};
  }
  for (const auto plain : plain_architectures<Owner>) {
    if (plain == name) return {{.name = plain}, true};
  }
  return {{.name = name}, false};
}

}  // namespace allot::gguf::detail
