// SPDX-License-Identifier: MIT
/// \file
/// Reads the steps of a plan straight into memory that the host addresses, with several threads.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace allot::load {

/// How far a load has come, in bytes.
struct Progress {
  std::uint64_t done;
  std::uint64_t total;
};

/// Returns whether to go on.
using ProgressCallback = std::function<bool(const Progress&)>;

/// The progress callback returned false; nothing stays reserved.
class Cancelled : public std::runtime_error {
 public:
  explicit Cancelled(const Progress& at)
      : std::runtime_error{"cancelled after " + std::string{ReadableBytes{at.done}.c_str()} +
                           " of " + ReadableBytes{at.total}.c_str()} {}
};

namespace detail {

/// Throws: `std::logic_error` unless the step lies inside its shard and its arena.
inline void check_step(const Step& step, const gguf::File& file, const Plan& plan) {
  const auto file_end = checked_add(step.file_offset, step.bytes);
  const auto arena_end = checked_add(step.arena_offset, step.bytes);
  const bool fits = step.shard < file.shards().size() && step.arena < plan.arenas.size() &&
                    file_end && *file_end <= file.shards()[step.shard].size() && arena_end &&
                    *arena_end <= plan.arenas[step.arena].capacity;
  if (!fits) {
    throw std::logic_error{"a step of " + std::to_string(step.bytes) + " bytes at " +
                           std::to_string(step.file_offset) + " of shard " +
                           std::to_string(step.shard) +
                           " lies outside of the file or its arena; "
                           "load the file that the plan was made for"};
  }
}

/// Cuts steps into pieces that threads take one by one. Pieces end at multiples of their size in
/// the arena, so that no two threads fault in the same huge page.
[[nodiscard]] inline std::vector<Step> cut(std::span<const Step> steps) {
  constexpr std::uint64_t piece_bytes = 4 * MiB;
  std::vector<Step> pieces;
  for (Step rest : steps) {
    while (rest.bytes != 0) {
      Step piece = rest;
      piece.bytes = std::min(rest.bytes, piece_bytes - rest.arena_offset % piece_bytes);
      rest.file_offset += piece.bytes;
      rest.arena_offset += piece.bytes;
      rest.bytes -= piece.bytes;
      pieces.push_back(piece);
    }
  }
  return pieces;
}

/// Makes memory that is about to be written ready; may be null.
using Populate = void (*)(std::byte* first, std::uint64_t bytes) noexcept;

/// Pieces, read by the thread that waits for them and by threads of its own.
class Readers {
 public:
  Readers(const gguf::File& file, std::vector<Step> pieces, std::span<std::byte* const> bases,
          Populate populate)
      : file_{file}, pieces_{std::move(pieces)}, bases_{bases}, populate_{populate} {
    for (const Step& piece : pieces_) total_ += piece.bytes;
  }

  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

  ~Readers() { stop(); }

  /// Starts at most `count` threads beside the caller's.
  void start(std::size_t count) {
    const std::size_t useful = std::min(count, pieces_.size());
    threads_.reserve(useful);
    for (std::size_t i = 0; i < useful; ++i) {
      threads_.emplace_back([this] { read_all(); });
    }
  }

  /// Reads one piece; false where all are taken. Throws: `gguf::ParseError`.
  bool read_one() {
    const std::size_t i = next_.fetch_add(1, std::memory_order_relaxed);
    if (i >= pieces_.size()) return false;
    const Step& piece = pieces_[i];
    read(piece);
    const std::scoped_lock lock{mutex_};
    done_ += piece.bytes;
    changed_.notify_one();
    return true;
  }

  /// What all threads have read so far. Throws: what a reader threw.
  [[nodiscard]] Progress progress() {
    const std::scoped_lock lock{mutex_};
    if (error_) std::rethrow_exception(error_);
    return {done_, total_};
  }

  /// Waits until more than `seen` bytes are there, and returns how many are.
  /// Throws: what a reader threw.
  [[nodiscard]] Progress wait_beyond(std::uint64_t seen) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return done_ > seen || error_; });
    if (error_) std::rethrow_exception(error_);
    return {done_, total_};
  }

  [[nodiscard]] std::uint64_t total() const noexcept { return total_; }

 private:
  /// In parts that a core's cache holds from being made ready to being written.
  void read(const Step& piece) const {
    constexpr std::uint64_t part_bytes = 256 * KiB;
    const gguf::Shard& shard = file_.shards()[piece.shard];
    std::byte* const first = bases_[piece.arena] + piece.arena_offset;
    for (std::uint64_t at = 0; at < piece.bytes; at += part_bytes) {
      const std::uint64_t bytes = std::min(part_bytes, piece.bytes - at);
      if (populate_ != nullptr) populate_(first + at, bytes);
      shard.read(piece.file_offset + at, {first + at, static_cast<std::size_t>(bytes)});
    }
  }

  void read_all() noexcept {
    try {
      while (!stopping_.load(std::memory_order_relaxed) && read_one()) {
      }
    } catch (...) {
      const std::scoped_lock lock{mutex_};
      if (!error_) error_ = std::current_exception();
      stopping_.store(true, std::memory_order_relaxed);
      changed_.notify_one();
    }
  }

  void stop() noexcept {
    stopping_.store(true, std::memory_order_relaxed);
    for (std::thread& thread : threads_) thread.join();
  }

  const gguf::File& file_;
  std::vector<Step> pieces_;
  std::span<std::byte* const> bases_;
  Populate populate_;
  std::uint64_t total_ = 0;
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t done_ = 0;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

/// Reads all steps; `bases` are the arenas' addresses. The caller's thread is one of the readers: a
/// thread that only waited for progress would take its wake-ups from them. Blocks until done.
/// Throws: `Cancelled`, what `progress` throws, `gguf::ParseError`; by then no thread reads any
/// more.
inline void read_steps(const gguf::File& file, std::span<const Step> steps,
                       std::span<std::byte* const> bases, Populate populate,
                       const ProgressCallback& progress) {
  Readers readers{file, cut(steps), bases, populate};
  Progress now{0, readers.total()};
  const auto report = [&] {
    if (progress && !progress(now)) throw Cancelled{now};
  };
  report();
  readers.start(std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 16) - 1);
  while (readers.read_one()) {
    now = readers.progress();
    report();
  }
  while (now.done < now.total) {
    now = readers.wait_beyond(now.done);
    report();
  }
}

}  // namespace detail

}  // namespace allot::load
