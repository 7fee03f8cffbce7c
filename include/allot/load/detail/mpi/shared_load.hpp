// SPDX-License-Identifier: MIT
/// \file
/// `SharedLoad`: what ranks tell each other while each loads its share: how far they are, and that
/// one has failed.
#pragma once

#include <allot/gguf/progress.hpp>
#include <allot/load/detail/mpi/ranks.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace allot::load::detail {

/// How a rank's load ended.
enum class Outcome : std::uint64_t {
  done,
  failed,
  cancelled,  ///< by the caller's callback
  followed,   ///< given up because another rank failed
};

/// One load on several ranks. Calls MPI on the thread that calls it only.
///
/// While it loads, rank 0 is told how far the others are, and every rank is told of a failure. At
/// the end all ranks meet; by then no message is under way.
///
/// \tparam Owner  any type of the caller's: this is compiled only when the caller is
template <class Owner>
class SharedLoad {
 public:
  /// \param total     bytes that all ranks load
  /// \param progress  called on rank 0, with the bytes of all ranks
  SharedLoad(const Ranks& ranks, std::uint64_t total, const ProgressCallback& progress)
      : ranks_{ranks},
        total_{total},
        progress_{progress},
        done_(static_cast<std::size_t>(ranks.size())),
        ended_(static_cast<std::size_t>(ranks.size())),
        failure_sent_(static_cast<std::size_t>(ranks.size()), MPI_REQUEST_NULL) {}
  SharedLoad(const SharedLoad&) = delete;
  SharedLoad& operator=(const SharedLoad&) = delete;

  /// Calls `load(progress)`, which loads this rank's share.
  /// \return how it ended on each rank; `failure` has what was thrown here. Collective.
  template <class Load>
  [[nodiscard]] std::vector<Outcome> run(Load&& load, std::exception_ptr& failure) {
    Outcome outcome = Outcome::done;
    try {
      load([this](const Progress& own) { return note(own); });
    } catch (const Cancelled&) {
      outcome = is_following_ ? Outcome::followed : Outcome::cancelled;
      failure = std::current_exception();
    } catch (...) {
      outcome = Outcome::failed;
      failure = std::current_exception();
    }
    if (outcome == Outcome::failed || outcome == Outcome::cancelled) tell_failure();
    if (ranks_.rank() != 0) tell_end();
    if (ranks_.rank() == 0) await_others(outcome, failure);
    const std::vector<Outcome> outcomes = ranks_.gather(outcome);
    settle(outcomes);
    return outcomes;
  }

 private:
  enum Tag : int { tag_progress = 1, tag_end, tag_failure };

  /// Returns false if the load is to be given up.
  bool note(const Progress& own) {
    done_[static_cast<std::size_t>(ranks_.rank())] = own.done;
    if (has_failure()) {
      is_following_ = true;
      return false;
    }
    if (ranks_.rank() != 0) {
      tell_progress(own);
      return true;
    }
    receive_progress();
    return report();
  }

  /// Calls the caller's callback with the bytes of all ranks. Returns what it returns.
  bool report() {
    try {
      progress_.report({sum(), total_});
    } catch (const Cancelled&) {
      return false;
    }
    return true;
  }

  [[nodiscard]] bool has_failure() const {
    int is_there = 0;
    require_mpi(
        MPI_Iprobe(MPI_ANY_SOURCE, tag_failure, ranks_.comm(), &is_there, MPI_STATUS_IGNORE),
        "MPI_Iprobe");
    return is_there != 0;
  }

  /// Tells rank 0, unless it has yet to take the last message.
  void tell_progress(const Progress& own) {
    int is_taken = 1;
    if (progress_sent_ != MPI_REQUEST_NULL)
      require_mpi(MPI_Test(&progress_sent_, &is_taken, MPI_STATUS_IGNORE), "MPI_Test");
    if (is_taken == 0 || sent_ == own.done) return;
    sent_ = own.done;
    require_mpi(MPI_Isend(&sent_, 1, MPI_UINT64_T, 0, tag_progress, ranks_.comm(), &progress_sent_),
                "MPI_Isend");
  }

  /// Tells rank 0 that this rank's load has ended, and how far it came.
  void tell_end() {
    if (progress_sent_ != MPI_REQUEST_NULL)
      require_mpi(MPI_Wait(&progress_sent_, MPI_STATUS_IGNORE), "MPI_Wait");
    sent_ = done_[static_cast<std::size_t>(ranks_.rank())];
    require_mpi(MPI_Isend(&sent_, 1, MPI_UINT64_T, 0, tag_end, ranks_.comm(), &progress_sent_),
                "MPI_Isend");
  }

  void tell_failure() {
    for (int rank = 0; rank < ranks_.size(); ++rank) {
      if (rank == ranks_.rank()) continue;
      require_mpi(MPI_Isend(nullptr, 0, MPI_BYTE, rank, tag_failure, ranks_.comm(),
                            &failure_sent_[static_cast<std::size_t>(rank)]),
                  "MPI_Isend");
    }
  }

  /// Takes the messages that have come to rank 0. Returns whether there were any.
  bool receive_progress() {
    bool has_some = false;
    for (;;) {
      int is_there = 0;
      MPI_Status status{};
      for (const int tag : {tag_progress, tag_end}) {
        require_mpi(MPI_Iprobe(MPI_ANY_SOURCE, tag, ranks_.comm(), &is_there, &status),
                    "MPI_Iprobe");
        if (is_there != 0) break;
      }
      if (is_there == 0) return has_some;
      has_some = true;
      std::uint64_t done = 0;
      require_mpi(MPI_Recv(&done, 1, MPI_UINT64_T, status.MPI_SOURCE, status.MPI_TAG, ranks_.comm(),
                           MPI_STATUS_IGNORE),
                  "MPI_Recv");
      const auto source = static_cast<std::size_t>(status.MPI_SOURCE);
      done_[source] = done;
      if (status.MPI_TAG == tag_end) ended_[source] = 1;
    }
  }

  /// On rank 0: reports the others' progress until their loads have ended.
  void await_others(Outcome& outcome, std::exception_ptr& failure) {
    ended_[0] = 1;
    for (;;) {
      const bool has_news = receive_progress();
      bool have_all_ended = true;
      for (const char ended : ended_) have_all_ended = have_all_ended && ended != 0;
      if (has_news && outcome == Outcome::done) {
        try {
          progress_.report({sum(), total_});
        } catch (...) {
          outcome = is_cancelled(std::current_exception()) ? Outcome::cancelled : Outcome::failed;
          failure = std::current_exception();
          tell_failure();
        }
      }
      if (have_all_ended) return;
      if (!has_news) std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }

  [[nodiscard]] std::uint64_t sum() const noexcept {
    std::uint64_t sum = 0;
    for (const std::uint64_t done : done_) sum += done;
    return sum;
  }

  [[nodiscard]] static bool is_cancelled(const std::exception_ptr& thrown) noexcept {
    try {
      std::rethrow_exception(thrown);
    } catch (const Cancelled&) {
      return true;
    } catch (...) {
      return false;
    }
  }

  /// Takes all failures that were told, and waits until every message of this rank is taken.
  void settle(const std::vector<Outcome>& outcomes) {
    for (int rank = 0; rank < ranks_.size(); ++rank) {
      const Outcome outcome = outcomes[static_cast<std::size_t>(rank)];
      const bool has_told = outcome == Outcome::failed || outcome == Outcome::cancelled;
      if (rank == ranks_.rank() || !has_told) continue;
      require_mpi(
          MPI_Recv(nullptr, 0, MPI_BYTE, rank, tag_failure, ranks_.comm(), MPI_STATUS_IGNORE),
          "MPI_Recv");
    }
    require_mpi(MPI_Waitall(ranks_.size(), failure_sent_.data(), MPI_STATUSES_IGNORE),
                "MPI_Waitall");
    if (progress_sent_ != MPI_REQUEST_NULL)
      require_mpi(MPI_Wait(&progress_sent_, MPI_STATUS_IGNORE), "MPI_Wait");
  }

  const Ranks& ranks_;
  std::uint64_t total_;
  const ProgressCallback& progress_;
  std::vector<std::uint64_t> done_;  // bytes, by rank; only rank 0 knows them all
  std::vector<char> ended_;          // by rank, on rank 0
  std::vector<MPI_Request> failure_sent_;
  MPI_Request progress_sent_ = MPI_REQUEST_NULL;
  std::uint64_t sent_ = 0;
  bool is_following_ = false;
};

}  // namespace allot::load::detail
