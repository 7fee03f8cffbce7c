// SPDX-License-Identifier: MIT
// What makes allot-mpi of the tool's objects: `load --shares` on this rank.
#include <allot/core/readable_bytes.hpp>
#include <allot/device/host_device.hpp>
#include <allot/load/distributed.hpp>
#include <allot/load/planned_device.hpp>
#include <allot/load/verify.hpp>
#ifdef ALLOT_TOOL_HIP
#include <allot/device/hip_device.hpp>
#endif

#include <fmt/core.h>
#include <mpi.h>

#include <cstdint>
#include <exception>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "device_names.hpp"
#include "load_shares.hpp"
#include "output.hpp"
#include "planning.hpp"

namespace {

using Json = nlohmann::ordered_json;
using allot::load::Plan;
using allot::load::RankReport;

MPI_Comm const world = MPI_COMM_WORLD;

/// MPI, from its first call to its last.
class Session {
 public:
  Session() {
    int provided = 0;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
      throw std::runtime_error{"MPI cannot be initialized; start the tool with mpirun"};
    static_cast<void>(MPI_Comm_rank(world, &rank_));
    static_cast<void>(MPI_Comm_size(world, &size_));
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() { static_cast<void>(MPI_Finalize()); }

  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int size() const noexcept { return size_; }

 private:
  int rank_ = 0;
  int size_ = 1;
};

/// What all ranks loaded.
struct Loaded {
  std::vector<Plan> plans;
  std::vector<RankReport> ranks;

  [[nodiscard]] std::uint64_t sum(std::uint64_t RankReport::*part) const noexcept {
    std::uint64_t all = 0;
    for (const RankReport& rank : ranks) all += rank.*part;
    return all;
  }
  /// Of the slowest rank.
  [[nodiscard]] double seconds() const noexcept {
    double most = 0;
    for (const RankReport& rank : ranks) most = rank.seconds > most ? rank.seconds : most;
    return most;
  }
  [[nodiscard]] double gib_per_second() const noexcept {
    const auto bytes = static_cast<double>(sum(&RankReport::bytes));
    return seconds() > 0 ? bytes / static_cast<double>(allot::GiB) / seconds() : 0;
  }
};

/// Throws: unless as many ranks run as the shares need, all of them started with options that the
/// plans do not show. Collective.
void require_like_ranks(const MemoryOptions& options, const Session& session) {
  const std::uint64_t shares = options.shares.count();
  const std::string mine =
      fmt::format("{} {} {} {}", shares, options.margin, options.verify, options.alignment);
  const allot::load::detail::Ranks ranks{world};
  const std::vector<std::string> all = ranks.gather_text(mine);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i] == all[0]) continue;
    throw std::invalid_argument{
        fmt::format("rank {} has other options than rank 0; start all ranks alike", i)};
  }
  if (shares != static_cast<std::uint64_t>(session.size())) {
    throw std::invalid_argument{fmt::format(
        "--shares divides the model between {} ranks, but {} run{}; start it with mpirun -n {}",
        shares, session.size(), session.size() == 1 ? "s" : "", shares)};
  }
  if (options.alignment != 256)
    throw std::invalid_argument{"load --shares aligns tensors to 256 bytes; leave --alignment out"};
}

/// Returns the device of this rank: those of one machine take the named ones in turn.
DeviceName own_device(const MemoryOptions& options) {
  MPI_Comm node = MPI_COMM_NULL;
  int place = 0;
  if (MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node) != MPI_SUCCESS)
    throw std::runtime_error{"MPI does not say which ranks run on this machine"};
  static_cast<void>(MPI_Comm_rank(node, &place));
  static_cast<void>(MPI_Comm_free(&node));
  const std::vector<DeviceName> names = read_devices(options.device);
  return names[static_cast<std::size_t>(place) % names.size()];
}

template <class DeviceType>
Loaded load_onto(const MemoryOptions& options, const allot::gguf::File& file, DeviceType& device) {
  namespace load = allot::load;
  using Policy = WeightsAlignedTo<256>;
  Loaded loaded;
  loaded.plans = load::on_every_rank(world, [&] {
    return make_shares(options, file, plan_options(options, {load::planned_device(device)}));
  });
  load::check_distributed(world, file, loaded.plans, device, ChosenMargin{options.margin});
  const auto own = [&] {
    ProgressBar bar;
    const auto draw = [&](const allot::Progress& at) { bar.draw(at); };
    return load::load_distributed<Policy>(world, file, loaded.plans, device, draw, options.load,
                                          {.read_once = options.read_once});
  }();
  loaded.ranks = own.ranks;
  load::on_every_rank(world, [&] {
    if (!options.verify) return true;
    const auto difference = load::verify(file, own.model, device);
    if (!difference) return true;
    throw std::runtime_error{
        fmt::format("tensor {} differs from the file at byte {}; load it again",
                    printable(difference->tensor), difference->byte)};
  });
  return loaded;
}

Loaded load_all(const MemoryOptions& options, const Session& session) {
  require_like_ranks(options, session);
  const auto files =
      allot::load::on_every_rank(world, [&] { return open_files(options.file, options.placing); });
  const allot::gguf::File& file = files;
  const DeviceName name = own_device(options);
  const DeviceKind kind = allot::load::on_every_rank(world, [&] {
    if (name.kind == DeviceKind::staged_host)
      throw std::invalid_argument{"load --shares loads onto host or hip; use one of them"};
#ifndef ALLOT_TOOL_HIP
    if (name.kind == DeviceKind::hip) static_cast<void>(ask_hip_device(name));  // says why not
#endif
    return name.kind;
  });
#ifdef ALLOT_TOOL_HIP
  if (kind == DeviceKind::hip) {
    auto device =
        allot::load::on_every_rank(world, [&] { return allot::HipDevice<>{name.number}; });
    return load_onto(options, file, device);
  }
#endif
  static_cast<void>(kind);
  allot::HostDevice host;
  return load_onto(options, file, host);
}

void print_json(const MemoryOptions& options, const Loaded& loaded) {
  Json ranks = Json::array();
  for (std::size_t i = 0; i < loaded.ranks.size(); ++i) {
    const RankReport& rank = loaded.ranks[i];
    const Plan& plan = loaded.plans[i];
    ranks.push_back({{"rank", i},
                     {"stage", plan.share->stage},
                     {"part", plan.share->part},
                     {"tensors", plan.tensor_count()},
                     {"reserved_bytes", rank.reserved},
                     {"device_allocations", rank.device_allocations},
                     {"bytes_delivered", rank.bytes},
                     {"bytes_read", rank.bytes_read},
                     {"bytes_sent", rank.bytes_sent},
                     {"seconds", rank.seconds}});
  }
  const Json out = {{"file", printable(options.file)},
                    {"device", options.device},
                    {"shares",
                     {{"pipeline", options.shares.pipeline},
                      {"tensor", options.shares.tensor},
                      {"ranks", options.shares.count()},
                      {"move_to_blocks", options.shares.move_to_blocks}}},
                    {"read_once", options.read_once},
                    {"reserved_bytes", loaded.sum(&RankReport::reserved)},
                    {"bytes_delivered", loaded.sum(&RankReport::bytes)},
                    {"bytes_read", loaded.sum(&RankReport::bytes_read)},
                    {"bytes_sent", loaded.sum(&RankReport::bytes_sent)},
                    {"seconds", loaded.seconds()},
                    {"gib_per_s", loaded.gib_per_second()},
                    {"verified", options.verify ? Json(true) : Json(nullptr)},
                    {"ranks", std::move(ranks)}};
  print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_text(const MemoryOptions& options, const Loaded& loaded) {
  const auto size = [](std::uint64_t bytes) {
    return std::string{allot::ReadableBytes{bytes}.c_str()};
  };
  print("Loaded {} on {} ranks\n", printable(options.file), loaded.ranks.size());
  print("  {:>5} {:>5} {:>5} {:>12} {:>12} {:>12} {:>12}\n", "rank", "stage", "part", "reserved",
        "delivered", "read", "sent");
  for (std::size_t i = 0; i < loaded.ranks.size(); ++i) {
    const RankReport& rank = loaded.ranks[i];
    print("  {:>5} {:>5} {:>5} {:>12} {:>12} {:>12} {:>12}\n", i, loaded.plans[i].share->stage,
          loaded.plans[i].share->part, size(rank.reserved), size(rank.bytes), size(rank.bytes_read),
          size(rank.bytes_sent));
  }
  print("  delivered          {}\n", size_text(loaded.sum(&RankReport::bytes)));
  print("  read from storage  {}\n", size_text(loaded.sum(&RankReport::bytes_read)));
  print("  sent               {}\n", size_text(loaded.sum(&RankReport::bytes_sent)));
  print("  time               {:.3f} s, {:.2f} GiB/s\n", loaded.seconds(), loaded.gib_per_second());
  print("  verified           {}\n",
        options.verify ? "every byte, on every rank" : "no (--verify)");
}

/// All ranks fail alike, and rank 0 says so, with its exit status. The others end well: mpirun would
/// end rank 0 before it has said anything.
void load_own_share(const MemoryOptions& options) {
  const Session session;
  try {
    const Loaded loaded = load_all(options, session);
    if (session.rank() == 0)
      options.json ? print_json(options, loaded) : print_text(options, loaded);
  } catch (const std::exception& error) {
    if (session.rank() == 0)
      throw std::runtime_error{error.what()};  // it has the nested one's text
  }
}

const bool is_replaced = (load_shares = load_own_share, true);

}  // namespace
