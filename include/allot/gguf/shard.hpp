// SPDX-License-Identifier: MIT
/// \file
/// `gguf::Shard`: one file of a model, open for reading.
#pragma once

#include <allot/gguf/error.hpp>
#include <allot/gguf/input.hpp>
#include <allot/os/atomic.hpp>
#include <allot/os/file_error.hpp>
#include <allot/os/file_mapping.hpp>
#include <allot/os/input_file.hpp>
#include <allot/os/monitor.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace allot::gguf {

/// One file of a model: a complete GGUF container.
class Shard {
 public:
  /// \param data_offset  start of the tensor data: bytes from the start of the file
  /// \param byte_order   of the tensor data
  Shard(os::InputFile file, std::uint64_t data_offset, std::endian byte_order) noexcept
      : file_{std::move(file)}, data_offset_{data_offset}, byte_order_{byte_order} {}

  Shard(Shard&& other) noexcept
      : file_{std::move(other.file_)},
        data_offset_{other.data_offset_},
        byte_order_{other.byte_order_},
        bytes_read_{other.bytes_read()},
        mapping_{std::move(other.mapping_)} {}
  Shard& operator=(Shard&&) = delete;
  ~Shard() = default;

  [[nodiscard]] const std::string& path() const noexcept { return file_.path(); }
  /// The open file, for other kinds of reads.
  [[nodiscard]] const os::InputFile& file() const noexcept { return file_; }
  /// The bytes in the file when it was opened.
  [[nodiscard]] std::uint64_t size() const noexcept { return file_.size(); }
  /// Start of the tensor data: bytes from the start of the file.
  [[nodiscard]] std::uint64_t data_offset() const noexcept { return data_offset_; }
  /// Byte order of the tensor data.
  [[nodiscard]] std::endian byte_order() const noexcept { return byte_order_; }

  /// Fills `into` with the bytes from `offset` on. Several threads may read at once.
  /// Throws: `ParseError` if the file ends before that, or cannot be read.
  void read(std::uint64_t offset, std::span<std::byte> into) const {
    read_input(file_, offset, into);
    count_read(into.size());
  }

  /// Returns the bytes that `read` has delivered, and `count_read` was told of, since the shard was
  /// opened.
  [[nodiscard]] std::uint64_t bytes_read() const noexcept { return bytes_read_.load(); }
  /// Counts bytes that were read from `file()` in another way than by `read`.
  void count_read(std::uint64_t bytes) const noexcept { bytes_read_.fetch_add(bytes); }

  /// Returns the same file, opened again.
  /// Throws: `ParseError` if it cannot be opened, was replaced by another, or has another size.
  [[nodiscard]] Shard opened_again() const {
    try {
      Shard again{os::InputFile{path()}, data_offset_, byte_order_};
      if (again.file().id() != file().id()) {
        throw ParseError{path(), 0,
                         "the file was replaced by another after it was opened; "
                         "open the model again"};
      }
      if (again.size() == size()) return again;
      throw ParseError{path(), 0,
                       "the file had " + std::to_string(size()) +
                           " bytes when it was opened, and " + std::to_string(again.size()) +
                           " bytes now; open the model again"};
    } catch (const os::FileError& error) {
      throw ParseError{error};
    }
  }

  /// The whole file, mapped on first use. A file that is truncated later faults when touched;
  /// `read` reports that as an error. Throws: `ParseError`.
  template <class Owner = void>
  [[nodiscard]] DeferredSpan<const std::byte, Owner> map() const {
    const os::Monitor::Lock lock{monitor_};
    if (!mapping_.is_mapped()) map_file();
    return mapping_.bytes<Owner>();
  }

 private:
  void map_file() const {
    try {
      mapping_ = os::FileMapping{file_};
    } catch (const os::FileError& error) {
      throw ParseError{error};
    }
  }

  os::InputFile file_;
  std::uint64_t data_offset_;
  std::endian byte_order_;
  mutable os::Atomic<std::uint64_t> bytes_read_{0};
  mutable os::Monitor monitor_;
  mutable os::FileMapping mapping_;
};

}  // namespace allot::gguf
