// SPDX-License-Identifier: MIT
/// \file
/// `gguf::parse`: reads one GGUF container: header, metadata, tensor table. Checks everything
/// before anything is used. Source: the GGUF specification (ggml, docs/gguf.md); if ggml differs
/// from it, the more permissive reading is taken as long as it is memory-safe.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/container.hpp>
#include <allot/gguf/detail/other_formats.hpp>
#include <allot/gguf/detail/ranges.hpp>
#include <allot/gguf/input.hpp>
#include <allot/gguf/limits.hpp>
#include <allot/gguf/metadata.hpp>
#include <allot/gguf/metadata_section.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/gguf/partial_tensor.hpp>
#include <allot/gguf/tensor.hpp>
#include <allot/gguf/tensor_bytes.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::gguf {

static_assert(std::endian::native == std::endian::little,
              "the reader tells byte orders by a little-endian host's view of them");

namespace detail {

/// \tparam InputType  what is read, like `os::InputFile`
template <class InputType>
class Parser {
 public:
  Parser(const InputType& file, Reading reading) noexcept
      : file_{file}, in_{file}, is_lenient_{reading == Reading::lenient} {}

  [[nodiscard]] Container parse() {
    header();
    pairs_.reserve(at_first(value_count_));
    for (std::uint64_t i = 0; i < value_count_; ++i) pair();
    tensors_.reserve(at_first(tensor_count_));
    out_.tensors.reserve(at_first(tensor_count_));
    for (std::uint64_t i = 0; i < tensor_count_; ++i) tensor();
    in_.finish();
    build_metadata();
    alignment();
    data_section();
    check_tensors();
    check_overlaps();
    out_.bytes = in_.release();
    return std::move(out_);
  }

 private:
  struct Span {
    std::uint64_t at;
    std::uint64_t length;
  };
  struct PendingPair {
    Span key;
    ValueType type;
    std::uint64_t value;
  };
  /// A tensor of the table, in file order: where its name and its offset are, and its index in the
  /// container's list of complete or partial tensors.
  struct PendingTensor {
    Span name;
    std::uint64_t offset_at;
    std::uint32_t index;
    bool is_partial;
  };

  /// Limits the room reserved for what a file announces until the file has proved to hold it.
  [[nodiscard]] static std::size_t at_first(std::uint64_t count) noexcept {
    return static_cast<std::size_t>(smaller<std::uint64_t>(count, 4096));
  }

  void header() {
    recognize();
    out_.version = in_.template take<std::uint32_t>("the version");
    if (is_big_endian(out_.version)) {
      out_.byte_order = std::endian::big;
      out_.version = swapped(out_.version);
      in_.swap_numbers();
    }
    if (out_.version < 1 || out_.version > 3) {
      in_.fail(4, "version " + std::to_string(out_.version) + " is not 1, 2 or 3");
    }
    wide_ = out_.version >= 2;
    const std::uint64_t at = in_.position();
    tensor_count_ = take_length("the number of tensors");
    const std::uint64_t value_count_at = in_.position();
    value_count_ = take_length("the number of metadata pairs");
    const std::uint64_t smallest_tensor = wide_ ? 24 : 20;
    const std::uint64_t smallest_pair = wide_ ? 13 : 9;
    if (tensor_count_ > in_.remaining() / smallest_tensor) {
      in_.fail(at, std::to_string(tensor_count_) + " tensors do not fit the " +
                       std::to_string(in_.remaining()) + " bytes that follow");
    }
    if (value_count_ > in_.remaining() / smallest_pair) {
      in_.fail(value_count_at, std::to_string(value_count_) + " metadata pairs do not fit the " +
                                   std::to_string(in_.remaining()) + " bytes that follow");
    }
    if (larger(tensor_count_, value_count_) > limits::names) {
      in_.fail(at, std::to_string(tensor_count_) + " tensors and " + std::to_string(value_count_) +
                       " metadata pairs; at most 2^31 of each are supported");
    }
  }

  /// Reports what a file that is not GGUF is instead.
  void recognize() {
    if (file_.size() < 4) {
      in_.fail(
          0, "the file has " + std::to_string(file_.size()) + " bytes, too few for a GGUF header");
    }
    static_cast<void>(in_.skip(4, "the magic"));
    if (in_.text(0, 4) == "GGUF") return;
    std::string start(
        static_cast<std::size_t>(smaller<std::uint64_t>(file_.size(), recognized_bytes)), '\0');
    read_input(file_, 0, {reinterpret_cast<std::byte*>(start.data()), start.size()});
    if (!has_swapped_magic(start)) in_.fail(0, other_format(start));
  }

  [[nodiscard]] std::uint64_t take_length(const char* what) {
    return wide_ ? in_.template take<std::uint64_t>(what) : in_.template take<std::uint32_t>(what);
  }

  [[nodiscard]] ValueType take_type(const char* what) {
    const std::uint64_t at = in_.position();
    const auto id = in_.template take<std::uint32_t>(what);
    if (id >= value_type_count) {
      in_.fail(at,
               std::string{what} + " " + std::to_string(id) + " is unknown; 0 to 12 are defined");
    }
    return static_cast<ValueType>(id);
  }

  void pair() {
    const Span key = take_name("a metadata key", limits::key_bytes);
    const ValueType type = take_type("a metadata value's type");
    pairs_.push_back({key, type, in_.position()});
    skip_value(type, 0);
  }

  /// Takes a text, which must neither be empty nor contain NUL.
  [[nodiscard]] Span take_name(const char* what, std::uint64_t longest) {
    const std::uint64_t at = in_.position();
    const std::uint64_t length = take_length(what);
    if (length == 0) in_.fail(at, std::string{what} + " is empty");
    in_.require(length, what);
    if (length > longest) {
      in_.fail(at, std::string{what} + " has " + std::to_string(length) + " bytes; at most " +
                       std::to_string(longest) + " are allowed");
    }
    const Span name{in_.skip(length, what), length};
    if (in_.text(name.at, length).find('\0') != std::string_view::npos) {
      in_.fail(name.at, std::string{what} + " holds a NUL byte");
    }
    return name;
  }

  void skip_value(ValueType type, std::uint32_t depth) {
    if (type == ValueType::string) {
      skip_string();
    } else if (type == ValueType::array) {
      skip_array(depth + 1);
    } else {
      in_.skip_numbers(1, fixed_size(type), "a metadata value");
    }
  }

  void skip_strings(std::uint64_t count) {
    while (true) {
      count = wide_ ? in_.template skip_strings_at_hand<std::uint64_t>(count)
                    : in_.template skip_strings_at_hand<std::uint32_t>(count);
      if (count == 0) return;
      skip_string();
      --count;
    }
  }

  void skip_string() {
    const std::uint64_t at = in_.position();
    const std::uint64_t length = take_length("a string's length");
    if (length > limits::string_bytes) {
      in_.fail(at, "a string of " + std::to_string(length) + " bytes; at most 2^30 are allowed");
    }
    in_.skip(length, "a string");
  }

  void skip_array(std::uint32_t depth) {
    const std::uint64_t at = in_.position();
    if (depth > limits::array_nesting) in_.fail(at, "arrays are nested more than 4 deep");
    const ValueType type = take_type("an array's element type");
    const std::uint64_t count = take_length("an array's length");
    if (count > limits::array_elements) {
      in_.fail(at, "an array of " + std::to_string(count) + " elements; at most 2^30 are allowed");
    }
    const std::uint64_t length_bytes = wide_ ? 8 : 4;
    const std::uint64_t smallest = type == ValueType::string  ? length_bytes
                                   : type == ValueType::array ? 4 + length_bytes
                                                              : fixed_size(type);
    if (count > in_.remaining() / smallest) {
      in_.fail(at, "an array of " + std::to_string(count) + " elements does not fit the " +
                       std::to_string(in_.remaining()) + " bytes left in the file");
    }
    if (fixed_size(type) != 0) {
      in_.skip_numbers(count, fixed_size(type), "an array");
    } else if (type == ValueType::string) {
      skip_strings(count);
    } else {
      for (std::uint64_t i = 0; i < count; ++i) skip_array(depth + 1);
    }
  }

  void tensor() {
    const Span name =
        take_name("a tensor's name", is_lenient_ ? limits::key_bytes : limits::tensor_name_bytes);
    const std::uint64_t rank_at = in_.position();
    const auto rank = in_.template take<std::uint32_t>("a tensor's number of dimensions");
    const bool has_more = rank > limits::dimensions;
    if (has_more && !is_lenient_) {
      in_.fail(rank_at,
               of(name) + "has " + std::to_string(rank) + " dimensions; at most 4 are allowed");
    }
    const std::uint64_t shape_at = in_.position();
    in_.require(std::uint64_t{rank} * (wide_ ? 8 : 4), "a tensor's dimensions");
    TensorInfo info{};
    std::vector<std::uint64_t> more(has_more ? rank : 0);
    const DeferredSpan<std::uint64_t, InputType> extents{
        has_more ? more.data() : info.shape.extent.data(), rank};
    for (std::uint64_t& extent : extents) extent = take_length("a tensor's dimension");
    const std::uint64_t type_at = in_.position();
    const auto id = in_.template take<std::uint32_t>("a tensor's type");
    const auto type = find_type(id);
    if (!type && (!is_lenient_ || is_removed_type(id))) {
      in_.fail(type_at, of(name) + "has type " + std::to_string(id) +
                            (is_removed_type(id) ? ", which was removed from GGUF; convert it again"
                                                 : ", which is unknown, so its size is too"));
    }
    const std::uint64_t bytes =
        checked_tensor_bytes(extents, type.value_or(TypeInfo{TensorType{id}, "?", 1, 0}),
                             [&](const std::string& what) { in_.fail(shape_at, of(name) + what); });
    const std::uint64_t offset_at = in_.position();
    const auto offset = in_.template take<std::uint64_t>("a tensor's offset");
    if (type && !has_more) {
      tensors_.push_back({name, offset_at, static_cast<std::uint32_t>(out_.tensors.size()), false});
      info.type = type->type;
      info.shape.rank = rank;
      info.offset = offset;
      info.bytes = bytes;
      out_.tensors.push_back(info);
    } else {
      tensors_.push_back(
          {name, offset_at, static_cast<std::uint32_t>(out_.partial_tensors.size()), true});
      out_.partial_tensors.push_back({{}, id, {extents.begin(), extents.end()}, offset, {}, 0});
      if (type) out_.partial_tensors.back().bytes = bytes;
    }
  }

  [[nodiscard]] std::string of(Span name) const {
    return "tensor " + std::string{in_.text(name.at, name.length)} + " ";
  }

  void build_metadata() {
    Metadata& made = out_.metadata;
    made.values_.reserve(pairs_.size());
    made.places_.reserve(pairs_.size());
    made.indexes_ = std::vector<StringIndexes>(1);
    for (const PendingPair& pair : pairs_) {
      const std::string_view key = in_.text(pair.key.at, pair.key.length);
      if (!made.places_.add(key, made.values_.size(), Metadata::NameAt{&made}))
        in_.fail(pair.key.at, "metadata key " + std::string{key} + " occurs twice");
      made.values_.emplace_back(key, pair.type, in_.at(pair.value), wide_, made.indexes_.front());
    }
  }

  void alignment() {
    const Value* value = out_.metadata.find("general.alignment");
    if (value == nullptr) return;
    const std::uint64_t at = value_position("general.alignment");
    if (value->type() != ValueType::uint32) {
      in_.fail(at, "general.alignment is " + std::string{to_text(value->type())} + ", not uint32");
    }
    out_.alignment = value->as<std::uint32_t>();
    if (!is_power_of_two(out_.alignment) || out_.alignment > limits::alignment) {
      in_.fail(at, "general.alignment is " + std::to_string(out_.alignment) +
                       ", not a power of two from 1 to 1048576");
    }
  }

  [[nodiscard]] std::uint64_t value_position(std::string_view key) const {
    for (const PendingPair& pair : pairs_) {
      if (in_.text(pair.key.at, pair.key.length) == key) return pair.value;
    }
    return 0;
  }

  void data_section() {
    // Files without tensors end right after their metadata, unpadded.
    out_.data_offset =
        tensor_count_ == 0 ? in_.position() : *checked_align_up(in_.position(), out_.alignment);
    data_bytes_ = file_.size() < out_.data_offset ? 0 : file_.size() - out_.data_offset;
  }

  void check_tensors() {
    NameIndex names;
    names.reserve(tensors_.size());
    const auto name_of = [this](std::size_t i) {
      return in_.text(tensors_[i].name.at, tensors_[i].name.length);
    };
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const PendingTensor& pending = tensors_[i];
      (pending.is_partial ? out_.partial_tensors[pending.index].name
                          : out_.tensors[pending.index].name) = name_of(i);
      if (!names.add(name_of(i), i, name_of))
        in_.fail(pending.name.at, of(pending.name) + "occurs twice");
      check_range(pending);
    }
  }

  /// Returns the range of a tensor's data; one byte if the type is unknown and it has any.
  [[nodiscard]] Range range_of(std::size_t i) {
    if (!tensors_[i].is_partial) {
      const TensorInfo& tensor = out_.tensors[tensors_[i].index];
      return {tensor.offset, tensor.bytes, i};
    }
    const PartialTensor& tensor = out_.partial_tensors[tensors_[i].index];
    bool is_empty = false;
    for (const std::uint64_t extent : tensor.dimensions) is_empty = is_empty || extent == 0;
    return {tensor.offset, tensor.bytes.value_or(is_empty ? 0 : 1), i};
  }

  void check_range(const PendingTensor& pending) {
    const Range range = range_of(static_cast<std::size_t>(&pending - tensors_.data()));
    if (range.offset % out_.alignment != 0) {
      in_.fail(pending.offset_at, of(pending.name) + "begins at offset " +
                                      std::to_string(range.offset) + ", not a multiple of " +
                                      std::to_string(out_.alignment));
    }
    if (range.bytes != 0 &&
        (range.offset > data_bytes_ || range.bytes > data_bytes_ - range.offset)) {
      in_.fail(pending.offset_at, of(pending.name) + "has " + std::to_string(range.bytes) +
                                      " bytes at offset " + std::to_string(range.offset) +
                                      ", beyond the " + std::to_string(data_bytes_) +
                                      " bytes of tensor data in the file; was the file cut off?");
    }
  }

  void check_overlaps() {
    std::vector<Range> ranges;
    ranges.reserve(tensors_.size());
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (const Range range = range_of(i); range.bytes != 0) ranges.push_back(range);
    }
    find_overlaps(ranges, [this](const Range& lower, const Range& upper) {
      const PendingTensor& pending = tensors_[upper.tensor];
      const Span name = tensors_[lower.tensor].name;
      in_.fail(pending.offset_at, of(pending.name) + "overlaps tensor " +
                                      std::string{in_.text(name.at, name.length)} + " at offset " +
                                      std::to_string(upper.offset));
    });
  }

  const InputType& file_;
  MetadataSection<InputType> in_;
  Container out_;
  bool is_lenient_;
  bool wide_ = true;
  std::uint64_t tensor_count_ = 0;
  std::uint64_t value_count_ = 0;
  std::uint64_t data_bytes_ = 0;
  std::vector<PendingPair> pairs_;
  std::vector<PendingTensor> tensors_;
};

}  // namespace detail

/// Reads and checks everything before the tensor data. Throws: `ParseError`.
/// Complexity: linear in the metadata section, n log n in the tensors.
template <class InputType>
[[nodiscard]] Container parse(const InputType& file, Reading reading = Reading::strict) {
  return detail::Parser<InputType>{file, reading}.parse();
}

}  // namespace allot::gguf
