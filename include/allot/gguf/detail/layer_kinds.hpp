// SPDX-License-Identifier: MIT
/// \file
/// Which layers of a model keep what: windows, states, shared caches. Read from metadata, with the
/// facts about architectures if those say nothing.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/detail/architectures.hpp>
#include <allot/gguf/detail/layer_keys.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/metadata_rules.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::gguf::detail {

/// What is known of all layers; one element for each in the lists.
struct LayerKinds {
  std::uint64_t layers = 0;  ///< all, those that predict included
  std::uint64_t trunk = 0;   ///< those before them
  bool has_decoder = false;  ///< the layers also attend to an encoder's output
  std::vector<std::uint64_t> heads{};
  std::vector<std::uint64_t> kv_heads{};
  std::vector<std::uint64_t> feed_forward{};
  std::vector<bool> has_window{};
  std::vector<bool> has_state{};
  bool uses_windows = false;
  std::uint64_t window = 0;  ///< tokens
  Remembers remembers = Remembers::in_a_cache;
  StateLayers state_layers = StateLayers::without_kv_heads;
  std::uint64_t own_cache = 0;  ///< that many of the first layers have their own cache
};

/// \tparam Caller  until what has it is compiled, no part of this is
template <class Caller>
class LayerKindsReader {
 public:
  LayerKindsReader(LayerKeys<Caller>& keys, const MetadataRules& rules,
                   const FoundArchitecture& found)
      : keys_{keys}, rules_{rules}, facts_{found.facts} {}

  /// Reads all of it. Returns false after a problem. Requires: the layers are counted.
  bool read(LayerKinds& kinds) {
    return read_heads(kinds) && read_memory(kinds) && read_states(kinds) && read_window(kinds) &&
           read_window_layers(kinds) && read_shared(kinds);
  }

 private:
  using Counts = DeferredVector<std::uint64_t, Caller>;

  bool read_heads(LayerKinds& kinds) {
    const auto none = Counts(static_cast<std::size_t>(kinds.layers));
    for (const char* key : {"expert_used_count", "expert_feed_forward_length"}) {
      if (rules_.lists_match_layers && keys_.is_list(key))
        static_cast<void>(keys_.each(key, kinds.layers, kinds.layers));
    }
    const auto each = [&](const char* key, const Counts& otherwise) {
      return keys_.each(key, kinds.layers, kinds.trunk).value_or(otherwise);
    };
    kinds.heads = each("attention.head_count", none);
    kinds.kv_heads = each("attention.head_count_kv", kinds.heads);
    kinds.feed_forward = each("feed_forward_length", none);
    return !keys_.has_failed();
  }

  bool read_memory(LayerKinds& kinds) {
    kinds.remembers = facts_.remembers;
    kinds.state_layers = facts_.state_layers;
    if (rules_.is_an_engine()) return true;
    const bool is_causal = keys_.truth("attention.causal").value_or(true);
    if (!is_causal || facts_.is_encoder) {
      kinds.remembers = Remembers::nowhere;
    } else if (kinds.remembers == Remembers::in_a_cache && has_state_keys()) {
      find_states(kinds);
    }
    return true;
  }

  [[nodiscard]] bool has_state_keys() const {
    return keys_.has("wkv.head_size") || keys_.has("shortconv.l_cache") ||
           keys_.has("kda.head_dim") || keys_.has("ssm.state_size");
  }

  /// An architecture of which nothing is known, with the keys of states.
  void find_states(LayerKinds& kinds) {
    kinds.remembers = Remembers::in_both;
    if (keys_.has("attention.recurrent_layers") || keys_.has("full_attention_interval")) {
      kinds.state_layers = StateLayers::between_full_attention;
    } else if (!keys_.has("attention.head_count") || keys_.has("wkv.head_size")) {
      kinds.remembers = Remembers::in_states;
    } else if (has_zero(kinds.kv_heads, kinds.trunk)) {
      kinds.state_layers =
          has_zero(kinds.feed_forward, kinds.trunk) && keys_.has("feed_forward_length")
              ? StateLayers::without_anything_else
              : StateLayers::without_kv_heads;
    } else {
      kinds.state_layers = StateLayers::every;
      keys_.assume("Every layer is taken to keep a state beside its keys and values: no key of " +
                   keys_.prefix() + "* says which do.");
    }
  }

  [[nodiscard]] static bool has_zero(const Counts& counts, std::uint64_t layers) noexcept {
    for (std::size_t i = 0; i < layers; ++i) {
      if (counts[i] == 0) return true;
    }
    return false;
  }

  bool read_states(LayerKinds& kinds) {
    kinds.has_state.assign(static_cast<std::size_t>(kinds.layers), false);
    if (kinds.remembers == Remembers::in_states) {
      mark(kinds, kinds.has_state, [](std::size_t) { return true; });
    } else if (kinds.remembers == Remembers::in_both) {
      switch (kinds.state_layers) {
        case StateLayers::every:
          mark(kinds, kinds.has_state, [](std::size_t) { return true; });
          break;
        case StateLayers::without_kv_heads:
          mark(kinds, kinds.has_state, [&](std::size_t i) { return kinds.kv_heads[i] == 0; });
          break;
        case StateLayers::without_anything_else:
          mark(kinds, kinds.has_state,
               [&](std::size_t i) { return kinds.kv_heads[i] == 0 && kinds.feed_forward[i] == 0; });
          break;
        case StateLayers::between_full_attention:
          return read_between(kinds);
      }
    }
    return true;
  }

  bool read_between(LayerKinds& kinds) {
    if (const auto listed = keys_.each("attention.recurrent_layers", kinds.layers, kinds.trunk)) {
      mark(kinds, kinds.has_state, [&](std::size_t i) { return (*listed)[i] != 0; });
      return true;
    }
    if (keys_.has_failed()) return false;
    const auto interval = keys_.count("full_attention_interval");
    if (keys_.has_failed()) return false;
    const std::uint64_t every = interval.value_or(facts_.full_attention_interval);
    if (every == 0) return keys_.fail("full_attention_interval", "is 0");
    if (!interval && !rules_.is_an_engine()) {
      keys_.assume("Every " + std::to_string(every) +
                   "th layer is taken to attend to every token: " + keys_.prefix() +
                   "full_attention_interval is missing.");
    }
    mark(kinds, kinds.has_state, [&](std::size_t i) { return (i + 1) % every != 0; });
    return true;
  }

  /// Marks the layers of the trunk for which `is_one` holds.
  template <class Predicate>
  static void mark(const LayerKinds& kinds, DeferredVector<bool, Caller>& marks,
                   const Predicate& is_one) {
    for (std::size_t i = 0; i < kinds.trunk; ++i) marks[i] = is_one(i);
  }

  /// Reads how large the window is, and whether there is one.
  bool read_window(LayerKinds& kinds) {
    kinds.has_window.assign(static_cast<std::size_t>(kinds.layers), false);
    const Windows windows = windows_of(kinds);
    if (windows == Windows::never && rules_.is_an_engine()) return true;
    const auto key = keys_.count("attention.sliding_window");
    if (keys_.has_failed()) return false;
    const bool is_positive = key.value_or(0) != 0;
    switch (windows) {
      case Windows::never:
      case Windows::if_positive:
        kinds.uses_windows = is_positive;
        kinds.window = key.value_or(0);
        break;
      case Windows::required:
        return take_required(kinds, key);
      case Windows::usual:
        kinds.window = key.value_or(facts_.window);
        kinds.uses_windows = rules_.is_an_engine() || kinds.window != 0;
        break;
      case Windows::unless_zero:
        kinds.uses_windows = !key || is_positive;
        kinds.window =
            rules_.architecture_before_keys ? facts_.window : key.value_or(facts_.window);
        break;
      case Windows::fixed:
        kinds.uses_windows = is_positive;
        kinds.window = rules_.architecture_before_keys ? facts_.window : key.value_or(0);
        break;
    }
    if (kinds.uses_windows && !key && !rules_.is_an_engine()) {
      keys_.assume("The window is taken to be " + std::to_string(kinds.window) + " tokens, as in " +
                   std::string{facts_.name} + ": " + keys_.prefix() +
                   "attention.sliding_window is missing.");
    }
    return true;
  }

  [[nodiscard]] Windows windows_of(const LayerKinds& kinds) const noexcept {
    const bool has_other_size =
        facts_.windows_with_layers != 0 && kinds.trunk != facts_.windows_with_layers;
    if (has_other_size) return Windows::never;
    if (facts_.is_draft && facts_.windows == Windows::if_positive &&
        keys_.has("hyper_connection.count"))
      return Windows::required;
    return facts_.windows;
  }

  bool take_required(LayerKinds& kinds, const std::optional<std::uint64_t>& key) {
    if (!key && rules_.is_an_engine()) return keys_.fail("attention.sliding_window", "is missing");
    kinds.window = key.value_or(0);
    kinds.uses_windows = rules_.is_an_engine() || kinds.window != 0;
    if (!key)
      keys_.assume("Every layer is taken to keep every token: " + keys_.prefix() +
                   "attention.sliding_window is missing.");
    return true;
  }

  bool read_window_layers(LayerKinds& kinds) {
    constexpr const char* pattern = "attention.sliding_window_pattern";
    if (!kinds.uses_windows) return true;
    const bool all = facts_.window_period == every_layer_has_a_window ||
                     (facts_.is_draft && keys_.has("hyper_connection.count"));
    if (all) {
      mark(kinds, kinds.has_window, [&](std::size_t i) { return !kinds.has_state[i]; });
      if (kinds.remembers == Remembers::in_a_cache)  // those that predict, too
        kinds.has_window.assign(static_cast<std::size_t>(kinds.layers), true);
    } else if (keys_.is_list(pattern)) {
      mark_listed(kinds, keys_.list(pattern));
    } else if (facts_.window_period == 0 && rules_.is_an_engine()) {
      return keys_.fail(pattern, "is not a list of layers");
    } else if (const auto period = keys_.count(pattern); period || facts_.window_period != 0) {
      mark_periodic(kinds, period.value_or(facts_.window_period));
    } else {
      kinds.uses_windows = false;
      keys_.assume("Every layer is taken to keep every token, not " + std::to_string(kinds.window) +
                   ": " + keys_.prefix() + pattern + " does not say which layers have the window.");
    }
    return !keys_.has_failed() && check_windows(kinds);
  }

  void mark_listed(LayerKinds& kinds, const Counts& listed) {
    for (std::size_t i = 0; i < kinds.layers && i < listed.size(); ++i)
      kinds.has_window[i] = listed[i] != 0;
    if (listed.size() < kinds.trunk && !keys_.has_failed()) {
      keys_.assume("Layers from " + std::to_string(listed.size()) +
                   " on are taken to keep every token: " + keys_.prefix() +
                   "attention.sliding_window_pattern is shorter than that.");
    }
  }

  void mark_periodic(LayerKinds& kinds, std::uint64_t period) {
    if (!keys_.has("attention.sliding_window_pattern") && !rules_.is_an_engine()) {
      keys_.assume("One of " + std::to_string(period) + " layers, the " +
                   (facts_.full_layer_first ? "first" : "last") +
                   ", is taken to keep every token, as in " + std::string{facts_.name} + ": " +
                   keys_.prefix() + "attention.sliding_window_pattern is missing.");
    }
    mark(kinds, kinds.has_window, [&](std::size_t i) {
      if (period == 0) return true;
      return facts_.full_layer_first ? i % period != 0 : i % period + 1 < period;
    });
  }

  /// An engine that makes a cache for windows wants a layer in it.
  bool check_windows(const LayerKinds& kinds) {
    if (!rules_.is_an_engine() || kinds.remembers != Remembers::in_a_cache || facts_.is_latent)
      return true;
    for (const bool has_window : kinds.has_window) {
      if (has_window) return true;
    }
    return keys_.fail("attention.sliding_window", "is given, but no layer has the window, and " +
                                                      std::string{rules_.engine} +
                                                      " ends where that is so");
  }

  bool read_shared(LayerKinds& kinds) {
    constexpr const char* key = "attention.shared_kv_layers";
    kinds.own_cache = kinds.layers;
    if (facts_.layers_with_cache != 0 && (rules_.architecture_before_keys || !keys_.has(key))) {
      kinds.own_cache = facts_.layers_with_cache;
      if (!rules_.is_an_engine() && kinds.own_cache < kinds.layers)
        keys_.assume("The first " + std::to_string(kinds.own_cache) +
                     " layers are taken to have a cache of their own, as in " +
                     std::string{facts_.name} + ": " + keys_.prefix() + key + " is missing.");
    } else if (facts_.shares_last_layers || !rules_.is_an_engine()) {
      const std::uint64_t shared = keys_.count_or(key, 0);
      if (keys_.has_failed()) return false;
      if (shared > kinds.layers)
        return keys_.fail(key, "is " + std::to_string(shared) + ", but there are " +
                                   std::to_string(kinds.layers) + " layers");
      kinds.own_cache = kinds.layers - shared;
    }
    return !rules_.is_an_engine() || check_shared(kinds);
  }

  /// The last layer with its own cache keeps all, the one before it a window: the layers that
  /// share use one of the two. An engine ends if that is not so.
  bool check_shared(const LayerKinds& kinds) {
    if (!facts_.shares_last_layers) return true;
    const std::uint64_t own = kinds.own_cache;
    if (own >= kinds.layers && kinds.layers >= 2) return true;
    const bool is_right = own >= 2 && !kinds.has_window[static_cast<std::size_t>(own - 1)] &&
                          kinds.has_window[static_cast<std::size_t>(own - 2)];
    if (is_right) return true;
    return keys_.fail("attention.shared_kv_layers",
                      "leaves layers to share whose kinds " + std::string{rules_.engine} +
                          " does not expect: a window, then every token");
  }

  LayerKeys<Caller>& keys_;
  const MetadataRules& rules_;
  const Architecture& facts_;
};

}  // namespace allot::gguf::detail
