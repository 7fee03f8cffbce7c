// SPDX-License-Identifier: MIT
/// \file
/// Loads a model that several processes share, over MPI. The only header that needs MPI: include it
/// where that was found (Meson: `dependency('allot-mpi')`).
///
/// | name                | what it is                                                             |
/// |---------------------|------------------------------------------------------------------------|
/// | `check_distributed` | refuses shares that do not all fit, on every rank alike                |
/// | `load_distributed`  | every rank loads its share; one failure ends all, and frees everything |
/// | `on_every_rank`     | calls a function on all ranks: if it fails on one, all fail alike      |
/// | `DistributedOptions`| whether each byte is read by one rank, for all                         |
/// | `DistributedError`  | what every rank throws if one of them fails: which, and why            |
///
/// All ranks of the communicator call these together, each from the thread that MPI was initialized
/// on (or any, with `MPI_THREAD_SERIALIZED`). `load/plan/shares.hpp` makes the plans, without MPI.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/core/version.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/load/detail/fingerprint.hpp>
#include <allot/load/detail/mpi/exchange.hpp>
#include <allot/load/detail/mpi/piece_post.hpp>
#include <allot/load/detail/mpi/ranks.hpp>
#include <allot/load/detail/mpi/shared_load.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/insufficient_memory.hpp>
#include <allot/load/plan/margin.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/shared_pieces.hpp>
#include <allot/load/plan/sort.hpp>
#include <allot/load/planned_device.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load {

/// One rank has failed: every rank throws this, with the same text. On the rank that failed its own
/// exception is nested.
class DistributedError : public std::runtime_error {
 public:
  /// Makes the message. \param rank  which failed
  DistributedError(int rank, const std::string& problem)
      : std::runtime_error{"rank " + std::to_string(rank) +
                           " failed, so nothing was loaded: " + problem},
        rank_{rank} {}

  /// Returns the number of the rank that failed; the lowest of several.
  [[nodiscard]] int rank() const noexcept { return rank_; }

 private:
  int rank_;
};

/// How ranks load together. All ranks have the same.
struct DistributedOptions {
  /// Each byte that some rank needs is read by one of them and sent to the others that need it, in
  /// pieces of `LoadOptions::slot_bytes`, through `LoadOptions::slots` slots of host memory.
  bool read_once = false;
};

/// What one rank's load took. All in bytes and seconds.
struct RankReport {
  std::uint64_t bytes_read;          ///< of tensor data, from storage: counted where they come in
  std::uint64_t bytes_sent;          ///< of tensor data, to other ranks
  std::uint64_t bytes;               ///< put in place
  std::uint64_t reserved;            ///< on its device
  std::uint64_t device_allocations;  ///< arenas
  double seconds;                    ///< from the first reservation to the last byte in place
};

/// A rank's share of a model, and what the load took on every rank.
template <class ModelType>
struct DistributedModel {
  ModelType model;                ///< this rank's share
  std::vector<RankReport> ranks;  ///< of all ranks, in order: the same everywhere

  /// Returns the bytes that all ranks together read. Complexity: linear in the ranks.
  [[nodiscard]] std::uint64_t bytes_read() const noexcept {
    std::uint64_t sum = 0;
    for (const RankReport& rank : ranks) sum += rank.bytes_read;
    return sum;
  }
  /// Returns the bytes that all ranks together sent to each other. Complexity: linear in the ranks.
  [[nodiscard]] std::uint64_t bytes_sent() const noexcept {
    std::uint64_t sum = 0;
    for (const RankReport& rank : ranks) sum += rank.bytes_sent;
    return sum;
  }
};

namespace detail {

/// Returns the bytes that were read of all shards since they were opened.
template <class = void>
[[nodiscard]] std::uint64_t bytes_read_of(const gguf::File& file) noexcept {
  std::uint64_t sum = 0;
  for (const auto& shard : file.shards()) sum += shard.bytes_read();
  return sum;
}

/// Throws: `DistributedError` on every rank if one has failed, or `Cancelled`.
/// \param failure  what was thrown here
template <class = void>
void throw_together(const Ranks& ranks, const std::vector<Outcome>& outcomes,
                    const std::exception_ptr& failure, const Progress& at) {
  std::string own;
  if (failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      own = error.what();
    } catch (...) {
      own = "an exception of an unknown type";
    }
  }
  const std::vector<std::string> texts = ranks.gather_text(own);
  for (const Outcome sought : {Outcome::failed, Outcome::cancelled}) {
    for (std::size_t rank = 0; rank < outcomes.size(); ++rank) {
      if (outcomes[rank] != sought) continue;
      if (sought == Outcome::cancelled) throw Cancelled{at};
      const DistributedError error{static_cast<int>(rank), texts[rank]};
      if (static_cast<int>(rank) != ranks.rank()) throw error;
      try {
        std::rethrow_exception(failure);
      } catch (...) {
        std::throw_with_nested(error);
      }
    }
  }
}

/// Calls a function, as the other ranks do. Returns what it returns; throws on all if it throws on one.
template <class Function>
auto together(const Ranks& ranks, Function&& function) {
  std::optional<decltype(function())> result;
  std::exception_ptr failure;
  auto outcome = Outcome::done;
  try {
    result.emplace(function());
  } catch (...) {
    failure = std::current_exception();
    outcome = Outcome::failed;
  }
  throw_together(ranks, ranks.gather(outcome), failure, {0, 0});
  return std::move(*result);
}

/// Throws: `std::invalid_argument`, the same on every rank, unless all ranks mean the same: as many
/// shares as ranks, one version of allot, one file, one set of plans, one way of loading;
/// `DistributedError` if a rank cannot read its file.
/// \param way  stands for what else must be the same
template <class Plans>
void require_agreement(const Ranks& ranks, const gguf::File& file, const Plans& plans,
                       std::uint64_t way = 0) {
  const auto count = static_cast<std::uint64_t>(ranks.size());
  const auto own = together(ranks, [&] {
    return std::array<std::uint64_t, 5>{plans.size(), ALLOT_VERSION, fingerprint_of(file),
                                        fingerprint_of(plans), way};
  });
  const auto all = ranks.gather(own);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank][0] == count) continue;
    throw std::invalid_argument{
        "rank " + std::to_string(rank) + " has plans for " + std::to_string(all[rank][0]) +
        " ranks, but " + std::to_string(count) + " run; start as many as PlanOptions::shares has"};
  }
  constexpr const char* differs[] = {
      "", "another version of allot than rank 0", "another file than rank 0",
      "other plans than rank 0, so other options", "another read_once or slot_bytes than rank 0"};
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    for (std::size_t i = 1; i < own.size(); ++i) {
      if (all[rank][i] == all[0][i]) continue;
      throw std::invalid_argument{"rank " + std::to_string(rank) + " has " + differs[i] +
                                  "; start all ranks alike"};
    }
  }
}

/// What a rank needs of a device that others of its machine may share.
struct Need {
  std::uint64_t planned;
  std::uint64_t free;
  int node;
};

/// Throws: `InsufficientMemory` for a device that its ranks do not all fit on.
/// Complexity: O(n log n) in the ranks.
template <Margin MarginType>
void check_needs(const std::vector<Need>& needs, const std::vector<std::string>& names,
                 const MarginType& margin) {
  std::vector<std::size_t> order(needs.size());  // those of a device together
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  sort_stably(order, [&](std::size_t a, std::size_t b) {
    return needs[a].node != needs[b].node ? needs[a].node < needs[b].node : names[a] < names[b];
  });
  for (std::size_t i = 0; i < order.size();) {
    const std::size_t first = order[i];
    std::uint64_t planned = 0;
    std::uint64_t free = needs[first].free;
    std::string ranks;
    for (; i < order.size(); ++i) {
      const std::size_t rank = order[i];
      if (needs[rank].node != needs[first].node || names[rank] != names[first]) break;
      planned = checked_add(planned, needs[rank].planned).value_or(largest_of<std::uint64_t>);
      free = smaller(free, needs[rank].free);
      ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
    }
    if (deficit_of(planned, free, margin) == 0) continue;
    throw InsufficientMemory{
        names[first] + " of rank" + (ranks.find(',') == std::string::npos ? " " : "s ") + ranks,
        planned, margin(planned), free, "use more shares, or fewer ranks on that machine"};
  }
}

}  // namespace detail

/// Calls a function on this rank, as the others do on theirs: opens a file, say. If it throws on one
/// rank, all ranks throw, and none goes on to wait for it. Returns what the function returns.
/// Throws: `DistributedError`, with the function's own exception nested where it was thrown.
template <class Function>
auto on_every_rank(MPI_Comm comm, Function&& function) {
  return detail::together(detail::Ranks{comm}, function);
}

/// Refuses plans of which one does not fit its rank's device now, margin included: on every rank
/// alike. Ranks of one machine that name the same device share its memory.
///
/// \param plans   of all ranks, as `make_shares` makes them
/// \param device  this rank's
/// Throws: `InsufficientMemory` with the ranks concerned; `std::invalid_argument` if the ranks do not
/// all have these plans for this file; `DistributedError` if a rank cannot read its file or ask its
/// device; `std::runtime_error` if MPI fails.
template <Device DeviceType, Margin MarginType = UsualMargin>
void check_distributed(MPI_Comm comm, const gguf::File& file, const std::vector<Plan>& plans,
                       const DeviceType& device, const MarginType& margin = {}) {
  const detail::Ranks ranks{comm};
  detail::require_agreement(ranks, file, plans);
  const auto planned = detail::together(ranks, [&] { return planned_device(device); });
  const Plan& own = plans[static_cast<std::size_t>(ranks.rank())];
  const detail::Need need{own.total_bytes(), planned.free_bytes, ranks.node()};
  detail::check_needs(ranks.gather(need), ranks.gather_text(planned.name), margin);
}

/// Loads this rank's share: each rank reads what it needs, or one reads for all
/// (`DistributedOptions::read_once`). If one rank fails, all end, and nothing stays reserved anywhere.
/// Bytes that are read through `file` meanwhile by others are counted as the load's.
///
/// \param plans     of all ranks, as `make_shares` makes them; each rank loads its own
/// \param device    this rank's
/// \param progress  called on rank 0 only, with the bytes of all ranks; returning false cancels all
/// Throws: on every rank the same: `std::invalid_argument` if the ranks do not all have these plans
/// for this file; `DistributedError` if a rank failed; `Cancelled`; `std::runtime_error` if MPI
/// fails. A rank that dies is MPI's to report: it ends the job.
template <WeightPolicy Policy = DefaultWeights, Device DeviceType>
[[nodiscard]] DistributedModel<Model<SharedArenaOf<Policy, DeviceType>>> load_distributed(
    MPI_Comm comm, const gguf::File& file, const std::vector<Plan>& plans, DeviceType& device,
    const ProgressCallback& progress = {}, const LoadOptions& options = {},
    const DistributedOptions& distributed = {}) {
  using ModelType = Model<SharedArenaOf<Policy, DeviceType>>;
  const detail::Ranks ranks{comm};
  const bool read_once = distributed.read_once;
  const std::uint64_t piece_bytes = read_once ? smaller(options.slot_bytes, 1 * GiB) : 0;
  detail::require_agreement(ranks, file, plans, piece_bytes);
  std::uint64_t total = 0;
  for (const Plan& plan : plans) total += detail::bytes_of(plan.steps);
  const Plan& own = plans[static_cast<std::size_t>(ranks.rank())];

  const auto post = detail::together(
      ranks, [&] { return std::make_unique<detail::PiecePost>(ranks, piece_bytes); });
  std::optional<detail::SharedPieces<DeviceType>> pieces;
  std::optional<detail::Exchange<DeviceType>> exchange;
  std::optional<ModelType> model;
  std::exception_ptr failure;
  const std::uint64_t read_before = detail::bytes_read_of(file);
  detail::SharedLoad<Policy> shared{ranks, total, progress};
  const std::vector<detail::Outcome> outcomes = shared.run(
      [&](auto&& note) {
        if (!read_once) {
          model.emplace(load<Policy>(file, own, device, note, options));
          return;
        }
        model.emplace(detail::load_by<Policy>(
            file, own, std::span<DeviceType>{&device, 1}, options,
            [&](const Plan& followed, const auto& places, LoadReport& report) {
              pieces.emplace(file, plans, piece_bytes);
              exchange.emplace(ranks, *post, file, *pieces, followed, places, device, options,
                               report);
              exchange->run(note, report);
            }));
      },
      failure);
  bool is_good = true;
  for (const detail::Outcome outcome : outcomes)
    is_good = is_good && outcome == detail::Outcome::done;
  if (!is_good) post->settle();
  exchange.reset();
  detail::throw_together(ranks, outcomes, failure, {0, total});

  const LoadReport& report = model->report();
  std::vector<RankReport> reports =
      ranks.gather(RankReport{.bytes_read = detail::bytes_read_of(file) - read_before,
                              .bytes_sent = post->bytes_sent(),
                              .bytes = report.bytes,
                              .reserved = model->plan().total_bytes(),
                              .device_allocations = report.device_allocations,
                              .seconds = report.seconds});
  return {std::move(*model), std::move(reports)};
}

}  // namespace allot::load
