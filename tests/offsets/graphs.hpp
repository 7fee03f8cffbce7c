// SPDX-License-Identifier: MIT
/// \file
/// Lifetimes for tests and benchmarks of `plan_offsets`: a transformer's graph, a training-like
/// step, and random ones.
#pragma once

#include <allot/offsets/plan_offsets.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace allot::test {

/// A transformer's sizes; Llama 3.1 8B's by default.
struct TransformerShape {
  std::uint64_t layers = 1;
  std::uint64_t tokens = 512;
  std::uint64_t embedding = 4096;
  std::uint64_t heads = 32;
  std::uint64_t kv_heads = 8;
  std::uint64_t head_dimension = 128;
  std::uint64_t feed_forward = 14336;
  std::uint64_t context = 2048;  ///< keys that attention looks at
  std::uint64_t element_bytes = 4;
  bool fused_attention = false;  ///< without a buffer for the scores
};

/// The buffers of a decoder's forward pass, op by op: each lives from the op that writes it to the
/// last one that reads it.
class TransformerGraph {
 public:
  explicit TransformerGraph(const TransformerShape& shape) : shape_{shape} {
    std::size_t x = op(shape.embedding, {});
    for (std::uint64_t layer = 0; layer < shape.layers; ++layer) x = add_layer(x);
    op(shape.embedding, {x});
  }

  [[nodiscard]] const std::vector<Lifetime>& lifetimes() const noexcept { return lifetimes_; }

 private:
  std::size_t add_layer(std::size_t x) {
    const std::uint64_t q_width = shape_.heads * shape_.head_dimension;
    const std::uint64_t kv_width = shape_.kv_heads * shape_.head_dimension;
    const std::size_t normed = op(shape_.embedding, {x});
    const std::size_t q = op(q_width, {normed});
    const std::size_t k = op(kv_width, {normed});
    const std::size_t v = op(kv_width, {normed});
    const std::size_t q_turned = op(q_width, {q});
    const std::size_t k_turned = op(kv_width, {k});
    std::size_t attended = 0;
    if (shape_.fused_attention) {
      attended = op(q_width, {q_turned, k_turned, v});
    } else {
      const std::size_t scores = op(shape_.heads * shape_.context, {q_turned, k_turned});
      const std::size_t weights = op(shape_.heads * shape_.context, {scores});
      attended = op(q_width, {weights, v});
    }
    const std::size_t projected = op(shape_.embedding, {attended});
    const std::size_t added = op(shape_.embedding, {projected, x});
    const std::size_t normed_again = op(shape_.embedding, {added});
    const std::size_t gate = op(shape_.feed_forward, {normed_again});
    const std::size_t up = op(shape_.feed_forward, {normed_again});
    const std::size_t product = op(shape_.feed_forward, {gate, up});
    const std::size_t down = op(shape_.embedding, {product});
    return op(shape_.embedding, {down, added});
  }

  /// A step that reads buffers and writes one of `width` elements a token.
  std::size_t op(std::uint64_t width, const std::vector<std::size_t>& reads) {
    for (const std::size_t read : reads) lifetimes_[read].last = step_;
    lifetimes_.push_back({width * shape_.tokens * shape_.element_bytes, step_, step_, 256});
    ++step_;
    return lifetimes_.size() - 1;
  }

  TransformerShape shape_;
  std::vector<Lifetime> lifetimes_;
  std::uint64_t step_ = 0;
};

/// What `make_trace.py step` writes: buffers taken forward and given back backward, time after
/// time. A step of the plan is a line of the trace.
[[nodiscard]] inline std::vector<Lifetime> training_steps(std::size_t steps, std::uint64_t seed) {
  static constexpr std::size_t buffers = 96;
  std::mt19937_64 random{seed};
  std::uniform_real_distribution<double> exponent{14, 27};
  std::vector<std::uint64_t> sizes(buffers);
  for (std::uint64_t& size : sizes) size = static_cast<std::uint64_t>(std::exp2(exponent(random)));
  std::vector<Lifetime> lifetimes;
  for (std::size_t step = 0; step < steps; ++step) {
    const std::uint64_t begin = step * 2 * buffers;
    for (std::uint64_t i = 0; i < buffers; ++i)
      lifetimes.push_back({sizes[i], begin + i, begin + 2 * buffers - 1 - i, 256});
  }
  return lifetimes;
}

/// Sizes log-uniform from 256 bytes to 4 MiB; about `alive` of them at any step.
[[nodiscard]] inline std::vector<Lifetime> random_lifetimes(std::size_t buffers,
                                                            std::uint64_t alive,
                                                            std::uint64_t seed) {
  std::mt19937_64 random{seed};
  std::uniform_real_distribution<double> exponent{8, 22};
  std::vector<Lifetime> lifetimes;
  for (std::uint64_t i = 0; i < buffers; ++i) {
    lifetimes.push_back({static_cast<std::uint64_t>(std::exp2(exponent(random))), i,
                         i + random() % (2 * alive), std::uint64_t{1} << random() % 9});
  }
  return lifetimes;
}

/// The peak of an arena that allocates and frees in the order of the steps.
template <class ArenaType>
[[nodiscard]] std::uint64_t peak_of_trace(const std::vector<Lifetime>& lifetimes,
                                          std::uint64_t capacity) {
  struct Event {
    std::uint64_t step;
    bool frees;
    std::size_t buffer;
  };
  std::vector<Event> events;
  for (std::size_t i = 0; i < lifetimes.size(); ++i) {
    events.push_back({lifetimes[i].first, false, i});
    events.push_back({lifetimes[i].last, true, i});
  }
  std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    return a.step != b.step ? a.step < b.step : a.frees < b.frees;
  });
  ArenaType arena{capacity};
  std::vector<Block> blocks(lifetimes.size());
  std::uint64_t peak = 0;
  for (const Event& event : events) {
    if (event.frees) {
      arena.deallocate(blocks[event.buffer]);
      continue;
    }
    const Lifetime& lifetime = lifetimes[event.buffer];
    blocks[event.buffer] = arena.allocate(lifetime.bytes, lifetime.alignment);
    peak = larger(peak, blocks[event.buffer].offset + blocks[event.buffer].size);
  }
  return peak;
}

}  // namespace allot::test
