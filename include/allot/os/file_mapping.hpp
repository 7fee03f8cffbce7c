// SPDX-License-Identifier: MIT
/// \file
/// `os::FileMapping`: a file's bytes as memory.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/core/version.hpp>
#include <allot/os/detail/files.hpp>
#include <allot/os/file_error.hpp>
#include <allot/os/input_file.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace allot::os {

/// Maps a whole file for reading. Touching it faults if the file was truncated meanwhile.
class FileMapping {
 public:
  /// Maps nothing.
  FileMapping() noexcept = default;

  /// Throws: `FileError`.
  explicit FileMapping(const InputFile& file) : size_{static_cast<std::size_t>(file.size())} {
    if (size_ == 0) return;
    start_ = detail::map_file(file.descriptor(), size_);
    if (start_ == nullptr) throw_file_error(file.path(), 0, "cannot map");
  }

  FileMapping(FileMapping&& other) noexcept
      : start_{std::exchange(other.start_, nullptr)}, size_{std::exchange(other.size_, 0)} {}
  FileMapping& operator=(FileMapping&& other) noexcept {
    std::swap(start_, other.start_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~FileMapping() {
    if (start_ != nullptr) detail::unmap_file(start_, size_);
  }

  /// Also false for an empty file.
  [[nodiscard]] bool is_mapped() const noexcept { return start_ != nullptr; }
  /// Returns the bytes of the file.
  template <class Owner = void>
  [[nodiscard]] DeferredSpan<const std::byte, Owner> bytes() const noexcept {
    return {start_, size_};
  }

 private:
  const std::byte* start_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace allot::os
