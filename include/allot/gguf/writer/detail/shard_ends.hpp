// SPDX-License-Identifier: MIT
/// \file
/// Divides tensors among shards.
/// Source of the rule: llama.cpp, tools/gguf-split.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/writer/options.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace allot::gguf::detail {

/// Returns for each shard the index behind its last tensor.
/// \param bytes  returns a tensor's bytes, by its index
/// Throws: `std::invalid_argument` if that makes more than 65,535 shards.
template <class Bytes>
[[nodiscard]] std::vector<std::size_t> shard_ends(std::size_t tensors, const Bytes& bytes,
                                                  const SplitOptions& options) {
  constexpr std::uint64_t too_many = largest_of<std::uint64_t>;
  std::vector<std::size_t> ends;
  if (options.no_tensor_first_split) ends.push_back(0);
  std::uint64_t full = 0;
  std::size_t first = 0;
  for (std::size_t i = 0; i < tensors; ++i) {
    const std::uint64_t padded = checked_align_up(bytes(i), 32).value_or(too_many);
    const auto sum = checked_add(full, padded);
    if (i > first && (!sum || *sum > options.max_bytes || i - first >= options.max_tensors)) {
      ends.push_back(i);
      first = i;
      full = padded;
    } else {
      full = sum.value_or(too_many);
    }
  }
  ends.push_back(tensors);
  constexpr std::size_t most = largest_of<std::uint16_t>;
  if (ends.size() > most) {
    throw std::invalid_argument{"that makes " + std::to_string(ends.size()) +
                                " shards; at most 65535 can be numbered"};
  }
  return ends;
}

}  // namespace allot::gguf::detail
