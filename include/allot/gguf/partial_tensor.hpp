// SPDX-License-Identifier: MIT
/// \file
/// `gguf::Reading`: how strictly a file is read; `gguf::PartialTensor`: a tensor that `TensorInfo`
/// cannot hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace allot::gguf {

/// What to do with a tensor that this library cannot load.
enum class Reading {
  strict,  ///< a tensor of an unknown type, of more than four dimensions or 64 bytes of name is refused
  lenient,  ///< what can be said of such a tensor is said: to look at a file, not to load it
};

/// A tensor of an unknown type, or of more than four dimensions, in a file that is read leniently.
struct PartialTensor {
  std::string_view name;                  ///< a view of the file's metadata
  std::uint32_t type;                     ///< its number in the file
  std::vector<std::uint64_t> dimensions;  ///< all of them; the first varies fastest
  std::uint64_t offset;                   ///< bytes from the start of its shard's tensor data
  std::optional<std::uint64_t> bytes;     ///< empty if the type is unknown
  std::uint32_t shard;                    ///< index into `File::shards()`

  /// Returns `tensor NAME has 5 dimensions; at most 4 can be planned, loaded or copied`.
  template <class = void>
  [[nodiscard]] std::string why_partial() const {
    const std::string text = "tensor " + std::string{name} + " has ";
    if (!bytes) {
      return text + "type " + std::to_string(type) +
             ", which is unknown: it cannot be planned, loaded or copied";
    }
    return text + std::to_string(dimensions.size()) +
           " dimensions; at most 4 can be planned, loaded or copied";
  }
};

}  // namespace allot::gguf
