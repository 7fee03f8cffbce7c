// SPDX-License-Identifier: MIT
/// \file
/// `BufferAccounts`: the bytes of all named buffers under one limit, with external bytes that count
/// against it. It lives as long as any `ExternalMemory`, which may outlive the buffers.
#pragma once

#include <allot/core/source_location.hpp>
#include <allot/os/mutex.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/pool/named/byte_budget.hpp>
#include <allot/pool/named/errors.hpp>

#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <utility>

namespace allot::detail {

/// Callers hold the mutex of the buffers' memory.
template <class TimePoint>
class BufferAccounts {
 public:
  struct External {
    std::string name;
    std::uint64_t bytes;
    TimePoint made;
    SourceLocation site;
  };
  using Externals = std::list<External>;

  explicit BufferAccounts(std::uint64_t limit) noexcept : budget_{limit} {}

  [[nodiscard]] const ByteBudget& budget() const noexcept { return budget_; }
  /// Requires: at most what is left.
  void take(std::uint64_t bytes) noexcept { budget_.take(bytes); }
  void give_back(std::uint64_t bytes) noexcept { budget_.give_back(bytes); }

  /// \param asked  what `bytes` was before the buffer's minimum raised it
  /// Throws: `LimitExceeded`.
  void require_left(std::string_view name, std::uint64_t bytes, std::uint64_t asked) const {
    if (bytes <= budget_.left()) return;
    throw LimitExceeded{"buffer " + in_quotes(name) +
                            (asked == bytes ? std::string{}
                                            : " of " + std::to_string(asked) +
                                                  " bytes, raised by BufferConfig::minimum"),
                        bytes, budget_.used(), budget_.limit(),
                        "free buffers, or raise the limit over all of them"};
  }

  /// Counts external bytes. Throws: `LimitExceeded`; `std::bad_alloc`.
  [[nodiscard]] typename Externals::iterator add_external(External external) {
    require_left(external.name, external.bytes, external.bytes);
    externals_.push_front(std::move(external));
    const External& added = externals_.front();
    budget_.take(added.bytes);
    external_bytes_ += added.bytes;
    external_name_bytes_ += added.name.size();
    return externals_.begin();
  }
  void remove_external(typename Externals::iterator old) noexcept {
    budget_.give_back(old->bytes);
    external_bytes_ -= old->bytes;
    external_name_bytes_ -= old->name.size();
    externals_.erase(old);
  }

  [[nodiscard]] const Externals& externals() const noexcept { return externals_; }
  [[nodiscard]] std::uint64_t external_bytes() const noexcept { return external_bytes_; }
  [[nodiscard]] std::uint64_t external_name_bytes() const noexcept { return external_name_bytes_; }

 private:
  ByteBudget budget_;
  Externals externals_;
  std::uint64_t external_bytes_ = 0;
  std::uint64_t external_name_bytes_ = 0;
};

/// What an `ExternalMemory` owns.
template <class TimePoint>
class CountedExternal {
  using Accounts = BufferAccounts<TimePoint>;

 public:
  CountedExternal() = default;
  CountedExternal(const CountedExternal&) = delete;
  CountedExternal& operator=(const CountedExternal&) = delete;
  ~CountedExternal() {
    if (accounts_ == nullptr) return;
    const std::lock_guard lock{*mutex_};
    accounts_->remove_external(at_);
  }

  /// \param mutex  the buffers'; held
  /// Throws: as `BufferAccounts::add_external`; nothing is counted then.
  void count(std::shared_ptr<Accounts> accounts, std::shared_ptr<std::mutex> mutex,
             typename Accounts::External external) {
    at_ = accounts->add_external(std::move(external));
    accounts_ = std::move(accounts);
    mutex_ = std::move(mutex);
  }

 private:
  std::shared_ptr<Accounts> accounts_;
  std::shared_ptr<std::mutex> mutex_;
  typename Accounts::Externals::iterator at_{};
};

}  // namespace allot::detail
