// SPDX-License-Identifier: MIT
/// \file
/// States of fixed size: their elements for a layer and a sequence. Always 32-bit floats.
///
/// | keys             | convolution or shift                          | state                     |
/// |------------------|-----------------------------------------------|---------------------------|
/// | `wkv.*`          | `token_shift_count` x embedding               | embedding x head          |
/// | `shortconv.*`    | embedding x (`l_cache` - 1)                   |                           |
/// | `kda.*`          | 3 x (`conv_kernel` - 1) x heads x head        | heads x head x head       |
/// | linear attention |                                               | heads x head x head       |
/// | `ssm.*`          | (`conv_kernel` - 1) x (inner + 2 x groups x state) | inner x state        |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/detail/architectures.hpp>
#include <allot/gguf/detail/layer_keys.hpp>
#include <allot/gguf/detail/layer_kinds.hpp>
#include <allot/gguf/layer_memory.hpp>
#include <allot/gguf/metadata_rules.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace allot::gguf::detail {

/// \tparam Caller  until what has it is compiled, no part of this is
template <class Caller>
class LayerStates {
 public:
  LayerStates(LayerKeys<Caller>& keys, const MetadataRules& rules, const Architecture& facts,
              const LayerKinds& kinds)
      : keys_{keys}, rules_{rules}, facts_{facts}, kinds_{kinds} {}

  /// Returns false after a problem.
  bool read() {
    if (kinds_.remembers != Remembers::in_states && kinds_.remembers != Remembers::in_both)
      return true;
    switch (which()) {
      case StateKeys::wkv:
        shift_ = product({keys_.count_or("token_shift_count", 2), embedding()});
        state_ = product({embedding(), keys_.required("wkv.head_size")});
        break;
      case StateKeys::short_convolution:
        kind_ = Keeps::convolution;
        shift_ = product({embedding(), less_one(keys_.required("shortconv.l_cache"))});
        break;
      case StateKeys::delta_attention:
        read_delta_attention();
        break;
      case StateKeys::heads:
        state_ = product({head_length(), head_length(), first_heads()});
        break;
      default:
        read_state_space();
    }
    read_history();
    return !keys_.has_failed();
  }

  void add(DeferredVector<LayerMemory, Caller>& to, std::size_t i) const {
    if (i >= kinds_.trunk || !kinds_.has_state[i]) return;
    const auto layer = static_cast<std::uint32_t>(i);
    to.push_back({.layer = layer, .kind = kind_, .key_elements = shift_, .value_elements = state_});
    if (i < has_history_.size() && has_history_[i])
      to.push_back({.layer = layer,
                    .kind = Keeps::convolution,
                    .key_elements = history_,
                    .value_elements = 0});
  }

 private:
  [[nodiscard]] StateKeys which() const {
    if (facts_.state_keys != StateKeys::whichever_are_there) return facts_.state_keys;
    if (keys_.has("wkv.head_size")) return StateKeys::wkv;
    if (keys_.has("shortconv.l_cache")) return StateKeys::short_convolution;
    return keys_.has("kda.head_dim") ? StateKeys::delta_attention : StateKeys::state_space;
  }

  [[nodiscard]] std::uint64_t embedding() { return keys_.required("embedding_length"); }

  void read_delta_attention() {
    const std::uint64_t head = keys_.required("kda.head_dim");
    const std::uint64_t kernel = keys_.count_or("ssm.conv_kernel", 0);
    shift_ = product({3, kernel == 0 ? 3 : kernel - 1, first_heads(), head});
    state_ = product({head, head, first_heads()});
  }

  void read_state_space() {
    const std::uint64_t kernel = keys_.required("ssm.conv_kernel");
    const std::uint64_t inner = keys_.required("ssm.inner_size");
    const std::uint64_t state = keys_.required("ssm.state_size");
    std::uint64_t groups = 0;
    if (facts_.has_state_groups && rules_.is_an_engine()) {
      groups = keys_.required("ssm.group_count");
    } else if (!rules_.is_an_engine()) {
      groups = keys_.count_or("ssm.group_count", 0);
    }
    const auto inputs = checked_add(inner, product({2, groups, state}));
    if (!inputs) return static_cast<void>(keys_.fail("ssm.inner_size", "is too large"));
    shift_ = product({less_one(kernel), *inputs});
    state_ = product({state, inner});
  }

  /// The inputs of the convolution over hashed tokens that some layers have (`ple.*`).
  void read_history() {
    if (!keys_.is_list("ple.layers")) return;
    has_history_.assign(static_cast<std::size_t>(kinds_.layers), false);
    for (const std::uint64_t layer : keys_.list("ple.layers")) {
      if (layer < kinds_.layers) has_history_[static_cast<std::size_t>(layer)] = true;
    }
    history_ =
        product({less_one(keys_.required("ple.conv_kernel")), keys_.required("ple.ngram_size"),
                 keys_.required("hyper_connection.count"), keys_.required("embedding_length")});
  }

  [[nodiscard]] static std::uint64_t less_one(std::uint64_t count) noexcept {
    return count == 0 ? 0 : count - 1;
  }

  /// Returns the heads of layer 0, or if no engine asks, of the first layer that has some.
  [[nodiscard]] std::uint64_t first_heads() const noexcept {
    for (const std::uint64_t heads : kinds_.heads) {
      if (heads != 0 || rules_.heads_from_first_layer) return heads;
    }
    return 0;
  }

  [[nodiscard]] std::uint64_t head_length() {
    const std::uint64_t heads = first_heads();
    const std::uint64_t usual = heads == 0 ? 0 : keys_.required("embedding_length") / heads;
    return keys_.count_or("attention.key_length", usual);
  }

  /// Returns a product, or 0 after a problem.
  [[nodiscard]] std::uint64_t product(std::initializer_list<std::uint64_t> factors) {
    std::uint64_t all = 1;
    for (const std::uint64_t factor : factors) {
      const auto next = checked_multiply(all, factor);
      if (!next) {
        keys_.fail_with("a layer's state (" + keys_.prefix() + "*) has more than 2^64 elements");
        return 0;
      }
      all = *next;
    }
    return all;
  }

  LayerKeys<Caller>& keys_;
  const MetadataRules& rules_;
  const Architecture& facts_;
  const LayerKinds& kinds_;
  Keeps kind_ = Keeps::recurrent;
  std::uint64_t shift_ = 0;
  std::uint64_t state_ = 0;
  std::uint64_t history_ = 0;
  DeferredVector<bool, Caller> has_history_;  // by layer
};

}  // namespace allot::gguf::detail
