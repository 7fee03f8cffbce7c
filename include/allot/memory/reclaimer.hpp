// SPDX-License-Identifier: MIT
/// \file
/// How a process gives memory back when a device runs out: caches register a reclaimer, and a
/// memory policy that is refused calls all of them before it tries the system once more.
#pragma once

#include <allot/core/callback.hpp>
#include <allot/core/deferred.hpp>
#include <allot/os/mutex.hpp>
#include <allot/os/recursive_mutex.hpp>
#include <allot/os/smart_pointers.hpp>

#include <cstdint>
#include <string_view>
#include <utility>

namespace allot {

/// Gives back memory of a device, if it can, and returns the number of bytes.
/// \param device  its name, `hip:0`, or `host` if pinned memory is needed
/// \param bytes   how much is needed
using Reclaim = Callback<std::uint64_t(std::string_view device, std::uint64_t bytes)>;

namespace detail {

struct ReclaimerEntry {
  os::RecursiveMutex mutex;  // a reclaimer may unregister itself
  Reclaim reclaim;
  bool is_called = false;
  bool is_registered = true;

  // Guarded by the list's mutex.
  std::uint64_t number = 0;
  std::shared_ptr<ReclaimerEntry> next;
};

/// The registered reclaimers, in the order of their registration. A linked list, because a vector
/// of them would take longer to compile than everything else here.
struct ReclaimerList {
  std::mutex mutex;
  std::shared_ptr<ReclaimerEntry> first;
  std::uint64_t last_number = 0;

  void add(const std::shared_ptr<ReclaimerEntry>& entry) {
    const std::lock_guard lock{mutex};
    entry->number = ++last_number;
    std::shared_ptr<ReclaimerEntry>* link = &first;
    while (*link != nullptr) link = &(*link)->next;
    *link = entry;
  }

  void remove(ReclaimerEntry& entry) {
    const std::lock_guard lock{mutex};
    std::shared_ptr<ReclaimerEntry>* link = &first;
    while (link->get() != &entry) link = &(*link)->next;
    *link = std::move(entry.next);
  }

  /// Returns the number of the reclaimer that was registered last; 0 if there was none.
  [[nodiscard]] std::uint64_t newest() {
    const std::lock_guard lock{mutex};
    return last_number;
  }

  /// Returns the first reclaimer registered after the one with a given number; null if there is
  /// none.
  [[nodiscard]] std::shared_ptr<ReclaimerEntry> after(std::uint64_t number) {
    const std::lock_guard lock{mutex};
    const std::shared_ptr<ReclaimerEntry>* entry = &first;
    while (*entry != nullptr && (*entry)->number <= number) entry = &(*entry)->next;
    return *entry;
  }
};

inline ReclaimerList& reclaimers() {
  static ReclaimerList list;
  return list;
}

}  // namespace detail

/// Keeps a reclaimer registered while this object exists. Any thread that runs out of memory may
/// call it, so it must not wait for a thread that holds a lock while it allocates.
class Reclaimer {
 public:
  /// \param reclaim  if it is empty, nothing is registered
  template <class Owner = void>
  explicit Reclaimer(Reclaim reclaim) {
    if (!reclaim) return;
    entry_ = std::make_shared<Deferred<detail::ReclaimerEntry, Owner>>();
    entry_->reclaim = std::move(reclaim);
    detail::reclaimers().add(entry_);
  }
  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

  /// Waits for a call that is in progress on another thread.
  ~Reclaimer() {
    if (entry_ == nullptr) return;
    detail::reclaimers().remove(*entry_);
    const std::lock_guard lock{entry_->mutex};
    entry_->is_registered = false;
    if (!entry_->is_called) entry_->reclaim = nullptr;  // else the call in progress does so
  }

 private:
  std::shared_ptr<detail::ReclaimerEntry> entry_;
};

/// Calls the reclaimers, in the order of their registration, until they have given back `bytes`
/// bytes of the device. Does not call those registered meanwhile. Returns how many bytes they gave
/// back. Throws: whatever a reclaimer throws.
template <class = void>
std::uint64_t reclaim_memory(std::string_view device, std::uint64_t bytes) {
  /// One call of a reclaimer, during which it may be called again.
  struct Call {
    explicit Call(detail::ReclaimerEntry& called) noexcept
        : entry{called}, is_outermost{!std::exchange(called.is_called, true)} {}
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() {
      if (!is_outermost) return;
      entry.is_called = false;
      if (!entry.is_registered) entry.reclaim = nullptr;
    }

    detail::ReclaimerEntry& entry;
    bool is_outermost;
  };

  std::uint64_t reclaimed = 0;
  std::uint64_t last = 0;
  const std::uint64_t newest = detail::reclaimers().newest();
  while (reclaimed < bytes) {
    const std::shared_ptr<detail::ReclaimerEntry> entry = detail::reclaimers().after(last);
    if (entry == nullptr || entry->number > newest) break;
    last = entry->number;
    const std::lock_guard lock{entry->mutex};
    if (!entry->is_registered) continue;
    const Call call{*entry};
    reclaimed += entry->reclaim(device, bytes - reclaimed);
  }
  return reclaimed;
}

}  // namespace allot
