// SPDX-License-Identifier: MIT
/// \file
/// `os::DirectFile`: reads that bypass the page cache, in whole blocks of the file.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/os/descriptor.hpp>
#include <allot/os/detail/files.hpp>
#include <allot/os/file_error.hpp>
#include <allot/os/input_file.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace allot::os {

/// A file, opened a second time for direct reads.
class DirectFile {
 public:
  /// Offsets, sizes and addresses of direct reads are multiples of this many bytes: enough for
  /// every file system whose blocks are not larger.
  static constexpr std::uint64_t alignment = 4 * KiB;

  /// Returns the bytes that a buffer needs for a read of `bytes` bytes.
  [[nodiscard]] static constexpr std::uint64_t room_for(std::uint64_t bytes) noexcept {
    return align_down(bytes + 2 * alignment - 1, alignment);
  }

  /// \param file  must outlive this
  explicit DirectFile(const InputFile& file)
      : file_{&file}, descriptor_{detail::open_direct(file.descriptor())} {}
  DirectFile(DirectFile&&) noexcept = default;
  DirectFile& operator=(DirectFile&&) = delete;
  ~DirectFile() = default;

  /// Returns false if the system, or this file's file system, does not support direct reads.
  [[nodiscard]] bool is_open() const noexcept { return descriptor_.is_open(); }

  /// Reads `bytes` bytes from `offset` on into `buffer`, which begins at a multiple of `alignment`
  /// and has `room_for(bytes)` bytes. Returns their address in it, or null if the file system
  /// refuses this read. Throws: `FileError`.
  [[nodiscard]] const std::byte* read(std::uint64_t offset, std::uint64_t bytes,
                                      std::span<std::byte> buffer) const {
    const std::uint64_t first = align_down(offset, alignment);
    const std::uint64_t front = offset - first;
    const std::uint64_t wanted = align_down(front + bytes + alignment - 1, alignment);
    std::uint64_t at = 0;
    while (at < front + bytes) {
      const std::int64_t got = detail::read_at(descriptor_.number(), buffer.data() + at,
                                               static_cast<std::size_t>(wanted - at), first + at);
      if (got < 0 && errno == EINVAL) return nullptr;
      if (got < 0) throw_file_error(file_->path(), first + at, "cannot read");
      const std::uint64_t next = at + static_cast<std::uint64_t>(got);
      if (next >= front + bytes) break;
      // A read that ends inside a block: at the end of the file, the next one returns nothing.
      if (align_down(next, alignment) == at) file_->throw_ended(first + next, front + bytes - next);
      at = align_down(next, alignment);
    }
    return buffer.data() + front;
  }

 private:
  const InputFile* file_;
  Descriptor descriptor_;
};

}  // namespace allot::os
