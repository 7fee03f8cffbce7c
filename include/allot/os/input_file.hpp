// SPDX-License-Identifier: MIT
/// \file
/// `os::InputFile`: a file open for reading, from any offset, by any thread.
#pragma once

#include <allot/os/descriptor.hpp>
#include <allot/os/detail/files.hpp>
#include <allot/os/file_error.hpp>
#include <allot/os/path.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace allot::os {

/// A regular file. It remains the file that was opened, even if its path now names another.
class InputFile {
 public:
  /// Throws: `FileError` if it cannot be opened, or is not a regular file.
  explicit InputFile(Path path) : path_{std::move(path).text()} {
    descriptor_ = Descriptor{detail::open_to_read(path_)};
    if (!descriptor_.is_open()) throw_file_error(path_, 0, "cannot open");
    FileStatus status;
    if (!detail::read_status(descriptor(), status)) throw_file_error(path_, 0, "cannot open");
    if (status.kind == FileKind::folder) throw FileError{path_, 0, "a folder; name a file in it"};
    if (status.kind != FileKind::regular) throw FileError{path_, 0, "not a regular file"};
    size_ = status.bytes;
    id_ = status.id;
  }

  InputFile(InputFile&&) noexcept = default;
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile() = default;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// The descriptor, for other kinds of reads. The object closes it.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_.number(); }
  /// The bytes in the file when it was opened.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

  /// Which file it is, whatever its names.
  [[nodiscard]] const FileId& id() const noexcept { return id_; }

  /// Fills `into` with the bytes from `offset` on. Several threads may read at once.
  /// Throws: `FileError` if the file ends before that, or cannot be read.
  void read(std::uint64_t offset, std::span<std::byte> into) const {
    constexpr std::size_t most = std::size_t{1} << 30;
    std::byte* at = into.data();
    for (std::size_t left = into.size(); left != 0;) {
      const std::size_t wanted = left < most ? left : most;
      const std::int64_t got = detail::read_at(descriptor(), at, wanted, offset);
      if (got < 0) throw_file_error(path_, offset, "cannot read");
      if (got == 0) throw_ended(offset, left);
      at += got;
      left -= static_cast<std::size_t>(got);
      offset += static_cast<std::uint64_t>(got);
    }
  }

  /// Throws: `FileError`: the file ends before what should be there.
  [[noreturn]] void throw_ended(std::uint64_t offset, std::uint64_t missing) const {
    throw FileError{path_, offset,
                    "the file ends here, " + std::to_string(missing) +
                        " bytes short; it was cut off or changed while open"};
  }

 private:
  std::string path_;
  Descriptor descriptor_;
  std::uint64_t size_ = 0;
  FileId id_;
};

}  // namespace allot::os
