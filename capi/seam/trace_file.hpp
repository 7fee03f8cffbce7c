// SPDX-License-Identifier: MIT
/// \file
/// `TraceFile`: an `allot-trace` 2 that keeps what was written however the program ends.
#pragma once

#include <allot/report/trace_records.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace allot::seam {

/// A trace in a file that is mapped piece by piece: no descriptor stays open, which the program could
/// close, and what was put is in the file when the program is killed. What is not used of the last piece is
/// zeros, which are padding in a trace.
class TraceFile {
 public:
  TraceFile() = default;
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  /// \param path  of a file that exists and is empty; empty: all records are lost
  void start(std::string path) noexcept { path_ = std::move(path); }

  /// Adds a record, if there is room on the disk; counts it as lost otherwise.
  void put(const report::TraceRecord& record) noexcept;

  /// Cuts off what is not used. Records may follow, each written by itself.
  void end() noexcept;

  /// Lets go of a file that is the parent's, in a forked child.
  void forget() noexcept;

 private:
  [[nodiscard]] bool has_room() noexcept;
  [[nodiscard]] bool map_piece() noexcept;

  std::string path_;
  report::TraceEncoder encoder_;
  std::byte* piece_ = nullptr;
  std::size_t filled_ = 0;        // bytes of the piece
  std::uint64_t piece_at_ = 0;    // bytes before the piece
  std::uint64_t next_piece_ = 0;  // bytes before the one after it
  std::uint64_t lost_ = 0;
  bool has_ended_ = false;
};

}  // namespace allot::seam
