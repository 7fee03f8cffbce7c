// SPDX-License-Identifier: MIT
/// \file
/// How `gguf::Writer` writes: `WriteOptions` one file, `SplitOptions` shards.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>

namespace allot::gguf {

struct WriteOptions {
  /// Called with the bytes written so far and in all; what it throws ends the writing.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
  /// Fills the last tensor up to the alignment, as ggml's writer does.
  bool pad_last_tensor = true;
  /// Waits until the file is on the disk before it takes the place of an older one: then power may
  /// fail, too, not only the program.
  bool sync = false;
};

struct SplitOptions : WriteOptions {
  /// Bytes of tensor data in a shard at most; a single larger tensor has a shard of its own.
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();
  /// Tensors in a shard at most.
  std::uint64_t max_tensors = std::numeric_limits<std::uint64_t>::max();
  /// The first shard has the metadata alone.
  bool no_tensor_first_split = false;
};

}  // namespace allot::gguf
