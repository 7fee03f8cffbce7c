// SPDX-License-Identifier: MIT
#include "trace_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace allot::seam {
namespace {

constexpr std::size_t piece_bytes = std::size_t{1} << 18;

}  // namespace

bool TraceFile::map_piece() noexcept {
  const int file = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return false;
  // Written once before: a page for which the disk has no room would kill the program when it is touched,
  // and those that are there already take a third of the time.
  static constexpr std::byte zeros[piece_bytes]{};
  void* mapped = MAP_FAILED;
  if (::pwrite(file, zeros, piece_bytes, static_cast<::off_t>(next_piece_)) ==
      static_cast<::ssize_t>(piece_bytes)) {
    mapped = ::mmap(nullptr, piece_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file,
                    static_cast<::off_t>(next_piece_));
  }
  ::close(file);
  if (mapped == MAP_FAILED) return false;
  if (piece_ != nullptr) ::munmap(piece_, piece_bytes);
  piece_ = static_cast<std::byte*>(mapped);
  piece_at_ = next_piece_;
  next_piece_ += piece_bytes;
  filled_ = 0;
  return true;
}

bool TraceFile::has_room() noexcept {
  // Room for what was lost is kept.
  constexpr std::size_t needed = 2 * report::TraceEncoder::most_bytes;
  if (piece_ != nullptr && piece_bytes - filled_ >= needed) return true;
  return lost_ == 0 && !path_.empty() && map_piece();
}

void TraceFile::put(const report::TraceRecord& record) noexcept {
  if (has_ended_) {
    std::byte bytes[report::TraceEncoder::most_bytes];
    const std::size_t count = encoder_.encode(record, bytes);
    const int file = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0) return;
    static_cast<void>(!::write(file, bytes, count));
    ::close(file);
    return;
  }
  if (!has_room()) {
    ++lost_;
    return;
  }
  filled_ += encoder_.encode(record, piece_ + filled_);
}

void TraceFile::end() noexcept {
  if (piece_ == nullptr || has_ended_) return;
  if (lost_ != 0) {
    filled_ += encoder_.encode({.kind = report::TraceKind::lost, .value = lost_}, piece_ + filled_);
  }
  has_ended_ = true;
  static_cast<void>(!::truncate(path_.c_str(), static_cast<::off_t>(piece_at_ + filled_)));
}

void TraceFile::forget() noexcept {
  if (piece_ != nullptr) ::munmap(piece_, piece_bytes);
  path_.clear();
  encoder_ = {};
  piece_ = nullptr;
  filled_ = 0;
  piece_at_ = 0;
  next_piece_ = 0;
  lost_ = 0;
  has_ended_ = false;
}

}  // namespace allot::seam
