// SPDX-License-Identifier: MIT
/// \file
/// `os::AppendFile`: a file that grows at its end, and keeps what was written if the program ends.
#pragma once

#include <allot/os/descriptor.hpp>
#include <allot/os/detail/files.hpp>
#include <allot/os/file_error.hpp>
#include <allot/os/file_status.hpp>
#include <allot/os/path.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace allot::os {

/// A file that is open for writing at its end, as it is then.
class AppendFile {
 public:
  /// Opens a file, or makes it. Throws: `FileError` naming the file and the system's reason.
  explicit AppendFile(Path path) : path_{std::move(path).text()} {
    descriptor_ =
        Descriptor{::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)};
    if (!descriptor_.is_open()) throw_file_error(path_, 0, "cannot write");
  }

  /// Returns the bytes that there are; of what is not a regular file, such as a pipe, 0.
  /// Throws: `FileError`.
  [[nodiscard]] std::uint64_t size() const {
    FileStatus status;
    if (!detail::read_status(descriptor_.number(), status))
      throw_file_error(path_, 0, "cannot find the size");
    return status.kind == FileKind::regular ? status.bytes : 0;
  }

  /// Removes what follows the first `bytes` bytes. Throws: `FileError`.
  void cut(std::uint64_t bytes) {
    if (::ftruncate(descriptor_.number(), static_cast<::off_t>(bytes)) != 0)
      throw_file_error(path_, bytes, "cannot cut off the end");
  }

  /// Writes bytes at the end. Returns false if the system refuses some of them; the ones before may
  /// be there. Never calls the system allocator.
  [[nodiscard]] bool append(std::span<const std::byte> bytes) noexcept {
    constexpr std::size_t most = std::size_t{1} << 30;
    while (!bytes.empty()) {
      const std::size_t wanted = bytes.size() < most ? bytes.size() : most;
      const ::ssize_t put = ::write(descriptor_.number(), bytes.data(), wanted);
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
    return true;
  }

 private:
  std::string path_;
  Descriptor descriptor_;
};

}  // namespace allot::os
