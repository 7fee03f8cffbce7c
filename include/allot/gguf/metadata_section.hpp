// SPDX-License-Identifier: MIT
/// \file
/// The front of a GGUF file, read into one stable copy as needed. Every length is compared with
/// what is left of the file before anything depends on it. The copy's numbers are converted to the
/// host's byte order in place as they are read, so views of the copy need not know the file's.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/byte_order.hpp>
#include <allot/gguf/error.hpp>
#include <allot/gguf/input.hpp>
#include <allot/gguf/limits.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace allot::gguf {

/// The bytes of a metadata section. They stay in place if this object is moved.
class MetadataBytes {
 public:
  MetadataBytes() noexcept = default;
  MetadataBytes(MetadataBytes&& other) noexcept : bytes_{std::exchange(other.bytes_, nullptr)} {}
  MetadataBytes& operator=(MetadataBytes&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MetadataBytes() { std::free(bytes_); }

  /// Returns the first byte, or null.
  [[nodiscard]] std::byte* data() const noexcept { return bytes_; }

  /// Keeps the contents, up to the new size. Returns false if there is not enough memory.
  [[nodiscard]] bool resize(std::uint64_t bytes) noexcept {
    void* const resized = std::realloc(bytes_, bytes);
    if (resized == nullptr) return false;
    bytes_ = static_cast<std::byte*>(resized);
    return true;
  }

  /// Returns the position of a text of this section: bytes from the start of the file.
  [[nodiscard]] std::uint64_t position_of(std::string_view text) const noexcept {
    return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(text.data()) - bytes_);
  }

 private:
  std::byte* bytes_ = nullptr;
};

/// Reads forward through the metadata section. Positions are bytes from the start of the file; the
/// bytes themselves stay in place only after `finish`.
/// \tparam InputType  what is read, like `os::InputFile`. A template, so that only programs that
/// open a file pay for its instantiation
template <class InputType>
class MetadataSection {
 public:
  /// Begins at the start of a file, which must outlive it.
  explicit MetadataSection(const InputType& file) noexcept : file_{file} {}

  /// Returns the bytes taken so far.
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  /// Returns the bytes of the file after them.
  [[nodiscard]] std::uint64_t remaining() const noexcept { return file_.size() - position_; }

  /// Throws: `ParseError` unless the file has `bytes` more bytes; `what` names them.
  void require(std::uint64_t bytes, const char* what) const {
    if (bytes <= remaining()) return;
    fail(std::string{what} + " needs " + std::to_string(bytes) + " bytes, but only " +
         std::to_string(remaining()) + " are left in the file");
  }

  /// From now on, numbers have the byte order opposite to the host's.
  void swap_numbers() noexcept { is_swapped_ = true; }

  /// Reads a number.
  template <class Number>
  [[nodiscard]] Number take(const char* what) {
    const std::uint64_t at = skip_numbers(1, sizeof(Number), what);
    Number value;
    std::memcpy(&value, bytes_.data() + at, sizeof(Number));
    return value;
  }

  /// Skips `bytes` bytes and returns their position.
  std::uint64_t skip(std::uint64_t bytes, const char* what) {
    require(bytes, what);
    if (position_ + bytes > held_) read_to(position_ + bytes);
    const std::uint64_t at = position_;
    position_ += bytes;
    return at;
  }

  /// Skips numbers of `width` bytes each and returns their position.
  /// Requires: `count * width` fits 64 bits.
  std::uint64_t skip_numbers(std::uint64_t count, std::uint32_t width, const char* what) {
    const std::uint64_t at = skip(count * width, what);
    if (is_swapped_) {
      detail::swap_words(bytes_.data() + at, static_cast<std::size_t>(count), width, width);
    }
    return at;
  }

  /// Skips as many of `count` strings as have been read completely, and returns how many are left:
  /// the next one needs more of the file, or its length swapped, or is too long.
  template <class Length>
  [[nodiscard]] std::uint64_t skip_strings_at_hand(std::uint64_t count) noexcept {
    if (is_swapped_) return count;
    const std::byte* const bytes = bytes_.data();
    std::uint64_t at = position_;
    for (; count != 0 && held_ - at >= sizeof(Length); --count) {
      Length length;
      std::memcpy(&length, bytes + at, sizeof length);
      if (length > smaller(held_ - at - sizeof length, limits::string_bytes)) break;
      at += sizeof length + length;
    }
    position_ = at;
    return count;
  }

  /// Discards what was read beyond the current position. From now on, the bytes stay in place.
  void finish() {
    if (position_ == 0) return;
    static_cast<void>(bytes_.resize(position_));  // if it cannot shrink, it keeps its size
    room_ = held_ = position_;
  }

  /// Returns the bytes and gives up their ownership. Requires: `finish` was called.
  [[nodiscard]] MetadataBytes release() noexcept { return std::move(bytes_); }

  /// Returns a view: valid until the next `take` or `skip`; after `finish`, as long as the section.
  [[nodiscard]] const std::byte* at(std::uint64_t position) const noexcept {
    return bytes_.data() + position;
  }
  /// Returns a view of text, valid as long as that of `at`.
  [[nodiscard]] std::string_view text(std::uint64_t position, std::uint64_t length) const noexcept {
    return {reinterpret_cast<const char*>(at(position)), static_cast<std::size_t>(length)};
  }

  /// Throws: `ParseError` at the current position.
  [[noreturn]] void fail(std::string rule) const { fail(position_, std::move(rule)); }
  [[noreturn]] void fail(std::uint64_t position, std::string rule) const {
    throw ParseError{file_.path(), position, std::move(rule)};
  }

 private:
  /// Steps grow from 32 KiB to 64 KiB, which is still in the processor's cache when it is parsed.
  /// Room is address space, which becomes memory as it is filled: growing it later would copy.
  void read_to(std::uint64_t end) {
    const std::uint64_t step = smaller(larger(held_, 32 * KiB), 64 * KiB);
    const std::uint64_t wanted = smaller(file_.size(), larger(end, held_ + step));
    if (wanted > room_) {
      const std::uint64_t more = room_ == 0 ? 64 * KiB : room_ < 128 * KiB ? 192 * KiB : 16 * MiB;
      const std::uint64_t room = smaller(file_.size(), larger(wanted, room_ + more));
      if (!bytes_.resize(room)) throw std::bad_alloc{};
      room_ = room;
    }
    read_input(file_, held_, {bytes_.data() + held_, static_cast<std::size_t>(wanted - held_)});
    held_ = wanted;
  }

  const InputType& file_;
  MetadataBytes bytes_;
  std::uint64_t room_ = 0;  ///< bytes reserved
  std::uint64_t held_ = 0;  ///< bytes of them that hold file contents
  std::uint64_t position_ = 0;
  bool is_swapped_ = false;
};

}  // namespace allot::gguf
