// SPDX-License-Identifier: MIT
/// \file
/// `gguf::model_memory_of`: what each layer of a model keeps between tokens, from the file's
/// metadata. `docs/memory.md` has each scheme and its formula.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/detail/architectures.hpp>
#include <allot/gguf/detail/layer_keys.hpp>
#include <allot/gguf/detail/layer_kinds.hpp>
#include <allot/gguf/detail/layer_rows.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/layer_memory.hpp>
#include <allot/gguf/metadata_rules.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace allot::gguf {

namespace detail {

/// Reads a model's memory in the order: what the file is, its layers, what each kind keeps.
///
/// \tparam Caller  until what has it is compiled, no part of this is
template <class Caller>
class MemoryReader {
 public:
  MemoryReader(const File& file, const MetadataRules& rules)
      : file_{file},
        rules_{rules},
        architecture_{text_of("general.architecture")},
        found_{find_architecture(architecture_)},
        keys_{file, rules, architecture_} {}

  [[nodiscard]] ModelMemory read() {
    if (is_a_model() && count_layers()) {
      LayerKindsReader<Caller> kinds_reader{keys_, rules_, found_};
      if (kinds_reader.read(kinds_) && expand_layers()) {
        LayerRows<Caller> rows{keys_, rules_, found_.facts, kinds_};
        rows.add_to(memory_);
      }
    }
    memory_.problem = keys_.problem();
    memory_.assumed = keys_.take_assumptions();
    if (!memory_.problem.empty()) {
      memory_.kept.clear();
      memory_.prediction.clear();
    }
    return std::move(memory_);
  }

 private:
  /// A file's number of layers is not trusted: beyond this many, each layer needs a tensor.
  static constexpr std::uint64_t usual_layers = 1024;

  [[nodiscard]] std::string text_of(const char* key) const {
    const Value* value = file_.metadata().find(key);
    if (value == nullptr || value->type() != ValueType::string) return {};
    return std::string{value->template as<std::string_view>()};
  }

  /// Returns false for what needs no such memory, such as an adapter.
  bool is_a_model() {
    if (architecture_.empty()) return keys_.fail_with("general.architecture is missing");
    const std::string type = text_of("general.type");
    const bool is_beside_one = type == "adapter" || type == "mmproj" || architecture_ == "clip";
    if (is_beside_one) {
      if (rules_.is_an_engine())
        keys_.fail_with("the file is not a model by itself (general.type " + type + ", " +
                        architecture_ + ")");
      return false;
    }
    if (found_.is_known) return true;
    if (rules_.only_known_architectures) {
      return keys_.fail_with("general.architecture is " + architecture_ + ", which " +
                             std::string{rules_.engine} + " does not know");
    }
    keys_.assume(architecture_ +
                 " is an architecture that is not known here: layers are taken to "
                 "keep what their keys say.");
    return true;
  }

  bool count_layers() {
    if (!keys_.has("block_count") && !rules_.is_an_engine()) {
      keys_.assume("The model is taken to keep nothing: " + keys_.prefix() +
                   "block_count is missing.");
      return false;
    }
    kinds_.layers = keys_.required("block_count");
    kinds_.has_decoder = found_.facts.has_decoder || keys_.has("decoder_block_count");
    if (kinds_.has_decoder && !rules_.caches_what_is_unused) {
      kinds_.layers = keys_.count_or("decoder_block_count", kinds_.layers);
      keys_.assume("The encoder's output is taken to be as long as the context.");
    }
    const std::uint64_t predicting = keys_.count_or("nextn_predict_layers", 0);
    if (rules_.is_an_engine()) {
      static_cast<void>(keys_.required("context_length"));
      static_cast<void>(keys_.required("embedding_length"));
    }
    if (keys_.has_failed()) return false;
    if (!is_plausible()) return false;
    if (predicting > kinds_.layers)
      return keys_.fail("nextn_predict_layers", "is more than there are layers");
    kinds_.trunk = kinds_.layers - predicting;
    if (found_.facts.is_compressed && predicting != 0 &&
        !keys_.has_tensor("blk." + std::to_string(kinds_.trunk) + ".nextn.eh_proj.weight")) {
      kinds_.trunk = kinds_.layers;  // the file leaves them out
    }
    if (kinds_.trunk != kinds_.layers && !rules_.is_an_engine()) {
      keys_.assume(
          predicting == 1
              ? "Nothing is counted for the last layer, which predicts further tokens (MTP)."
              : "Nothing is counted for the last " + std::to_string(predicting) +
                    " layers, which predict further tokens (MTP).");
    }
    return true;
  }

  bool is_plausible() {
    const std::uint64_t layers = kinds_.layers;
    if (rules_.most_layers != 0 && (layers == 0 || layers > rules_.most_layers)) {
      return keys_.fail("block_count", "is " + std::to_string(layers) + ", and " +
                                           std::string{rules_.engine} + " takes 1 to " +
                                           std::to_string(rules_.most_layers));
    }
    if (layers > usual_layers && layers > tensor_count())
      return keys_.fail("block_count", "is more than the file has tensors");
    return true;
  }

  [[nodiscard]] std::uint64_t tensor_count() const noexcept { return file_.tensors().size(); }

  /// Layers that run several times keep something each time; a router is one more layer.
  bool expand_layers() {
    const std::uint64_t loops =
        found_.facts.repeats_layers || !found_.is_known ? keys_.count_or("num_loops", 1) : 1;
    if (keys_.has_failed()) return false;
    const std::uint64_t most =
        rules_.most_layers != 0 ? rules_.most_layers : larger(usual_layers, tensor_count());
    if (loops == 0 || (kinds_.trunk != 0 && loops > most / kinds_.trunk))
      return keys_.fail("num_loops", "is " + std::to_string(loops));
    if (loops > 1) repeat(loops);
    if (!found_.facts.has_router) return true;
    kinds_.layers = kinds_.trunk + 1;
    resize();
    kinds_.heads.back() = kinds_.kv_heads.back() = 1;
    kinds_.trunk = kinds_.own_cache = kinds_.layers;
    return true;
  }

  void repeat(std::uint64_t loops) {
    const auto once = static_cast<std::size_t>(kinds_.trunk);
    const std::uint64_t predicting = kinds_.layers - kinds_.trunk;
    kinds_.layers = kinds_.own_cache = kinds_.trunk * loops;
    kinds_.trunk = kinds_.layers - (predicting < kinds_.layers ? predicting : 0);
    resize();
    for (std::size_t i = once; i < kinds_.layers; ++i) {
      kinds_.heads[i] = kinds_.heads[i % once];
      kinds_.kv_heads[i] = kinds_.kv_heads[i % once];
      kinds_.feed_forward[i] = kinds_.feed_forward[i % once];
      kinds_.has_window[i] = kinds_.has_window[i % once];
      kinds_.has_state[i] = kinds_.has_state[i % once];
    }
  }

  void resize() {
    const auto layers = static_cast<std::size_t>(kinds_.layers);
    kinds_.heads.resize(layers);
    kinds_.kv_heads.resize(layers);
    kinds_.feed_forward.resize(layers);
    kinds_.has_window.resize(layers);
    kinds_.has_state.resize(layers);
  }

  const File& file_;
  const MetadataRules& rules_;
  std::string architecture_;
  FoundArchitecture found_;
  LayerKeys<Caller> keys_;
  LayerKinds kinds_;
  ModelMemory memory_;
};

}  // namespace detail

/// Returns what each layer of a model keeps, by its metadata. What they do not say is assumed, and
/// said; what is wrong is the `problem`.
/// Complexity: linear in the layers.
template <class Caller = void>
[[nodiscard]] ModelMemory model_memory_of(const File& file, const MetadataRules& rules = {}) {
  return detail::MemoryReader<Caller>{file, rules}.read();
}

}  // namespace allot::gguf
