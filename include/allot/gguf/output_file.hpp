// SPDX-License-Identifier: MIT
/// \file
/// `gguf::OutputFile`: a file that is there as a whole or not at all.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace allot::gguf {

/// Writes beside the file that is meant, `NAME.partial-...`, and takes its place at the end. Until
/// `commit` the file that was there stays as it was; without it nothing is left. What is no regular
/// file (a device, a pipe) is written to as it is.
class OutputFile {
 public:
  /// Throws: `std::runtime_error` naming the file and the system's reason.
  explicit OutputFile(const std::filesystem::path& path) : path_{path} {
    std::error_code none;
    if (std::filesystem::is_symlink(path_, none)) {
      const auto target = std::filesystem::canonical(path_, none);
      if (!none) path_ = target;
    }
    struct stat old = {};
    const bool is_there = ::stat(path_.c_str(), &old) == 0;
    if (is_there && S_ISDIR(old.st_mode)) fail("it is a folder");
    if (is_there && !S_ISREG(old.st_mode)) {
      descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    } else {
      static std::atomic<unsigned> number{0};
      partial_ = path_;
      partial_ += ".partial-" + std::to_string(::getpid()) + "-" + std::to_string(number++);
      descriptor_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      // Who may read the old file may read the new one, and nobody else.
      if (descriptor_ >= 0 && is_there) ::fchmod(descriptor_, old.st_mode & 07777);
    }
    if (descriptor_ < 0) {
      partial_.clear();
      fail(std::strerror(errno));
    }
  }

  OutputFile(OutputFile&& other) noexcept
      : path_{std::move(other.path_)},
        partial_{std::exchange(other.partial_, {})},
        descriptor_{std::exchange(other.descriptor_, -1)} {}
  OutputFile& operator=(OutputFile&&) = delete;

  ~OutputFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!partial_.empty()) ::unlink(partial_.c_str());
  }

  /// Throws: `std::runtime_error`, as where the disk is full.
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::size_t wanted = std::min(bytes.size(), std::size_t{1} << 30);
      const ::ssize_t put = ::write(descriptor_, bytes.data(), wanted);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail(std::strerror(errno));
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
  }

  /// Closes the file: all of it was written.
  /// \param sync  also wait until it is on the disk
  /// Throws: `std::runtime_error`.
  void close(bool sync) {
    if (sync && !partial_.empty() && ::fsync(descriptor_) != 0) fail(std::strerror(errno));
    if (::close(std::exchange(descriptor_, -1)) != 0) fail(std::strerror(errno));
  }

  /// Takes the place of the file that is meant. Requires: `close` was called.
  /// Throws: `std::runtime_error`.
  void commit() {
    if (partial_.empty()) return;
    if (::rename(partial_.c_str(), path_.c_str()) != 0) fail(std::strerror(errno));
    partial_.clear();
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw std::runtime_error{"cannot write " + path_.string() + ": " + reason};
  }

  std::filesystem::path path_;
  std::filesystem::path partial_;  ///< empty: there is nothing to remove
  int descriptor_ = -1;
};

}  // namespace allot::gguf
