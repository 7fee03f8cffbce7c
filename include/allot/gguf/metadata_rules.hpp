// SPDX-License-Identifier: MIT
/// \file
/// `gguf::MetadataRules`: how strictly metadata are read. By default a file's own keys decide, and
/// what they leave open is assumed and reported; an engine has other rules.
#pragma once

#include <cstdint>
#include <string_view>

namespace allot::gguf {

/// How metadata are read. The default: as the model's makers meant them.
struct MetadataRules {
  std::string_view engine{};              ///< whose rules they are; empty: no engine's
  bool only_known_architectures = false;  ///< others are refused
  bool only_32_bit_counts = false;        ///< a count of another type is refused
  bool lists_match_layers = false;        ///< a list for each layer with another length is refused
  bool heads_from_first_layer = false;    ///< lengths of heads come from layer 0
  bool architecture_before_keys = false;  ///< what is fixed for an architecture beats a file's keys
  bool caches_what_is_unused = false;     ///< encoders get a cache, too
  std::uint32_t most_layers = 0;          ///< 0: no limit

  /// Returns whether these are an engine's rules.
  [[nodiscard]] constexpr bool is_an_engine() const noexcept { return !engine.empty(); }
};

}  // namespace allot::gguf
