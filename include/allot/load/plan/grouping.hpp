// SPDX-License-Identifier: MIT
/// \file
/// Which items share a device allocation: a policy of `make_plan`.
///
/// | placement               | device allocations                                               |
/// |-------------------------|------------------------------------------------------------------|
/// | `OneArena`              | one for everything on a device (default)                         |
/// | `ChunkedArenas<Bytes>`  | as many as `Bytes` at most each need; a larger item has its own  |
/// | `Selective<Classifier>` | one for each item that the classifier names, one for the rest    |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/plan.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::load {

/// Items that share an arena, in the order in which they are allocated.
struct Group {
  std::string rule;
  std::vector<std::uint32_t> items;  ///< indices
};

/// What `make_plan` asks of a placement: divides `chosen`, the indices of items that have bytes and
/// are on one device, into groups. `alignment` is the arena's, in bytes.
template <class P>
concept PlacementPolicy = requires(const P placement, std::span<const Item> items,
                                   std::span<const std::uint32_t> chosen, std::uint64_t alignment) {
  { placement.groups(items, chosen, alignment) } -> std::same_as<std::vector<Group>>;
};

/// Everything in one arena: one device allocation.
struct OneArena {
  [[nodiscard]] static std::vector<Group> groups(std::span<const Item>,
                                                 std::span<const std::uint32_t> chosen,
                                                 std::uint64_t) {
    if (chosen.empty()) return {};
    return {{"all", {chosen.begin(), chosen.end()}}};
  }
};

/// Arenas of at most a number of bytes, filled in order: for drivers that refuse one allocation of
/// the whole although the memory is free. An item larger than that has an arena of its own.
class ArenasOf {
 public:
  /// \param bytes  of one arena at most
  constexpr explicit ArenasOf(std::uint64_t bytes) noexcept : bytes_{bytes} {}

  [[nodiscard]] std::vector<Group> groups(std::span<const Item> items,
                                          std::span<const std::uint32_t> chosen,
                                          std::uint64_t alignment) const {
    std::vector<Group> made;
    std::uint64_t filled = 0;
    for (const std::uint32_t index : chosen) {
      const auto rounded = checked_align_up(items[index].bytes, alignment);
      const bool fits = rounded && filled <= bytes_ && *rounded <= bytes_ - filled;
      if (made.empty() || !fits) {
        made.push_back({"chunk", {}});
        filled = 0;
      }
      made.back().items.push_back(index);
      filled += rounded.value_or(bytes_);
    }
    return made;
  }

 private:
  std::uint64_t bytes_;
};

template <std::uint64_t Bytes>
struct ChunkedArenas : ArenasOf {
  constexpr ChunkedArenas() noexcept : ArenasOf{Bytes} {}
};

/// Names the rule by which an item gets a device allocation of its own; an empty text: none does.
template <class C>
concept Classifier = requires(const C classifier, const Item& item) {
  { classifier.rule_of(item) } -> std::convertible_to<std::string_view>;
};

/// A device allocation of its own for each item that the classifier names, one arena for the rest.
/// Costs allocations, and whatever the driver rounds each up to: measure before choosing it.
template <Classifier C>
class Selective {
 public:
  explicit Selective(C classifier) : classifier_{std::move(classifier)} {}

  [[nodiscard]] std::vector<Group> groups(std::span<const Item> items,
                                          std::span<const std::uint32_t> chosen,
                                          std::uint64_t) const {
    std::vector<Group> made;
    Group pooled{"pooled", {}};
    for (const std::uint32_t index : chosen) {
      const std::string_view rule = classifier_.rule_of(items[index]);
      if (rule.empty()) {
        pooled.items.push_back(index);
      } else {
        made.push_back({std::string{rule}, {index}});
      }
    }
    if (!pooled.items.empty()) made.insert(made.begin(), std::move(pooled));
    return made;
  }

 private:
  C classifier_;
};

/// Three kinds of tensors that an engine may want to replace one by one: large ones, those it would
/// transpose (a matrix with the vocabulary as a dimension, the embedding, the output), and the
/// query, key and value projections, which it would fuse. The first rule that holds is named.
struct MatrixRules {
  std::uint64_t large_above = 32 * MiB;  ///< bytes as stored; a tensor of just so many is not large
  std::optional<std::uint64_t> vocabulary{};  ///< elements; none: no tensor has that dimension
  bool transposed = true;
  bool qkv = true;

  /// With the vocabulary's size from the file: `ARCHITECTURE.vocab_size`, or the number of tokens.
  [[nodiscard]] static MatrixRules of(const gguf::File& file) {
    MatrixRules made;
    const gguf::Metadata& metadata = file.metadata();
    if (const gguf::Value* architecture = metadata.find("general.architecture");
        architecture != nullptr && architecture->type() == gguf::ValueType::string) {
      const std::string key = std::string{architecture->as<std::string_view>()} + ".vocab_size";
      if (const gguf::Value* size = metadata.find(key)) made.vocabulary = size->as_count();
    }
    const gguf::Value* tokens = metadata.find("tokenizer.ggml.tokens");
    if (!made.vocabulary && tokens != nullptr && tokens->type() == gguf::ValueType::array) {
      made.vocabulary = tokens->array().size();
    }
    return made;
  }

  [[nodiscard]] std::string_view rule_of(const Item& item) const {
    if (item.purpose != Purpose::weight) return {};
    if (item.bytes > large_above) return "large";
    if (transposed && is_transposed(item)) return "transposed";
    if (qkv && is_projection(item)) return "qkv";
    return {};
  }

 private:
  [[nodiscard]] bool is_transposed(const Item& item) const {
    if (item.shape.rank != 2) return false;
    if (vocabulary &&
        (item.shape.extent[0] == *vocabulary || item.shape.extent[1] == *vocabulary)) {
      return true;
    }
    return item.name.starts_with("token_embd.") || item.name.starts_with("output.");
  }

  [[nodiscard]] static bool is_projection(const Item& item) {
    if (item.shape.rank != 2) return false;
    constexpr std::string_view names[] = {".attn_q.", ".attn_k.", ".attn_v.", ".attn_qkv.",
                                          ".q_proj.", ".k_proj.", ".v_proj."};
    return std::any_of(std::begin(names), std::end(names), [&](std::string_view name) {
      return item.name.find(name) != std::string::npos;
    });
  }
};

static_assert(PlacementPolicy<OneArena> && PlacementPolicy<ArenasOf> &&
              PlacementPolicy<ChunkedArenas<1 * GiB>>);
static_assert(Classifier<MatrixRules> && PlacementPolicy<Selective<MatrixRules>>);

}  // namespace allot::load
