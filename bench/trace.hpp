// SPDX-License-Identifier: MIT
/// \file
/// Allocation traces: what a benchmark replays. Read from files of the `allot-trace 1` format, or
/// made from a seed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace allot::bench {

/// One allocation (`bytes` above zero) into a slot, or the freeing of what the slot holds.
struct Operation {
  std::uint64_t bytes;
  std::uint32_t slot;
};

struct Trace {
  std::string name;
  std::uint64_t capacity = 0;  ///< bytes of the arena it is meant for
  std::uint32_t slots = 0;     ///< the most blocks that are live at once
  std::size_t first_free = 0;  ///< the operations before this one only fill the arena
  std::vector<Operation> operations = {};
};

/// Appends operations to a trace and numbers the slots: a freed one is used again first.
class TraceBuilder {
 public:
  explicit TraceBuilder(Trace& trace) : trace_{trace} {}

  std::uint32_t allocate(std::uint64_t bytes) {
    std::uint32_t slot = trace_.slots;
    if (free_.empty()) {
      ++trace_.slots;
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    trace_.operations.push_back({bytes, slot});
    return slot;
  }

  void free(std::uint32_t slot) {
    if (trace_.first_free == 0) trace_.first_free = trace_.operations.size();
    trace_.operations.push_back({0, slot});
    free_.push_back(slot);
  }

 private:
  Trace& trace_;
  std::vector<std::uint32_t> free_;
};

/// The granularity of the arenas that replay a trace, and so the alignment of every block.
inline constexpr std::uint64_t alignment = 256;

/// Reads a trace file: `# allot-trace 1 ... capacity=N`, then `a ID BYTES ALIGNMENT` and `f ID`.
/// Throws: `std::runtime_error` naming the line, and what is wrong with it.
[[nodiscard]] inline Trace read_trace(const std::string& path) {
  std::ifstream file{path};
  if (!file) throw std::runtime_error{"cannot open the trace " + path};
  std::size_t number = 1;
  const auto fail = [&](const std::string& rule) {
    throw std::runtime_error{path + ":" + std::to_string(number) + ": " + rule};
  };
  std::string line;
  std::getline(file, line);
  Trace trace{.name = path.substr(path.find_last_of('/') + 1)};
  const std::size_t at = line.find(" capacity=");
  if (line.rfind("# allot-trace 1", 0) != 0 || at == std::string::npos)
    fail("a trace begins with '# allot-trace 1 ... capacity=BYTES'");
  if (!(std::istringstream{line.substr(at + 10)} >> trace.capacity) || trace.capacity < alignment)
    fail("the capacity is not a number of at least 256 bytes");
  TraceBuilder builder{trace};
  std::unordered_map<std::uint64_t, std::uint32_t> slot_of;
  for (++number; std::getline(file, line); ++number) {
    std::istringstream fields{line};
    char kind = 0;
    std::uint64_t id = 0;
    fields >> kind >> id;
    if (!fields || (kind != 'a' && kind != 'f')) fail("not 'a ID BYTES ALIGNMENT' or 'f ID'");
    const auto slot = slot_of.find(id);
    if (kind == 'f') {
      if (slot == slot_of.end()) fail("block " + std::to_string(id) + " is not live");
      builder.free(slot->second);
      slot_of.erase(slot);
      continue;
    }
    std::uint64_t bytes = 0;
    std::uint64_t asked = 0;
    if (!(fields >> bytes >> asked) || bytes == 0 || bytes > trace.capacity)
      fail("a block has from one byte to the capacity");
    if (asked > alignment) fail("only alignments of up to 256 bytes are replayed");
    if (slot != slot_of.end()) fail("block " + std::to_string(id) + " is live already");
    slot_of[id] = builder.allocate(bytes);
  }
  if (trace.operations.empty()) fail("the trace has no operations");
  return trace;
}

enum class Sizes { log_uniform, recurring };

/// A steady state: frees at random until the next request fits under `fill` of the capacity, then
/// allocates once. Sizes are log-uniform from 256 bytes to 4 MiB, or a few recurring tensor sizes.
/// \param live  about how many blocks are live
[[nodiscard]] inline Trace make_churn(Sizes sizes, std::uint64_t live, double fill,
                                      std::uint64_t allocations, std::uint64_t seed) {
  static constexpr std::uint64_t recurring[] = {4 << 10, 16 << 10, 64 << 10, 112 << 10, 256 << 10,
                                                1 << 20, 2 << 20,  7 << 19,  4 << 20};
  const bool is_log = sizes == Sizes::log_uniform;
  double mean = (std::exp2(22.0) - std::exp2(8.0)) / (14 * std::log(2.0));
  if (!is_log) {
    mean = 0;
    for (const std::uint64_t size : recurring) mean += static_cast<double>(size) / 9;
  }
  Trace trace{.name = std::string{is_log ? "churn-log" : "churn-rec"} + "/" + std::to_string(live) +
                      "/" + std::to_string(static_cast<int>(fill * 100 + 0.5)),
              .capacity = static_cast<std::uint64_t>(static_cast<double>(live) * mean / fill)};
  const auto limit = static_cast<std::uint64_t>(static_cast<double>(trace.capacity) * fill);
  std::mt19937_64 random{seed};
  std::uniform_real_distribution<double> exponent{8, 22};
  TraceBuilder builder{trace};
  struct Live {
    std::uint32_t slot;
    std::uint64_t bytes;
  };
  std::vector<Live> blocks;
  std::uint64_t used = 0;
  for (std::uint64_t i = 0; i < allocations; ++i) {
    const std::uint64_t bytes =
        is_log ? static_cast<std::uint64_t>(std::exp2(exponent(random))) : recurring[random() % 9];
    while (used + bytes > limit && !blocks.empty()) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      builder.free(blocks.back().slot);
      used -= blocks.back().bytes;
      blocks.pop_back();
    }
    blocks.push_back({builder.allocate(bytes), bytes});
    used += bytes;
  }
  return trace;
}

/// An inference server: weights that stay, sequences whose KV cache grows by pages of 2 MiB and
/// which end at random, and scratch of each step, freed in reverse.
[[nodiscard]] inline Trace make_serving(std::uint64_t steps, std::uint64_t seed) {
  static constexpr std::uint64_t page = 2 << 20;
  static constexpr std::size_t most_sequences = 64;
  Trace trace{.name = "serving", .capacity = std::uint64_t{8} << 30};
  std::mt19937_64 random{seed};
  std::uniform_real_distribution<double> chance{0, 1};
  const auto log_uniform = [&](double from, double to) {
    return static_cast<std::uint64_t>(std::exp2(from + (to - from) * chance(random)));
  };
  TraceBuilder builder{trace};
  for (int i = 0; i < 290; ++i) builder.allocate(log_uniform(12, 26));
  struct Sequence {
    std::vector<std::uint32_t> pages;
    std::uint64_t end;
  };
  std::vector<Sequence> sequences;
  for (std::uint64_t step = 0; step < steps; ++step) {
    if (sequences.size() < most_sequences && chance(random) < 0.05)
      sequences.push_back({{}, 1 + random() % 50});
    std::vector<std::uint32_t> scratch(2 + random() % 5);
    for (std::uint32_t& slot : scratch) slot = builder.allocate(log_uniform(12, 24));
    for (std::size_t i = 0; i < sequences.size();) {
      Sequence& sequence = sequences[i];
      if (random() % 8 == 0) sequence.pages.push_back(builder.allocate(page));
      if (sequence.pages.size() < sequence.end) {
        ++i;
        continue;
      }
      for (const std::uint32_t slot : sequence.pages) builder.free(slot);
      sequence = std::move(sequences.back());
      sequences.pop_back();
    }
    for (std::size_t i = scratch.size(); i-- > 0;) builder.free(scratch[i]);
  }
  return trace;
}

/// A training step, repeated: activations are allocated forward and freed backward.
[[nodiscard]] inline Trace make_step(std::uint64_t allocations, std::uint64_t seed) {
  Trace trace{.name = "step", .capacity = std::uint64_t{4} << 30};
  std::mt19937_64 random{seed};
  std::uniform_real_distribution<double> exponent{14, 27};
  std::vector<std::uint64_t> sizes(96);
  for (std::uint64_t& size : sizes) size = static_cast<std::uint64_t>(std::exp2(exponent(random)));
  TraceBuilder builder{trace};
  std::vector<std::uint32_t> slots(sizes.size());
  for (std::uint64_t i = 0; i < allocations; i += sizes.size()) {
    for (std::size_t j = 0; j < sizes.size(); ++j) slots[j] = builder.allocate(sizes[j]);
    for (std::size_t j = sizes.size(); j-- > 0;) builder.free(slots[j]);
  }
  return trace;
}

}  // namespace allot::bench
