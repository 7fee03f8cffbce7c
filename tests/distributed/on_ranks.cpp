// SPDX-License-Identifier: MIT
// A model loaded by several processes: each rank's share is a plain cut of the file's; a failure of
// one rank, at any call, ends the load on all and frees everything; ranks that do not mean the same
// get one error. Every rank runs every case.
#include <allot/device/hip_device.hpp>
#include <allot/device/host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/distributed.hpp>
#include <allot/load/plan/shares.hpp>
#include <allot/load/verify.hpp>

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../bench/cluster/simulation.hpp"
#include "hip/simulation.hpp"
#include "hipsim/hipsim.hpp"
#include "support/models.hpp"

namespace {

using namespace allot;
using load::Plan;
namespace fs = std::filesystem;

int rank_of_world() {
  int rank = 0;
  static_cast<void>(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  return rank;
}
std::uint32_t ranks_of_world() {
  int size = 1;
  static_cast<void>(MPI_Comm_size(MPI_COMM_WORLD, &size));
  return static_cast<std::uint32_t>(size);
}
int last_rank() { return static_cast<int>(ranks_of_world()) - 1; }

/// A model that all ranks open, and its shares.
struct SharedModel {
  explicit SharedModel(load::PlanOptions options = {},
                       gguf::TensorType type = gguf::TensorType::F32, bool joined_qkv = false)
      : path{write({layers, heads, 2, 256, 103, type, joined_qkv})}, file{path} {
    options.shares = shares();
    plans = load::make_shares(file, options);
  }
  SharedModel(const SharedModel&) = delete;
  SharedModel& operator=(const SharedModel&) = delete;
  ~SharedModel() {
    static_cast<void>(MPI_Barrier(MPI_COMM_WORLD));
    std::error_code ignored;
    if (rank_of_world() == 0) fs::remove(path, ignored);
  }

  /// Parts of the matrices, or stages if the heads cannot be divided by the ranks.
  static load::Shares shares() {
    const std::uint32_t ranks = ranks_of_world();
    return heads % ranks == 0 ? load::Shares{.tensor = ranks} : load::Shares{.pipeline = ranks};
  }

  static constexpr std::uint32_t heads = 8;
  static constexpr std::uint32_t layers = 3;
  fs::path path;
  gguf::File file;
  std::vector<Plan> plans;

 private:
  /// Rank 0 writes it; the others wait.
  static fs::path write(const test::LlamaShape& shape) {
    auto process = static_cast<std::uint64_t>(::getpid());
    static_cast<void>(MPI_Bcast(&process, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD));
    static int made = 0;
    const fs::path path = fs::temp_directory_path() /
                          ("allot-ranks-" + std::to_string(process) + "-" + std::to_string(made++));
    if (rank_of_world() == 0) test::write_llama(path, shape);
    static_cast<void>(MPI_Barrier(MPI_COMM_WORLD));
    return path;
  }
};

/// Calls `f` and returns what it threw; empty if it threw nothing.
template <class Error, class F>
std::string thrown(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

/// Returns true if all ranks have the same text.
bool is_the_same_everywhere(const std::string& text) {
  const load::detail::Ranks ranks{MPI_COMM_WORLD};
  const auto all = ranks.gather_text(text);
  for (const std::string& each : all) {
    if (each != all.front()) return false;
  }
  return true;
}

/// Counts the bytes of the file that ranks need: each once, and once for each rank that needs it; and
/// those of matrices cut through columns, whose rows are read whole, for all.
struct Needed {
  explicit Needed(const SharedModel& shared) {
    std::vector<char> needed(fs::file_size(shared.path));
    for (const Plan& plan : shared.plans) {
      for (const load::Step& step : plan.steps) {
        if (step.bytes == 0) continue;
        const load::Item& item = plan.items[step.item];
        std::uint64_t bytes = step.bytes;
        std::uint64_t distance = 0;
        if (step.transform != load::Transform::none && item.cut && item.cut->dimension == 0) {
          const gguf::TensorInfo& tensor = shared.file.tensors()[step.item];
          distance = load::detail::bytes_of_row(tensor.type, tensor.shape.extent[0]);
          bytes = load::detail::bytes_of_row(tensor.type, item.cut->extent());
          columns += step.bytes;
        } else if (step.transform == load::Transform::transpose && item.cut) {
          ranges(plan, step, needed);
          continue;
        }
        for (std::uint64_t row = 0; row * bytes < step.bytes; ++row)
          std::memset(needed.data() + step.file_offset + row * distance, 1, bytes);
        by_rank += step.bytes;
      }
    }
    for (const char is_needed : needed) once += is_needed != 0 ? 1U : 0U;
  }

  /// Rows of a matrix that is transposed.
  void ranges(const Plan& plan, const load::Step& step, std::vector<char>& needed) {
    const load::TensorCut& cut = *plan.items[step.item].cut;
    const std::uint64_t row = step.bytes / cut.extent();
    for (const load::CutRange& range : cut.ranges) {
      std::memset(needed.data() + step.file_offset + (range.first - cut.ranges.front().first) * row,
                  1, range.count * row);
    }
    by_rank += step.bytes;
  }
  std::uint64_t once = 0;
  std::uint64_t by_rank = 0;
  std::uint64_t columns = 0;

  /// Returns what must be sent, if a rank that needs a piece reads it.
  [[nodiscard]] std::uint64_t sent() const {
    return by_rank - once + columns / ranks_of_world() * (ranks_of_world() - 1);
  }
};

constexpr load::DistributedOptions once{.read_once = true};

constexpr load::LoadOptions small_ring{
    .slot_bytes = 64 * KiB, .slots = 2, .streams = 2, .readers = 2};

}  // namespace

TEST_CASE("every rank has its share, on the host and on a simulated GPU, transformed or not") {
  load::PlanOptions plain;
  plain.cache = load::CacheOptions{64};
  load::PlanOptions changed;
  changed.transforms = {.dequantize = {{"*", gguf::TensorType::F16, false}}, .fuse = {.qkv = true}};
  for (const load::PlanOptions& options : {plain, changed}) {
    const SharedModel shared{options};
    HostDevice host;
    load::check_distributed(MPI_COMM_WORLD, shared.file, shared.plans, host, load::NoMargin{});
    std::vector<std::uint64_t> seen;
    std::uint64_t total = 0;
    const auto loaded = load::load_distributed(MPI_COMM_WORLD, shared.file, shared.plans, host,
                                               [&](const Progress& progress) {
                                                 seen.push_back(progress.done);
                                                 total = progress.total;
                                               });
    CHECK(!load::verify(shared.file, loaded.model));
    CHECK(loaded.ranks.size() == ranks_of_world());
    std::uint64_t bytes = 0;
    std::uint64_t read = 0;
    for (const Plan& plan : shared.plans) {
      bytes += load::detail::bytes_of(plan.steps);
      for (const load::Step& step : plan.steps) read += step.bytes;
    }
    CHECK(loaded.bytes_read() == read);
    if (rank_of_world() == 0) {
      CHECK(total == bytes);
      CHECK((!seen.empty() && seen.back() == bytes));  // of all ranks
    } else {
      CHECK(seen.empty());
    }

    hipsim::reset();
    HipDevice<> gpu;
    {
      const auto on_gpu =
          load::load_distributed(MPI_COMM_WORLD, shared.file, shared.plans, gpu, {}, small_ring);
      CHECK(!load::verify(shared.file, on_gpu.model, gpu));
    }
    CHECK(hipsim::crimes().empty());
    CHECK(hipsim::live() == hipsim::Live{});
  }
}

TEST_CASE(
    "read once: each byte comes from storage once in all, and is sent to those that need it") {
  load::PlanOptions converted;
  converted.transforms = {.dequantize = {{"*", gguf::TensorType::F16, false}},
                          .fuse = {.qkv = true},
                          .padding = {load::Padding::every_row, 512}};
  load::PlanOptions turned;
  turned.transforms = {.transpose = {"*output.weight", "*ffn_up*", "*attn_qkv*"},
                       .padding = {load::Padding::every_row, 512}};
  turned.transforms.dequantize = {{"*attn_output*", gguf::TensorType::F32, false},
                                  {"*ffn_up*", gguf::TensorType::F32, false},
                                  {"*attn_qkv*", gguf::TensorType::F16, false},
                                  {"output.weight", gguf::TensorType::F32, false}};
  for (const load::PlanOptions& options : {load::PlanOptions{}, converted, turned}) {
    const SharedModel shared{options, gguf::TensorType::Q8_0,
                             !options.transforms.transpose.empty()};
    const Needed needed{shared};
    HostDevice host;
    for (const load::LoadOptions& way :
         {load::LoadOptions{}, load::LoadOptions{.slot_bytes = 5000, .slots = 1, .readers = 1}}) {
      Progress last{0, 1};
      const auto loaded = load::load_distributed(
          MPI_COMM_WORLD, shared.file, shared.plans, host, [&](const Progress& at) { last = at; },
          way, once);
      CHECK(!load::verify(shared.file, loaded.model));
      CHECK(loaded.bytes_read() == needed.once);
      CHECK(loaded.bytes_sent() == needed.sent());
      if (rank_of_world() == 0) CHECK(last.done == last.total);
    }
    hipsim::reset();
    HipDevice<> gpu;
    {
      const auto loaded = load::load_distributed(
          MPI_COMM_WORLD, shared.file, shared.plans, gpu, {},
          load::LoadOptions{.slot_bytes = 24 * KiB, .slots = 3, .readers = 2}, once);
      CHECK(!load::verify(shared.file, loaded.model, gpu));
      CHECK(loaded.bytes_read() == needed.once);
    }
    CHECK(hipsim::crimes().empty());
    CHECK(hipsim::live() == hipsim::Live{});
  }
}

TEST_CASE("the simulated cluster reads and sends what a real load does") {
  const SharedModel shared;
  const bench::Needs needs{shared.file, shared.plans, small_ring.slot_bytes};
  constexpr bench::Cluster ranks{.name = "one rank a node",
                                 .ranks_per_node = 1,
                                 .storage = 1e9,
                                 .link = 1e9,
                                 .copies = 1e9,
                                 .device = 1e9,
                                 .storage_latency = 0,
                                 .link_latency = 0};
  for (const bool read_once : {false, true}) {
    HostDevice host;
    const auto loaded = load::load_distributed(MPI_COMM_WORLD, shared.file, shared.plans, host, {},
                                               small_ring, {.read_once = read_once});
    const auto way = read_once ? bench::Way::read_once : bench::Way::each_rank_reads;
    const bench::Loaded simulated = bench::Simulation{ranks, needs, ranks_of_world(), way}.run();
    CHECK(loaded.bytes_read() == simulated.read);
    CHECK(loaded.bytes_sent() == simulated.sent);
  }
}

TEST_CASE("read once: a rank whose storage fails ends the load on all, wherever it is") {
  const SharedModel shared;
  for (int failing = 0; failing <= last_rank(); ++failing) {
    fs::path path = shared.path;
    if (rank_of_world() == failing) {
      path += ".cut" + std::to_string(failing);
      fs::copy_file(shared.path, path);
    }
    const gguf::File file{path};
    if (rank_of_world() == failing) fs::resize_file(path, fs::file_size(path) / 3);
    for (const std::uint32_t slots : {1U, 2U, 16U}) {
      hipsim::reset();
      HipDevice<> gpu;
      const load::LoadOptions way{.slot_bytes = 8 * KiB, .slots = slots};
      const std::string error = thrown<load::DistributedError>([&] {
        static_cast<void>(
            load::load_distributed(MPI_COMM_WORLD, file, shared.plans, gpu, {}, way, once));
      });
      CHECK(error.find("rank " + std::to_string(failing) + " failed") == 0);
      CHECK(is_the_same_everywhere(error));
      CHECK(hipsim::live() == hipsim::Live{});
    }
    std::error_code ignored;
    if (rank_of_world() == failing) fs::remove(path, ignored);
  }
}

TEST_CASE("a failure of any rank at any call ends the load on all, and nothing stays") {
  const SharedModel shared;
  for (int turn = 0; turn < 2 * (last_rank() + 1); ++turn) {
    const int failing = turn / 2;
    const load::DistributedOptions how{.read_once = turn % 2 == 1};
    std::uint64_t ended = 0;
    for (std::uint64_t call = 0; call < 60; call += 3) {
      hipsim::reset();
      HipDevice<> gpu;
      if (rank_of_world() == failing) hipsim::fail_call(call, hipErrorUnknown);
      test::CleanUpErrors told;
      const std::string error = thrown<load::DistributedError>([&] {
        static_cast<void>(load::load_distributed(MPI_COMM_WORLD, shared.file, shared.plans, gpu, {},
                                                 small_ring, how));
      });
      hipsim::stop_failing();
      CHECK(is_the_same_everywhere(error));
      if (error.empty()) continue;  // what failed has a fallback, or frees what is left
      ++ended;
      CHECK(error.find("rank " + std::to_string(failing) + " failed") == 0);
      if (rank_of_world() != failing) CHECK(hipsim::live() == hipsim::Live{});
      CHECK(hipsim::crimes().empty());
    }
    CHECK(ended > 0);
  }
  hipsim::reset();
}

TEST_CASE("the exception of the rank that failed is nested there") {
  const SharedModel shared;
  hipsim::reset();
  HipDevice<> gpu;
  if (rank_of_world() == last_rank()) hipsim::fail_always("hipMalloc", hipErrorOutOfMemory);
  try {
    static_cast<void>(load::load_distributed(MPI_COMM_WORLD, shared.file, shared.plans, gpu));
    FAIL_CHECK("it was loaded");
  } catch (const load::DistributedError& error) {
    CHECK(error.rank() == last_rank());
    bool is_nested = false;
    try {
      std::rethrow_if_nested(error);
    } catch (const OutOfMemory&) {
      is_nested = true;
    }
    CHECK(is_nested == (rank_of_world() == last_rank()));
  }
  hipsim::stop_failing();
  CHECK(hipsim::live() == hipsim::Live{});
}

TEST_CASE("rank 0 can cancel for all, and its callback can throw") {
  const SharedModel shared;
  HostDevice host;
  for (const load::DistributedOptions& how : {load::DistributedOptions{}, once}) {
    for (const int calls : {0, 1, 2}) {
      int made = 0;
      const std::string error = thrown<Cancelled>([&] {
        static_cast<void>(load::load_distributed(
            MPI_COMM_WORLD, shared.file, shared.plans, host,
            [&](const Progress&) { return made++ < calls; }, small_ring, how));
      });
      CHECK(is_the_same_everywhere(error));
      if (calls == 0) CHECK(error.find("cancelled") == 0);
    }
  }
  const std::string error = thrown<load::DistributedError>([&] {
    static_cast<void>(load::load_distributed(
        MPI_COMM_WORLD, shared.file, shared.plans, host,
        [](const Progress&) -> bool { throw std::runtime_error{"enough"}; }));
  });
  CHECK(error == "rank 0 failed, so nothing was loaded: enough");
}

TEST_CASE("ranks that do not mean the same get one error, all of them") {
  if (ranks_of_world() == 1) return;
  const SharedModel shared;
  HostDevice host;
  const auto refused = [&](const gguf::File& file, const std::vector<Plan>& plans) {
    const std::string error = thrown<std::invalid_argument>(
        [&] { static_cast<void>(load::load_distributed(MPI_COMM_WORLD, file, plans, host)); });
    CHECK(is_the_same_everywhere(error));
    return error;
  };
  const std::string name = "rank " + std::to_string(last_rank()) + " has ";
  std::vector<Plan> changed = shared.plans;
  if (rank_of_world() == last_rank()) {
    load::PlanOptions options;
    options.shares = SharedModel::shares();
    options.cache = load::CacheOptions{7};
    changed = load::make_shares(shared.file, options);
  }
  CHECK(refused(shared.file, changed).find(name + "other plans than rank 0") == 0);
  {
    fs::path path = shared.path;
    if (rank_of_world() == last_rank()) {
      path += ".other";
      test::write_llama(path, {SharedModel::layers, SharedModel::heads, 2, 256, 104});
    }
    const gguf::File file{path};
    CHECK(refused(file, shared.plans).find(name + "another file than rank 0") == 0);
    std::error_code ignored;
    if (rank_of_world() == last_rank()) fs::remove(path, ignored);
  }
  const std::string error = thrown<std::invalid_argument>([&] {
    static_cast<void>(load::load_distributed(MPI_COMM_WORLD, shared.file, shared.plans, host, {},
                                             {}, {.read_once = rank_of_world() == last_rank()}));
  });
  CHECK(is_the_same_everywhere(error));
  CHECK(error.find(name + "another read_once") == 0);
  changed = shared.plans;
  changed.pop_back();
  CHECK(refused(shared.file, changed).find("rank 0 has plans for ") == 0);
}

TEST_CASE("no rank reserves unless all can") {
  const SharedModel shared;
  hipsim::Options options;
  if (rank_of_world() == last_rank()) options.devices.front().memory = 64 * KiB;
  hipsim::reset(options);
  HipDevice<> gpu;
  const std::string error = thrown<InsufficientMemory>([&] {
    load::check_distributed(MPI_COMM_WORLD, shared.file, shared.plans, gpu, load::NoMargin{});
  });
  CHECK(is_the_same_everywhere(error));
  const std::string of = ranks_of_world() == 1 ? "of rank 0" : "of ranks 0, 1";  // of one machine
  CHECK(error.find("not enough memory on hip:0 " + of) == 0);
  CHECK(hipsim::calls("hipMalloc") == 0);
  hipsim::reset();
}

TEST_CASE("what fails on one rank before a load fails on all") {
  const std::string error = thrown<load::DistributedError>([] {
    static_cast<void>(load::on_every_rank(MPI_COMM_WORLD, [] {
      if (rank_of_world() == last_rank()) throw std::runtime_error{"no such file"};
      return 1;
    }));
  });
  CHECK(error ==
        "rank " + std::to_string(last_rank()) + " failed, so nothing was loaded: no such file");
  CHECK(load::on_every_rank(MPI_COMM_WORLD, [] { return 5; }) == 5);
}

// Run by itself: test_distributed.cpp looks at what mpirun says.
TEST_CASE("a rank that dies" * doctest::skip(std::getenv("ALLOT_RANK_DIES") == nullptr)) {
  static_cast<void>(load::on_every_rank(
      MPI_COMM_WORLD, [] { return rank_of_world() == last_rank() ? ::raise(SIGKILL) : 0; }));
  FAIL_CHECK("the others went on");
}

TEST_CASE("a file or a device that fails on one rank alone is an error on all") {
  const SharedModel shared;
  fs::path path = shared.path;
  if (rank_of_world() == last_rank()) {
    path += ".cut";
    fs::copy_file(shared.path, path);
  }
  const gguf::File file{path};
  if (rank_of_world() == last_rank()) fs::resize_file(path, 10);
  HostDevice host;
  const std::string name = "rank " + std::to_string(last_rank()) + " failed";
  CHECK(thrown<load::DistributedError>([&] {
          static_cast<void>(load::load_distributed(MPI_COMM_WORLD, file, shared.plans, host));
        }).find(name) == 0);
  hipsim::reset();
  HipDevice<> gpu;
  if (rank_of_world() == last_rank()) hipsim::fail_always("hipMemGetInfo", hipErrorUnknown);
  CHECK(thrown<load::DistributedError>([&] {
          load::check_distributed(MPI_COMM_WORLD, shared.file, shared.plans, gpu);
        }).find(name) == 0);
  hipsim::reset();
  std::error_code ignored;
  if (rank_of_world() == last_rank()) fs::remove(path, ignored);
}
