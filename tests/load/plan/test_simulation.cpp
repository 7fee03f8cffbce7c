// SPDX-License-Identifier: MIT
// The simulated cluster of bench/cluster: bytes are counted as the plans have them, and no part of
// it is faster than its rate. That a real load counts the same is shown in tests/distributed.
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/shares.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "../../../bench/cluster/needs.hpp"
#include "../../../bench/cluster/simulation.hpp"
#include "support/models.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using bench::Cluster;
using bench::Loaded;
using bench::Needs;
using bench::Simulation;
using bench::Way;

constexpr Cluster even_cluster{.name = "even",
                               .ranks_per_node = 1,
                               .storage = 1e6,
                               .link = 1e6,
                               .copies = 1e6,
                               .device = 1e6,
                               .storage_latency = 0,
                               .link_latency = 0};

struct SimulatedModel {
  explicit SimulatedModel(load::Shares shares)
      : file{test::write_llama(folder.path() / "m.gguf", {3, 8, 2, 256, 103})} {
    load::PlanOptions options;
    options.shares = shares;
    plans = load::make_shares(file, options);
  }
  test::TemporaryFolder folder;
  gguf::File file;
  std::vector<load::Plan> plans;
};

std::uint64_t bytes_of_steps(const std::vector<load::Plan>& plans) {
  std::uint64_t sum = 0;
  for (const load::Plan& plan : plans) {
    for (const load::Step& step : plan.steps) sum += step.bytes;
  }
  return sum;
}

}  // namespace

TEST_CASE("a simulated cluster reads what the plans read, and sends what they need elsewhere") {
  const SimulatedModel model{{.pipeline = 1, .tensor = 4}};
  const std::uint64_t each = bytes_of_steps(model.plans);
  for (const std::uint64_t piece : {4 * KiB, 64 * KiB}) {
    const Needs needs{model.file, model.plans, piece};
    const std::uint64_t once = needs.file_bytes();
    CHECK(once < each);
    for (const std::uint32_t replicas : {1u, 3u}) {
      const auto run = [&](Way way) {
        return Simulation{even_cluster, needs, 4 * replicas, way}.run();
      };
      CHECK(run(Way::each_rank_reads).read == replicas * each);
      CHECK(run(Way::each_rank_reads).sent == 0);
      CHECK(run(Way::each_node_reads).read == replicas * each);
      CHECK(run(Way::each_node_reads).sent == 0);
      const Loaded loaded = run(Way::read_once);
      CHECK(loaded.read == once);
      CHECK(loaded.sent >= replicas * each - once);  // a reader may read columns for others only
      CHECK(loaded.sent < replicas * each);
    }
  }
}

TEST_CASE("a simulated node shares what it reads: its ranks' bytes come once") {
  const SimulatedModel model{{.pipeline = 1, .tensor = 4}};
  Cluster cluster = even_cluster;
  cluster.ranks_per_node = 4;
  const Needs needs{model.file, model.plans, 64 * KiB};
  const Loaded loaded = Simulation{cluster, needs, 5, Way::each_node_reads}.run();
  CHECK(loaded.read == 5 * needs.file_bytes());
  CHECK(loaded.sent == 0);
  cluster.ranks_per_node = 8;  // two groups in a node: what they need is the same
  CHECK(Simulation{cluster, needs, 1, Way::each_node_reads}.run().read == needs.file_bytes());
  cluster.ranks_per_node = 2;  // half a group
  const Loaded halves = Simulation{cluster, needs, 2, Way::each_node_reads}.run();
  CHECK(halves.read > needs.file_bytes());
  CHECK(halves.read < bytes_of_steps(model.plans));
}

TEST_CASE("a simulated load takes at least what its busiest part takes, and little more") {
  const SimulatedModel model{{}};
  const Needs needs{model.file, model.plans, 4 * KiB};
  const auto bytes = static_cast<double>(needs.file_bytes());
  Cluster slow_storage = even_cluster;
  slow_storage.storage = 1e5;
  Cluster slow_device = even_cluster;
  slow_device.device = 1e5;
  for (const Way way : {Way::each_rank_reads, Way::each_node_reads, Way::read_once}) {
    for (const Cluster& cluster : {slow_storage, slow_device}) {
      const Loaded loaded = Simulation{cluster, needs, 1, way}.run();
      CHECK(loaded.seconds >= bytes / 1e5);
      CHECK(loaded.seconds <= bytes / 1e5 * 1.05);
      CHECK(loaded.limit_share > 0.95);
    }
    // Storage is for all nodes together; links are each node's own.
    const Loaded one = Simulation{slow_storage, needs, 1, way}.run();
    const Loaded eight = Simulation{slow_storage, needs, 8, way}.run();
    const double factor = way == Way::read_once ? 1 : 8;
    CHECK(eight.seconds >= factor * one.seconds * 0.99);
    CHECK(eight.seconds <= factor * one.seconds * 1.3);
  }
}

TEST_CASE("simulated nodes that are not whole groups are refused") {
  const SimulatedModel model{{.pipeline = 1, .tensor = 4}};
  const Needs needs{model.file, model.plans, 4 * KiB};
  Cluster cluster = even_cluster;
  for (const auto& [ranks, nodes] : {std::pair{1u, 0u}, {1u, 6u}, {3u, 4u}, {6u, 2u}}) {
    cluster.ranks_per_node = ranks;
    CHECK_THROWS_AS((Simulation{cluster, needs, nodes, Way::each_node_reads}),
                    std::invalid_argument);
  }
}
