// SPDX-License-Identifier: MIT
/// \file
/// `gguf::Shard`: one file of a model, open for reading.
#pragma once

#include <allot/gguf/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/interprocess/mapped_region.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

namespace allot::gguf {

/// One file of a model: a whole GGUF container of its own.
class Shard {
 public:
  /// Opens a file; reads nothing yet.
  /// Throws: `ParseError` where it cannot be opened, or is no regular file.
  explicit Shard(std::filesystem::path path)
      : path_{std::move(path)}, mapping_{std::make_unique<Mapping>()} {
    // A pipe without a writer would block here for ever; regular files know no O_NONBLOCK.
    descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor_ < 0)
      throw ParseError{path_, 0, std::string{"cannot open: "} + std::strerror(errno)};
    struct stat status = {};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      throw ParseError{path_, 0, "not a regular file"};
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }

  Shard(Shard&& other) noexcept
      : path_{std::move(other.path_)},
        descriptor_{std::exchange(other.descriptor_, -1)},
        size_{other.size_},
        data_offset_{other.data_offset_},
        byte_order_{other.byte_order_},
        mapping_{std::move(other.mapping_)} {}
  Shard& operator=(Shard&&) = delete;

  ~Shard() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  /// The open file, for reads of other kinds. The shard closes it.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  /// Bytes in the file, when it was opened.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Where the tensor data begin: bytes from the start of the file.
  [[nodiscard]] std::uint64_t data_offset() const noexcept { return data_offset_; }
  /// The order of the bytes in the numbers of the tensor data.
  [[nodiscard]] std::endian byte_order() const noexcept { return byte_order_; }

  /// Fills `into` with the bytes from `offset` on. Several threads may read at once.
  /// Throws: `ParseError` where the file ends before that, or cannot be read.
  void read(std::uint64_t offset, std::span<std::byte> into) const {
    while (!into.empty()) {
      const std::size_t wanted = std::min(into.size(), std::size_t{1} << 30);
      const ::ssize_t got = ::pread(descriptor_, into.data(), wanted, static_cast<::off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0)
        throw ParseError{path_, offset, std::string{"cannot read: "} + std::strerror(errno)};
      if (got == 0) {
        throw ParseError{path_, offset,
                         "the file ends here, " + std::to_string(into.size()) +
                             " bytes short; it was cut off or changed while open"};
      }
      into = into.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
  }

  /// The whole file, mapped on first use. A file that is truncated later faults when touched;
  /// `read` reports that as an error. Throws: `ParseError`.
  [[nodiscard]] std::span<const std::byte> map() const {
    const std::scoped_lock lock{mapping_->mutex};
    if (mapping_->region.get_address() == nullptr && size_ != 0) {
      try {
        mapping_->region = boost::interprocess::mapped_region{OpenFile{descriptor_},
                                                              boost::interprocess::read_only, 0,
                                                              static_cast<std::size_t>(size_)};
      } catch (const boost::interprocess::interprocess_exception& error) {
        throw ParseError{path_, 0, std::string{"cannot map: "} + error.what()};
      }
    }
    return {static_cast<const std::byte*>(mapping_->region.get_address()),
            static_cast<std::size_t>(size_)};
  }

 private:
  friend class File;

  /// What Boost maps: the file that is open, even where its path names another by now.
  struct OpenFile {
    int descriptor;
    [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const noexcept {
      return {descriptor, false};
    }
  };

  struct Mapping {
    std::mutex mutex;
    boost::interprocess::mapped_region region;
  };

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
  std::uint64_t data_offset_ = 0;
  std::endian byte_order_ = std::endian::little;
  std::unique_ptr<Mapping> mapping_;
};

}  // namespace allot::gguf
