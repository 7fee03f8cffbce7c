// SPDX-License-Identifier: MIT
/// \file
/// `LoadOptions` and `LoadReport`: how to load a model, and what loading did.
#pragma once

#include <allot/core/units.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/stream/stream_choice.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace allot::load {

using allot::Cancelled;
using allot::Progress;
using allot::ProgressCallback;
using allot::StreamChoice;

/// How to transfer bytes. The defaults suit a disk of a few GiB/s and a GPU on PCIe: a slot is as
/// small as a copy engine can be kept busy with, as each reader needs a slot and one thread
/// reads far less than a link carries (docs/benchmarks.md, "Onto a GPU").
struct LoadOptions {
  std::uint64_t slot_bytes = 4 * MiB;  ///< of one pinned staging slot
  std::uint32_t slots = 16;            ///< the number of slots: with `slot_bytes`, the ring
  std::uint32_t streams = 4;           ///< for each device
  std::uint32_t readers = 0;  ///< threads that read; 0: one a processor, at most 16, one a slot
  StreamChoice stream_choice = StreamChoice::round_robin;  ///< which stream the next copy goes to
  bool direct_io = false;  ///< read past the page cache, if the file system can
};

/// The outcome of a load. All in bytes and seconds.
struct LoadReport {
  std::uint64_t bytes = 0;               ///< that were read and copied
  double seconds = 0;                    ///< from the first reservation to the last byte in place
  std::uint64_t device_allocations = 0;  ///< arenas
  std::uint64_t staging_bytes = 0;       ///< of the ring; 0: read straight into place
  bool direct_io = false;                ///< read past the page cache
  std::vector<std::string> fallbacks{};  ///< what was done instead of what was asked
};

namespace detail {

/// Throws: `std::invalid_argument`.
template <class = void>
void check_options(const LoadOptions& options) {
  if (options.slot_bytes < 4 * KiB || options.slot_bytes > 4 * GiB) {
    throw std::invalid_argument{"invalid staging slot size: " + std::to_string(options.slot_bytes) +
                                " bytes; use 4 KiB to 4 GiB"};
  }
  if (options.slots == 0 || options.slots > 4096 || options.streams == 0 || options.streams > 256) {
    throw std::invalid_argument{"invalid pipeline: " + std::to_string(options.slots) +
                                " slots and " + std::to_string(options.streams) +
                                " streams; use 1 to 4096 slots and 1 to 256 streams"};
  }
}

}  // namespace detail

}  // namespace allot::load
