// SPDX-License-Identifier: MIT
/// \file
/// Goes through all of a file that was read, and checks what `gguf::File` promises of it.
#pragma once

#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/limits.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "input.hpp"

namespace allot::fuzz {

/// Calls `f.template operator()<T>()` with the C++ type of a value; arrays have none.
template <class F>
void with_type(gguf::ValueType type, F&& f) {
  switch (type) {
    case gguf::ValueType::uint8:
      return f.template operator()<std::uint8_t>();
    case gguf::ValueType::int8:
      return f.template operator()<std::int8_t>();
    case gguf::ValueType::uint16:
      return f.template operator()<std::uint16_t>();
    case gguf::ValueType::int16:
      return f.template operator()<std::int16_t>();
    case gguf::ValueType::uint32:
      return f.template operator()<std::uint32_t>();
    case gguf::ValueType::int32:
      return f.template operator()<std::int32_t>();
    case gguf::ValueType::float32:
      return f.template operator()<float>();
    case gguf::ValueType::boolean:
      return f.template operator()<bool>();
    case gguf::ValueType::string:
      return f.template operator()<std::string_view>();
    case gguf::ValueType::uint64:
      return f.template operator()<std::uint64_t>();
    case gguf::ValueType::int64:
      return f.template operator()<std::int64_t>();
    case gguf::ValueType::float64:
      return f.template operator()<double>();
    case gguf::ValueType::array:
      return;
  }
  require(false, "every value has a known type");
}

/// A number's bits, so that NaN equals itself.
template <class T>
[[nodiscard]] std::uint64_t bits_of(T value) noexcept {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

inline void walk_array(const gguf::Array& array) {
  const gguf::ValueType type = array.element_type();
  if (type == gguf::ValueType::array) return;
  std::uint64_t count = 0;
  std::uint64_t sum = 0;
  if (type == gguf::ValueType::string) {
    for (const std::string_view text : array.strings()) {
      sum += sum_of(text);
      ++count;
    }
  } else {
    with_type(type, [&]<class T>() {
      if constexpr (!std::is_same_v<T, std::string_view>) {
        const auto values = array.values<T>();
        for (count = 0; count < values.size(); ++count) sum += bits_of(values[count]);
      }
    });
  }
  require(count == array.size(), "an array has as many elements as it says");
  keep(sum);
}

inline void walk_metadata(const gguf::Metadata& metadata) {
  std::size_t count = 0;
  for (const gguf::Value& value : metadata) {
    const std::string_view key = value.key();
    require(!key.empty() && key.size() <= gguf::limits::key_bytes &&
                key.find('\0') == std::string_view::npos,
            "a key is a text within the limits");
    require(metadata.find(key) == &value, "keys are unique, and found");
    if (value.type() == gguf::ValueType::array) {
      walk_array(value.array());
    } else {
      with_type(value.type(), [&]<class T>() {
        if constexpr (std::is_same_v<T, std::string_view>) {
          keep(sum_of(value.as<T>()));
        } else {
          const T number = value.as<T>();
          keep(bits_of(number));
          if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
            require(value.as_count().has_value() == (number >= 0),
                    "whole numbers that are not negative are counts");
          }
        }
      });
    }
    ++count;
  }
  require(count == metadata.size(), "the metadata have as many pairs as they say");
}

/// The size that a tensor's description gives it, with 128 bits.
__extension__ typedef unsigned __int128 Wide;
[[nodiscard]] inline Wide bytes_of(const gguf::TensorInfo& tensor) {
  const gguf::TypeInfo type = gguf::type_info(tensor.type);
  require(tensor.shape.rank <= gguf::limits::dimensions, "a tensor has at most 4 dimensions");
  Wide rows = 1;
  for (std::size_t i = 0; i < 4; ++i) {
    require(i < tensor.shape.rank || tensor.shape.extent[i] == 1, "an extent beyond the rank is 1");
    if (i != 0) rows *= tensor.shape.extent[i];
  }
  require(tensor.shape.extent[0] % type.block_elements == 0, "rows consist of whole blocks");
  return rows * (tensor.shape.extent[0] / type.block_elements) * type.block_bytes;
}

inline void walk_data(const gguf::File& file, const gguf::TensorInfo& tensor) {
  const std::span<const std::byte> data = file.data(tensor);
  require(data.size() == tensor.bytes, "a view has the tensor's size");
  if (data.empty()) return;
  std::array<std::byte, 256> start;
  const auto part = std::span{start}.first(std::min(start.size(), data.size()));
  const gguf::Shard& shard = file.shards()[tensor.shard];
  shard.read(shard.data_offset() + tensor.offset, part);
  require(std::memcmp(part.data(), data.data(), part.size()) == 0,
          "a view shows what a read reads");
  keep(static_cast<std::uint64_t>(data.back()));
}

/// Checks a tensor's name, of which a lenient reading allows longer ones.
inline void check_name(std::string_view name, std::uint64_t longest) {
  require(!name.empty() && name.size() <= longest && name.find('\0') == std::string_view::npos,
          "a tensor's name is a text within the limits");
}

/// \param longest_name  bytes
inline void walk_tensors(const gguf::File& file, std::uint64_t longest_name) {
  struct Range {
    std::uint32_t shard;
    std::uint64_t first;
    std::uint64_t end;
  };
  std::vector<Range> ranges;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    check_name(tensor.name, longest_name);
    require(file.find(tensor.name) == &tensor, "names are unique, and found");
    require(tensor.shard < file.shards().size(), "a tensor is in one of the shards");
    require(bytes_of(tensor) == tensor.bytes, "a tensor has the bytes that its description gives");
    if (tensor.bytes == 0) continue;
    const gguf::Shard& shard = file.shards()[tensor.shard];
    const Wide first = Wide{shard.data_offset()} + tensor.offset;
    require(first + tensor.bytes <= shard.size(), "a tensor lies in its shard");
    ranges.push_back({tensor.shard, tensor.offset, tensor.offset + tensor.bytes});
    walk_data(file, tensor);
  }
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return std::pair{a.shard, a.first} < std::pair{b.shard, b.first};
  });
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    require(ranges[i - 1].shard != ranges[i].shard || ranges[i - 1].end <= ranges[i].first,
            "no tensor overlaps another");
  }
}

/// Checks the tensors of which a lenient reading cannot say all.
inline void walk_partial_tensors(const gguf::File& file) {
  for (const gguf::PartialTensor& tensor : file.partial_tensors()) {
    check_name(tensor.name, gguf::limits::key_bytes);
    require(file.find(tensor.name) == nullptr, "a partial tensor is not found as a complete one");
    require(tensor.shard < file.shards().size(), "a partial tensor is in one of the shards");
    require(!tensor.bytes || tensor.dimensions.size() > gguf::limits::dimensions,
            "a partial tensor has an unknown type or more than 4 dimensions");
    require(tensor.why_partial().find(tensor.name) != std::string::npos,
            "what cannot be loaded is named");
    const bool is_empty = std::any_of(tensor.dimensions.begin(), tensor.dimensions.end(),
                                      [](std::uint64_t dimension) { return dimension == 0; });
    const gguf::Shard& shard = file.shards()[tensor.shard];
    const Wide end = Wide{shard.data_offset()} + tensor.offset + tensor.bytes.value_or(1);
    require(is_empty || end <= shard.size(),
            "a partial tensor lies in its shard, as far as its size is known");
  }
}

/// \param longest_name  of a tensor, in bytes
inline void walk(const gguf::File& file,
                 std::uint64_t longest_name = gguf::limits::tensor_name_bytes) {
  require(file.version() >= 1 && file.version() <= 3, "the version is 1, 2 or 3");
  require(std::has_single_bit(file.alignment()) && file.alignment() <= gguf::limits::alignment,
          "the alignment is a power of two up to 1 MiB");
  require(!file.shards().empty(), "there is a shard");
  walk_metadata(file.metadata());
  walk_tensors(file, longest_name);
  require(file.find("") == nullptr && file.metadata().find("") == nullptr, "nothing has no name");
}

}  // namespace allot::fuzz
