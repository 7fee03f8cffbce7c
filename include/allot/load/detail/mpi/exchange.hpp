// SPDX-License-Identifier: MIT
/// \file
/// `Exchange`: brings a rank's share into place from pieces of the file, of which each is read by one
/// rank and sent to the others that need it.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/load/detail/batches.hpp>
#include <allot/load/detail/bring.hpp>
#include <allot/load/detail/direct_files.hpp>
#include <allot/load/detail/job_threads.hpp>
#include <allot/load/detail/lane.hpp>
#include <allot/load/detail/mpi/piece_post.hpp>
#include <allot/load/detail/piece_tiles.hpp>
#include <allot/load/detail/worker_pool.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/shared_pieces.hpp>
#include <allot/load/plan/sort.hpp>
#include <allot/os/chrono.hpp>
#include <allot/os/direct_file.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace allot::load::detail {

/// Every rank handles the pieces that it reads or needs in the order of the file, each in a slot of
/// its own. So the first piece that is not everywhere yet always has its slots, and ranks never
/// wait for each other in a circle, however few slots they have.
///
/// Threads read, transform and copy to the device; MPI is called on the thread that calls `run`.
/// The slots belong to this object: it must live until the post is settled.
template <Device DeviceType>
class Exchange {
 public:
  using Pieces = SharedPieces<DeviceType>;

  /// \param pieces  of all ranks
  /// \param plan    this rank's as it is carried out; it must outlive `run`, and the places
  /// Throws: `OutOfMemory` for the slots; what the device throws.
  Exchange(const Ranks& ranks, PiecePost& post, const gguf::File& file, const Pieces& pieces,
           const Plan& plan, std::span<const ArenaPlace> places, DeviceType& device,
           const LoadOptions& options, LoadReport& report)
      : rank_{static_cast<std::uint32_t>(ranks.rank())},
        post_{post},
        file_{file},
        pieces_{pieces},
        plan_{plan},
        places_{places},
        is_straight_{detail::is_straight(std::span<DeviceType>{&device, 1})},
        choice_{options.stream_choice},
        direct_{file, options.direct_io, report.fallbacks},
        progress_{bytes_of(plan.steps)} {
    choose_pieces();
    const std::size_t most = static_cast<std::size_t>(options.slots);
    slots_.resize(larger<std::size_t>(1, smaller(most, own_.size())));
    threads_ = smaller(options.readers != 0 ? options.readers : usual_readers(), most);
    make_room(device, report);
    if (!is_straight_) lane_.emplace(device, options, slots_.size() + threads_);
    report.staging_bytes = room_ * rooms();
  }

  /// Blocks until every byte is in place and every piece that this rank reads has been sent.
  /// Throws: `Cancelled`, what the callback throws, `gguf::ParseError`, what the device throws. By
  /// then no thread runs and no copy is under way, but messages may be.
  void run(const ProgressCallback& callback, LoadReport& report) {
    try {
      exchange(callback);
    } catch (...) {
      lane_.reset();  // waits for copies
      throw;
    }
    lane_.reset();
    if (direct_.were_refused())
      report.fallbacks.push_back("direct reads were refused; read through the page cache");
    report.direct_io = direct_.in_use() && !direct_.were_refused();
  }

 private:
  struct Slot {
    std::size_t own = 0;      // which of `own_`
    std::size_t pending = 0;  // jobs and messages that use it
    bool is_read = false;     // if this rank reads its piece
    const std::byte* first = nullptr;
  };
  /// A piece that this rank reads or needs, and the first of the steps that need it.
  struct Own {
    std::size_t piece;
    std::size_t first_step;
  };

  void exchange(const ProgressCallback& callback) {
    const std::size_t all_jobs = 2 * slots_.size() + plan_.steps.size();
    JobThreads threads{all_jobs,
                       [this](std::size_t job, std::size_t thread) { this->work(job, thread); }};
    std::size_t left = own_.size();
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const Transform transform = plan_.steps[i].transform;
      if (transform != Transform::zero && transform != Transform::transpose) continue;
      threads.give(2 * slots_.size() + i);
      ++left;
    }
    DeferredVector<std::size_t, DeviceType> free;
    for (std::size_t i = slots_.size(); i-- != 0;) free.push_back(i);
    const auto end_one = [&](std::size_t slot) {
      if (--slots_[slot].pending != 0) return;
      free.push_back(slot);
      --left;
    };
    DeferredVector<std::size_t, DeviceType> done;
    callback.report(progress_.now());
    auto reported = std::chrono::steady_clock::now();
    threads.start(threads_);
    for (std::size_t next = 0; left != 0;) {
      bool has_moved = false;
      while (!free.empty() && next < own_.size()) {
        begin(free.back(), next++, threads);
        free.pop_back();
      }
      threads.take_done(done);
      for (const std::size_t job : done) {
        has_moved = true;
        if (job >= 2 * slots_.size()) {
          --left;
          continue;
        }
        if (job % 2 == 0) {
          slots_[job / 2].is_read = true;
        } else {
          end_one(job / 2);
        }
      }
      // In the order of the file, in which the others wait for them.
      for (; !reading_.empty() && slots_[reading_.front()].is_read; reading_.pop_front()) {
        send(reading_.front(), threads);
        end_one(reading_.front());
      }
      const bool has_mail = post_.test([&](std::size_t slot, bool is_sent) {
        if (!is_sent) apply(slot, threads);
        end_one(slot);
      });
      has_moved = has_moved || has_mail;
      const auto now = std::chrono::steady_clock::now();
      if (has_moved || now - reported > std::chrono::milliseconds{1}) {
        callback.report(progress_.now());  // also learns that another rank failed
        reported = now;
      }
      if (!has_moved && left != 0) threads.wait_briefly();
    }
    threads.stop();
    callback.report(progress_.now());
  }

  /// Finds the pieces that this rank reads or needs, and the steps that take something from each.
  void choose_pieces() {
    DeferredVector<const Step*, DeviceType> steps;
    for (const Step& step : plan_.steps) {
      if (step.transform != Transform::zero && step.bytes != 0) steps.push_back(&step);
    }
    const auto begin_of = [&](const Step* step) { return StepRange{file_, plan_, *step}.begin; };
    sort_stably(steps, [&](const Step* a, const Step* b) {
      return a->shard != b->shard ? a->shard < b->shard : begin_of(a) < begin_of(b);
    });
    DeferredVector<const Step*, DeviceType> active;
    std::size_t next = 0;
    for (std::size_t i = 0; i < pieces_.all().size(); ++i) {
      const SharedPiece& piece = pieces_.all()[i];
      if (piece.reader != rank_ && pieces_.needs_of(piece, rank_).empty()) continue;
      const std::uint64_t end = piece.offset + piece.bytes;
      while (next < steps.size() &&
             (steps[next]->shard < piece.shard ||
              (steps[next]->shard == piece.shard && begin_of(steps[next]) < end))) {
        active.push_back(steps[next++]);
      }
      std::size_t kept = 0;
      for (const Step* step : active) {
        const bool is_over =
            step->shard != piece.shard || StepRange{file_, plan_, *step}.end <= piece.offset;
        if (!is_over) active[kept++] = step;
      }
      active.resize(kept);
      own_.push_back({i, steps_.size()});
      steps_.insert(steps_.end(), active.begin(), active.end());
      largest_ = larger(largest_, piece.bytes);
    }
  }

  [[nodiscard]] std::size_t rooms() const noexcept {
    return slots_.size() + (is_straight_ ? 0 : threads_);
  }

  /// Reserves the slots, and for tiles on their way to a device one more for each thread; fewer if
  /// the system refuses.
  void make_room(DeviceType& device, LoadReport& report) {
    auto memory = device.staging_memory();
    const std::size_t wanted = rooms();
    room_ = os::DirectFile::room_for(larger<std::uint64_t>(largest_, 4 * KiB));
    for (;;) {
      try {
        region_ = memory.acquire(room_ * rooms(), os::DirectFile::alignment);
        break;
      } catch (const OutOfMemory&) {
        if (slots_.size() == 1 && threads_ == 1) throw;
        if (slots_.size() > 1) slots_.resize(slots_.size() / 2);
        if (threads_ > 1) threads_ /= 2;
      }
    }
    if (rooms() == wanted) return;
    report.fallbacks.push_back(std::to_string(wanted) + " staging slots of " +
                               ReadableBytes{room_}.c_str() + " were refused; used " +
                               std::to_string(rooms()));
  }

  [[nodiscard]] std::span<std::byte> room(std::size_t number) const noexcept {
    return {static_cast<std::byte*>(region_.address()) + number * room_,
            static_cast<std::size_t>(room_)};
  }
  [[nodiscard]] const SharedPiece& piece_of(std::size_t slot) const noexcept {
    return pieces_.all()[own_[slots_[slot].own].piece];
  }

  /// Begins with a piece: to read it, or to wait for it.
  template <class Threads>
  void begin(std::size_t number, std::size_t own, Threads& threads) {
    Slot& slot = slots_[number];
    slot = {own, 1, false, room(number).data()};
    const SharedPiece& piece = piece_of(number);
    if (piece.reader == rank_) {
      reading_.push_back(number);
      return threads.give(2 * number);
    }
    post_.receive(number, room(number).data(), piece.offset, pieces_.needs_of(piece, rank_),
                  static_cast<int>(piece.reader));
  }

  /// Sends a piece that has been read to all others that need it, and begins to put it in place here.
  template <class Threads>
  void send(std::size_t number, Threads& threads) {
    const SharedPiece& piece = piece_of(number);
    for (const std::uint32_t rank : pieces_.ranks_of(piece)) {
      if (rank == rank_) continue;
      const auto needs = pieces_.needs_of(piece, rank);
      if (needs.empty()) continue;
      post_.send(number, slots_[number].first, piece.offset, needs, static_cast<int>(rank));
      ++slots_[number].pending;
    }
    apply(number, threads);
  }

  template <class Threads>
  void apply(std::size_t number, Threads& threads) {
    ++slots_[number].pending;
    threads.give(2 * number + 1);
  }

  /// On a thread: does a job.
  void work(std::size_t job, std::size_t thread) {
    if (job >= 2 * slots_.size()) {
      each_zero_tile(file_, plan_, plan_.steps[job - 2 * slots_.size()], most_of_tile(),
                     [&](const auto& tile) { this->place_tile(tile, {}, thread); });
      return;
    }
    const std::size_t number = job / 2;
    const SharedPiece& piece = piece_of(number);
    if (job % 2 == 0) {
      slots_[number].first =
          direct_.read(file_.shards()[piece.shard], {piece.shard, piece.offset, piece.bytes, 0, 0},
                       room(number));
      return;
    }
    const std::size_t own = slots_[number].own;
    const std::size_t end = own + 1 < own_.size() ? own_[own + 1].first_step : steps_.size();
    for (std::size_t i = own_[own].first_step; i < end; ++i)
      place(*steps_[i], piece, number, thread);
  }

  /// Puts what a step takes from a piece in place.
  void place(const Step& step, const SharedPiece& piece, std::size_t slot, std::size_t thread) {
    const StepRange range{file_, plan_, step};
    const std::uint64_t begin = larger(range.begin, piece.offset);
    const std::uint64_t end = smaller(range.end, piece.offset + piece.bytes);
    const FilePiece given{slots_[slot].first, piece.offset};
    if (step.transform != Transform::none) {
      each_tile_of_piece(file_, plan_, step, begin, end, most_of_tile(),
                         [&](const auto& tile) { this->place_tile(tile, given, thread); });
      return;
    }
    std::byte* const to = places_[step.arena].base + step.arena_offset + (begin - step.file_offset);
    const std::byte* const from = given.bytes + (begin - piece.offset);
    if (is_straight_) {
      copy_straight(to, from, end - begin);
    } else {
      copy_staged(slot, end - begin, [&](DeviceType& device, auto& stream) {
        device.copy_to_device(to, from, end - begin, stream);
      });
    }
    progress_.add(end - begin);
  }

  template <class TileType>
  void place_tile(const TileType& tile, FilePiece given, std::size_t thread) {
    std::byte* const base = places_[tile.step->arena].base;
    if (is_straight_) {
      make_tile_in_place(file_, plan_, tile, base, given);
    } else {
      const std::size_t slot = slots_.size() + thread;
      make_tile(file_, plan_, tile, room(slot), given);
      copy_staged(slot, tile.bytes, [&](DeviceType& device, auto& stream) {
        each_run_of(plan_, tile, [&](std::uint64_t to, std::uint64_t from, std::uint64_t bytes) {
          device.copy_to_device(base + to, room(slot).data() + from, bytes, stream);
        });
      });
    }
    progress_.add(tile.bytes);
  }

  /// In parts so small that they stay in a core's cache while they are made ready and written.
  void copy_straight(std::byte* to, const std::byte* from, std::uint64_t bytes) const {
    constexpr std::uint64_t part_bytes = 256 * KiB;
    for (std::uint64_t at = 0; at < bytes; at += part_bytes) {
      const std::uint64_t part = smaller(part_bytes, bytes - at);
      if (populate_ != nullptr) populate_(to + at, part);
      std::memcpy(to + at, from + at, static_cast<std::size_t>(part));
    }
  }

  /// Waits for the copies: other threads have other pieces under way meanwhile.
  template <class Copies>
  void copy_staged(std::size_t slot, std::uint64_t bytes, Copies&& copies) {
    const std::size_t stream = lane_->choose(choice_);
    lane_->submit(stream, slot, bytes, copies);
    lane_->wait(stream, slot, bytes);
  }

  /// In memory that the host addresses a tile takes no room.
  [[nodiscard]] std::uint64_t most_of_tile() const noexcept {
    return is_straight_ ? 4 * MiB : room_;
  }

  std::uint32_t rank_;
  PiecePost& post_;
  const gguf::File& file_;
  const Pieces& pieces_;
  const Plan& plan_;
  std::span<const ArenaPlace> places_;
  bool is_straight_;
  StreamChoice choice_;
  Populate populate_ = populate_of<typename DeviceType::memory_type>();
  DirectFiles<DeviceType> direct_;
  ByteCount progress_;
  DeferredVector<Own, DeviceType> own_;
  DeferredVector<const Step*, DeviceType> steps_;  // of all of `own_`, one after another
  std::uint64_t largest_ = 0;                      // bytes of a piece
  DeferredVector<Slot, DeviceType> slots_;
  Deferred<std::deque<std::size_t>, DeviceType> reading_;  // slots, in the order of the file
  std::size_t threads_ = 1;
  std::uint64_t room_ = 0;  // bytes of a slot
  typename DeviceType::staging_memory_type::Region region_;
  std::optional<Lane<DeviceType>> lane_;  // released before the slots
};

}  // namespace allot::load::detail
