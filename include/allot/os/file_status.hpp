// SPDX-License-Identifier: MIT
/// \file
/// What the system says of a file: `os::FileStatus`, and `os::FileId`, which tells files apart.
#pragma once

#include <cstdint>

namespace allot::os {

/// Which file it is, by whatever name: links to it and other mounts have the same.
struct FileId {
  std::uint64_t device = 0;  ///< that the file is on
  std::uint64_t number = 0;  ///< of the file on the device

  friend bool operator==(const FileId&, const FileId&) noexcept = default;
};

/// What a name stands for: `other` is a device, a pipe, a socket.
enum class FileKind { regular, folder, other };

/// What the system says of a file.
struct FileStatus {
  FileKind kind = FileKind::other;  ///< of what the name leads to
  std::uint64_t bytes = 0;          ///< in it
  FileId id;                        ///< which file it is
  unsigned permissions = 0;         ///< as `chmod` takes them; 0 if the system has none
};

}  // namespace allot::os
