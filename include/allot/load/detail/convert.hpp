// SPDX-License-Identifier: MIT
/// \file
/// How a step transforms one tensor: reads blocks, brings them into the machine's byte order, and
/// converts them to the form that the arena holds.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/byte_order.hpp>
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/load/plan/plan.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace allot::load::detail {

/// Bytes of a shard that are in memory already; null: none are, so the shard is read.
struct FilePiece {
  const std::byte* bytes = nullptr;
  std::uint64_t offset = 0;  // of the first, from the start of the shard
};

/// How a step transforms one tensor. Sizes in bytes.
struct Conversion {
  const gguf::Shard* shard;
  gguf::TensorType from;
  gguf::TensorType to;
  bool swapped;
  std::uint64_t file_offset;
  std::uint64_t file_row;               // of a row in the file
  std::uint64_t data_row;               // of a row in memory
  std::uint64_t row_bytes;              // with the zeros after it
  std::uint64_t unit_from;              // the fewest that can be converted
  std::uint64_t unit_to;                // what they become
  bool has_gaps = false;                // between the rows' bytes in the file: columns are left out
  std::uint64_t file_rows;              // of a matrix in the file
  const TensorCut* cut_rows = nullptr;  // those of them that there are; null: all
  FilePiece piece{};                    // where the file's bytes come from

  /// Requires: `check_step` found the step right; `from_piece`, if it is not null, has what is read.
  template <class = void>
  Conversion(const gguf::File& file, const Plan& plan, const Step& step, FilePiece from_piece = {})
      : shard{&file.shards()[step.shard]},
        from{file.tensors()[plan.source_of(step.item)].type},
        to{plan.items[step.item].type},
        swapped{is_swapped(file, file.tensors()[plan.source_of(step.item)])},
        file_offset{step.file_offset},
        row_bytes{plan.items[step.item].row_bytes},
        piece{from_piece} {
    const gguf::TensorInfo& tensor = file.tensors()[plan.source_of(step.item)];
    const gguf::TypeInfo type = gguf::type_info(from);
    file_row = bytes_of_row(from, tensor.shape.extent[0]);
    data_row = bytes_of_row(to, plan.items[step.item].shape.extent[0]);
    unit_from = type.block_bytes;
    unit_to = from == to ? type.block_bytes : bytes_of_row(to, type.block_elements);
    has_gaps = cuts_columns(plan.items[step.item], tensor);
    file_rows = tensor.shape.extent[1];
    const auto& cut = plan.items[step.item].cut;
    if (cut && cut->dimension == 1) cut_rows = &*cut;
    const bool is_one_row = data_row == row_bytes || cuts_vector(plan.items[step.item], tensor);
    if (step.transform == Transform::convert && is_one_row && !has_gaps) {
      file_row = step.bytes;  // nothing between rows: all of them are one
      data_row = row_bytes = step.arena_bytes;
    }
  }

  /// Returns the place in the file of a row of a matrix. Requires: the step transposes.
  template <class Owner = void>
  [[nodiscard]] std::uint64_t place_of_row(std::uint64_t matrix, std::uint64_t row) const noexcept {
    if (cut_rows != nullptr)
      row = deferred<Owner>(*cut_rows).in_tensor(row) -
            deferred<Owner>(*cut_rows).ranges.front().first;
    return file_offset + (matrix * file_rows + row) * file_row;
  }

  /// Returns true if the rows of a matrix follow each other in the file.
  [[nodiscard]] bool has_rows_together() const noexcept {
    return !has_gaps && (cut_rows == nullptr || cut_rows->ranges.size() == 1);
  }

  /// Fills `into` with the file's bytes from `offset` on. Throws: `gguf::ParseError`.
  template <class Owner = void>
  void read(std::uint64_t offset, DeferredSpan<std::byte, Owner> into) const {
    if (piece.bytes == nullptr) return shard->read(offset, into);
    std::memcpy(into.data(), piece.bytes + (offset - piece.offset), into.size());
  }
};

/// Converts whole blocks to their type in memory. `to` need not be aligned.
template <class Owner = void>
void decode(const Conversion& conversion, DeferredSpan<const std::byte, Owner> blocks,
            std::byte* to, std::uint64_t elements) {
  const auto count = static_cast<std::size_t>(elements);
  const auto into = [&]<class Number>(Number) {
    if (reinterpret_cast<std::uintptr_t>(to) % alignof(Number) == 0) {
      gguf::dequantize(conversion.from, blocks, std::span{reinterpret_cast<Number*>(to), count});
    } else {
      DeferredVector<Number, Owner> values(count);
      gguf::dequantize(conversion.from, blocks, std::span{values});
      std::memcpy(to, values.data(), count * sizeof(Number));
    }
  };
  switch (conversion.to) {
    case gguf::TensorType::F32:
      return into(float{});
    case gguf::TensorType::F16:
      return into(gguf::Float16{});
    default:
      return into(gguf::BFloat16{});
  }
}

/// Reads whole consecutive blocks, in the machine's byte order, many at once: a row may be short.
template <class Owner = void>
class BlockReader {
 public:
  explicit BlockReader(const Conversion& conversion) noexcept : conversion_{conversion} {}

  /// Goes to `offset` of the file, to read `bytes`.
  void start(std::uint64_t offset, std::uint64_t bytes) noexcept {
    offset_ = offset;
    left_ = bytes;
    rest_ = {};
  }

  /// Returns the next bytes, at most as many as asked for.
  [[nodiscard]] DeferredSpan<const std::byte, Owner> next(std::uint64_t most) {
    if (rest_.empty()) {
      const std::uint64_t room = buffer_.size() / conversion_.unit_from * conversion_.unit_from;
      const DeferredSpan<std::byte, Owner> read{buffer_.data(),
                                                static_cast<std::size_t>(smaller(room, left_))};
      conversion_.read(offset_, read);
      if (conversion_.swapped) gguf::swap_byte_order(conversion_.from, read);
      offset_ += read.size();
      left_ -= read.size();
      rest_ = read;
    }
    const auto given = rest_.first(smaller(rest_.size(), static_cast<std::size_t>(most)));
    rest_ = rest_.subspan(given.size());
    return given;
  }

 private:
  const Conversion& conversion_;
  std::uint64_t offset_ = 0;
  std::uint64_t left_ = 0;
  DeferredSpan<const std::byte, Owner> rest_{};
  std::array<std::byte, 64 * KiB> buffer_;
};

/// Converts and writes the next units of the file.
template <class Owner = void>
void convert_units(const Conversion& conversion, BlockReader<>& reader, std::uint64_t units,
                   std::byte* to) {
  const std::uint64_t elements = gguf::type_info(conversion.from).block_elements;
  while (units != 0) {
    const DeferredSpan<const std::byte, Owner> blocks = reader.next(units * conversion.unit_from);
    const std::uint64_t count = blocks.size() / conversion.unit_from;
    if (conversion.from == conversion.to) {
      std::memcpy(to, blocks.data(), blocks.size());
    } else {
      decode(conversion, blocks, to, count * elements);
    }
    to += count * conversion.unit_to;
    units -= count;
  }
}

/// Makes `out`, the step's bytes in the arena from `at` on.
template <class Owner = void>
void convert(const Conversion& conversion, std::uint64_t at, DeferredSpan<std::byte, Owner> out) {
  const auto offset_of = [&](std::uint64_t place) {
    const std::uint64_t in_row = smaller(place % conversion.row_bytes, conversion.data_row);
    return conversion.file_offset + place / conversion.row_bytes * conversion.file_row +
           in_row / conversion.unit_to * conversion.unit_from;
  };
  BlockReader reader{conversion};
  if (!conversion.has_gaps) reader.start(offset_of(at), offset_of(at + out.size()) - offset_of(at));
  while (!out.empty()) {
    const std::uint64_t in_row = at % conversion.row_bytes;
    std::uint64_t bytes = smaller<std::uint64_t>(out.size(), conversion.row_bytes - in_row);
    if (in_row < conversion.data_row) {
      bytes = smaller(bytes, conversion.data_row - in_row);
      if (conversion.has_gaps)
        reader.start(offset_of(at), bytes / conversion.unit_to * conversion.unit_from);
      convert_units(conversion, reader, bytes / conversion.unit_to, out.data());
    } else {
      std::memset(out.data(), 0, static_cast<std::size_t>(bytes));
    }
    out = out.subspan(static_cast<std::size_t>(bytes));
    at += bytes;
  }
}

inline constexpr std::uint64_t scattered_rows = 32;

/// Turns rows into columns, through a small square: each cache line is read once and written whole.
/// Requires: at most `scattered_rows` rows.
template <std::size_t Size>
void scatter(const std::byte* from, std::uint64_t rows, std::uint64_t columns, std::byte* to,
             std::uint64_t column_bytes) {
  constexpr std::uint64_t some = 64 / Size;
  std::array<std::byte, some * scattered_rows * Size> square;
  for (std::uint64_t first = 0; first < columns; first += some) {
    const std::uint64_t count = smaller(some, columns - first);
    for (std::uint64_t row = 0; row < rows; ++row) {
      const std::byte* const line = from + (row * columns + first) * Size;
      for (std::uint64_t i = 0; i < count; ++i)
        std::memcpy(square.data() + (i * scattered_rows + row) * Size, line + i * Size, Size);
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      std::memcpy(to + (first + i) * column_bytes, square.data() + i * scattered_rows * Size,
                  static_cast<std::size_t>(rows * Size));
    }
  }
}

}  // namespace allot::load::detail
