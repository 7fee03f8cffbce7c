// SPDX-License-Identifier: MIT
/// \file
/// `files.hpp` for POSIX systems: Linux, and what has none of Linux's own.
#pragma once

#include <allot/os/file_status.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace allot::os::detail {

[[nodiscard]] inline int open_to_read(const std::string& path) noexcept {
  // Opening a pipe without a writer would block forever; O_NONBLOCK does not affect regular files.
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}
[[nodiscard]] inline int open_to_write(const std::string& path) noexcept {
  return ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
}
[[nodiscard]] inline int open_new(const std::string& path) noexcept {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

/// The only path by which an ordinary user may open a file again, or link one without a name.
[[nodiscard]] inline std::string path_in_proc(int number) {
  return "/proc/self/fd/" + std::to_string(number);
}

/// \param folder  with its slash; empty: the current one
[[nodiscard]] inline int open_unnamed([[maybe_unused]] const std::string& folder) {
#if defined(O_TMPFILE)
  const int number =
      ::open(folder.empty() ? "." : folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
  if (number < 0 || ::access(path_in_proc(number).c_str(), F_OK) == 0) return number;
  ::close(number);  // no /proc here: it could not be given a name
#endif
  return -1;
}
[[nodiscard]] inline bool give_name(int number, const std::string& name) {
  return ::linkat(AT_FDCWD, path_in_proc(number).c_str(), AT_FDCWD, name.c_str(),
                  AT_SYMLINK_FOLLOW) == 0;
}

[[nodiscard]] inline int open_direct([[maybe_unused]] int number) {
#if defined(O_DIRECT)
  return ::open(path_in_proc(number).c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
#else
  return -1;
#endif
}

[[nodiscard]] inline int duplicate(int number) noexcept {
  return ::fcntl(number, F_DUPFD_CLOEXEC, 0);
}

[[nodiscard]] inline FileStatus status_from(const struct stat& status) noexcept {
  return {
      .kind = S_ISREG(status.st_mode)   ? FileKind::regular
              : S_ISDIR(status.st_mode) ? FileKind::folder
                                        : FileKind::other,
      .bytes = static_cast<std::uint64_t>(status.st_size),
      .id = {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)},
      .permissions = static_cast<unsigned>(status.st_mode & 07777)};
}
[[nodiscard]] inline bool read_status(int number, FileStatus& into) noexcept {
  struct stat status = {};
  if (::fstat(number, &status) != 0) return false;
  into = status_from(status);
  return true;
}
[[nodiscard]] inline bool read_status(const std::string& path, FileStatus& into) noexcept {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) return false;
  into = status_from(status);
  return true;
}

[[nodiscard]] inline std::string final_path(const std::string& path) {
  struct stat own = {};
  if (::lstat(path.c_str(), &own) != 0 || !S_ISLNK(own.st_mode)) return path;
  char* const target = ::realpath(path.c_str(), nullptr);
  if (target == nullptr) return path;
  struct Freer {
    char* target;
    ~Freer() { std::free(target); }
  } const freer{target};
  return target;
}

[[nodiscard]] inline std::int64_t read_at(int number, std::byte* into, std::size_t bytes,
                                          std::uint64_t offset) noexcept {
  ::ssize_t got = 0;
  do {
    got = ::pread(number, into, bytes, static_cast<::off_t>(offset));
  } while (got < 0 && errno == EINTR);
  return got;
}
[[nodiscard]] inline std::int64_t write_some(int number, const std::byte* from,
                                             std::size_t bytes) noexcept {
  ::ssize_t put = 0;
  do {
    put = ::write(number, from, bytes);
  } while (put < 0 && errno == EINTR);
  return put;
}

[[nodiscard]] inline bool set_permissions(int number, unsigned permissions) noexcept {
  FileStatus own;
  if (read_status(number, own) && own.permissions == permissions) return true;
  return ::fchmod(number, static_cast<::mode_t>(permissions)) == 0;
}
[[nodiscard]] inline bool flush_to_disk(int number) noexcept { return ::fsync(number) == 0; }
[[nodiscard]] inline bool replace_file(const std::string& from, const std::string& to) noexcept {
  return ::rename(from.c_str(), to.c_str()) == 0;
}
inline bool remove_file(const std::string& path) noexcept { return ::unlink(path.c_str()) == 0; }
[[nodiscard]] inline long process_number() noexcept { return ::getpid(); }

/// Requires: there are bytes.
[[nodiscard]] inline const std::byte* map_file(int number, std::size_t bytes) noexcept {
  void* const start = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, number, 0);
  return start == MAP_FAILED ? nullptr : static_cast<const std::byte*>(start);
}
inline void unmap_file(const std::byte* start, std::size_t bytes) noexcept {
  ::munmap(const_cast<std::byte*>(start), bytes);
}

}  // namespace allot::os::detail
