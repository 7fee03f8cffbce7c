// SPDX-License-Identifier: MIT
/// \file
/// Reads the steps of a plan into a ring of staging slots, and copies them from there to devices on
/// several streams. The ring is all host memory, whatever the model's size; a file's mapping is
/// never the source of a copy.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/load/detail/batches.hpp>
#include <allot/load/detail/direct_files.hpp>
#include <allot/load/detail/lane.hpp>
#include <allot/load/detail/pieces.hpp>
#include <allot/load/detail/staging_ring.hpp>
#include <allot/load/detail/work.hpp>
#include <allot/load/detail/worker_pool.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/os/smart_pointers.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace allot::load::detail {

/// Makes the ring no larger than the bytes that go through it: pinning memory takes time.
template <class Owner = void>
[[nodiscard]] LoadOptions trimmed(LoadOptions options, std::uint64_t bytes) {
  const std::uint64_t share = bytes / options.slots + 1;
  const std::uint64_t useful = larger(1 * MiB, align_down(share + 4 * KiB - 1, 4 * KiB));
  options.slot_bytes = smaller(options.slot_bytes, useful);
  const std::uint64_t slots = bytes / options.slot_bytes + (bytes % options.slot_bytes != 0);
  options.slots = static_cast<std::uint32_t>(
      larger(std::uint64_t{1}, smaller(slots, std::uint64_t{options.slots})));
  return options;
}

/// The pipeline: reader threads fill slots and launch their copies.
template <Device DeviceType>
class Upload {
 public:
  /// Throws: `OutOfMemory` for the ring; what the device throws.
  Upload(const gguf::File& file, const Plan& plan,
         DeferredSpan<const ArenaPlace, DeviceType> arenas, std::span<DeviceType> devices,
         const LoadOptions& options, LoadReport& report)
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
    for (DeviceType& device : devices)
      lanes_.push_back(std::make_unique<Lane<DeviceType>>(device, options, ring_.size()));
    const std::size_t wanted = options.readers != 0 ? options.readers : usual_readers();
    readers_ = smaller(wanted, ring_.size());
    report_.staging_bytes = ring_.bytes();
  }

  /// Blocks until every byte is on its device. This thread is one of the readers.
  /// Throws: `Cancelled`, what the callback throws, `gguf::ParseError`, what the device throws. By
  /// then nothing reads; the destructor waits for the copies.
  void run(const ProgressCallback& callback) {
    WorkerPool readers{batches_.size() + work_.tiles(), [this](std::size_t i) {
                         if (i < batches_.size()) return upload(batches_[i]);
                         work_.with_tile(i - batches_.size(),
                                         [this](const auto& tile) { this->upload_tile(tile); });
                       }};
    callback.report(progress_.now());
    readers.start(readers_ - 1);
    while (readers.do_one()) callback.report(progress_.now());
    readers.finish();
    for (std::size_t i = 0; i < ring_.size(); ++i) {
      auto held = ring_.take();
      const bool was_in_flight = held.flight().has_value();
      land(held);
      if (was_in_flight) callback.report(progress_.now());
    }
    for (const auto& lane : lanes_) lane->synchronize();
    if (direct_.in_use() && work_.tiles() != 0) {
      report_.fallbacks.push_back(
          "transformed tensors were read through the page cache, the others past it");
    }
    if (direct_.were_refused()) {
      report_.fallbacks.push_back("direct reads were refused; read through the page cache");
    }
    report_.direct_io = direct_.in_use() && !direct_.were_refused();
  }

 private:
  using Held = typename StagingRing<DeviceType>::Held;

  void upload(const Batch& batch) {
    Held held = ring_.take();
    land(held);
    const std::byte* const first = direct_.read(file_.shards()[batch.shard], batch, held.memory());
    const std::size_t end = batch.first + batch.count;
    const std::size_t number = arenas_[pieces_[batch.first].arena].device;
    std::uint64_t bytes = 0;
    for (std::size_t i = batch.first; i < end; ++i) bytes += pieces_[i].arena_bytes;
    launch(held, number, bytes, [&](DeviceType& device, typename DeviceType::stream_type& on) {
      for (std::size_t i = batch.first; i < end; ++i) {
        const Step& piece = pieces_[i];
        device.copy_to_device(arenas_[piece.arena].base + piece.arena_offset,
                              first + (piece.file_offset - batch.file_offset), piece.bytes, on);
      }
    });
  }

  template <class TileType>
  void upload_tile(const TileType& tile) {
    Held held = ring_.take();
    land(held);
    const DeferredSpan<std::byte, DeviceType> slot = held.memory();
    make_tile(file_, plan_, tile, slot);
    const ArenaPlace& arena = arenas_[tile.step->arena];
    launch(held, arena.device, tile.bytes,
           [&](DeviceType& device, typename DeviceType::stream_type& on) {
             each_run_of(plan_, tile,
                         [&](std::uint64_t to, std::uint64_t from, std::uint64_t bytes) {
                           device.copy_to_device(arena.base + to, slot.data() + from, bytes, on);
                         });
           });
  }

  /// Starts a slot's copies, on a stream of the device with that number.
  template <class Copies>
  void launch(Held& held, std::size_t number, std::uint64_t bytes, Copies&& copies) {
    Lane<DeviceType>& lane = *lanes_[number];
    const std::size_t stream = lane.choose(choice_);
    lane.submit(stream, held.slot(), bytes, std::forward<Copies>(copies));
    held.flight() = {number, stream, bytes};
  }

  /// Waits for the copies from a slot, if there are any.
  void land(Held& held) {
    if (!held.flight()) return;
    const auto flight = *held.flight();
    lanes_[flight.lane]->wait(flight.stream, held.slot(), flight.bytes);
    held.flight().reset();
    progress_.add(flight.bytes);
  }

  const gguf::File& file_;
  const Plan& plan_;
  DeferredSpan<const ArenaPlace, DeviceType> arenas_;
  StreamChoice choice_;
  LoadReport& report_;
  StagingRing<DeviceType> ring_;
  DirectFiles<Upload> direct_;
  Work<Upload> work_;
  DeferredVector<Step, DeviceType> pieces_;
  DeferredVector<Batch, DeviceType> batches_;
  ByteCount progress_;
  DeferredVector<std::unique_ptr<Lane<DeviceType>>, DeviceType> lanes_;  // released before the ring
  std::size_t readers_ = 1;
};

}  // namespace allot::load::detail
