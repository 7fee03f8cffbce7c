// SPDX-License-Identifier: MIT
/// \file
/// How long clusters take to load a model, from 1 to 1,024 nodes, by simulation: the tables of
/// docs/distributed.md, as Markdown.
///
///     simulate_loads DATA                    real layouts on the clusters below; DATA: the folder
///                                            with layouts/ (of the tests' data)
///     simulate_loads FILE.gguf STAGES PARTS READ COPY
///                                            one machine and its ranks: bytes read and sent, seconds;
///                                            READ: GB/s from its storage, COPY: GB/s in its memory
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/shares.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/needs.hpp"
#include "cluster/simulation.hpp"
#include "support/layout_file.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using bench::Cluster;
using bench::Loaded;
using bench::Way;

constexpr double GB = 1e9;
constexpr std::uint64_t piece_bytes = 16 * MiB;  // four a rank: as much as 16 slots of 4 MiB
constexpr std::pair<Way, const char*> ways[] = {{Way::each_rank_reads, "each rank reads"},
                                                {Way::each_node_reads, "one reader a node"},
                                                {Way::read_once, "read once"}};

// Sources of the figures: docs/distributed.md. Peaks; a real system gives less.
constexpr Cluster frontier{.name = "Frontier",
                           .ranks_per_node = 8,
                           .storage = 5500 * GB,
                           .link = 100 * GB,
                           .copies = 102.5 * GB,
                           .device = 36 * GB,
                           .storage_latency = 1e-3,
                           .link_latency = 2e-6};
constexpr Cluster office{.name = "workstations and a file server",
                         .ranks_per_node = 4,
                         .storage = 3.125 * GB,
                         .link = 3.125 * GB,
                         .copies = 44.8 * GB,
                         .device = 31.5 * GB,
                         .storage_latency = 1e-3,
                         .link_latency = 20e-6};

struct Model {
  const char* name;
  test::Layout layout;
};
const Model models[] = {
    {"Llama 3.1 70B, 42.5 GB", {"llama-3.1-70b-instruct-q4_k_m", 80, 64, 8, 128, 128}},
    {"DeepSeek R1 671B, 404 GB", {"deepseek-r1-671b-q4_k_m", 61, 128, 128, 192, 128}}};

void print_table(const Cluster& cluster, const char* model, const bench::Needs& needs) {
  std::printf("\n**%s, %s**, in shares of %u:\n\n", cluster.name, model, needs.group);
  std::printf("| nodes | models |");
  for (const auto& [way, name] : ways) std::printf(" %s |", name);
  std::printf("\n|---|---|---|---|---|\n");
  const std::uint32_t first = std::max(1u, needs.group / cluster.ranks_per_node);
  for (std::uint32_t nodes = first; nodes <= 1024; nodes *= nodes < 16 ? 2 : 4) {
    std::printf("| %u | %u |", nodes, nodes * cluster.ranks_per_node / needs.group);
    for (const auto& [way, name] : ways) {
      const Loaded loaded = bench::Simulation{cluster, needs, nodes, way}.run();
      std::printf(" %.3g s, %s %.0f %%; %.4g TB |", loaded.seconds, loaded.limit,
                  100 * loaded.limit_share, static_cast<double>(loaded.read) / 1e12);
      std::fflush(stdout);
    }
    std::printf("\n");
  }
}

void simulate_clusters(const std::filesystem::path& data) {
  const struct {
    const Cluster& cluster;
    load::Shares shares[2];  // by model
  } runs[] = {{frontier, {{.tensor = 8}, {.tensor = 8}}},
              {office, {{.tensor = 4}, {.pipeline = 8, .tensor = 4}}}};
  for (const auto& [cluster, shares] : runs) {
    for (std::size_t i = 0; i < std::size(models); ++i) {
      const test::TemporaryFolder folder;
      const gguf::File file{test::write_layout(data, models[i].layout, folder.path())};
      load::PlanOptions options;
      options.shares = shares[i];
      const bench::Needs needs{file, load::make_shares(file, options), piece_bytes};
      print_table(cluster, models[i].name, needs);
    }
  }
}

/// One machine: every rank is a node of its own, whose messages go through the machine's memory.
void simulate_machine(const char* path, std::uint32_t stages, std::uint32_t parts, double read,
                      double copy) {
  const gguf::File file{path};
  load::PlanOptions options;
  options.shares = {.pipeline = stages, .tensor = parts, .move_to_blocks = true};
  const bench::Needs needs{file, load::make_shares(file, options), load::LoadOptions{}.slot_bytes};
  const Cluster machine{.name = "this machine",
                        .ranks_per_node = 1,
                        .storage = read * GB,
                        .link = copy * GB,
                        .copies = copy * GB,
                        .device = copy * GB,
                        .storage_latency = 0,
                        .link_latency = 1e-6,
                        .slots = load::LoadOptions{}.slots};
  std::printf("| way | read | sent | seconds |\n|---|---|---|---|\n");
  for (const auto& [way, name] : ways) {
    const Loaded loaded = bench::Simulation{machine, needs, needs.group, way}.run();
    std::printf("| %s | %llu | %llu | %.3g |\n", name, static_cast<unsigned long long>(loaded.read),
                static_cast<unsigned long long>(loaded.sent), loaded.seconds);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 2) {
      simulate_clusters(argv[1]);
    } else if (argc == 6) {
      const auto number = [&](int i) { return static_cast<std::uint32_t>(std::stoul(argv[i])); };
      simulate_machine(argv[1], number(2), number(3), std::stod(argv[4]), std::stod(argv[5]));
    } else {
      std::fprintf(stderr, "usage: simulate_loads DATA | FILE.gguf STAGES PARTS READ COPY\n");
      return 2;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "simulate_loads: %s\n", error.what());
    return 1;
  }
}
