// SPDX-License-Identifier: MIT
/// \file
/// Reads past the page cache (`O_DIRECT`): for models that are read once, or larger than memory.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/error.hpp>
#include <allot/gguf/shard.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

namespace allot::load::detail {

/// A shard, opened once more for direct reads.
class DirectFile {
 public:
  /// What offsets, sizes and addresses of direct reads are multiples of, bytes: what every file
  /// system takes whose blocks are no larger.
  static constexpr std::uint64_t alignment = 4 * KiB;

  /// Bytes that a buffer must have for a read of `bytes`.
  [[nodiscard]] static constexpr std::uint64_t room_for(std::uint64_t bytes) noexcept {
    return align_down(bytes + 2 * alignment - 1, alignment);
  }

  /// The file that is open, even where its path names another by now.
  explicit DirectFile(const gguf::Shard& shard)
      : shard_{&shard},
        descriptor_{::open(("/proc/self/fd/" + std::to_string(shard.descriptor())).c_str(),
                           O_RDONLY | O_CLOEXEC | O_DIRECT)} {}
  DirectFile(DirectFile&& other) noexcept
      : shard_{other.shard_}, descriptor_{std::exchange(other.descriptor_, -1)} {}
  DirectFile& operator=(DirectFile&&) = delete;
  ~DirectFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  /// False where the file system has no direct reads.
  [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }

  /// Reads `bytes` bytes from `offset` on into `buffer`, which begins at a multiple of `alignment`
  /// and has `room_for(bytes)`. Returns where they begin in it; null where the file system refuses
  /// this read. Throws: `gguf::ParseError`.
  [[nodiscard]] const std::byte* read(std::uint64_t offset, std::uint64_t bytes,
                                      std::span<std::byte> buffer) const {
    const std::uint64_t first = align_down(offset, alignment);
    const std::uint64_t front = offset - first;
    const std::uint64_t wanted = align_down(front + bytes + alignment - 1, alignment);
    std::uint64_t at = 0;
    while (at < front + bytes) {
      const ::ssize_t got =
          ::pread(descriptor_, buffer.data() + at, static_cast<std::size_t>(wanted - at),
                  static_cast<::off_t>(first + at));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EINVAL) return nullptr;
      if (got < 0) {
        throw gguf::ParseError{shard_->path(), first + at,
                               std::string{"cannot read: "} + std::strerror(errno)};
      }
      const std::uint64_t next = at + static_cast<std::uint64_t>(got);
      if (next >= front + bytes) break;
      // Cut short inside a block: where that is the end of the file, the next read gets nothing.
      if (align_down(next, alignment) == at) {
        throw gguf::ParseError{shard_->path(), first + next,
                               "the file ends here, " + std::to_string(front + bytes - next) +
                                   " bytes short; it was cut off or changed while open"};
      }
      at = align_down(next, alignment);
    }
    return buffer.data() + front;
  }

 private:
  const gguf::Shard* shard_;
  int descriptor_;
};

}  // namespace allot::load::detail
