// SPDX-License-Identifier: MIT
/// \file
/// From what layers keep to bytes: cells, streams and rows, by an engine's rules.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/layer_memory.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/gguf/tensor_type.hpp>
#include <allot/load/plan/cache_options.hpp>
#include <allot/load/plan/engine.hpp>
#include <allot/load/plan/planned_cache.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace allot::load::detail {

/// What one layer keeps, with its size.
struct CacheEntry {
  const gguf::LayerMemory* memory;
  gguf::TensorType key_type;
  gguf::TensorType value_type;
  std::uint64_t key_elements;  // of a row
  std::uint64_t value_elements;
  std::uint64_t cells;
  std::uint64_t streams;
  std::uint64_t key_row_bytes;
  std::uint64_t value_row_bytes;
};

[[noreturn]] inline void throw_cache_too_large() {
  throw std::length_error{"the KV cache would take more than 2^64 bytes; use a shorter context"};
}

[[nodiscard]] inline std::uint64_t multiply_cells(std::uint64_t a, std::uint64_t b) {
  if (const auto product = checked_multiply(a, b)) return *product;
  throw_cache_too_large();
}

[[nodiscard]] inline std::uint64_t divide_up(std::uint64_t a, std::uint64_t b) noexcept {
  return a / b + (a % b != 0 ? 1 : 0);
}

/// How many cells each kind gets.
class Cells {
 public:
  Cells(const CacheOptions& options, bool is_causal) : rules_{*options.engine}, options_{options} {
    context_ = padded(options.context);
    if (rules_.context_is_for_all && !options.unified)
      context_ = padded(context_ / options.sequences);
    batch_ = options.batch == 0 ? rules_.usual_batch : options.batch;
    batch_ = smaller(batch_, rules_.most_batch);
    if (rules_.batch_within_context && is_causal) batch_ = smaller(batch_, options.context);
  }

  /// Returns the cells of one stream.
  [[nodiscard]] std::uint64_t of(const gguf::LayerMemory& memory) const {
    if (gguf::is_state(memory.kind)) return options_.sequences;
    if (memory.tokens_a_row > 1)
      return padded(larger<std::uint64_t>(1, divide_up(context_, memory.tokens_a_row)));
    const bool is_short = memory.kind == gguf::Keeps::window || memory.kind == gguf::Keeps::chunked;
    if (!is_short || options_.full_windows) return context_;
    return padded(smaller(context_, window(memory)));
  }

  [[nodiscard]] std::uint64_t streams(const gguf::LayerMemory& memory) const noexcept {
    if (gguf::is_state(memory.kind)) return 1;
    return options_.unified && !memory.is_apart ? 1 : options_.sequences;
  }

 private:
  [[nodiscard]] std::uint64_t padded(std::uint64_t cells) const {
    return multiply_cells(divide_up(cells, rules_.cells_multiple), rules_.cells_multiple);
  }

  [[nodiscard]] std::uint64_t window(const gguf::LayerMemory& memory) const {
    const std::uint64_t sequences = streams(memory) == 1 ? options_.sequences : 1;
    if (rules_.windows_in_32_bits)
      return static_cast<std::uint32_t>(memory.window * sequences + batch_);
    const auto windows = checked_multiply(memory.window, sequences);
    return windows ? checked_add(*windows, batch_).value_or(context_) : context_;
  }

  const EngineRules& rules_;
  const CacheOptions& options_;
  std::uint64_t context_;
  std::uint64_t batch_;
};

/// Returns the bytes of a row, or nothing if its elements are not whole blocks of the type.
[[nodiscard]] inline std::optional<std::uint64_t> cache_row_bytes(std::uint64_t elements,
                                                                  gguf::TensorType type) {
  const gguf::TypeInfo info = gguf::checked_type_info(type);
  if (elements % info.block_elements != 0) return std::nullopt;
  return multiply_cells(elements / info.block_elements, info.block_bytes);
}

/// Returns what each layer keeps, with sizes. Rows that are not whole blocks have 0 bytes, and
/// `is_whole` becomes false.
template <class Owner = void>
[[nodiscard]] DeferredVector<CacheEntry, Owner> entries_of(
    const DeferredVector<gguf::LayerMemory, Owner>& kept, const CacheOptions& options,
    bool is_causal, bool transposes, std::string& problem) {
  const Cells cells{options, is_causal};
  DeferredVector<CacheEntry, Owner> entries;
  for (const gguf::LayerMemory& memory : kept) {
    const bool is_state = gguf::is_state(memory.kind);
    CacheEntry entry{.memory = &memory,
                     .key_type = is_state ? gguf::TensorType::F32 : options.key_type,
                     .value_type = is_state ? gguf::TensorType::F32 : options.value_type,
                     .key_elements = memory.key_elements,
                     .value_elements = memory.value_elements,
                     .cells = cells.of(memory),
                     .streams = cells.streams(memory),
                     .key_row_bytes = 0,
                     .value_row_bytes = 0};
    if (transposes && !is_state) entry.value_elements = memory.widest_values;
    const auto row = [&](std::uint64_t elements, gguf::TensorType type) {
      const auto bytes = cache_row_bytes(elements, type);
      if (!bytes && problem.empty()) {
        problem = "invalid cache type " + std::string{gguf::type_name(type)} +
                  ": its blocks have " + std::to_string(gguf::type_info(type).block_elements) +
                  " elements, but a token keeps " + std::to_string(elements) +
                  " in a layer; use F16";
      }
      return bytes.value_or(0);
    };
    entry.key_row_bytes = row(entry.key_elements, entry.key_type);
    entry.value_row_bytes = row(entry.value_elements, entry.value_type);
    if (entry.key_row_bytes != 0 || entry.value_row_bytes != 0) entries.push_back(entry);
  }
  return entries;
}

/// Returns the groups of like entries, in the order of their first layers. Complexity: linear.
/// Throws: `std::length_error`.
template <class Owner = void>
[[nodiscard]] DeferredVector<CacheGroup, Owner> groups_of(
    const DeferredVector<CacheEntry, Owner>& entries) {
  struct Alike {  // what the entries of a group have in common
    std::uint64_t kind;
    std::uint64_t cells;
    std::uint64_t streams;
    std::uint64_t key_row_bytes;
    std::uint64_t value_row_bytes;
  };
  DeferredVector<CacheGroup, Owner> groups;
  DeferredVector<Alike, Owner> alike;  // by group
  gguf::NameIndex places;
  const auto name_of = [&](std::size_t place) { return gguf::bytes_as_name(alike[place]); };
  std::uint64_t all = 0;
  for (const CacheEntry& entry : entries) {
    const auto row = checked_add(entry.key_row_bytes, entry.value_row_bytes);
    if (!row) throw_cache_too_large();
    const CacheGroup one{.kind = entry.memory->kind,
                         .layers = 1,
                         .cells = entry.cells,
                         .streams = entry.streams,
                         .key_row_bytes = entry.key_row_bytes,
                         .value_row_bytes = entry.value_row_bytes,
                         .bytes = multiply_cells(multiply_cells(entry.cells, entry.streams), *row)};
    const auto sum = checked_add(all, one.bytes);
    if (!sum) throw_cache_too_large();
    all = *sum;
    const Alike own{static_cast<std::uint64_t>(one.kind), one.cells, one.streams, one.key_row_bytes,
                    one.value_row_bytes};
    if (const auto place = places.find(gguf::bytes_as_name(own), name_of)) {
      ++groups[*place].layers;
      groups[*place].bytes += one.bytes;
      continue;
    }
    static_cast<void>(places.add(gguf::bytes_as_name(own), groups.size(), name_of));
    alike.push_back(own);
    groups.push_back(one);
  }
  return groups;
}

}  // namespace allot::load::detail
