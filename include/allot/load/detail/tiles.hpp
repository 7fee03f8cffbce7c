// SPDX-License-Identifier: MIT
/// \file
/// Steps that convert or write zeros, in tiles: each can be made independently, by any thread, in
/// memory of any size: in a slot on its way to a device, or in place. `transposed_tiles.hpp` does
/// the same for steps that transpose.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/detail/convert.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace allot::load::detail {

[[nodiscard]] constexpr std::uint64_t parts_of(std::uint64_t whole, std::uint64_t part) noexcept {
  return whole / part + (whole % part != 0 ? 1 : 0);
}

/// A part of a step that one reader makes at once.
struct Tile {
  const Step* step;
  std::uint64_t at;     // of the step's bytes in the arena
  std::uint64_t bytes;  // in the arena, and in a slot
};

/// A step as tiles of at most `most_bytes`: whole rows, or parts of one. Each is computed on
/// demand: tensors of very many tiny matrices take no memory for their tiles.
class Tiling {
 public:
  /// Requires: `most_bytes` has room for a block of any type, converted to any other; the step has
  /// bytes.
  template <class = void>
  Tiling(const gguf::File& file, const Plan& plan, const Step& step, std::uint64_t most_bytes)
      : step_{&step} {
    std::uint64_t row = step.arena_bytes;
    std::uint64_t unit = 1;
    if (step.transform == Transform::convert) {
      const Conversion conversion{file, plan, step};
      row = conversion.row_bytes;
      unit = conversion.unit_to;
    }
    run_ = row <= most_bytes ? step.arena_bytes : row;
    part_ = row <= most_bytes ? most_bytes / row * row : most_bytes / unit * unit;
    parts_ = parts_of(run_, part_);
  }

  [[nodiscard]] std::uint64_t size() const noexcept { return step_->arena_bytes / run_ * parts_; }

  /// Requires: `number` below `size()`.
  [[nodiscard]] Tile operator[](std::uint64_t number) const noexcept {
    const std::uint64_t in_run = number % parts_ * part_;
    return {step_, number / parts_ * run_ + in_run, smaller(part_, run_ - in_run)};
  }

 private:
  const Step* step_;
  std::uint64_t run_;   // bytes that are cut alike
  std::uint64_t part_;  // bytes of a tile, except the last of a run
  std::uint64_t parts_;
};

/// Makes a tile in a slot.
/// \param piece  has the file's bytes, if they are in memory already
template <class = void>
void make_tile(const gguf::File& file, const Plan& plan, const Tile& tile,
               std::span<std::byte> slot, FilePiece piece = {}) {
  const auto out = slot.first(static_cast<std::size_t>(tile.bytes));
  if (tile.step->transform == Transform::convert) {
    convert(Conversion{file, plan, *tile.step, piece}, tile.at, out);
  } else {
    std::memset(out.data(), 0, out.size());
  }
}

/// Calls `copy(to, from, bytes)` for each run of a tile in the arena: `to` in bytes from the
/// arena's start, `from` from the slot's.
template <class Copy>
void each_run_of(const Plan&, const Tile& tile, Copy&& copy) {
  copy(tile.step->arena_offset + tile.at, std::uint64_t{0}, tile.bytes);
}

/// Makes a tile in place, in memory that the host addresses.
template <class Owner = void>
void make_tile_in_place(const gguf::File& file, const Plan& plan, const Tile& tile,
                        std::byte* arena, FilePiece piece = {}) {
  std::byte* const first = arena + tile.step->arena_offset + tile.at;
  make_tile(deferred<Owner>(file), plan, tile, {first, static_cast<std::size_t>(tile.bytes)},
            piece);
}

}  // namespace allot::load::detail
