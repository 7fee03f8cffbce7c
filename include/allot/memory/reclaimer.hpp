// SPDX-License-Identifier: MIT
/// \file
/// What a process can give back when a device's memory runs out: caches register a reclaimer, and
/// a memory policy that is refused asks them all before it asks the system once more.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

namespace allot {

/// Gives back memory of a device, if it can, and returns how many bytes.
/// \param device  its name, `hip:0`, or `host` where pinned memory is wanted
/// \param bytes   what is wanted
using Reclaim = std::function<std::uint64_t(std::string_view device, std::uint64_t bytes)>;

namespace detail {

struct ReclaimerEntry {
  std::recursive_mutex mutex;  // a reclaimer may unregister itself
  std::shared_ptr<const Reclaim> reclaim;
};

struct ReclaimerList {
  std::mutex mutex;
  std::vector<std::shared_ptr<ReclaimerEntry>> entries;
};

inline ReclaimerList& reclaimers() {
  static ReclaimerList list;
  return list;
}

}  // namespace detail

/// A registered reclaimer, for as long as this object lives. It may be called from any thread that
/// runs out of memory, and must not wait for one that holds a lock while it allocates.
class Reclaimer {
 public:
  explicit Reclaimer(Reclaim reclaim) : entry_{std::make_shared<detail::ReclaimerEntry>()} {
    entry_->reclaim = std::make_shared<const Reclaim>(std::move(reclaim));
    const std::scoped_lock lock{detail::reclaimers().mutex};
    detail::reclaimers().entries.push_back(entry_);
  }
  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

  /// Waits for a call that is under way on another thread.
  ~Reclaimer() {
    {
      const std::scoped_lock lock{detail::reclaimers().mutex};
      std::erase(detail::reclaimers().entries, entry_);
    }
    const std::scoped_lock lock{entry_->mutex};
    entry_->reclaim = nullptr;
  }

 private:
  std::shared_ptr<detail::ReclaimerEntry> entry_;
};

/// Asks the reclaimers, in the order of their registration, until they gave back `bytes` bytes of
/// that device. Returns how many they did. Throws: what a reclaimer throws; `std::bad_alloc`.
inline std::uint64_t reclaim_memory(std::string_view device, std::uint64_t bytes) {
  std::vector<std::shared_ptr<detail::ReclaimerEntry>> entries;
  {
    const std::scoped_lock lock{detail::reclaimers().mutex};
    entries = detail::reclaimers().entries;
  }
  std::uint64_t reclaimed = 0;
  for (const auto& entry : entries) {
    if (reclaimed >= bytes) break;
    const std::scoped_lock lock{entry->mutex};
    const std::shared_ptr<const Reclaim> reclaim = entry->reclaim;  // it may unregister itself
    if (reclaim != nullptr) reclaimed += (*reclaim)(device, bytes - reclaimed);
  }
  return reclaimed;
}

}  // namespace allot
