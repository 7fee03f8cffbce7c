// SPDX-License-Identifier: MIT
/// \file
/// `gguf::Writer`: writes a GGUF file, little-endian, or the shards of one. Tensor data come from a
/// callback, so that a file may be larger than memory.
///
///     gguf::Writer writer;
///     writer.add("general.architecture", "llama");
///     writer.add_tensor("token_embd.weight", gguf::TensorType::F16, {64, 512}, bytes);
///     writer.write("model.gguf");
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/limits.hpp>
#include <allot/gguf/metadata.hpp>
#include <allot/gguf/nested_array.hpp>
#include <allot/gguf/output_file.hpp>
#include <allot/gguf/split_names.hpp>
#include <allot/gguf/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace allot::gguf {

struct WriteOptions {
  /// Called with the bytes written so far and in all; what it throws ends the writing.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
  /// Fills the last tensor up to the alignment, as ggml's writer does.
  bool pad_last_tensor = true;
  /// Waits until the file is on the disk before it takes the place of an older one: then power may
  /// fail, too, not only the program.
  bool sync = false;
};

struct SplitOptions : WriteOptions {
  /// Bytes of tensor data in a shard at most; a single larger tensor has a shard of its own.
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();
  /// Tensors in a shard at most.
  std::uint64_t max_tensors = std::numeric_limits<std::uint64_t>::max();
  /// The first shard has the metadata alone.
  bool no_tensor_first_split = false;
};

/// Collects metadata and tensors, then writes them in the order they were added.
class Writer {
 public:
  /// Fills `piece` with the tensor's bytes from `offset` on. Called in order, with whole blocks,
  /// about a mebibyte at a time.
  using Fill = std::function<void(std::uint64_t offset, std::span<std::byte> piece)>;

  /// \param version  of the format: 3; 1 and 2 for readers of their time
  /// Throws: `std::invalid_argument`.
  explicit Writer(std::uint32_t version = 3) : version_{version} {
    if (version < 1 || version > 3)
      throw std::invalid_argument{"version " + std::to_string(version) + " is not 1, 2 or 3"};
  }

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
    begin_array(key, *detail::type_of<T>, values.size());
    for (const T& value : values) put_value(value);
  }
  /// Adds an array that may hold arrays. Throws: as `add`.
  void add_array(std::string_view key, const NestedArray& array) {
    StringIndexes none;
    add_array(key, Array{key, array.bytes_.data(), true, none});
  }
  /// Adds a copy of an array of any file. Throws: as `add`.
  void add_array(std::string_view key, const Array& array) {
    begin_array(key, array.element_type(), array.size());
    put_elements(array);
  }

  /// Adds a copy of a value of any file, with its key. Truth values are written as 0 or 1.
  /// Throws: as `add`.
  void add(const Value& value) {
    if (value.type() == ValueType::array) return add_array(value.key(), value.array());
    if (value.type() == ValueType::string) return add(value.key(), value.as<std::string_view>());
    detail::with_number_type(value.type(),
                             [&]<class T>(T) { this->add(value.key(), value.as<T>()); });
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

  /// Bytes of the tensor data, padding between them included.
  [[nodiscard]] std::uint64_t data_bytes() const noexcept { return data_bytes_; }

  /// Writes the file: beside the one that is there, whose place it takes at the end. Where that
  /// fails, nothing has changed.
  /// Throws: `std::runtime_error` naming the file and the system's reason; what `Fill` and
  /// `progress` throw.
  void write(const std::filesystem::path& path, const WriteOptions& options = {}) const {
    Progress progress{options.progress, data_bytes_};
    OutputFile out = write_part({path, 0, tensors_.size(), {}, true}, options, progress);
    out.commit();
  }

  /// The files that `write_split` would write. Throws: as it does for what is asked.
  [[nodiscard]] std::vector<std::filesystem::path> split_paths(const std::filesystem::path& prefix,
                                                               const SplitOptions& options) const {
    std::vector<std::filesystem::path> paths;
    for (const Part& part : divide(prefix, options)) paths.push_back(part.path);
    return paths;
  }

  /// Writes shards, `PREFIX-00001-of-00003.gguf` and so on, and returns their paths. A shard is
  /// full where one tensor more would take it over `max_bytes`, counted with its padding to 32
  /// bytes. The first shard has the metadata, and each `split.no`, `split.count` and
  /// `split.tensors.count`. Where it fails, nothing has changed, unless the last step does, when
  /// all are written: giving them their names one by one.
  /// Throws: `std::invalid_argument` where that makes more than 65,535 shards, or there are
  /// `split.*` keys already; else as `write`.
  /// Source of the rule, the names and the keys: llama.cpp, tools/gguf-split.
  std::vector<std::filesystem::path> write_split(const std::filesystem::path& prefix,
                                                 const SplitOptions& options) const {
    const std::vector<Part> parts = divide(prefix, options);
    Progress progress{options.progress, data_bytes_};
    std::vector<OutputFile> files;
    std::vector<std::filesystem::path> paths;
    files.reserve(parts.size());
    for (const Part& part : parts) {
      files.push_back(write_part(part, options, progress));
      paths.push_back(part.path);
    }
    for (OutputFile& file : files) file.commit();
    return paths;
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

  /// A file to write: tensors from `first` on, before `last`.
  struct Part {
    std::filesystem::path path;
    std::size_t first;
    std::size_t last;
    std::vector<std::byte> split_pairs;  ///< three where it is a shard
    bool has_metadata;
  };

  struct Progress {
    const std::function<void(std::uint64_t, std::uint64_t)>& report;
    std::uint64_t total;
    std::uint64_t done = 0;

    void add(std::uint64_t bytes) {
      done += bytes;
      if (report) report(done, total);
    }
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
    constexpr std::uint64_t highest = std::numeric_limits<std::int64_t>::max();
    std::uint64_t product = 1;  // of the dimensions that are not zero: a zero hides no overflow
    bool empty = false;
    for (std::uint32_t i = 0; i < limits::dimensions; ++i) {
      const std::uint64_t extent = shape.extent[i];
      if (shape.rank > limits::dimensions || (i >= shape.rank && extent != 1)) {
        throw std::invalid_argument{"tensor " + name + " has over 4 dimensions, or an extent of " +
                                    std::to_string(extent) + " beyond its " +
                                    std::to_string(shape.rank)};
      }
      empty = empty || extent == 0;
      const auto next = checked_multiply(product, std::max<std::uint64_t>(extent, 1));
      if (!next || *next > highest)
        throw std::invalid_argument{"tensor " + name + " has more than 2^63 - 1 elements"};
      product = *next;
    }
    const auto bytes = checked_multiply(product / info.block_elements, info.block_bytes);
    if (shape.extent[0] % info.block_elements != 0 || (!empty && (!bytes || *bytes > highest))) {
      throw std::invalid_argument{"tensor " + name + " does not consist of whole blocks of " +
                                  std::string{info.name} + ", or is too large"};
    }
    return empty ? 0 : *bytes;
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

  /// Lengths, counts and dimensions have 32 bits in version 1.
  void put_length_to(std::vector<std::byte>& to, std::uint64_t length) const {
    if (version_ > 1) return put_to(to, length);
    if (length > std::numeric_limits<std::uint32_t>::max())
      throw std::invalid_argument{std::to_string(length) + " does not fit version 1 of the format"};
    put_to(to, static_cast<std::uint32_t>(length));
  }

  void put_text_to(std::vector<std::byte>& to, std::string_view text) const {
    put_length_to(to, text.size());
    append(to, text.data(), text.size());
  }

  template <class T>
  void put(const T& value) {
    put_to(pairs_, value);
  }

  template <ReadableValue T>
  void put_value(const T& value) {
    if constexpr (std::is_same_v<T, std::string_view>) {
      if (value.size() > limits::string_bytes)
        throw std::invalid_argument{"a text of over 2^30 bytes"};
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

  void begin_array(std::string_view key, ValueType element, std::uint64_t count) {
    if (key == alignment_key) throw std::invalid_argument{"general.alignment is no array"};
    if (count > limits::array_elements)
      throw std::invalid_argument{"an array of over 2^30 elements"};
    begin_pair(key, ValueType::array);
    put(static_cast<std::uint32_t>(element));
    put_length_to(pairs_, count);
  }

  // At most four arrays are one in the other.
  void put_elements(const Array& array) {
    if (array.element_type() == ValueType::string) {
      for (const std::string_view text : array.strings()) put_value(text);
    } else if (array.element_type() == ValueType::array) {
      for (const Array inner : array.arrays()) {
        put(static_cast<std::uint32_t>(inner.element_type()));
        put_length_to(pairs_, inner.size());
        put_elements(inner);
      }
    } else {
      detail::with_number_type(array.element_type(), [&]<class T>(T) {
        const Elements<T> elements = array.values<T>();
        for (std::uint64_t i = 0; i < elements.size(); ++i) put(elements[i]);
      });
    }
  }

  /// Which tensors go into which shard.
  [[nodiscard]] std::vector<Part> divide(const std::filesystem::path& prefix,
                                         const SplitOptions& options) const {
    for (const char* key : {split_no_key, split_count_key, split_tensors_key}) {
      if (keys_.contains(key))
        throw std::invalid_argument{"metadata key " + std::string{key} + " is there already"};
    }
    std::vector<std::size_t> ends;
    if (options.no_tensor_first_split) ends.push_back(0);
    std::uint64_t bytes = 0;
    std::size_t first = 0;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const std::uint64_t padded = checked_align_up(tensors_[i].bytes, 32).value_or(~0ULL);
      const auto sum = checked_add(bytes, padded);
      if (i > first && (!sum || *sum > options.max_bytes || i - first >= options.max_tensors)) {
        ends.push_back(i);
        first = i;
        bytes = padded;
      } else {
        bytes = sum.value_or(~0ULL);
      }
    }
    ends.push_back(tensors_.size());
    constexpr std::size_t most = std::numeric_limits<std::uint16_t>::max();
    if (ends.size() > most) {
      throw std::invalid_argument{"that makes " + std::to_string(ends.size()) +
                                  " shards; at most 65535 can be numbered"};
    }
    const auto count = static_cast<std::uint16_t>(ends.size());
    std::vector<Part> parts;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      const auto number = static_cast<std::uint16_t>(i);
      parts.push_back({split_path(prefix, number, count), i == 0 ? 0 : ends[i - 1], ends[i],
                       split_pairs(number, count), i == 0});
    }
    return parts;
  }

  [[nodiscard]] std::vector<std::byte> split_pairs(std::uint16_t number,
                                                   std::uint16_t count) const {
    std::vector<std::byte> pairs;
    const auto put_pair = [&](const char* key, auto value) {
      put_text_to(pairs, key);
      put_to(pairs, static_cast<std::uint32_t>(*detail::type_of<decltype(value)>));
      put_to(pairs, value);
    };
    // Tensors keep the alignment that was asked for in the other shards, too.
    if (number != 0 && alignment_ != 32) {
      put_pair("general.alignment", static_cast<std::uint32_t>(alignment_));
    }
    put_pair(split_no_key, number);
    put_pair(split_count_key, count);
    put_pair(split_tensors_key, static_cast<std::int32_t>(tensors_.size()));
    return pairs;
  }

  /// Everything in front of the tensor data.
  [[nodiscard]] std::vector<std::byte> front_matter(const Part& part) const {
    const std::uint64_t split_keys = part.split_pairs.empty()                ? 0
                                     : part.has_metadata || alignment_ == 32 ? 3
                                                                             : 4;
    std::vector<std::byte> front;
    append(front, "GGUF", 4);
    put_to(front, version_);
    put_length_to(front, part.last - part.first);
    put_length_to(front, (part.has_metadata ? pair_count_ : 0) + split_keys);
    if (part.has_metadata) append(front, pairs_.data(), pairs_.size());
    append(front, part.split_pairs.data(), part.split_pairs.size());
    for (std::size_t i = part.first; i < part.last; ++i) {
      const Tensor& tensor = tensors_[i];
      put_text_to(front, tensor.name);
      put_to(front, tensor.shape.rank);
      for (std::uint32_t k = 0; k < tensor.shape.rank; ++k)
        put_length_to(front, tensor.shape.extent[k]);
      put_to(front, static_cast<std::uint32_t>(tensor.type));
      put_to(front, tensor.offset - tensors_[part.first].offset);
    }
    if (part.first != part.last) {
      front.resize(static_cast<std::size_t>(*checked_align_up(front.size(), alignment_)));
    }
    return front;
  }

  [[nodiscard]] OutputFile write_part(const Part& part, const WriteOptions& options,
                                      Progress& progress) const {
    OutputFile out{part.path};
    out.write(front_matter(part));
    std::vector<std::byte> piece;
    for (std::size_t i = part.first; i < part.last; ++i) {
      const Tensor& tensor = tensors_[i];
      write_tensor(out, tensor, piece, progress);
      const bool is_last = i + 1 == part.last;
      if (is_last && !options.pad_last_tensor) break;
      const std::uint64_t end = tensor.offset + tensor.bytes;
      const std::uint64_t next =
          is_last ? checked_align_up(end, alignment_).value_or(end) : tensors_[i + 1].offset;
      piece.assign(static_cast<std::size_t>(next - end), std::byte{0});
      out.write(piece);
      if (!is_last) progress.add(piece.size());
    }
    out.close(options.sync);
    return out;
  }

  static void write_tensor(OutputFile& out, const Tensor& tensor, std::vector<std::byte>& piece,
                           Progress& progress) {
    const std::uint64_t block = type_info(tensor.type).block_bytes;
    const std::uint64_t whole_blocks = (1U << 20) / block * block;
    for (std::uint64_t at = 0; at < tensor.bytes; at += piece.size()) {
      piece.resize(static_cast<std::size_t>(std::min(tensor.bytes - at, whole_blocks)));
      tensor.fill(at, piece);
      out.write(piece);
      progress.add(piece.size());
    }
  }

  std::uint32_t version_;
  std::uint64_t alignment_ = 32;
  std::uint64_t pair_count_ = 0;
  std::vector<std::byte> pairs_;
  std::unordered_set<std::string> keys_;
  std::unordered_set<std::string> names_;
  std::vector<Tensor> tensors_;
  std::uint64_t data_bytes_ = 0;
};

}  // namespace allot::gguf
