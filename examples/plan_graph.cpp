// SPDX-License-Identifier: MIT
// Plans the buffers of a transformer's layer once, and runs its graph twice in one allocation.
//
// Each operation writes its number into its output, and checks that its inputs still hold what was
// written there: a plan that let two live buffers overlap would be found. Beside it: what an arena of
// best fit takes when the same buffers come and go, and what one allocation each takes.
#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/offsets/plan_offsets.hpp>
#include <allot/strategy/best_fit.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace allot;

/// Operations in the order in which they run; operation i writes buffer i.
class Graph {
 public:
  /// Returns the operation's number.
  std::size_t add(const char* name, std::uint64_t floats, std::vector<std::size_t> inputs,
                  bool works_in_place = false) {
    const std::size_t number = operations_.size();
    Lifetime lifetime{floats * sizeof(float), number, number};
    if (works_in_place) lifetime.may_replace = inputs.front();
    lifetimes_.push_back(lifetime);
    for (const std::size_t input : inputs) lifetimes_[input].last = number;
    operations_.push_back({name, std::move(inputs)});
    return number;
  }

  struct Operation {
    std::string name;
    std::vector<std::size_t> inputs;
  };
  [[nodiscard]] const std::vector<Operation>& operations() const noexcept { return operations_; }
  [[nodiscard]] const std::vector<Lifetime>& lifetimes() const noexcept { return lifetimes_; }

 private:
  std::vector<Operation> operations_;
  std::vector<Lifetime> lifetimes_;
};

/// One layer of an 8B llama over `tokens` tokens, activations in f32.
Graph transformer_layer(std::uint64_t tokens) {
  constexpr std::uint64_t width = 4096;
  constexpr std::uint64_t kv_width = 1024;
  constexpr std::uint64_t hidden = 14336;
  constexpr std::uint64_t heads = 32;
  Graph graph;
  const auto x = graph.add("input", tokens * width, {});
  const auto normed = graph.add("norm", tokens * width, {x});
  const auto q = graph.add("q", tokens * width, {normed});
  const auto k = graph.add("k", tokens * kv_width, {normed});
  const auto v = graph.add("v", tokens * kv_width, {normed});
  const auto q_turned = graph.add("rope q", tokens * width, {q}, true);
  const auto k_turned = graph.add("rope k", tokens * kv_width, {k}, true);
  const auto scores = graph.add("scores", heads * tokens * tokens, {q_turned, k_turned});
  const auto weights = graph.add("softmax", heads * tokens * tokens, {scores}, true);
  const auto attended = graph.add("weighted values", tokens * width, {weights, v});
  const auto projected = graph.add("output projection", tokens * width, {attended});
  const auto sum = graph.add("add", tokens * width, {projected, x}, true);
  const auto normed_again = graph.add("norm", tokens * width, {sum});
  const auto gate = graph.add("gate", tokens * hidden, {normed_again});
  const auto up = graph.add("up", tokens * hidden, {normed_again});
  const auto gated = graph.add("silu and multiply", tokens * hidden, {gate, up}, true);
  const auto down = graph.add("down", tokens * width, {gated});
  graph.add("add", tokens * width, {down, sum}, true);
  return graph;
}

/// Fills each output, and compares each input with what was written there.
void run(const Graph& graph, const OffsetPlan& plan, std::byte* memory, int round) {
  const auto mark = [&](std::size_t buffer) {
    return static_cast<int>((buffer + static_cast<std::size_t>(round) * 7 + 1) % 251);
  };
  for (std::size_t i = 0; i < graph.operations().size(); ++i) {
    for (const std::size_t input : graph.operations()[i].inputs) {
      const std::byte* const bytes = memory + plan.offsets[input];
      const std::uint64_t size = graph.lifetimes()[input].bytes;
      const auto is = [&](std::uint64_t at) {
        return std::to_integer<int>(bytes[at]) == mark(input);
      };
      if (!is(0) || !is(size / 2) || !is(size - 1))
        throw std::runtime_error{graph.operations()[i].name + " found its input overwritten"};
    }
    std::memset(memory + plan.offsets[i], mark(i),
                static_cast<std::size_t>(graph.lifetimes()[i].bytes));
  }
}

/// The same buffers in an arena, taken and given back as the graph runs.
std::uint64_t best_fit_bytes(const Graph& graph) {
  Arena<BestFit, AlignTo<256>> arena{64 * GiB};
  std::vector<Block> blocks;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < graph.lifetimes().size(); ++i) {
    blocks.push_back(arena.allocate(graph.lifetimes()[i].bytes));
    bytes = std::max(bytes, blocks.back().offset + blocks.back().size);
    for (std::size_t k = 0; k <= i; ++k) {
      if (graph.lifetimes()[k].last == i) arena.deallocate(blocks[k]);
    }
  }
  return bytes;
}

void plan_and_run(std::uint64_t tokens) {
  const Graph graph = transformer_layer(tokens);
  const OffsetPlan plan = plan_offsets(graph.lifetimes());

  Arena<BestFit, AlignTo<256>, Unsynchronized, HostMemory> arena{plan.bytes + plan.alignment};
  const Block block = arena.allocate(plan.bytes, plan.alignment);
  auto* const memory = static_cast<std::byte*>(arena.address(block));
  for (int round = 0; round < 2; ++round) run(graph, plan, memory, round);

  std::uint64_t each = 0;
  for (const Lifetime& lifetime : graph.lifetimes()) each += lifetime.bytes;
  std::printf("one layer, %llu tokens, %zu buffers; run twice, every input checked\n",
              static_cast<unsigned long long>(tokens), graph.lifetimes().size());
  const auto row = [](const char* name, std::uint64_t bytes) {
    std::printf("%-28s %14llu bytes  %s\n", name, static_cast<unsigned long long>(bytes),
                ReadableBytes{bytes}.c_str());
  };
  row("planned", plan.bytes);
  row("no plan can be below", plan.lower_bound);
  row("best fit, as it runs", best_fit_bytes(graph));
  row("one allocation each", each);
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t tokens = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 256;
  if (argc > 2 || tokens == 0 || tokens > 4096) {
    std::fprintf(stderr, "usage: plan_graph [TOKENS]   1 to 4096; 256 by default\n");
    return 2;
  }
  try {
    plan_and_run(tokens);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "plan_graph: %s\n", error.what());
    return 1;
  }
  return 0;
}
