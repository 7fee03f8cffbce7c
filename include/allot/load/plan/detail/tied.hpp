// SPDX-License-Identifier: MIT
/// \file
/// Tied embeddings: models whose output has no weights multiply with the embedding's. If
/// these are on another device than the output's norm, the output's device gets a copy.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>

#include <concepts>
#include <cstdint>
#include <string>

namespace allot::load::detail {

/// An output without weights.
struct TiedOutput {
  std::uint32_t embedding;  // the tensor's number
  std::string name;         // that its copy has
};

/// Returns the outputs that a model, and a draft model beside it, share with their embeddings.
template <class Owner = void>
[[nodiscard]] DeferredVector<TiedOutput, Owner> tied_outputs(
    const std::same_as<gguf::File> auto& file) {
  constexpr const char* namings[][3] = {
      {"token_embd.weight", "output.weight", "output_norm.weight"},
      {"token_embd.weight", "output.weight", "dec.output_norm.weight"},
      {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"},
      {"transformer.wte.weight", "lm_head.weight", "transformer.ln_f.weight"}};
  DeferredVector<TiedOutput, Owner> tied;
  for (const std::string prefix : {"", "draft:"}) {
    for (const auto& [embedding, output, norm] : namings) {
      const auto* const shared = file.find(prefix + embedding);
      if (shared == nullptr || shared->bytes == 0 || file.find(prefix + norm) == nullptr ||
          file.find(prefix + output) != nullptr) {
        continue;
      }
      tied.push_back({static_cast<std::uint32_t>(shared - file.tensors().data()), prefix + output});
      break;
    }
  }
  return tied;
}

}  // namespace allot::load::detail
