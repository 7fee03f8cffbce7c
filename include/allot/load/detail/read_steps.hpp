// SPDX-License-Identifier: MIT
/// \file
/// Carries out the steps of a plan in memory that the host addresses, with several threads.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/load/detail/pieces.hpp>
#include <allot/load/detail/work.hpp>
#include <allot/load/detail/worker_pool.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>

namespace allot::load::detail {

/// Makes memory ready that is about to be written; may be null.
using Populate = void (*)(std::byte* first, std::uint64_t bytes) noexcept;

/// Reads one piece in parts so small that they stay in a core's cache while they are made ready and
/// written.
template <class Owner = void>
void read_piece(const gguf::File& file, const Step& piece, std::byte* arena, Populate populate) {
  constexpr std::uint64_t part_bytes = 256 * KiB;
  const gguf::Shard& shard = file.shards()[piece.shard];
  std::byte* const first = arena + piece.arena_offset;
  for (std::uint64_t at = 0; at < piece.bytes; at += part_bytes) {
    const std::uint64_t bytes = smaller(part_bytes, piece.bytes - at);
    if (populate != nullptr) populate(first + at, bytes);
    deferred<Owner>(shard).read(piece.file_offset + at,
                                {first + at, static_cast<std::size_t>(bytes)});
  }
}

/// Carries out all steps of a plan; `bases` are the arenas' addresses. The caller's thread is one
/// of the readers: a thread that only waited for progress would cost them time by its wake-ups.
/// Blocks until done.
/// Throws: `Cancelled`, what `progress` throws, `gguf::ParseError`; by then no thread reads any
/// more.
/// \tparam Bases  a vector; as a parameter, so that this is compiled only where it is called
template <class Bases>
void read_steps(const gguf::File& file, const Plan& plan, const Bases& bases, Populate populate,
                std::size_t readers, const ProgressCallback& progress) {
  constexpr std::uint64_t piece_bytes = 4 * MiB;
  const Work<Bases> work{file, plan, piece_bytes};
  const auto pieces = cut(work.plain(), piece_bytes);
  ByteCount done{bytes_of(plan.steps)};
  WorkerPool pool{pieces.size() + work.tiles(), [&](std::size_t i) {
                    if (i < pieces.size()) {
                      read_piece(file, pieces[i], bases[pieces[i].arena], populate);
                      done.add(pieces[i].bytes);
                    } else {
                      work.with_tile(i - pieces.size(), [&](const auto& tile) {
                        make_tile_in_place(file, plan, tile, bases[tile.step->arena]);
                        done.add(tile.bytes);
                      });
                    }
                  }};
  Progress reported = done.now();
  progress.report(reported);
  pool.start((readers != 0 ? readers : usual_readers()) - 1);
  const auto report = [&] {
    const Progress now = done.now();
    if (now.done == reported.done) return;  // bytes are counted before their job is
    reported = now;
    progress.report(now);
  };
  while (pool.do_one()) report();
  while (pool.wait_for_more()) report();
}

}  // namespace allot::load::detail
