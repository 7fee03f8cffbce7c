// SPDX-License-Identifier: MIT
/// \file
/// The first of a plan's four steps: lays out everything that the model needs memory for. Tensors
/// are transformed as the options ask, some are fused, and the cache comes after them.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/cache.hpp>
#include <allot/load/plan/detail/fuse.hpp>
#include <allot/load/plan/detail/model_part.hpp>
#include <allot/load/plan/detail/tied.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/transform.hpp>
#include <allot/os/pattern.hpp>

#include <concepts>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load::detail {

template <class Owner = void>
[[nodiscard]] bool matches(const std::string& pattern, const std::string& name) noexcept {
  return os::matches(pattern.c_str(), name.c_str());
}

/// Throws: `std::invalid_argument`.
template <class Owner = void>
void check_transforms(const TransformOptions& options) {
  for (const auto& rule : deferred<Owner>(options.dequantize)) {
    if (rule.to != gguf::TensorType::F32 && rule.to != gguf::TensorType::F16 &&
        rule.to != gguf::TensorType::BF16) {
      throw std::invalid_argument{"tensors cannot be stored as " +
                                  std::string{gguf::type_name(rule.to)} + " (" + rule.names +
                                  "); use F32, F16 or BF16"};
    }
  }
  const std::uint64_t multiple = options.padding.multiple;
  if (options.padding.where != Padding::none &&
      (multiple == 0 || multiple % 256 != 0 || multiple > 65'536)) {
    throw std::invalid_argument{"rows cannot be padded to a multiple of " +
                                std::to_string(multiple) +
                                " elements; use a multiple of 256 (a block) up to 65536"};
  }
}

/// Returns a tensor's type in memory. Throws: `std::invalid_argument` if it cannot have that type.
template <class Owner = void>
[[nodiscard]] gguf::TensorType stored_type(const gguf::TensorInfo& tensor, const std::string& name,
                                           const TransformOptions& options) {
  for (const auto& rule : deferred<Owner>(options.dequantize)) {
    if (!matches(rule.names, name)) continue;
    if (rule.quantized_only && has_own_elements(tensor.type)) continue;
    if (tensor.type != rule.to && !gguf::has_values(tensor.type)) {
      throw std::invalid_argument{"tensor " + name + " is " +
                                  std::string{gguf::type_name(tensor.type)} +
                                  ", which holds intermediate results and cannot be dequantized; "
                                  "leave it out of the rule " +
                                  rule.names};
    }
    return rule.to;
  }
  return tensor.type;
}

template <class Owner = void>
[[nodiscard]] bool is_to_be_transposed(const gguf::TensorInfo& tensor, const std::string& name,
                                       const TransformOptions& options) noexcept {
  if (tensor.shape.rank < 2) return false;
  for (const auto& pattern : deferred<Owner>(options.transpose)) {
    if (matches(pattern, name)) return true;
  }
  return false;
}

/// \param cut  the part of the tensor that is wanted; empty: all of it
/// Throws: `std::invalid_argument` for a tensor that cannot be transformed as asked.
template <class Owner = void>
[[nodiscard]] ItemLayout lay_out_tensor(const gguf::TensorInfo& tensor,
                                        const TransformOptions& options,
                                        const std::optional<TensorCut>& cut = {}) {
  Form form{.name = std::string{tensor.name}, .type = tensor.type, .shape = tensor.shape};
  const auto& wanted = deferred<Owner>(cut);
  if (wanted) form.shape.extent[wanted->dimension] = wanted->extent();
  form.type = stored_type(tensor, form.name, options);
  form.transposed = is_to_be_transposed(tensor, form.name, options);
  if (form.transposed) {
    if (!has_own_elements(form.type)) {
      throw std::invalid_argument{"tensor " + form.name + " is " +
                                  std::string{gguf::type_name(form.type)} +
                                  ", whose blocks run along its rows: it can be transposed only "
                                  "if it is dequantized too"};
    }
    std::swap(form.shape.extent[0], form.shape.extent[1]);
  }
  Deferred<ItemLayout, Owner> item = lay_out(std::move(form), options.padding);
  item.cut = wanted;
  return item;
}

/// Returns true if a plan is to have a tensor of that name.
template <class Owner = void>
[[nodiscard]] bool is_wanted(const std::string& name,
                             const DeferredVector<std::string, Owner>& only) noexcept {
  for (const std::string& pattern : only) {
    if (matches(pattern, name)) return true;
  }
  return only.empty();
}

/// Returns the layout of a tensor that stays in the file.
template <class Owner = void>
[[nodiscard]] ItemLayout leave_out(const gguf::TensorInfo& tensor) {
  ItemLayout item =
      lay_out({.name = std::string{tensor.name}, .type = tensor.type, .shape = tensor.shape});
  item.bytes = 0;
  item.left_out = true;
  return item;
}

/// Throws: `std::invalid_argument` if patterns leave nothing of a model.
template <class Owner = void>
void require_some(const DeferredVector<ItemLayout, Owner>& tensors,
                  const DeferredVector<std::string, Owner>& only) {
  for (const ItemLayout& tensor : tensors) {
    if (!tensor.left_out) return;
  }
  if (tensors.empty()) return;
  std::string patterns;
  for (const std::string& pattern : only) patterns += (patterns.empty() ? "" : ", ") + pattern;
  throw std::invalid_argument{"no tensor has a name like " + patterns + ", so nothing is left of " +
                              std::to_string(tensors.size()) +
                              " tensors; use patterns such as blk.*.attn_*"};
}

/// Adds copies of embeddings for outputs without weights; dividing the model says
/// which of them are needed.
void add_copies(std::vector<ItemLayout>& items, const std::same_as<gguf::File> auto& file,
                const TransformOptions& transforms) {
  for (const TiedOutput& tied : tied_outputs(file)) {
    if (items[tied.embedding].left_out) continue;
    gguf::TensorInfo tensor = file.tensors()[tied.embedding];
    tensor.name = tied.name;
    ItemLayout copy = lay_out_tensor(tensor, transforms);
    copy.purpose = Purpose::copy;
    copy.copy_of = tied.embedding;
    copy.file = items[tied.embedding].file;
    items.push_back(std::move(copy));
  }
}

/// Returns the number of the file that a draft model's tensors are of; 0 if there are none.
template <class Owner = void>
[[nodiscard]] std::uint32_t file_of_draft(const DeferredVector<ItemLayout, Owner>& items) noexcept {
  for (const ItemLayout& item : items) {
    if (item.file != 0 && item.name.starts_with("draft:")) return item.file;
  }
  return 0;
}

/// Returns the options of a draft model's cache: those of the model's, but it predicts nothing.
template <class Owner = void>
[[nodiscard]] CacheOptions draft_cache(CacheOptions options) {
  options.prediction = false;
  return options;
}

/// Lays out everything but scratch memory, in the order of the plan.
/// \param only     patterns of the names of tensors to load; none: all of them
/// \param divided  several devices share the model
/// \param draft    the draft model that was added to the file, if any
/// \param part     what of the model is wanted; null: all of it
/// Throws: as `make_plan` does for transforms and for the cache.
template <class Owner = void>
[[nodiscard]] Layouts<Owner> lay_out_model(const std::same_as<gguf::File> auto& file,
                                           const TransformOptions& transforms,
                                           const std::vector<std::string>& only,
                                           const std::optional<CacheOptions>& cache, bool divided,
                                           const gguf::File* draft,
                                           const ModelPart* part = nullptr) {
  require_complete(file);
  check_transforms(transforms);
  DeferredVector<ItemLayout, Owner> tensors;
  tensors.reserve(file.tensors().size());
  for (const auto& tensor : file.tensors()) {
    const auto* const own = part == nullptr ? nullptr : &part->tensors[tensors.size()];
    const bool is_there = own == nullptr || own->is_there;
    if (is_there && is_wanted(std::string{tensor.name}, only)) {
      tensors.push_back(own == nullptr ? lay_out_tensor(tensor, transforms)
                                       : lay_out_tensor(tensor, transforms, own->cut));
    } else {
      tensors.push_back(leave_out(tensor));
    }
    tensors.back().file = file.origin_of(tensor);
  }
  if (part == nullptr) require_some(tensors, only);
  Layouts<Owner> layouts = fuse<Owner>(std::move(tensors), transforms);
  for (const ItemLayout& item : layouts.items) {
    if (item.part_of) layouts.items[item.part_of->item].file = item.file;
  }
  if (divided) add_copies(layouts.items, file, transforms);
  if (cache) {
    auto items = cache_items_of(file, *cache, part);
    for (auto& item : items) layouts.items.push_back(std::move(item));
  }
  if (cache && draft != nullptr) {
    const std::uint32_t draft_file = file_of_draft(layouts.items);
    for (auto& item : cache_items<Owner>(*draft, draft_cache<Owner>(*cache))) {
      item.name.insert(0, "draft:");
      item.file = draft_file;
      layouts.items.push_back(std::move(item));
    }
  }
  return layouts;
}

}  // namespace allot::load::detail
