// SPDX-License-Identifier: MIT
/// \file
/// Options of `gguf::Writer`: `WriteOptions` for one file, `SplitOptions` for shards.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/progress.hpp>

#include <cstdint>

namespace allot::gguf {

/// How a file is written.
struct WriteOptions {
  /// Called with the bytes of tensor data written so far and in total. If it returns false or throws,
  /// nothing is written.
  ProgressCallback progress = {};
  /// Pads the last tensor to the alignment, as ggml's writer does.
  bool pad_last_tensor = true;
  /// Waits until the file is on the disk before it replaces an older one, so that not even a power
  /// failure loses both.
  bool sync = false;
};

/// How a model is divided into shards.
struct SplitOptions : WriteOptions {
  /// The most bytes of tensor data in a shard; a larger tensor gets its own shard.
  std::uint64_t max_bytes = largest_of<std::uint64_t>;
  /// The most tensors in a shard.
  std::uint64_t max_tensors = largest_of<std::uint64_t>;
  /// If true, the first shard has only metadata.
  bool no_tensor_first_split = false;
};

}  // namespace allot::gguf
