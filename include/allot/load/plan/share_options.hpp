// SPDX-License-Identifier: MIT
/// \file
/// `load::Shares`: how many processes share a model, and how they divide it.
#pragma once

#include <cstdint>

namespace allot::load {

/// How a model is divided between processes ("ranks"): into stages of whole layers, and each stage
/// into parts of its matrices. The ranks are `pipeline` x `tensor`, stage after stage.
struct Shares {
  std::uint32_t pipeline = 1;   ///< stages, each of whole layers
  std::uint32_t tensor = 1;     ///< parts of each matrix of a stage
  bool move_to_blocks = false;  ///< a cut within a quantized block moves to the next one's start

  /// Returns the number of ranks.
  [[nodiscard]] std::uint64_t count() const noexcept {
    return std::uint64_t{pipeline} * std::uint64_t{tensor};
  }
};

/// Which share of a model a plan is.
struct ShareNumber {
  std::uint64_t rank;    ///< from 0
  std::uint64_t ranks;   ///< all of them
  std::uint32_t stage;   ///< from 0
  std::uint32_t stages;  ///< in all
  std::uint32_t part;    ///< of the stage's matrices, from 0
  std::uint32_t parts;   ///< in all
};

}  // namespace allot::load
