// SPDX-License-Identifier: MIT
/// \file
/// The size of a model's caches, states and scratch memory, from its metadata. What each layer keeps
/// is said in `gguf/model_memory.hpp`, how many cells it gets in `engine.hpp`.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/model_memory.hpp>
#include <allot/gguf/model_shape.hpp>
#include <allot/load/plan/cache_options.hpp>
#include <allot/load/plan/detail/cells.hpp>
#include <allot/load/plan/detail/model_part.hpp>
#include <allot/load/plan/engine.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/planned_cache.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load {

namespace detail {

template <class Owner = void>
[[noreturn]] void throw_no_cache(const std::string& problem) {
  throw std::runtime_error{"the KV cache cannot be planned: " + problem +
                           "; plan without a context, or correct the key in the file"};
}

/// Throws: `std::invalid_argument` for options that no engine has.
template <class Owner = void>
void check_cache_options(const CacheOptions& options) {
  if (options.context == 0 || options.sequences == 0)
    throw std::invalid_argument{"a cache of no tokens, or for no sequences, cannot be planned"};
}

/// Returns why an engine would refuse the types of a cache; empty if it would not.
template <class Owner = void>
[[nodiscard]] std::string refused_types(const gguf::ModelMemory& memory,
                                        const CacheOptions& options, bool flash_attention) {
  const auto name = [](gguf::TensorType type) { return std::string{gguf::type_name(type)}; };
  const auto block = [](gguf::TensorType type) {
    return gguf::checked_type_info(type).block_elements;
  };
  if (memory.has_one_cache_type && options.key_type != options.value_type) {
    return "its keys and values are one row, so both have one type, not " + name(options.key_type) +
           " and " + name(options.value_type);
  }
  if (block(options.value_type) != 1 && !flash_attention)
    return "values in " + name(options.value_type) + " need flash attention";
  const auto broken = [&](const char* what, std::uint64_t length, gguf::TensorType type) {
    if (length % block(type) == 0) return std::string{};
    return std::string{"a head's "} + what + " of " + std::to_string(length) +
           " elements is not a whole number of blocks of " + std::to_string(block(type)) + " (" +
           name(type) + ")";
  };
  for (const gguf::HeadLengths& head : memory.heads) {
    if (auto key = broken("key", head.key, options.key_type); !key.empty()) return key;
    if (auto value = broken("value", head.value, options.value_type); !value.empty()) return value;
  }
  return {};
}

/// Returns why an engine would refuse a cache; empty if it would not.
template <class Owner = void>
[[nodiscard]] std::string refused_by_engine(const gguf::ModelMemory& memory,
                                            const CacheOptions& options, bool flash_attention) {
  const EngineRules& rules = *options.engine;
  if (!rules.is_an_engine()) return {};
  if (!memory.problem.empty()) return memory.problem;
  if (options.sequences > rules.most_sequences)
    return std::to_string(options.sequences) + " sequences are more than " +
           std::to_string(rules.most_sequences);
  if (options.context > rules.most_context)
    return "a context of " + std::to_string(options.context) + " tokens is more than " +
           std::to_string(rules.most_context);
  if (rules.whole_heads_in_blocks) {
    if (auto types = refused_types(memory, options, flash_attention); !types.empty()) return types;
  }
  return options.prediction ? memory.prediction_problem : std::string{};
}

/// A model's caches: groups for readers, entries for what reserves them.
template <class Owner>
struct CacheSizes {
  gguf::ModelMemory memory;
  PlannedCache planned;
  DeferredVector<CacheEntry, Owner> entries;     // they point into `memory`
  DeferredVector<CacheEntry, Owner> prediction;  // likewise
};

/// Leaves of what layers keep the layers and the heads that a share of the model has.
template <class Part>
void keep_part(DeferredVector<gguf::LayerMemory, Part>& kept, const Part& part) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    gguf::LayerMemory memory = kept[i];
    const LayerHeads heads = part.heads_of(memory.layer);
    if (heads.kept == 0) continue;
    const bool has_heads = memory.kind == gguf::Keeps::full || memory.kind == gguf::Keeps::window ||
                           memory.kind == gguf::Keeps::chunked;
    if (has_heads) {
      for (auto* elements : {&memory.key_elements, &memory.value_elements, &memory.widest_values})
        *elements = *elements / heads.all * heads.kept;
    }
    kept[count++] = memory;
  }
  kept.resize(count);
}

/// \param part  what of the model is wanted; null: all of it
template <class Owner = void>
void size_caches(const gguf::File& file, const CacheOptions& options, CacheSizes<Owner>& sizes,
                 const ModelPart* part = nullptr) {
  check_cache_options(options);
  const EngineRules& rules = *options.engine;
  sizes.memory = gguf::model_memory_of(file, rules.metadata);
  if (part != nullptr) {
    keep_part(sizes.memory.kept, *part);
    keep_part(sizes.memory.prediction, *part);
  }
  const gguf::ModelMemory& memory = sizes.memory;
  sizes.planned.context = options.context;
  sizes.planned.assumed = memory.assumed;
  const bool flash_attention = options.flash_attention && !memory.never_uses_flash_attention;
  sizes.planned.refused = refused_by_engine(memory, options, flash_attention);
  if (!memory.problem.empty() && !rules.is_an_engine()) throw_no_cache(memory.problem);
  if (!sizes.planned.refused.empty()) return;
  const bool transposes = rules.transposes_values && !flash_attention;
  std::string problem;
  sizes.entries = entries_of<Owner>(memory.kept, options, memory.is_causal, transposes, problem);
  if (options.prediction)
    sizes.prediction =
        entries_of<Owner>(memory.prediction, options, memory.is_causal, transposes, problem);
  if (!problem.empty() && !rules.is_an_engine()) throw std::invalid_argument{problem};
  sizes.planned.refused = problem;
  if (!problem.empty()) return;
  sizes.planned.groups = groups_of<Owner>(sizes.entries);
  sizes.planned.prediction = groups_of<Owner>(sizes.prediction);
}

/// Returns what a layer's thing is called: `cache.3.k`, `cache.3.index.k`, `cache.3.state.r`.
template <class Owner = void>
[[nodiscard]] std::string cache_name(const CacheEntry& entry, std::uint64_t number) {
  const gguf::LayerMemory& memory = *entry.memory;
  std::string name = "cache." + std::to_string(memory.layer);
  if (gguf::is_state(memory.kind)) {
    name += ".state";
  } else if (memory.kind == gguf::Keeps::index || memory.kind == gguf::Keeps::cross) {
    name += std::string{"."} + gguf::to_text(memory.kind);
  } else if (memory.tokens_a_row > 1) {
    name += ".compressed";
  }
  return number == 0 ? name : name + "." + std::to_string(number + 1);
}

/// Appends the items of some entries.
template <class Owner = void>
void add_cache_items(const DeferredVector<CacheEntry, Owner>& entries, const std::string& prefix,
                     DeferredVector<ItemLayout, Owner>& items) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const CacheEntry& entry = entries[i];
    const bool is_state = gguf::is_state(entry.memory->kind);
    std::uint64_t number = 0;  // of like things in the layer
    for (std::size_t j = i; j-- > 0 && entries[j].memory->layer == entry.memory->layer;)
      number += cache_name(entries[j], 0) == cache_name(entry, 0) ? 1 : 0;
    const std::string name = prefix + cache_name(entry, number);
    const auto add = [&](const char* ending, std::uint64_t elements, gguf::TensorType type) {
      if (elements == 0) return;
      const std::uint32_t rank = entry.streams == 1 ? 2 : 3;
      items.push_back(
          lay_out({.name = name + ending,
                   .type = type,
                   .shape = {.extent = {elements, entry.cells, entry.streams, 1}, .rank = rank},
                   .purpose = Purpose::cache}));
    };
    add(is_state ? ".r" : ".k", entry.key_elements, entry.key_type);
    add(is_state ? ".s" : ".v", entry.value_elements, entry.value_type);
  }
}

/// Returns what the caches take of a part of the model; null: of all of it.
template <class Owner = void>
[[nodiscard]] PlannedCache plan_cache_of(const gguf::File& file, const CacheOptions& options,
                                         const ModelPart* part) {
  CacheSizes<Owner> sizes;
  size_caches(file, options, sizes, part);
  return std::move(sizes.planned);
}

/// Returns the caches and states of a part of the model; null: of all of it.
template <class Owner = void>
[[nodiscard]] DeferredVector<ItemLayout, Owner> cache_items_of(const gguf::File& file,
                                                               const CacheOptions& options,
                                                               const ModelPart* part) {
  CacheSizes<Owner> sizes;
  size_caches(file, options, sizes, part);
  if (!sizes.planned.refused.empty()) {
    throw std::runtime_error{std::string{options.engine->name} + " refuses the cache of " +
                             file.shards().front().path() + ": " + sizes.planned.refused};
  }
  DeferredVector<ItemLayout, Owner> items;
  add_cache_items(sizes.entries, "", items);
  add_cache_items(sizes.prediction, "prediction.", items);
  return items;
}

}  // namespace detail

/// Returns what a model's caches and states take: groups, what was assumed, and whether the engine
/// of the options would refuse it.
/// Throws: `std::runtime_error` naming the key that is missing or wrong; `std::invalid_argument` for
/// a type whose blocks do not divide a row (an engine refuses it instead); `std::length_error` if
/// the sizes overflow.
template <class Owner = void>
[[nodiscard]] PlannedCache plan_cache(const gguf::File& file, const CacheOptions& options) {
  return detail::plan_cache_of(file, options, nullptr);
}

/// Returns the context that the model was trained for, if its metadata has it; 0 says nothing.
template <class Owner = void>
[[nodiscard]] std::optional<std::uint64_t> trained_context(const gguf::File& file) {
  const auto context = gguf::model_shape_of(file).trained_context;
  return context == std::uint64_t{0} ? std::nullopt : context;
}

/// Returns the caches and states: for each layer that keeps anything, `cache.N.k` and `cache.N.v`
/// with a row for each token (and a matrix for each stream), `cache.N.index.k`, `cache.N.state.r`
/// and `cache.N.state.s`; for layers that predict, the same after `prediction` and a dot.
/// Throws: as `plan_cache`; `std::runtime_error` with the engine's reason if it would refuse.
template <class Owner = void>
[[nodiscard]] DeferredVector<ItemLayout, Owner> cache_items(const gguf::File& file,
                                                            const CacheOptions& options) {
  return detail::cache_items_of(file, options, nullptr);
}

/// Returns scratch memory. It has no rows.
template <class Owner = void>
[[nodiscard]] ItemLayout scratch_item(std::string name, std::uint64_t bytes) {
  return {.name = std::move(name),
          .type = gguf::TensorType::I8,
          .shape = {.extent = {bytes, 1, 1, 1}, .rank = 1},
          .bytes = bytes,
          .purpose = Purpose::scratch};
}

}  // namespace allot::load
