// SPDX-License-Identifier: MIT
/// \file
/// Brings the steps of a plan into a ring of staging slots, and copies them from there to devices
/// on several streams. Host memory is the ring, whatever the model's size; the mapping of a file is
/// never a copy's source.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/detail/crew.hpp>
#include <allot/load/detail/read_steps.hpp>
#include <allot/load/detail/staging_ring.hpp>
#include <allot/load/detail/tiles.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/progress.hpp>
#include <allot/os/direct_file.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace allot::load::detail {

/// Where an arena is: its address, and the number of its device.
struct ArenaPlace {
  std::byte* base;
  std::size_t device;
};

/// Cuts steps into pieces of at most a slot. The first are smaller, each twice the one before: the
/// link has something to do while the first slots are still filled.
[[nodiscard]] inline std::vector<Step> cut_gradually(std::span<const Step> steps,
                                                     std::uint64_t slot_bytes) {
  std::vector<Step> first;
  std::vector<Step> rest{steps.begin(), steps.end()};
  std::size_t from = 0;
  for (std::uint64_t most = slot_bytes / 16; most >= 64 * KiB && most < slot_bytes; most *= 2) {
    if (from == rest.size()) break;
    Step& step = rest[from];
    Step piece = step;
    piece.bytes = std::min(most, step.bytes);
    piece.arena_bytes = piece.bytes;
    first.push_back(piece);
    step.file_offset += piece.bytes;
    step.arena_offset += piece.bytes;
    step.bytes -= piece.bytes;
    if (step.bytes == 0) ++from;
  }
  const std::vector<Step> others = cut(std::span{rest}.subspan(from), slot_bytes);
  first.insert(first.end(), others.begin(), others.end());
  return first;
}

/// A ring no larger than the bytes that go through it: pinning memory takes time.
[[nodiscard]] inline LoadOptions trimmed(LoadOptions options, std::uint64_t bytes) {
  const std::uint64_t share = bytes / options.slots + 1;
  const std::uint64_t useful = std::max(1 * MiB, align_down(share + 4 * KiB - 1, 4 * KiB));
  options.slot_bytes = std::min(options.slot_bytes, useful);
  return options;
}

/// Pieces that lie close together in one shard and go to one device: read at once, copied one by
/// one.
struct Batch {
  std::uint32_t shard;
  std::uint64_t file_offset;
  std::uint64_t bytes;  // of the file, gaps included
  std::size_t first;    // piece
  std::size_t count;
};

/// Batches of at most `slot_bytes`; gaps of up to 64 KiB are read along.
[[nodiscard]] inline std::vector<Batch> batches_of(std::span<const Step> pieces,
                                                   std::span<const ArenaPlace> arenas,
                                                   std::uint64_t slot_bytes) {
  constexpr std::uint64_t most_gap = 64 * KiB;
  constexpr std::size_t most_pieces = 64;
  std::vector<Batch> batches;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Step& piece = pieces[i];
    if (!batches.empty()) {
      Batch& last = batches.back();
      const Step& before = pieces[i - 1];
      const std::uint64_t end = last.file_offset + last.bytes;
      if (piece.shard == last.shard && piece.file_offset >= end &&
          piece.file_offset - end <= most_gap && last.count < most_pieces &&
          piece.file_offset + piece.bytes - last.file_offset <= slot_bytes &&
          arenas[piece.arena].device == arenas[before.arena].device) {
        last.bytes = piece.file_offset + piece.bytes - last.file_offset;
        ++last.count;
        continue;
      }
    }
    batches.push_back({piece.shard, piece.file_offset, piece.bytes, i, 1});
  }
  return batches;
}

/// One device's streams, and an event for each slot that is on its way there.
template <Device D>
class Lane {
 public:
  Lane(D& device, const LoadOptions& options, std::size_t slots) : device_{&device} {
    for (std::size_t i = 0; i < slots; ++i) events_.push_back(device.make_event());
    for (std::uint32_t i = 0; i < options.streams; ++i)
      streams_.push_back(std::make_unique<Stream>(device.make_stream()));
  }

  /// The stream that is next, or has the fewest bytes on their way.
  [[nodiscard]] std::size_t choose(StreamChoice choice) noexcept {
    if (choice == StreamChoice::round_robin)
      return next_.fetch_add(1, std::memory_order_relaxed) % streams_.size();
    std::size_t least = 0;
    for (std::size_t i = 1; i < streams_.size(); ++i) {
      if (streams_[i]->outstanding.load(std::memory_order_relaxed) <
          streams_[least]->outstanding.load(std::memory_order_relaxed)) {
        least = i;
      }
    }
    return least;
  }

  /// Calls `copies(device, stream)` and has the slot's event stand for them. Where that throws,
  /// what was begun is waited for: another reader may take the slot before it hears that the load
  /// failed.
  template <class F>
  void launch(std::size_t stream, std::size_t slot, std::uint64_t bytes, F&& copies) {
    Stream& chosen = *streams_[stream];
    const std::scoped_lock lock{chosen.mutex};
    try {
      copies(*device_, chosen.stream);
      device_->record(events_[slot], chosen.stream);
    } catch (...) {
      wait_quietly(chosen.stream);
      throw;
    }
    chosen.outstanding.fetch_add(bytes, std::memory_order_relaxed);
  }

  /// Waits for what was launched last out of a slot.
  void land(std::size_t stream, std::size_t slot, std::uint64_t bytes) {
    device_->synchronize(events_[slot]);
    streams_[stream]->outstanding.fetch_sub(bytes, std::memory_order_relaxed);
  }

  void synchronize() {
    for (const auto& stream : streams_) device_->synchronize(stream->stream);
  }

 private:
  struct Stream {
    explicit Stream(typename D::stream_type made) : stream{std::move(made)} {}
    std::mutex mutex;
    typename D::stream_type stream;
    std::atomic<std::uint64_t> outstanding{0};
  };

  /// The error that is on its way already says what is wrong.
  void wait_quietly(typename D::stream_type& stream) noexcept {
    try {
      device_->synchronize(stream);
    } catch (...) {
    }
  }

  D* device_;
  std::vector<typename D::event_type> events_;
  std::vector<std::unique_ptr<Stream>> streams_;  // released first: they wait for their copies
  std::atomic<std::size_t> next_{0};
};

/// Files that are read past the page cache, where that is asked for and can be had.
class DirectFiles {
 public:
  DirectFiles(const gguf::File& file, bool wanted, std::vector<std::string>& fallbacks) {
    if (!wanted) return;
    for (const gguf::Shard& shard : file.shards()) files_.emplace_back(shard);
    if (std::all_of(files_.begin(), files_.end(), [](const auto& one) { return one.is_open(); }))
      return;
    files_.clear();
    fallbacks.push_back("the file system has no direct reads; read through the page cache");
  }

  [[nodiscard]] bool in_use() const noexcept { return !files_.empty(); }
  [[nodiscard]] bool were_refused() const noexcept { return refused_.load(); }

  /// Reads a batch into a slot and returns where its first byte is.
  [[nodiscard]] const std::byte* read(const gguf::Shard& shard, const Batch& batch,
                                      std::span<std::byte> slot) {
    if (in_use() && !were_refused()) {
      const std::byte* const first = files_[batch.shard].read(batch.file_offset, batch.bytes, slot);
      if (first != nullptr) return first;
      refused_.store(true);
    }
    shard.read(batch.file_offset, slot.first(static_cast<std::size_t>(batch.bytes)));
    return slot.data();
  }

 private:
  std::vector<DirectFile> files_;
  std::atomic<bool> refused_{false};
};

/// The pipeline: reader threads fill slots and launch their copies.
template <Device D>
class Upload {
 public:
  /// Throws: `OutOfMemory` for the ring; what the device throws.
  Upload(const gguf::File& file, const Plan& plan, std::span<const ArenaPlace> arenas,
         std::span<D> devices, const LoadOptions& options, LoadReport& report)
      : file_{file},
        plan_{plan},
        arenas_{arenas},
        choice_{options.stream_choice},
        report_{report},
        ring_{devices.front(), trimmed(options, bytes_of(plan.steps)), report.fallbacks},
        direct_{file, options.direct_io, report.fallbacks},
        work_{file, plan, ring_.slot_bytes()},
        pieces_{cut_gradually(work_.plain(), ring_.slot_bytes())},
        batches_{batches_of(pieces_, arenas, ring_.slot_bytes())},
        progress_{bytes_of(plan.steps)} {
    lanes_.reserve(devices.size());
    for (D& device : devices)
      lanes_.push_back(std::make_unique<Lane<D>>(device, options, ring_.size()));
    const std::size_t wanted = options.readers != 0 ? options.readers : usual_readers();
    readers_ = std::min(wanted, ring_.size());
    report_.staging_bytes = ring_.bytes();
  }

  /// Blocks until every byte is on its device. This thread is one of the readers.
  /// Throws: `Cancelled`, what the callback throws, `gguf::ParseError`, what the device throws. By
  /// then nothing reads; the destructor waits for the copies.
  void run(const ProgressCallback& callback) {
    Crew crew{batches_.size() + work_.tiles(), progress_, [this](std::size_t i) {
                i < batches_.size() ? upload(batches_[i]) : upload(work_.tile(i - batches_.size()));
              }};
    detail::report(callback, progress_.now());
    crew.start(readers_ - 1);
    while (crew.do_one()) detail::report(callback, progress_.now());
    crew.join();
    for (std::size_t i = 0; i < ring_.size(); ++i) {
      auto held = ring_.take();
      const bool was_in_flight = held.flight().has_value();
      land(held);
      if (was_in_flight) detail::report(callback, progress_.now());
    }
    for (const auto& lane : lanes_) lane->synchronize();
    static_cast<void>(progress_.now());
    if (direct_.in_use() && work_.tiles() != 0) {
      report_.fallbacks.push_back(
          "tensors that are transformed were read through the page cache, the others past it");
    }
    if (direct_.were_refused()) {
      report_.fallbacks.push_back("direct reads were refused; read through the page cache");
    }
    report_.direct_io = direct_.in_use() && !direct_.were_refused();
  }

 private:
  using Held = typename StagingRing<D>::Held;

  void upload(const Batch& batch) {
    Held held = ring_.take();
    land(held);
    const std::byte* const first = direct_.read(file_.shards()[batch.shard], batch, held.memory());
    const auto pieces = std::span{pieces_}.subspan(batch.first, batch.count);
    const std::size_t number = arenas_[pieces.front().arena].device;
    launch(held, number, bytes_of(pieces), [&](D& device, typename D::stream_type& on) {
      for (const Step& piece : pieces) {
        device.copy_to_device(arenas_[piece.arena].base + piece.arena_offset,
                              first + (piece.file_offset - batch.file_offset), piece.bytes, on);
      }
    });
  }

  void upload(const Tile& tile) {
    Held held = ring_.take();
    land(held);
    const std::span<std::byte> slot = held.memory();
    make_tile(file_, plan_, tile, slot);
    const ArenaPlace& arena = arenas_[tile.step->arena];
    launch(held, arena.device, tile.bytes, [&](D& device, typename D::stream_type& on) {
      each_run_of(plan_, tile, [&](std::uint64_t to, std::uint64_t from, std::uint64_t bytes) {
        device.copy_to_device(arena.base + to, slot.data() + from, bytes, on);
      });
    });
  }

  /// Begins a slot's copies, on a stream of the device with that number.
  template <class F>
  void launch(Held& held, std::size_t number, std::uint64_t bytes, F&& copies) {
    Lane<D>& lane = *lanes_[number];
    const std::size_t stream = lane.choose(choice_);
    lane.launch(stream, held.slot(), bytes, std::forward<F>(copies));
    held.flight() = {number, stream, bytes};
  }

  /// Waits for the copy out of a slot, if there is one.
  void land(Held& held) {
    if (!held.flight()) return;
    const auto flight = *held.flight();
    lanes_[flight.lane]->land(flight.stream, held.slot(), flight.bytes);
    held.flight().reset();
    progress_.add(flight.bytes);
  }

  const gguf::File& file_;
  const Plan& plan_;
  std::span<const ArenaPlace> arenas_;
  StreamChoice choice_;
  LoadReport& report_;
  StagingRing<D> ring_;
  DirectFiles direct_;
  Work work_;
  std::vector<Step> pieces_;
  std::vector<Batch> batches_;
  SharedProgress progress_;
  std::vector<std::unique_ptr<Lane<D>>> lanes_;  // released before the ring
  std::size_t readers_ = 1;
};

}  // namespace allot::load::detail
