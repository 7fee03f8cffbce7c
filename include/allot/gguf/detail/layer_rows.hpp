// SPDX-License-Identifier: MIT
/// \file
/// How many elements each layer keeps: rows of keys and values, compressed rows, index rows, states.
/// Sources: llama.cpp v0.5.0 (`llama-hparams.cpp`, `llama-kv-cache*.cpp`, `llama-memory-*.cpp`) and
/// the models' papers; `docs/memory.md` has the formulas.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/detail/architectures.hpp>
#include <allot/gguf/detail/layer_keys.hpp>
#include <allot/gguf/detail/layer_kinds.hpp>
#include <allot/gguf/detail/layer_states.hpp>
#include <allot/gguf/layer_memory.hpp>
#include <allot/gguf/metadata_rules.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace allot::gguf::detail {

/// \tparam Caller  until what has it is compiled, no part of this is
template <class Caller>
class LayerRows {
 public:
  LayerRows(LayerKeys<Caller>& keys, const MetadataRules& rules, const Architecture& facts,
            const LayerKinds& kinds)
      : keys_{keys}, rules_{rules}, facts_{facts}, kinds_{kinds} {}

  void add_to(ModelMemory& memory) {
    read_latent();
    memory.is_latent = is_latent_;
    memory.has_one_cache_type = is_latent_ || facts_.is_compressed;
    memory.never_uses_flash_attention = facts_.never_uses_flash_attention;
    memory.is_causal = keys_.truth("attention.causal").value_or(true);
    if (!read_head_lengths() || !read_index() || !read_compression()) return;
    widest_ = is_latent_ || facts_.is_compressed ? 0 : widest_values(kinds_.kv_heads);
    for (std::size_t i = 0; i < kinds_.trunk; ++i)
      memory.heads.push_back({key_length(i), value_length(i)});
    LayerStates<Caller> states{keys_, rules_, facts_, kinds_};
    if (!states.read() || !check_draft()) return;
    const std::size_t end = static_cast<std::size_t>(main_layers());
    for (std::size_t i = 0; i < end && !keys_.has_failed(); ++i) {
      if (attends(i)) add_attention(memory.kept, i);
      states.add(memory.kept, i);
    }
    if (rules_.is_an_engine()) add_prediction(memory);
  }

 private:
  /// Keys and values are one row if both lengths of the uncompressed heads are given.
  void read_latent() {
    if (!facts_.is_latent && rules_.is_an_engine()) return;
    is_latent_ = keys_.count_or("attention.key_length_mla", 0) != 0 &&
                 keys_.count_or("attention.value_length_mla", 0) != 0;
  }

  bool read_head_lengths() {
    if (rules_.heads_from_first_layer) return read_lengths_of_first_layer();
    const std::uint64_t head = usual_head();
    const auto each = [&](const char* key, std::uint64_t usual) {
      auto lengths = keys_.each(key, kinds_.layers, kinds_.trunk);
      return lengths.value_or(DeferredVector<std::uint64_t, Caller>(kinds_.heads.size(), usual));
    };
    key_lengths_ = each("attention.key_length", head);
    value_lengths_ = each("attention.value_length", head);
    if (is_latent_ && !keys_.has("attention.key_length"))
      key_lengths_.assign(kinds_.heads.size(), keys_.count_or("attention.kv_lora_rank", 0) +
                                                   keys_.count_or("rope.dimension_count", 0));
    key_window_ = keys_.count("attention.key_length_swa");
    value_window_ = keys_.count("attention.value_length_swa");
    return !keys_.has_failed() && check_heads();
  }

  /// Returns the length of a head if no key gives it: a share of the embedding.
  [[nodiscard]] std::uint64_t usual_head() {
    const bool is_told = keys_.has("attention.key_length") && keys_.has("attention.value_length");
    const std::uint64_t heads = first_heads();
    if (heads == 0 || is_told || kinds_.remembers == Remembers::nowhere) return 0;
    return keys_.required("embedding_length") / heads;
  }

  [[nodiscard]] std::uint64_t first_heads() const noexcept {
    for (const std::uint64_t heads : kinds_.heads) {
      if (heads != 0) return heads;
    }
    return 0;
  }

  /// A model that attends needs to say how many heads it has.
  bool check_heads() {
    const bool attends = kinds_.remembers != Remembers::nowhere &&
                         kinds_.remembers != Remembers::in_states && kinds_.layers != 0;
    if (!attends || keys_.has("attention.head_count") ||
        (keys_.has("attention.head_count_kv") && keys_.has("attention.key_length") &&
         (is_latent_ || keys_.has("attention.value_length"))))
      return true;
    return keys_.fail("attention.head_count", "is missing");
  }

  bool read_lengths_of_first_layer() {
    std::uint64_t key = 0;
    std::uint64_t value = 0;
    const bool has_heads = !kinds_.heads.empty() && kinds_.heads.front() != 0;
    if (has_heads) key = value = keys_.count_or("embedding_length", 0) / kinds_.heads.front();
    if (has_heads || facts_.has_lengths_without_heads) {
      key = keys_.count_or("attention.key_length", key);
      value = keys_.count_or("attention.value_length", value);
    }
    key_window_ = keys_.count_or("attention.key_length_swa", key);
    value_window_ = keys_.count_or("attention.value_length_swa", value);
    key_lengths_.assign(kinds_.heads.size(), key);
    value_lengths_.assign(kinds_.heads.size(), value);
    if (keys_.has_failed()) return false;
    for (std::size_t i = 0; i < kinds_.trunk; ++i) {
      if (!attends(i) || kinds_.kv_heads[i] == 0 || key_length(i) != 0) continue;
      return keys_.fail("attention.head_count", "is 0 in layer 0, from which " +
                                                    std::string{rules_.engine} +
                                                    " takes the lengths of all heads");
    }
    if (kinds_.remembers == Remembers::in_a_cache && !keys_.has("attention.head_count"))
      return keys_.fail("attention.head_count", "is missing");
    return true;
  }

  bool read_index() {
    if (facts_.index == IndexLayers::none && rules_.is_an_engine()) return true;
    index_length_ = keys_.count_or("attention.indexer.key_length", 0);
    const auto chosen = keys_.count("attention.indexer.top_k");
    if (facts_.index == IndexLayers::listed && chosen.value_or(0) == 0) index_length_ = 0;
    if (index_length_ == 0) return !keys_.has_failed();
    has_index_.assign(kinds_.heads.size(), false);
    widest_index_values_ =
        widest_values(DeferredVector<std::uint64_t, Caller>(kinds_.heads.size(), 1));
    return mark_index();
  }

  bool mark_index() {
    constexpr const char* types = "attention.indexer.types";
    const auto listed = keys_.each(types, kinds_.trunk, kinds_.trunk);
    const std::uint64_t dense = keys_.count_or("leading_dense_block_count", 0);
    // what engines take for a model that was made for a million tokens and lists no indexers
    const bool is_long = keys_.count_or("context_length", 0) >= 1'048'576;
    if (facts_.index == IndexLayers::none) {
      keys_.assume("Every layer is taken to keep index rows: no key of " + keys_.prefix() +
                   "* says which do.");
    }
    for (std::size_t i = 0; i < kinds_.heads.size(); ++i) {
      const bool is_trunk = i < kinds_.trunk;
      const bool is_listed = listed && is_trunk && (*listed)[i] != 0;
      switch (facts_.index) {
        case IndexLayers::none:
        case IndexLayers::all:
          has_index_[i] = is_trunk;
          break;
        case IndexLayers::after_dense_blocks:
          has_index_[i] = i >= dense;
          break;
        case IndexLayers::listed:
          has_index_[i] = is_listed;
          break;
        case IndexLayers::listed_or_usual:
          has_index_[i] =
              is_trunk && (listed ? is_listed : !is_long || i < 2 || (i < 78 && (i - 2) % 4 == 0));
          break;
        case IndexLayers::with_full_attention:
          has_index_[i] = is_trunk && !kinds_.has_state[i];
          break;
      }
    }
    return !keys_.has_failed();
  }

  bool read_compression() {
    if (!facts_.is_compressed) return true;
    constexpr const char* key = "attention.compress_ratios";
    if (!keys_.is_list(key)) return keys_.fail(key, "is not a list of layers");
    ratios_ = keys_.list(key);
    if (ratios_.size() < kinds_.layers)
      return keys_.fail(key, "has fewer elements than there are layers");
    index_length_ = keys_.required("attention.indexer.key_length");
    return !keys_.has_failed();
  }

  bool check_draft() {
    if (!facts_.is_draft || !rules_.is_an_engine()) return true;
    const bool has_both =
        keys_.has_tensor("token_embd.weight") && keys_.has_tensor("output.weight");
    if (has_both && facts_.windows != Windows::required) return true;
    return keys_.fail_with(std::string{rules_.engine} + " opens " + std::string{facts_.name} +
                           " only beside the model that it drafts for");
  }

  [[nodiscard]] std::uint64_t main_layers() const noexcept {
    const bool keeps_all = rules_.is_an_engine() && facts_.keeps_prediction_layers;
    if (keeps_all || kinds_.trunk == 0) return kinds_.layers;
    return kinds_.trunk;
  }

  [[nodiscard]] bool attends(std::size_t i) const noexcept {
    switch (kinds_.remembers) {
      case Remembers::in_a_cache:
        return true;
      case Remembers::nowhere:
      case Remembers::in_states:
        return false;
      case Remembers::in_both:
        break;
    }
    if (kinds_.state_layers == StateLayers::every) return true;
    const bool does_more =
        kinds_.state_layers == StateLayers::without_anything_else && kinds_.feed_forward[i] != 0;
    return !kinds_.has_state[i] && !does_more;
  }

  [[nodiscard]] std::uint64_t key_length(std::size_t i) const noexcept {
    return kinds_.has_window[i] ? key_window_.value_or(key_lengths_[i]) : key_lengths_[i];
  }
  [[nodiscard]] std::uint64_t value_length(std::size_t i) const noexcept {
    return kinds_.has_window[i] ? value_window_.value_or(value_lengths_[i]) : value_lengths_[i];
  }

  /// Returns a product, or 0 after a problem.
  [[nodiscard]] std::uint64_t row(std::uint64_t heads, std::uint64_t length) {
    const auto elements = checked_multiply(heads, length);
    if (elements) return *elements;
    keys_.fail("attention.head_count_kv",
               "times the heads' length is more than 2^64 elements for a token");
    return 0;
  }

  [[nodiscard]] std::uint64_t widest_values(const DeferredVector<std::uint64_t, Caller>& heads) {
    std::uint64_t widest = 0;
    for (std::size_t i = 0; i < heads.size(); ++i)
      widest = larger(widest, row(heads[i], value_length(i)));
    return widest;
  }

  void add_attention(DeferredVector<LayerMemory, Caller>& to, std::size_t i) {
    const auto layer = static_cast<std::uint32_t>(i);
    if (i < kinds_.own_cache) to.push_back(cache_of(i, kinds_.has_window[i]));
    if (!has_index_.empty() && has_index_[i]) to.push_back(index_of(i));
    if (!ratios_.empty()) add_compressed(to, layer);
    if (!kinds_.has_decoder || rules_.caches_what_is_unused) return;
    LayerMemory cross = cache_of(i, kinds_.has_window[i]);  // also if the cache is shared
    cross.kind = Keeps::cross;
    to.push_back(cross);
  }

  [[nodiscard]] LayerMemory cache_of(std::size_t i, bool has_window) {
    LayerMemory memory{.layer = static_cast<std::uint32_t>(i),
                       .kind = is_latent_ ? Keeps::latent : Keeps::full,
                       .key_elements = row(kinds_.kv_heads[i], key_length(i)),
                       .value_elements = row(kinds_.kv_heads[i], value_length(i)),
                       .heads = kinds_.kv_heads[i],
                       .widest_values = widest_,
                       .is_apart = facts_.is_compressed};
    if (has_window) {
      memory.kind = facts_.is_chunked ? Keeps::chunked : Keeps::window;
      memory.window = kinds_.window;
    }
    if (is_latent_ || facts_.is_compressed) memory.value_elements = 0;
    return memory;
  }

  [[nodiscard]] LayerMemory index_of(std::size_t i) {
    const bool is_alone = is_latent_ || facts_.index == IndexLayers::with_full_attention;
    const bool has_window = kinds_.has_window[i];
    return {.layer = static_cast<std::uint32_t>(i),
            .kind = Keeps::index,
            .key_elements = has_window ? key_length(i) : index_length_,
            .value_elements = is_alone || !rules_.is_an_engine() ? 0 : value_length(i),
            .widest_values = is_alone ? 0 : widest_index_values_};
  }

  /// A row for every 4 tokens with an index row beside it, or for every 128 without one, and what
  /// the compressor needs of the tokens that have no row yet (DeepSeek-V4).
  void add_compressed(DeferredVector<LayerMemory, Caller>& to, std::uint32_t layer) {
    const std::uint64_t ratio = ratios_[layer];
    if (ratio != 4 && ratio != 128) return;
    const std::uint64_t head = key_length(layer);
    const auto tokens = static_cast<std::uint32_t>(ratio);
    to.push_back({.layer = layer,
                  .kind = Keeps::latent,
                  .key_elements = row(kinds_.kv_heads[layer], head),
                  .value_elements = 0,
                  .tokens_a_row = tokens,
                  .is_apart = true});
    if (ratio == 4)
      to.push_back({.layer = layer,
                    .kind = Keeps::index,
                    .key_elements = index_length_,
                    .value_elements = 0,
                    .tokens_a_row = tokens,
                    .is_apart = true});
    if (layer >= kinds_.trunk) return;
    const auto add_state = [&](std::uint64_t elements) {
      to.push_back({.layer = layer,
                    .kind = Keeps::recurrent,
                    .key_elements = elements,
                    .value_elements = elements});
    };
    const std::uint64_t first_head = key_length(0);
    add_state(ratio == 4 ? row(2 * 4 * 2, first_head) : row(128, first_head));
    if (ratio == 4) add_state(row(2 * 4 * 2, index_length_));
  }

  /// The context that an engine opens for the layers that predict.
  void add_prediction(ModelMemory& memory) {
    if (kinds_.trunk == kinds_.layers) {
      memory.prediction_problem =
          keys_.prefix() + "nextn_predict_layers: no layer predicts further tokens (MTP)";
      return;
    }
    if (!facts_.predicts) {
      memory.prediction_problem = "there is no prediction context for " + std::string{facts_.name};
      return;
    }
    const bool has_windows = kinds_.remembers == Remembers::in_a_cache && !is_latent_ &&
                             !facts_.predicts_without_windows;
    widest_ = is_latent_ ? 0 : widest_values(kinds_.kv_heads);
    for (auto i = static_cast<std::size_t>(kinds_.trunk); i < kinds_.layers; ++i) {
      LayerMemory kept = cache_of(i, has_windows && kinds_.has_window[i]);
      kept.is_apart = false;
      if (!is_latent_) kept.value_elements = row(kinds_.kv_heads[i], value_length(i));
      memory.prediction.push_back(kept);
    }
  }

  LayerKeys<Caller>& keys_;
  const MetadataRules& rules_;
  const Architecture& facts_;
  const LayerKinds& kinds_;
  bool is_latent_ = false;
  DeferredVector<std::uint64_t, Caller> key_lengths_;
  DeferredVector<std::uint64_t, Caller> value_lengths_;
  std::optional<std::uint64_t> key_window_;
  std::optional<std::uint64_t> value_window_;
  std::uint64_t widest_ = 0;
  std::uint64_t index_length_ = 0;
  std::uint64_t widest_index_values_ = 0;
  DeferredVector<bool, Caller> has_index_;
  DeferredVector<std::uint64_t, Caller> ratios_;
};

}  // namespace allot::gguf::detail
