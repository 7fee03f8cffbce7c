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
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/limits.hpp>
#include <allot/gguf/metadata.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/gguf/split_names.hpp>
#include <allot/gguf/tensor.hpp>
#include <allot/gguf/writer/detail/encoder.hpp>
#include <allot/gguf/writer/detail/names.hpp>
#include <allot/gguf/writer/detail/shape.hpp>
#include <allot/gguf/writer/detail/shard_ends.hpp>
#include <allot/gguf/writer/detail/sources.hpp>
#include <allot/gguf/writer/nested_array.hpp>
#include <allot/gguf/writer/options.hpp>
#include <allot/os/function.hpp>
#include <allot/os/output_file.hpp>
#include <allot/os/path.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace allot::gguf {

/// Collects metadata and tensors, then writes them in the order in which they were added. Use it as
/// `gguf::Writer`. It is a template so that it is compiled if a file is written, not if this header
/// is included.
template <class Owner = void>
class BasicWriter {
 public:
  /// Fills `piece` with the tensor's bytes from `offset` on. Called in order, for whole blocks,
  /// about a mebibyte at a time.
  using Fill = std::function<void(std::uint64_t offset, std::span<std::byte> piece)>;

  /// \param version  of the format: 3, or 1 and 2 for old readers
  /// Throws: `std::invalid_argument`.
  explicit BasicWriter(std::uint32_t version = 3) : pairs_{version} {
    if (version < 1 || version > 3)
      throw std::invalid_argument{"version " + std::to_string(version) + " is not 1, 2 or 3"};
  }

  /// Sets the alignment of tensor offsets: bytes, a power of two up to 1 MiB; 32 unless set. It is
  /// the metadata `general.alignment` and must be set before the first tensor is added. Throws:
  /// `std::invalid_argument`.
  void set_alignment(std::uint32_t alignment) { add(alignment_key, alignment); }

  /// Adds a number, a boolean or a string (`std::string_view`).
  /// Throws: `std::invalid_argument` for a key that is empty, too long, contains NUL or exists
  /// already.
  template <ReadableValue Type>
  void add(std::string_view key, Type value) {
    const std::uint64_t alignment = key == alignment_key ? checked_alignment(value) : alignment_;
    add_pair(key, detail::type_of<Type>, [&] { pairs_.put(value); });
    alignment_ = alignment;
  }
  void add(std::string_view key, const char* text) { add(key, std::string_view{text}); }

  /// Adds an array of these. Throws: as `add`.
  template <ReadableValue Type>
  void add_array(std::string_view key, std::span<const Type> values) {
    add_array_pair(key, detail::type_of<Type>, values.size(), [&] {
      for (const Type& value : values) pairs_.put(value);
    });
  }
  /// Adds a copy of an array of numbers from any file. Throws: as `add`.
  template <ReadableValue Type>
  void add_array(std::string_view key, const Elements<Type>& values) {
    add_array_pair(key, detail::type_of<Type>, values.size(), [&] {
      for (const Type value : values) pairs_.put(value);
    });
  }
  /// Adds an array that may contain arrays. Throws: as `add`.
  void add_array(std::string_view key, const NestedArray& array) {
    StringIndexes none;
    add_array(key, Array{key, array.encoded_.bytes().data(), true, none});
  }
  /// Adds a copy of an array from any file. Throws: as `add`.
  void add_array(std::string_view key, const Array& array) {
    add_array_pair(key, array.element_type(), array.size(), [&] { pairs_.put_elements(array); });
  }

  /// Adds a copy of a value from any file, with its key. Booleans are written as 0 or 1.
  /// Throws: as `add`.
  void add(const Value& value) {
    if (value.type() == ValueType::array) return add_array(value.key(), value.array());
    if (value.type() == ValueType::string) return add(value.key(), value.as<std::string_view>());
    with_number_type(value.type(),
                     [&]<class Type>(Type) { this->add(value.key(), value.as<Type>()); });
  }

  /// Adds a tensor whose bytes `fill` provides when the file is written.
  /// Throws: `std::invalid_argument` for dimensions that do not make whole blocks or overflow, a name
  /// that is empty, too long, contains NUL or exists already; nothing has changed then.
  void add_tensor(std::string name, TensorType type, const Shape& shape, Fill fill) {
    const std::uint64_t bytes = detail::bytes_of(name, type, shape);
    const auto padded = checked_align_up(data_bytes_, alignment_);
    const auto end = padded ? checked_add(*padded, bytes) : std::nullopt;
    if (!end) throw std::invalid_argument{"tensor " + name + " takes the file beyond 2^64 bytes"};
    check_free(names_, "tensor name", name, limits::tensor_name_bytes);
    if (tensors_.size() == tensors_.capacity()) tensors_.reserve(2 * tensors_.size() + 1);
    names_.add(name);  // the last step that can throw
    tensors_.push_back({std::move(name), type, shape, *padded, bytes, std::move(fill)});
    data_bytes_ = *end;
  }
  void add_tensor(std::string name, TensorType type, std::initializer_list<std::uint64_t> extents,
                  Fill fill) {
    const Shape shape = detail::shape_of(name, extents);
    add_tensor(std::move(name), type, shape, std::move(fill));
  }
  /// \param bytes  the whole tensor; must exist until the file is written. Throws: as with a `Shape`
  void add_tensor(std::string name, TensorType type, std::initializer_list<std::uint64_t> extents,
                  std::span<const std::byte> bytes) {
    const Shape shape = detail::shape_of(name, extents);
    if (const std::uint64_t expected = detail::bytes_of(name, type, shape);
        expected != bytes.size()) {
      throw std::invalid_argument{"tensor " + name + " takes " + std::to_string(expected) +
                                  " bytes, but " + std::to_string(bytes.size()) + " are given"};
    }
    add_tensor(std::move(name), type, shape, [bytes](auto offset, auto piece) {
      std::memcpy(piece.data(), bytes.data() + offset, piece.size());
    });
  }

  /// Names a file that `Fill` reads from: it is never replaced. `copy_of` does this. \param path  its name
  void add_source(const os::FileId& file, const std::string& path) { sources_.add(file, path); }
  /// Throws: `std::runtime_error` if the path leads to one of them.
  void check_target(const os::Path& path) const { sources_.check_target(path.text()); }

  /// Returns the bytes of the tensor data, including the padding between tensors.
  [[nodiscard]] std::uint64_t data_bytes() const noexcept { return data_bytes_; }

  /// Writes the file beside an existing one, and replaces that at the end. On failure, nothing has
  /// changed.
  /// Throws: `std::runtime_error` naming the file and the system's reason; `Cancelled`; whatever
  /// `Fill` and `progress` throw.
  std::uint64_t write(const os::Path& path, const WriteOptions& options = {}) const {
    check_target(path);
    WriteProgress progress{options.progress, data_bytes_};
    os::OutputFile out = write_part(
        {path.text(), 0, tensors_.size(), SplitPairs{0, detail::Encoder{pairs_.version()}}, true},
        options, progress);
    out.commit();
    return out.written();
  }

  /// Returns the paths that `write_split` would write. Throws: as it does for its arguments.
  [[nodiscard]] std::vector<std::string> split_paths(const os::Path& prefix,
                                                     const SplitOptions& options) const {
    std::vector<std::string> paths;
    for (const Part& part : divide(prefix, options)) paths.push_back(part.path);
    return paths;
  }

  /// Writes shards, `PREFIX-00001-of-00003.gguf` and so on, and returns their paths.
  ///
  /// - Contents: the metadata are in the first shard; `split.no`, `split.count` and
  ///   `split.tensors.count` are in each.
  /// - A shard is full if one more tensor, with its padding to 32 bytes, would exceed `max_bytes`.
  /// - A failure leaves everything as it was, unless it happens in the last step, when all shards
  ///   are written and are given their names one by one.
  /// - A program that is killed before that step leaves nothing behind, as for `os::OutputFile`, if
  ///   there are at most 128 shards.
  ///
  /// Throws: `std::invalid_argument` if that makes more than 65,535 shards, or if `split.*` keys
  /// exist already; otherwise as `write`.
  /// Source of the rule, the names and the keys: llama.cpp, tools/gguf-split.
  std::vector<std::string> write_split(const os::Path& prefix, const SplitOptions& options) const {
    const std::vector<Part> parts = divide(prefix, options);
    for (const Part& part : parts) check_target(part.path);
    WriteProgress progress{options.progress, data_bytes_};
    std::vector<os::OutputFile> files;
    std::vector<std::string> paths;
    files.reserve(parts.size());
    constexpr std::size_t most_open = 128;  // unnamed files keep their descriptors
    const auto partial = parts.size() > most_open ? os::OutputFile::Partial::named
                                                  : os::OutputFile::Partial::unnamed;
    for (const Part& part : parts) {
      files.push_back(write_part(part, options, progress, partial));
      paths.push_back(part.path);
    }
    for (os::OutputFile& file : files) file.give_name();
    for (os::OutputFile& file : files) file.commit();
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

  /// The metadata that only shards have.
  struct SplitPairs {
    std::uint64_t count;
    detail::Encoder encoded;
  };

  /// A file to write: its tensors are [first, last).
  struct Part {
    std::string path;
    std::size_t first;
    std::size_t last;
    SplitPairs split_pairs;
    bool has_metadata;
  };

  struct WriteProgress {
    const ProgressCallback& callback;
    std::uint64_t total;
    std::uint64_t done = 0;

    void add(std::uint64_t bytes) { callback.report({done += bytes, total}); }
  };

  static constexpr std::string_view alignment_key = "general.alignment";

  template <class Type>
  [[nodiscard]] std::uint64_t checked_alignment(Type value) const {
    if constexpr (std::is_same_v<Type, std::uint32_t>) {
      if (!tensors_.empty())
        throw std::invalid_argument{"the alignment must be set before the first tensor is added"};
      if (is_power_of_two(value) && value <= limits::alignment) return value;
      throw std::invalid_argument{"an alignment of " + std::to_string(value) +
                                  " is not a power of two from 1 to 1048576"};
    }
    throw std::invalid_argument{"general.alignment is uint32"};
  }

  /// Throws: `std::invalid_argument` if a name is invalid or exists already.
  static void check_free(const detail::Names& taken, const std::string& what, std::string_view name,
                         std::uint64_t longest) {
    if (name.empty() || name.size() > longest || name.find('\0') != std::string_view::npos) {
      throw std::invalid_argument{"a " + what + " has 1 to " + std::to_string(longest) +
                                  " bytes and no NUL; this one has " + std::to_string(name.size())};
    }
    if (taken.contains(name))
      throw std::invalid_argument{what + " " + std::string{name} + " exists already"};
  }

  /// Adds a key, and the value that `put_value` appends. If that throws, nothing has changed.
  template <class PutValue>
  void add_pair(std::string_view key, ValueType type, const PutValue& put_value) {
    check_free(keys_, "metadata key", key, limits::key_bytes);
    const std::size_t before = pairs_.bytes().size();
    try {
      pairs_.put(key);
      pairs_.put(type);
      put_value();
      keys_.add(key);
    } catch (...) {
      pairs_.resize(before);
      throw;
    }
    ++pair_count_;
  }

  template <class PutElements>
  void add_array_pair(std::string_view key, ValueType element, std::uint64_t count,
                      const PutElements& put_elements) {
    if (key == alignment_key) throw std::invalid_argument{"general.alignment is not an array"};
    if (count > limits::array_elements)
      throw std::invalid_argument{"an array of more than 2^30 elements"};
    add_pair(key, ValueType::array, [&] {
      pairs_.put_header(element, count);
      put_elements();
    });
  }

  /// Divides the tensors among shards.
  [[nodiscard]] std::vector<Part> divide(const os::Path& prefix,
                                         const SplitOptions& options) const {
    for (const char* key : {split_no_key, split_count_key, split_tensors_key}) {
      if (keys_.contains(key))
        throw std::invalid_argument{"metadata key " + std::string{key} + " exists already"};
    }
    const auto bytes = [this](std::size_t i) { return tensors_[i].bytes; };
    const std::vector<std::size_t> ends = detail::shard_ends(tensors_.size(), bytes, options);
    const auto count = static_cast<std::uint16_t>(ends.size());
    std::vector<Part> parts;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      const auto number = static_cast<std::uint16_t>(i);
      parts.push_back({split_path(prefix.text(), number, count), i == 0 ? 0 : ends[i - 1], ends[i],
                       split_pairs(number, count), i == 0});
    }
    return parts;
  }

  [[nodiscard]] SplitPairs split_pairs(std::uint16_t number, std::uint16_t count) const {
    SplitPairs pairs{0, detail::Encoder{pairs_.version()}};
    const auto put_pair = [&](std::string_view key, auto value) {
      pairs.encoded.put(key);
      pairs.encoded.put(detail::type_of<decltype(value)>);
      pairs.encoded.put(value);
      ++pairs.count;
    };
    // The other shards have the alignment that was set, too.
    if (number != 0 && alignment_ != 32)
      put_pair(alignment_key, static_cast<std::uint32_t>(alignment_));
    put_pair(split_no_key, number);
    put_pair(split_count_key, count);
    put_pair(split_tensors_key, static_cast<std::int32_t>(tensors_.size()));
    return pairs;
  }

  /// Encodes everything before the tensor data.
  [[nodiscard]] detail::Encoder front_matter(const Part& part) const {
    detail::Encoder front{pairs_.version()};
    front.append("GGUF", 4);
    front.put(pairs_.version());
    front.put_length(part.last - part.first);
    front.put_length((part.has_metadata ? pair_count_ : 0) + part.split_pairs.count);
    if (part.has_metadata) front.append(pairs_.bytes());
    front.append(part.split_pairs.encoded.bytes());
    for (std::size_t i = part.first; i < part.last; ++i) {
      const Tensor& tensor = tensors_[i];
      front.put(tensor.name);
      front.put(tensor.shape.rank);
      for (std::uint32_t k = 0; k < tensor.shape.rank; ++k)
        front.put_length(tensor.shape.extent[k]);
      front.put(static_cast<std::uint32_t>(tensor.type));
      front.put(tensor.offset - tensors_[part.first].offset);
    }
    if (part.first != part.last) {
      front.resize(static_cast<std::size_t>(*checked_align_up(front.bytes().size(), alignment_)));
    }
    return front;
  }

  [[nodiscard]] os::OutputFile write_part(
      const Part& part, const WriteOptions& options, WriteProgress& progress,
      os::OutputFile::Partial partial = os::OutputFile::Partial::unnamed) const {
    os::OutputFile out{part.path, partial};
    out.write(front_matter(part).bytes());
    DeferredVector<std::byte, Owner> piece;
    for (std::size_t i = part.first; i < part.last; ++i) {
      const Tensor& tensor = tensors_[i];
      write_tensor(out, tensor, piece, progress);
      const bool is_last = i + 1 == part.last;
      if (is_last && !options.pad_last_tensor) break;
      const std::uint64_t end = tensor.offset + tensor.bytes;
      const std::uint64_t next =
          is_last ? checked_align_up(end, alignment_).value_or(end) : tensors_[i + 1].offset;
      piece.assign(static_cast<std::size_t>(next - end), std::byte{0});
      out.write({piece.data(), piece.size()});
      if (!is_last) progress.add(piece.size());
    }
    out.close(options.sync);
    return out;
  }

  static void write_tensor(os::OutputFile& out, const Tensor& tensor,
                           DeferredVector<std::byte, Owner>& piece, WriteProgress& progress) {
    const std::uint64_t block = type_info(tensor.type).block_bytes;
    const std::uint64_t whole_blocks = (1U << 20) / block * block;
    for (std::uint64_t at = 0; at < tensor.bytes; at += piece.size()) {
      piece.resize(static_cast<std::size_t>(smaller(tensor.bytes - at, whole_blocks)));
      tensor.fill(at, {piece.data(), piece.size()});
      out.write({piece.data(), piece.size()});
      progress.add(piece.size());
    }
  }

  std::uint64_t alignment_ = 32;
  std::uint64_t pair_count_ = 0;
  detail::Encoder pairs_;
  detail::Names keys_;
  detail::Names names_;
  std::vector<Tensor> tensors_;
  detail::Sources sources_;
  std::uint64_t data_bytes_ = 0;
};

using Writer = BasicWriter<>;  ///< the usual one

}  // namespace allot::gguf
