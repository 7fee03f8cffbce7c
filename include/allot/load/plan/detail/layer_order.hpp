// SPDX-License-Identifier: MIT
/// \file
/// The order of a model's layers, by the names of its tensors (`layer_name.hpp`). In a file without
/// any word for layers, any number between two dots is a layer. What has no layer comes first
/// (embeddings), or last if its name says output, head or final norm.
#pragma once

#include <allot/core/deferred.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/load/plan/layer_name.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace allot::load::detail {

/// Returns true for a tensor that comes after all layers of its stack: the output and the norm
/// before it.
template <class Owner = void>
[[nodiscard]] bool is_after_layers(std::string_view name) noexcept {
  name.remove_prefix(name.find(':') + 1);  // what names the file
  // What models and parts of them are called, before the words that matter.
  constexpr std::string_view prefixes[] = {
      "model.",    "transformer.",     "language_model.", "decoder.",    "encoder.", "dec.", "enc.",
      "gpt_neox.", "diffusion_model.", "backbone.",       "text_model.", "v.",       "a."};
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view prefix : prefixes) {
      if (!name.starts_with(prefix)) continue;
      name.remove_prefix(prefix.size());
      found = true;
    }
  }
  for (const std::string_view word :
       {"output",      "lm_head", "embed_out",      "head.",     "final_",
        "norm.",       "norm_f.", "norm_out.",      "ln_f.",     "ln_out.",
        "last_layer",  "out.",    "proj_out",       "score.",    "cls.",
        "classifier.", "post_ln", "post_layernorm", "post_norm", "mm."}) {
    if (name.starts_with(word)) return true;
  }
  return false;
}

/// The position of items in the order of layers. Each file's: what comes before its layers; its
/// layers, stack after stack in file order, decoders last; its output.
///
/// \tparam Owner  any type of the caller's: this is compiled only when the caller is
template <class Owner = void>
class LayerOrder {
  /// Returns the name at a place, for the index.
  struct NameAt {
    const LayerOrder* self;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      return self->stacks_[place].name;
    }
  };

 public:
  /// The place of the first file's output: nothing of that file comes after it.
  static constexpr std::uint64_t output = (std::uint64_t{1} << 48) - 1;

  /// Requires: the items' names outlive this. Complexity: linear.
  template <class Items>
  explicit LayerOrder(const Items& items) {
    add_stacks(items);
    if (stacks_.empty()) {
      word_ = LayerWord::any;
      add_stacks(items);
    }
    order_stacks();
  }

  /// Returns false if no item's name has a layer.
  [[nodiscard]] bool has_layers() const noexcept { return !stacks_.empty(); }

  /// \param item  an `ItemLayout`
  template <class ItemType>
  [[nodiscard]] std::uint64_t place_of(const ItemType& item) const {
    if (is_of_adapter(item)) {  // belongs to what it adapts
      Deferred<ItemLayout, ItemType> adapted = item;
      adapted.file = 0;
      adapted.name.erase(0, adapted.name.find(':') + 1);
      return place_of(adapted);
    }
    const std::uint64_t file = std::uint64_t{item.file & 0xffffU} << 48;
    if (item.purpose == Purpose::copy) return file + output;
    if (item.purpose == Purpose::cache) {
      const auto layer = layer_name_of(item.name, LayerWord::any);
      return file + (layer ? place(ends_of(item.file).decoder, layer->number) : 0);
    }
    if (const auto layer = layer_name_of(item.name, word_)) {
      const auto found = names_.find(layer->stack, NameAt{this});
      return file + (found ? place(stacks_[*found].place, layer->number) : 0);
    }
    if (!is_after_layers(item.name)) return file;
    const auto encoder = ends_of(item.file).encoder;
    const bool encodes = item.name.starts_with("enc.") || item.name.starts_with("encoder.");
    return file + (encodes && encoder ? place(*encoder, ~std::uint64_t{0}) : output);
  }

 private:
  struct Stack {
    std::string_view name;
    std::uint64_t place;  // in the order of layers
    std::uint32_t file;
    bool decodes;
  };

  [[nodiscard]] static std::uint64_t place(std::uint64_t stack, std::uint64_t number) noexcept {
    constexpr std::uint64_t most = 0xffff'fffe;
    return ((stack & 0x7fffU) << 32) + (number < most ? number : most) + 1;
  }

  [[nodiscard]] static bool is_of_adapter(const ItemLayout& item) noexcept {
    return item.file != 0 && item.name.starts_with("lora");
  }

  template <class Items>
  void add_stacks(const Items& items) {
    for (const auto& item : items) {
      if (item.purpose != Purpose::weight || is_of_adapter(item)) continue;
      const auto layer = layer_name_of(item.name, word_);
      if (!layer || !names_.add(layer->stack, stacks_.size(), NameAt{this})) continue;
      const bool decodes = layer->stack.starts_with("dec.") ||
                           layer->stack.find("decoder.") != std::string_view::npos;
      stacks_.push_back({layer->stack, 0, item.file, decodes});
    }
  }

  void order_stacks() {
    std::uint64_t count = 0;
    for (const bool decodes : {false, true}) {  // what decodes comes after what it decodes
      for (Stack& stack : stacks_) {
        if (stack.decodes == decodes) stack.place = count++;
      }
    }
    for (const Stack& stack : stacks_) {
      if (stack.file >= ends_.size()) ends_.resize(stack.file + std::size_t{1});
      Ends& ends = ends_[stack.file];
      if (stack.name.starts_with("enc.") || stack.name.starts_with("encoder."))
        ends.encoder = stack.place;
      const bool is_plain = stack.name.substr(stack.name.find(':') + 1).empty();
      if (is_plain || (!ends.is_plain && stack.place >= ends.decoder)) ends.decoder = stack.place;
      ends.is_plain = ends.is_plain || is_plain;
    }
  }

  /// Stacks of a file that what has no number belongs to.
  struct Ends {
    std::uint64_t decoder = 0;  // whose layers keep the cache: that of `blk.`, or the last
    bool is_plain = false;      // it is that of `blk.`
    std::optional<std::uint64_t> encoder{};
  };
  [[nodiscard]] Ends ends_of(std::uint32_t file) const noexcept {
    return file < ends_.size() ? ends_[file] : Ends{};
  }

  DeferredVector<Stack, Owner> stacks_;
  DeferredVector<Ends, Owner> ends_;  // by file
  gguf::NameIndex names_;
  LayerWord word_ = LayerWord::named;
};

}  // namespace allot::load::detail
