// SPDX-License-Identifier: MIT
/// \file
/// `SharedPieces`: what several ranks need of a file, cut into pieces that one rank each reads, for
/// all that need them.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/check_plan.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/sort.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace allot::load::detail {

/// The bytes of a shard that a step passes: of a part of the columns, whole rows; of several ranges of
/// rows, all of the tensor.
struct StepRange {
  std::uint64_t begin;
  std::uint64_t end;
  std::uint64_t row;                    // bytes of a row; 0: the step takes all bytes as they are
  std::uint64_t first;                  // of each row, the first byte that the step takes
  std::uint64_t part;                   // of each row, the bytes that it takes
  std::uint64_t block;                  // the fewest bytes that can be transformed
  const TensorCut* cut_rows = nullptr;  // the rows that the step takes; null: all
  std::uint64_t rows = 0;               // of each of the file's matrices
  std::uint64_t matrices = 0;

  /// Requires: `check_plan` found the step right, and it reads.
  template <class = void>
  StepRange(const gguf::File& file, const Plan& plan, const Step& step)
      : begin{step.file_offset},
        end{step.file_offset + step.bytes},
        row{0},
        first{0},
        part{step.bytes},
        block{1} {
    if (step.transform == Transform::none) return;
    const Item& item = plan.items[step.item];
    const gguf::TensorInfo& tensor = file.tensors()[plan.source_of(step.item)];
    row = bytes_of_row(tensor.type, tensor.shape.extent[0]);
    part = row;
    block = gguf::type_info(tensor.type).block_bytes;
    rows = tensor.shape.extent[1];
    matrices = tensor.shape.extent[2] * tensor.shape.extent[3];
    const bool has_ranges = step.transform == Transform::transpose && item.cut &&
                            item.cut->dimension == 1 &&
                            (item.cut->ranges.size() > 1 || matrices > 1);
    if (has_ranges) {
      cut_rows = &*item.cut;
      begin = step.file_offset - first_byte_of(*item.cut, tensor);
      end = begin + matrices * rows * row;
    }
    if (!cuts_columns(item, tensor)) return;
    first = first_byte_of(*item.cut, tensor);
    part = bytes_of_row(tensor.type, item.cut->extent());
    begin = step.file_offset - first;
    end = begin + step.bytes / part * row;
  }

  /// Returns true if it takes some of each row's bytes.
  [[nodiscard]] bool has_columns() const noexcept { return part < row; }

  /// Calls `take(first, count, before)` for each range of rows that the step takes: the first, of all
  /// matrices, how many, and how many of the step's come before them. Requires: `cut_rows`.
  template <class Take>
  void each_range(Take&& take) const {
    each_range(0, matrices, take);
  }
  /// The same for some of the matrices.
  template <class Take>
  void each_range(std::uint64_t first_matrix, std::uint64_t end_matrix, Take&& take) const {
    std::uint64_t before = first_matrix * cut_rows->extent();
    for (std::uint64_t matrix = first_matrix; matrix < end_matrix; ++matrix) {
      for (const CutRange& range : cut_rows->ranges) {
        take(matrix * rows + range.first, range.count, before);
        before += range.count;
      }
    }
  }
};

/// Some consecutive bytes of a shard.
struct ByteRun {
  std::uint64_t offset;
  std::uint64_t bytes;
};

/// Bytes of a shard that the same ranks need.
struct SharedPiece {
  std::uint64_t offset;
  std::uint64_t bytes;
  std::uint32_t shard;
  std::uint32_t reader;    // the rank that reads it
  std::size_t first_user;  // of the steps that need it
  std::size_t users;
};

/// All pieces, in the order of the file; every rank computes the same. Pieces are cut where other
/// steps begin to need them, and between blocks of what is transformed. Of the ranks that need a
/// piece, the one that has the fewest bytes to read so far reads it: so it need not be sent if
/// one rank needs it, and the storage of several machines is read at once.
///
/// \tparam Owner  any type of the caller's: this is compiled only when the caller is
template <class Owner>
class SharedPieces {
 public:
  /// \param plans       of all ranks; they must outlive this, like the file
  /// \param most_bytes  of a piece: at least a block of any type
  /// Throws: `std::logic_error` if a plan is not the file's. Complexity: O(n log n) in the steps of
  /// all plans, and in the pieces times the steps that need each.
  SharedPieces(const gguf::File& file, std::span<const Plan> plans, std::uint64_t most_bytes)
      : file_{file}, plans_{plans}, most_bytes_{most_bytes}, to_read_(plans.size()) {
    DeferredVector<User, Owner> users;
    DeferredVector<Place, Owner> places;
    for (std::uint32_t rank = 0; rank < plans.size(); ++rank) {
      check_plan(plans[rank], file);
      for (const Step& step : plans[rank].steps) {
        if (step.transform == Transform::zero || step.bytes == 0) continue;
        const StepRange range{file, plans[rank], step};
        const auto add = [&](std::uint64_t begin, std::uint64_t end) {
          users.push_back({rank, &step, end});
          places.push_back({step.shard, begin, users.size()});
          places.push_back({step.shard, end, 0});
        };
        if (range.cut_rows == nullptr) {
          add(range.begin, range.end);
          continue;
        }
        range.each_range([&](std::uint64_t first, std::uint64_t count, std::uint64_t) {
          add(range.begin + first * range.row, range.begin + (first + count) * range.row);
        });
      }
    }
    sort_stably(places, [](const Place& a, const Place& b) {
      return a.shard != b.shard ? a.shard < b.shard : a.at < b.at;
    });
    DeferredVector<User, Owner> active;
    for (std::size_t i = 0; i < places.size(); ++i) {
      const Place& place = places[i];
      if (place.user != 0) active.push_back(users[place.user - 1]);
      const bool is_last = i + 1 == places.size() || places[i + 1].shard != place.shard;
      if (!is_last && places[i + 1].at == place.at) continue;
      std::size_t kept = 0;
      for (const User& user : active) {
        if (user.end > place.at) active[kept++] = user;
      }
      active.resize(kept);
      if (kept != 0) add_pieces(place.shard, place.at, places[i + 1].at, active);
    }
  }

  /// Returns all of them, in the order of the file.
  [[nodiscard]] const DeferredVector<SharedPiece, Owner>& all() const noexcept { return pieces_; }

  /// Returns the ranks of the steps that need a piece, in order; one may be there twice.
  [[nodiscard]] DeferredVector<std::uint32_t, Owner> ranks_of(const SharedPiece& piece) const {
    DeferredVector<std::uint32_t, Owner> ranks;
    for (std::size_t i = 0; i < piece.users; ++i) {
      const std::uint32_t rank = users_[piece.first_user + i].rank;
      if (ranks.empty() || ranks.back() != rank) ranks.push_back(rank);
    }
    return ranks;
  }

  /// Returns what a rank needs of a piece, in order and apart; empty: nothing.
  [[nodiscard]] DeferredVector<ByteRun, Owner> needs_of(const SharedPiece& piece,
                                                        std::uint32_t rank) const {
    DeferredVector<ByteRun, Owner> runs;
    const std::size_t end_user = piece.first_user + piece.users;
    for (std::size_t i = first_user_of(piece, rank); i < end_user && users_[i].rank == rank; ++i) {
      const User& user = users_[i];
      const StepRange range{file_, plans_[rank], *user.step};
      if (!range.has_columns() || !runs.empty()) return {{piece.offset, piece.bytes}};
      const std::uint64_t end = piece.offset + piece.bytes;
      for (std::uint64_t row = (piece.offset - range.begin) / range.row;; ++row) {
        const std::uint64_t first = range.begin + row * range.row + range.first;
        if (first >= end) break;
        const std::uint64_t from = larger(first, piece.offset);
        const std::uint64_t to = smaller(first + range.part, end);
        if (from < to) runs.push_back({from, to - from});
      }
    }
    return runs;
  }

 private:
  /// A step of a rank.
  struct User {
    std::uint32_t rank;
    const Step* step;
    std::uint64_t end;  // of its bytes in the file
  };
  /// Where steps begin or end.
  struct Place {
    std::uint32_t shard;
    std::uint64_t at;
    std::size_t user;  // 1 more than the number of the one that begins; 0: one ends
  };

  /// Returns the first of a piece's users that is of a rank, or of a later one.
  [[nodiscard]] std::size_t first_user_of(const SharedPiece& piece,
                                          std::uint32_t rank) const noexcept {
    std::size_t first = piece.first_user;
    for (std::size_t count = piece.users; count != 0;) {
      const std::size_t half = count / 2;
      const bool is_before = users_[first + half].rank < rank;
      first += is_before ? half + 1 : 0;
      count = is_before ? count - half - 1 : half;
    }
    return first;
  }

  /// Cuts the bytes that `active` need.
  void add_pieces(std::uint32_t shard, std::uint64_t begin, std::uint64_t end,
                  const DeferredVector<User, Owner>& active) {
    DeferredVector<User, Owner> sorted = active;
    sort_stably(sorted, [](const User& a, const User& b) { return a.rank < b.rank; });
    std::uint64_t unit = 1;
    for (const User& user : sorted) {
      const StepRange range{file_, plans_[user.rank], *user.step};
      if (range.block == 1 && range.row == 0) continue;
      unit = range.row <= most_bytes_ ? range.row : range.block;
      if ((begin - range.begin) % range.block == 0 && (end - range.begin) % range.block == 0)
        continue;
      throw std::logic_error{"the plan of rank " + std::to_string(user.rank) +
                             " transforms a tensor that another rank's plan cuts within a block, "
                             "at byte " +
                             std::to_string(begin) + " of shard " + std::to_string(shard) +
                             "; load plans that make_shares made, unchanged"};
    }
    const std::size_t first_user = users_.size();
    users_.insert(users_.end(), sorted.begin(), sorted.end());
    for (std::uint64_t at = begin; at < end;) {
      const std::uint64_t bytes = smaller(most_bytes_ / unit * unit, end - at);
      SharedPiece piece{at, bytes, shard, sorted.front().rank, first_user, sorted.size()};
      bool is_needed = false;
      for (const User& user : sorted) {
        const bool reads_less = !is_needed || to_read_[user.rank] < to_read_[piece.reader];
        if (!reads_less || needs_of(piece, user.rank).empty()) continue;
        is_needed = true;
        piece.reader = user.rank;
      }
      if (is_needed) {
        to_read_[piece.reader] += bytes;
        pieces_.push_back(piece);
      }
      at += bytes;
    }
  }

  const gguf::File& file_;
  std::span<const Plan> plans_;
  std::uint64_t most_bytes_;
  DeferredVector<User, Owner> users_;
  DeferredVector<SharedPiece, Owner> pieces_;
  DeferredVector<std::uint64_t, Owner> to_read_;  // bytes so far, by rank
};

}  // namespace allot::load::detail
