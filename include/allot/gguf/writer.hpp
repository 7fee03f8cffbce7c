// SPDX-License-Identifier: MIT
/// \file
/// `gguf::Writer`: writes a GGUF file, version 3, little-endian. Tensor data come from a callback,
/// so that a file may be larger than memory.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/limits.hpp>
#include <allot/gguf/metadata.hpp>
#include <allot/gguf/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace allot::gguf {

/// Collects metadata and tensors, then writes them in the order they were added.
class Writer {
 public:
  /// Fills `piece` with the tensor's bytes from `offset` on. Called in order, in pieces of any
  /// size.
  using Fill = std::function<void(std::uint64_t offset, std::span<std::byte> piece)>;

  /// Bytes, a power of two up to 1 MiB: what tensor offsets are multiples of; 32 unless set, as the
  /// metadata `general.alignment`, before the first tensor. Throws: `std::invalid_argument`.
  void set_alignment(std::uint32_t alignment) { add(alignment_key, alignment); }

  /// Adds a number, a truth value or a text (`std::string_view`).
  /// Throws: `std::invalid_argument` for a key that is empty, too long, holds NUL or is there.
  template <ReadableValue T>
  void add(std::string_view key, T value) {
    const std::uint64_t alignment = key == alignment_key ? checked_alignment(value) : alignment_;
    begin_pair(key, *detail::type_of<T>);
    put_value(value);
    alignment_ = alignment;
  }
  void add(std::string_view key, const char* text) { add(key, std::string_view{text}); }

  /// Adds an array of such. Throws: as `add`.
  template <ReadableValue T>
  void add_array(std::string_view key, std::span<const T> values) {
    if (key == alignment_key) throw std::invalid_argument{"general.alignment is no array"};
    begin_pair(key, ValueType::array);
    put(static_cast<std::uint32_t>(*detail::type_of<T>));
    put(static_cast<std::uint64_t>(values.size()));
    for (const T& value : values) put_value(value);
  }

  /// Adds a tensor whose bytes `fill` gives when the file is written.
  /// Throws: `std::invalid_argument` for dimensions that make no whole blocks, or overflow, and for
  /// a name that is empty, too long, holds NUL or is there.
  void add_tensor(std::string name, TensorType type, const Shape& shape, Fill fill) {
    const std::uint64_t bytes = bytes_of(name, type, shape);
    const auto padded = checked_align_up(data_bytes_, alignment_);
    const auto end = padded ? checked_add(*padded, bytes) : std::nullopt;
    if (!end) throw std::invalid_argument{"tensor " + name + " takes the file beyond 2^64 bytes"};
    claim(names_, "tensor name", name, limits::tensor_name_bytes);
    tensors_.push_back({std::move(name), type, shape, *padded, bytes, std::move(fill)});
    data_bytes_ = *end;
  }
  void add_tensor(std::string name, TensorType type, std::initializer_list<std::uint64_t> extents,
                  Fill fill) {
    const Shape shape = shape_of(name, extents);
    add_tensor(std::move(name), type, shape, std::move(fill));
  }
  /// \param bytes  the whole tensor; must live until the file is written
  void add_tensor(std::string name, TensorType type, std::initializer_list<std::uint64_t> extents,
                  std::span<const std::byte> bytes) {
    const Shape shape = shape_of(name, extents);
    if (const std::uint64_t expected = bytes_of(name, type, shape); expected != bytes.size()) {
      throw std::invalid_argument{"tensor " + name + " takes " + std::to_string(expected) +
                                  " bytes, but " + std::to_string(bytes.size()) + " are given"};
    }
    add_tensor(std::move(name), type, shape, [bytes](auto offset, auto piece) {
      std::memcpy(piece.data(), bytes.data() + offset, piece.size());
    });
  }

  /// Writes the file. Throws: `std::runtime_error` naming the file where that fails.
  void write(const std::filesystem::path& path) const {
    std::ofstream out{path, std::ios::binary | std::ios::trunc};
    const std::vector<std::byte> front = front_matter();
    put_bytes(out, front);
    std::uint64_t position = 0;
    std::vector<std::byte> piece;
    for (const Tensor& tensor : tensors_) {
      piece.assign(static_cast<std::size_t>(tensor.offset - position), std::byte{0});
      put_bytes(out, piece);
      for (std::uint64_t at = 0; at < tensor.bytes; at += piece.size()) {
        piece.resize(
            static_cast<std::size_t>(std::min<std::uint64_t>(tensor.bytes - at, 1U << 20)));
        tensor.fill(at, piece);
        put_bytes(out, piece);
      }
      position = tensor.offset + tensor.bytes;
    }
    if (!out.flush()) throw std::runtime_error{"cannot write " + path.string()};
  }

 private:
  struct Tensor {
    std::string name;
    TensorType type;
    Shape shape;
    std::uint64_t offset;
    std::uint64_t bytes;
    Fill fill;
  };

  static constexpr std::string_view alignment_key = "general.alignment";

  template <class T>
  [[nodiscard]] std::uint64_t checked_alignment(T value) const {
    if constexpr (std::is_same_v<T, std::uint32_t>) {
      if (!tensors_.empty())
        throw std::invalid_argument{"the alignment must be set before the first tensor is added"};
      if (is_power_of_two(value) && value <= limits::alignment) return value;
      throw std::invalid_argument{"an alignment of " + std::to_string(value) +
                                  " is no power of two from 1 to 1048576"};
    }
    throw std::invalid_argument{"general.alignment is uint32"};
  }

  /// Takes a name that is not taken.
  static void claim(std::unordered_set<std::string>& taken, const std::string& what,
                    std::string_view name, std::uint64_t longest) {
    if (name.empty() || name.size() > longest || name.find('\0') != std::string_view::npos) {
      throw std::invalid_argument{"a " + what + " has 1 to " + std::to_string(longest) +
                                  " bytes and no NUL; this one has " + std::to_string(name.size())};
    }
    if (!taken.emplace(name).second)
      throw std::invalid_argument{what + " " + std::string{name} + " is there already"};
  }

  [[nodiscard]] static Shape shape_of(const std::string& name,
                                      std::initializer_list<std::uint64_t> extents) {
    if (extents.size() > limits::dimensions)
      throw std::invalid_argument{"tensor " + name + " has over 4 dimensions"};
    Shape shape;
    for (const std::uint64_t extent : extents) shape.extent[shape.rank++] = extent;
    return shape;
  }

  [[nodiscard]] static std::uint64_t bytes_of(const std::string& name, TensorType type,
                                              const Shape& shape) {
    const TypeInfo info = type_info(type);
    std::uint64_t elements = 1;
    for (const std::uint64_t extent : shape.extent) {
      const auto next = checked_multiply(elements, extent);
      if (!next) throw std::invalid_argument{"tensor " + name + " has too many elements"};
      elements = *next;
    }
    const auto bytes = checked_multiply(elements / info.block_elements, info.block_bytes);
    if (shape.extent[0] % info.block_elements != 0 || !bytes) {
      throw std::invalid_argument{"tensor " + name + " does not consist of whole blocks of " +
                                  std::string{info.name} + ", or is too large"};
    }
    return *bytes;
  }

  static void append(std::vector<std::byte>& to, const void* bytes, std::size_t count) {
    const std::size_t at = to.size();
    to.resize(at + count);
    if (count != 0) std::memcpy(to.data() + at, bytes, count);
  }

  template <class T>
  static void put_to(std::vector<std::byte>& to, const T& value) {
    append(to, &value, sizeof(T));
  }

  static void put_text_to(std::vector<std::byte>& to, std::string_view text) {
    put_to(to, static_cast<std::uint64_t>(text.size()));
    append(to, text.data(), text.size());
  }

  template <class T>
  void put(const T& value) {
    put_to(pairs_, value);
  }

  template <ReadableValue T>
  void put_value(const T& value) {
    if constexpr (std::is_same_v<T, std::string_view>) {
      put_text_to(pairs_, value);
    } else {
      put(value);
    }
  }

  void begin_pair(std::string_view key, ValueType type) {
    claim(keys_, "metadata key", key, limits::key_bytes);
    put_text_to(pairs_, key);
    put(static_cast<std::uint32_t>(type));
    ++pair_count_;
  }

  [[nodiscard]] std::vector<std::byte> front_matter() const {
    std::vector<std::byte> front;
    append(front, "GGUF", 4);
    put_to(front, std::uint32_t{3});
    put_to(front, static_cast<std::uint64_t>(tensors_.size()));
    put_to(front, pair_count_);
    append(front, pairs_.data(), pairs_.size());
    for (const Tensor& tensor : tensors_) {
      put_text_to(front, tensor.name);
      put_to(front, tensor.shape.rank);
      for (std::uint32_t i = 0; i < tensor.shape.rank; ++i) put_to(front, tensor.shape.extent[i]);
      put_to(front, static_cast<std::uint32_t>(tensor.type));
      put_to(front, tensor.offset);
    }
    if (!tensors_.empty()) {
      front.resize(static_cast<std::size_t>(*checked_align_up(front.size(), alignment_)));
    }
    return front;
  }

  static void put_bytes(std::ofstream& out, std::span<const std::byte> bytes) {
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }

  std::uint64_t alignment_ = 32;
  std::uint64_t pair_count_ = 0;
  std::vector<std::byte> pairs_;
  std::unordered_set<std::string> keys_;
  std::unordered_set<std::string> names_;
  std::vector<Tensor> tensors_;
  std::uint64_t data_bytes_ = 0;
};

}  // namespace allot::gguf
