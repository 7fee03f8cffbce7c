// SPDX-License-Identifier: MIT
/// \file
/// `os::OutputFile`: a file that is written completely or not at all.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/os/descriptor.hpp>
#include <allot/os/detail/files.hpp>
#include <allot/os/file_error.hpp>
#include <allot/os/path.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace allot::os {

/// Writes a new file beside the target and replaces the target at the end. Until `commit`, an old
/// target stays as it was; without `commit`, nothing is left. A target that is not a regular file
/// (a device, a pipe) is written to directly; so is an open descriptor (`/dev/stdout`, `/dev/fd/N`),
/// whatever is behind it.
///
/// If the file system supports it (ext4, XFS, Btrfs and tmpfs do), the new file has no name, so
/// that a killed program leaves nothing behind either. Elsewhere its name is
/// `.allot-PROCESS-NUMBER`, in the same folder.
class OutputFile {
 public:
  /// A new file may be without a name. It then stays open until it is given one.
  enum class Partial { unnamed, named };

  /// Throws: `std::runtime_error` naming the file and the system's reason.
  explicit OutputFile(Path path, Partial partial = Partial::unnamed)
      : path_{std::move(path).text()} {
    if (const int number = number_in(path_); number >= 0) {
      descriptor_ = Descriptor{detail::duplicate(number)};
      if (!descriptor_.is_open()) fail(reason());
      return;
    }
    path_ = detail::final_path(path_);  // a symbolic link stays, what it points to is replaced
    FileStatus old;
    const bool is_there = detail::read_status(path_, old);
    if (is_there && old.kind == FileKind::folder) fail("it is a folder");
    if (is_there && old.kind != FileKind::regular) {
      descriptor_ = Descriptor{detail::open_to_write(path_)};
    } else {
      if (partial == Partial::unnamed) open_unnamed();
      if (!descriptor_.is_open()) open_named();
      if (descriptor_.is_open() && is_there) set_permissions(old.permissions);
    }
    if (!descriptor_.is_open()) {
      partial_.clear();
      fail(reason());
    }
  }

  OutputFile(OutputFile&& other) noexcept
      : path_{std::move(other.path_)},
        partial_{std::exchange(other.partial_, {})},
        is_unnamed_{std::exchange(other.is_unnamed_, false)},
        written_{other.written_},
        descriptor_{std::move(other.descriptor_)} {}
  OutputFile& operator=(OutputFile&&) = delete;

  ~OutputFile() {
    descriptor_ = Descriptor{};  // closed before it is removed: network file systems prefer that
    if (!partial_.empty()) detail::remove_file(partial_);
  }

  /// Throws: `std::runtime_error`, for example if the disk is full.
  template <class Owner = void>
  void write(DeferredSpan<const std::byte, Owner> bytes) {
    constexpr std::size_t most = std::size_t{1} << 30;
    while (!bytes.empty()) {
      const std::size_t wanted = bytes.size() < most ? bytes.size() : most;
      const std::int64_t put = detail::write_some(descriptor_.number(), bytes.data(), wanted);
      if (put < 0) fail(reason());
      bytes = bytes.subspan(static_cast<std::size_t>(put));
      written_ += static_cast<std::uint64_t>(put);
    }
  }

  /// Returns the bytes written so far.
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }

  /// Ends the writing: closes the file, if it has a name.
  /// \param sync  also waits until it is on the disk
  /// Throws: `std::runtime_error`.
  void close(bool sync) {
    const bool is_regular = is_unnamed_ || !partial_.empty();
    if (sync && is_regular && !detail::flush_to_disk(descriptor_.number())) fail(reason());
    if (!is_unnamed_) close_descriptor();
  }

  /// Gives the file its temporary name, if it has none yet, and closes it. Requires: `close` was
  /// called. Throws: `std::runtime_error`.
  void give_name() {
    if (!is_unnamed_) return;
    std::string name = partial_name();
    while (!detail::give_name(descriptor_.number(), name)) {
      if (errno != EEXIST) fail(reason());
      name = partial_name();
    }
    is_unnamed_ = false;
    partial_ = std::move(name);
    close_descriptor();
  }

  /// Replaces the target. Requires: `close` was called.
  /// Throws: `std::runtime_error`.
  void commit() {
    give_name();
    if (partial_.empty()) return;
    if (!detail::replace_file(partial_, path_)) fail(reason());
    partial_.clear();
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw std::runtime_error{"cannot write " + path_ + ": " + why};
  }

  /// Returns the descriptor that a path names, -1 if it names none.
  [[nodiscard]] static int number_in(std::string_view path) noexcept {
    if (path == "/dev/stdout") return 1;
    if (path == "/dev/stderr") return 2;
    const std::string_view folder = folder_of(path);
    const std::string_view digits = file_name_of(path);
    if (folder != "/dev/fd/" && folder != "/proc/self/fd/") return -1;
    if (digits.empty() || digits.size() > 9) return -1;
    int number = 0;
    for (const char digit : digits) {
      if (digit < '0' || digit > '9') return -1;
      number = number * 10 + (digit - '0');
    }
    return number;
  }

  /// Returns another name each time, a short one: the target's own may be as long as is allowed. It may
  /// exist: of a program that was killed, whose process id this one has now, as is usual in containers.
  [[nodiscard]] std::string partial_name() const {
    static unsigned next = 0;
    const unsigned number = __atomic_fetch_add(&next, 1U, __ATOMIC_RELAXED);
    return std::string{folder_of(path_)} + ".allot-" + std::to_string(detail::process_number()) +
           "-" + std::to_string(number);
  }

  void open_unnamed() {
    descriptor_ = Descriptor{detail::open_unnamed(std::string{folder_of(path_)})};
    is_unnamed_ = descriptor_.is_open();
  }

  void open_named() {
    do {
      partial_ = partial_name();
      descriptor_ = Descriptor{detail::open_new(partial_)};
    } while (!descriptor_.is_open() && errno == EEXIST);
  }

  /// The new file has the permissions of the old one, which may be secret.
  void set_permissions(unsigned permissions) {
    if (detail::set_permissions(descriptor_.number(), permissions)) return;
    const std::string why = reason();
    if (!partial_.empty()) detail::remove_file(partial_);
    fail("a new file cannot get the permissions of the old one (" + why +
         "); write to another path");
  }

  void close_descriptor() {
    if (!descriptor_.close()) fail(reason());
  }

  std::string path_;
  std::string partial_;  ///< empty if there is nothing to remove
  bool is_unnamed_ = false;
  std::uint64_t written_ = 0;
  Descriptor descriptor_;
};

}  // namespace allot::os
