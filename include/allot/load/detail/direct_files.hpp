// SPDX-License-Identifier: MIT
/// \file
/// Reads batches past the page cache, if that is wanted and possible.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/detail/batches.hpp>
#include <allot/os/atomic.hpp>
#include <allot/os/direct_file.hpp>

#include <cstddef>
#include <string>

namespace allot::load::detail {

/// Files to read past the page cache, if that is wanted and possible.
///
/// \tparam Owner  any type of the caller's: this is compiled only when the caller is
template <class Owner>
class DirectFiles {
 public:
  DirectFiles(const gguf::File& file, bool wanted, DeferredVector<std::string, Owner>& fallbacks) {
    if (!wanted) return;
    for (const gguf::Shard& shard : file.shards()) files_.emplace_back(shard.file());
    if (all_are_open()) return;
    files_.clear();
    fallbacks.push_back(
        "the file system does not support direct reads; read through the page cache");
  }

  [[nodiscard]] bool in_use() const noexcept { return !files_.empty(); }
  [[nodiscard]] bool were_refused() const noexcept { return refused_.load(); }

  /// Reads a batch into a slot and returns where its first byte is.
  [[nodiscard]] const std::byte* read(const gguf::Shard& shard, const Batch& batch,
                                      DeferredSpan<std::byte, Owner> slot) {
    if (in_use() && !were_refused()) {
      const std::byte* const first = read_directly(batch, slot);
      if (first != nullptr) {
        shard.count_read(batch.bytes);
        return first;
      }
      refused_.store(true);
    }
    shard.read(batch.file_offset, slot.first(static_cast<std::size_t>(batch.bytes)));
    return slot.data();
  }

 private:
  [[nodiscard]] const std::byte* read_directly(const Batch& batch,
                                               DeferredSpan<std::byte, Owner> slot) const {
    try {
      return files_[batch.shard].read(batch.file_offset, batch.bytes, slot);
    } catch (const os::FileError& error) {
      throw gguf::ParseError{error};
    }
  }

  [[nodiscard]] bool all_are_open() const noexcept {
    for (const os::DirectFile& file : files_) {
      if (!file.is_open()) return false;
    }
    return true;
  }

  DeferredVector<os::DirectFile, Owner> files_;
  os::Atomic<bool> refused_{false};
};

}  // namespace allot::load::detail
