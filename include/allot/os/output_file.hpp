// SPDX-License-Identifier: MIT
/// \file
/// `os::OutputFile`: a file that is there as a whole or not at all.
#pragma once

#include <allot/os/file_error.hpp>
#include <allot/os/path.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace allot::os {

/// Writes beside the file that is meant and takes its place at the end. Until `commit` the file
/// that was there stays as it was; without it nothing is left. What is not a regular file (a
/// device, a pipe) is written to as it is.
///
/// If the file system can, as ext4, XFS, Btrfs and tmpfs do, what is written has no name, so that
/// nothing is left of a program that is killed either. Elsewhere its name is `NAME.partial-...`.
class OutputFile {
 public:
  /// Whether what is written may be without a name. Then it stays open until it is given one.
  enum class Partial { unnamed, named };

  /// Throws: `std::runtime_error` naming the file and the system's reason.
  explicit OutputFile(Path path, Partial partial = Partial::unnamed)
      : path_{std::move(path).text()} {
    follow_link();
    struct stat old = {};
    const bool is_there = ::stat(path_.c_str(), &old) == 0;
    if (is_there && S_ISDIR(old.st_mode)) fail("it is a folder");
    if (is_there && !S_ISREG(old.st_mode)) {
      descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    } else {
      if (partial == Partial::unnamed) open_unnamed();
      if (descriptor_ < 0) open_named();
      // Those who may read the old file may read the new one, and no one else.
      if (descriptor_ >= 0 && is_there) ::fchmod(descriptor_, old.st_mode & 07777);
    }
    if (descriptor_ < 0) {
      partial_.clear();
      fail(reason());
    }
  }

  OutputFile(OutputFile&& other) noexcept
      : path_{std::move(other.path_)},
        partial_{std::exchange(other.partial_, {})},
        is_unnamed_{std::exchange(other.is_unnamed_, false)},
        descriptor_{std::exchange(other.descriptor_, -1)} {}
  OutputFile& operator=(OutputFile&&) = delete;

  ~OutputFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!partial_.empty()) ::unlink(partial_.c_str());
  }

  /// Throws: `std::runtime_error`, as when the disk is full.
  void write(std::span<const std::byte> bytes) {
    constexpr std::size_t most = std::size_t{1} << 30;
    while (!bytes.empty()) {
      const std::size_t wanted = bytes.size() < most ? bytes.size() : most;
      const ::ssize_t put = ::write(descriptor_, bytes.data(), wanted);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail(reason());
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
  }

  /// All was written: closes the file, if it has a name.
  /// \param sync  also wait until it is on the disk
  /// Throws: `std::runtime_error`.
  void close(bool sync) {
    const bool is_regular = is_unnamed_ || !partial_.empty();
    if (sync && is_regular && ::fsync(descriptor_) != 0) fail(reason());
    if (!is_unnamed_) close_descriptor();
  }

  /// Gives the file its temporary name, if it has none yet, and closes it. Requires: `close` was
  /// called. Throws: `std::runtime_error`.
  void give_name() {
    if (!is_unnamed_) return;
    std::string name = partial_name();
    if (::linkat(AT_FDCWD, in_proc().c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
      fail(reason());
    is_unnamed_ = false;
    partial_ = std::move(name);
    close_descriptor();
  }

  /// Takes the place of the file that is meant. Requires: `close` was called.
  /// Throws: `std::runtime_error`.
  void commit() {
    give_name();
    if (partial_.empty()) return;
    if (::rename(partial_.c_str(), path_.c_str()) != 0) fail(reason());
    partial_.clear();
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw std::runtime_error{"cannot write " + path_ + ": " + why};
  }

  /// A link stays what it is: the file that it names is replaced.
  void follow_link() {
    struct stat own = {};
    if (::lstat(path_.c_str(), &own) != 0 || !S_ISLNK(own.st_mode)) return;
    if (char* const target = ::realpath(path_.c_str(), nullptr)) {
      path_ = target;
      std::free(target);
    }
  }

  [[nodiscard]] std::string partial_name() const {
    static unsigned next = 0;
    const unsigned number = __atomic_fetch_add(&next, 1U, __ATOMIC_RELAXED);
    return path_ + ".partial-" + std::to_string(::getpid()) + "-" + std::to_string(number);
  }

  /// The only path to a file without a name that an ordinary user may link.
  [[nodiscard]] std::string in_proc() const {
    return "/proc/self/fd/" + std::to_string(descriptor_);
  }

  void open_unnamed() {
#ifdef O_TMPFILE
    const std::string_view folder = folder_of(path_);
    descriptor_ = ::open(folder.empty() ? "." : std::string{folder}.c_str(),
                         O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    if (descriptor_ < 0) return;
    is_unnamed_ = ::access(in_proc().c_str(), F_OK) == 0;
    if (!is_unnamed_) ::close(std::exchange(descriptor_, -1));  // no /proc here
#endif
  }

  void open_named() {
    partial_ = partial_name();
    descriptor_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  }

  void close_descriptor() {
    if (::close(std::exchange(descriptor_, -1)) != 0) fail(reason());
  }

  std::string path_;
  std::string partial_;  ///< empty: there is nothing to remove
  bool is_unnamed_ = false;
  int descriptor_ = -1;
};

}  // namespace allot::os
