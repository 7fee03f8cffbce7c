// SPDX-License-Identifier: MIT
/// \file
/// `Engine`: a model, and all that it computes with: four allocations of a device, made by its
/// constructor.
///
/// Where the device's memory is not the host's, the engine stands for the device's kernels: once the
/// stream is idle, it works on the addresses that kernels get.
#pragma once

#include <allot/device/device.hpp>
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/load.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/workspace/workspace.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "attention.hpp"
#include "math.hpp"
#include "plan.hpp"
#include "threads.hpp"
#include "tokenizer.hpp"

namespace llama {

/// A token to compute, at the end of a sequence.
struct Input {
  std::size_t sequence;
  Token token;
};

template <allot::Device DeviceType>
class Engine {
 public:
  /// Loads the weights, and takes all other memory. Throws: what the loader, the cache and the device
  /// throw; nothing stays reserved.
  Engine(const allot::gguf::File& file, RunPlan plan, DeviceType device = DeviceType{})
      : plan_{std::move(plan)},
        device_{std::move(device)},
        model_{allot::load::load(file, plan_.memory, device_)},
        cache_{device_, plan_.cache, model_["cache"].slice()},
        workspace_{device_, model_["scratch"].slice(), {}, cache_.shared_stream()},
        weights_{weights_of(plan_.shape, model_.plan(),
                            [this](std::size_t i) { return model_.planned()[i].address(); })},
        view_{static_cast<std::byte*>(cache_.storage().address()), cache_.layout(),
              plan_.settings.cache_type, plan_.shape},
        threads_{static_cast<std::size_t>(plan_.settings.threads)},
        sequences_(static_cast<std::size_t>(plan_.settings.sequences)),
        logit_rows_(sequences_.size()),
        table_blocks_{static_cast<std::size_t>(view_.layout.blocks_for(plan_.settings.context))},
        tables_(sequences_.size() * table_blocks_) {
    batch_.reserve(static_cast<std::size_t>(plan_.rows));
    const Shape& shape = plan_.shape;
    for (std::uint64_t i = 0; i < shape.rope_dimensions / 2; ++i) {
      const double exponent =
          -2 * static_cast<double>(i) / static_cast<double>(shape.rope_dimensions);
      const double factor =
          weights_.rope_factors == nullptr ? 1 : static_cast<double>(weights_.rope_factors[i]);
      frequencies_.push_back(
          static_cast<float>(std::pow(shape.rope_base, exponent) / factor / shape.rope_factor));
    }
  }
  virtual ~Engine() = default;

  /// Opens a sequence with those of its first tokens that were computed before, for itself or for
  /// others. Returns how many they are: the rest is for `step`.
  std::uint64_t open(std::size_t sequence, std::span<const Token> tokens) {
    auto started = cache_.start_shared(tokens);
    keep(sequence, std::move(started.sequence));
    return started.cached;
  }
  /// Opens a sequence with the tokens, and the logits, of another. They share its blocks.
  void fork(std::size_t from, std::size_t to) {
    keep(to, sequences_.at(from).value().fork());
    logit_rows_[to] = logit_rows_[from];
  }
  /// Ends a sequence. Its full blocks stay until room is needed.
  void close(std::size_t sequence) { sequences_.at(sequence).reset(); }

  /// Computes a batch of at most `plan().rows` tokens of open sequences, each sequence's one after
  /// another. Throws: `OutOfBlocks`; every sequence is then as it was. `std::invalid_argument` for a
  /// token that the model does not have, for too many, and for more than the context.
  void step(std::span<const Input> inputs) {
    append(inputs);
    device_.synchronize(cache_.stream());  // blocks are copied on it
    auto scope = workspace_.scope();
    const auto memory = scope.allocate(plan_.settings.threads * plan_.scratch_floats * 4);
    const Rows scratch{static_cast<float*>(memory.address()), plan_.scratch_floats};

    const Matrix& embedding = weights_.embedding.front();
    for (std::size_t row = 0; row < inputs.size(); ++row) {
      const float* const from = floats_at(embedding.rows + inputs[row].token * embedding.row_bytes,
                                          embedding.type, embedding.columns, scratch[0]);
      std::copy_n(from, embedding.columns, rows_of(residual)[row]);
    }
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      attention(allot::KvLayer{i}, weights_.layers[i], scratch);
      feed_forward(weights_.layers[i], scratch);
    }
    find_logits(scratch);
    for (const Row& row : batch_) {
      if (row.is_last) sequences_[row.sequence]->publish();
    }
  }

  /// Returns the logits of a sequence's last token; valid until the next step.
  [[nodiscard]] std::span<const float> logits(std::size_t sequence) const {
    return {rows_of(Buffer::logits)[logit_rows_.at(sequence)],
            static_cast<std::size_t>(plan_.shape.vocabulary)};
  }

  [[nodiscard]] const RunPlan& plan() const noexcept { return plan_; }
  [[nodiscard]] allot::KvCacheStats cache_stats() const { return cache_.stats(); }

  /// Returns what each arena was planned with, has and has used.
  [[nodiscard]] std::vector<MemoryLine> memory() const {
    std::vector<MemoryLine> lines = memory_of(plan_.memory);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      lines[i].reserved = model_.arenas()[i].capacity();
      lines[i].used = model_.arenas()[i].usage().used;
      if (lines[i].name == "cache")
        lines[i].used = cache_.stats().peak_used * view_.layout.block_bytes();
      if (lines[i].name == "scratch") lines[i].used = workspace_.high_water();
    }
    return lines;
  }

 protected:
  using Cache = allot::KvCache<DeviceType>;
  /// Writes a sequence's block table, as the kernels read it. Virtual for a test that makes it wrong.
  virtual void export_table(const typename Cache::Sequence& sequence,
                            std::span<std::uint32_t> table) const {
    sequence.block_table(table);
  }

 private:
  struct Row {
    std::size_t sequence;
    Place at;
    bool is_last;  // of its sequence in this batch
  };

  /// Makes room for the tokens, all or none.
  void append(std::span<const Input> inputs) {
    batch_.clear();
    try {
      for (const auto& [number, token] : inputs) {
        auto& sequence = sequences_.at(number).value();
        const std::uint64_t position = sequence.tokens();
        check(token, position);
        sequence.append(token);
        if (!batch_.empty() && batch_.back().sequence == number) batch_.back().is_last = false;
        batch_.push_back({number, {tables_.data() + number * table_blocks_, position}, true});
      }
    } catch (...) {
      for (auto row = batch_.rbegin(); row != batch_.rend(); ++row)
        sequences_[row->sequence]->truncate(row->at.position);
      throw;
    }
    for (const Row& row : batch_) {
      if (row.is_last)
        export_table(*sequences_[row.sequence],
                     std::span{tables_}.subspan(row.sequence * table_blocks_, table_blocks_));
    }
  }

  void check(Token token, std::uint64_t position) const {
    if (token >= plan_.shape.vocabulary)
      throw std::invalid_argument{"there is no token " + std::to_string(token) +
                                  "; the model has " + std::to_string(plan_.shape.vocabulary) +
                                  ", numbered from 0"};
    if (position == plan_.settings.context || batch_.size() == plan_.rows)
      throw std::invalid_argument{"there is no room for a token after " + std::to_string(position) +
                                  " of its sequence and " + std::to_string(batch_.size()) +
                                  " of its batch; plan a longer context or a larger batch"};
  }

  /// Adds to the residual what a layer's attention finds.
  void attention(allot::KvLayer number, const Layer& layer, Rows scratch) {
    const Shape& shape = plan_.shape;
    const std::size_t count = batch_.size();
    const Rows heads = rows_of(qkv);
    norm(rows_of(normed), layer.attention_norm);
    multiply(threads_, layer.qkv, rows_of(normed), heads, count, scratch);
    for (std::size_t row = 0; row < count; ++row) turn_and_store(number, layer, row);
    const Rows found = rows_of(attended);
    threads_.run(count * shape.heads, [&](std::size_t begin, std::size_t end, std::size_t thread) {
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t row = i / shape.heads;
        const std::size_t head = i % shape.heads;
        attend(view_, number, batch_[row].at, head / (shape.heads / shape.kv_heads),
               heads[row] + head * shape.key_length, found[row] + head * shape.value_length,
               scratch[thread]);
      }
    });
    multiply(threads_, layer.attention_output, found, rows_of(projected), count, scratch);
    add_to_residual(rows_of(projected));
  }

  /// Turns queries and keys by their position, and stores keys and values.
  void turn_and_store(allot::KvLayer number, const Layer& layer, std::size_t row) {
    const Shape& shape = plan_.shape;
    float* const queries = rows_of(qkv)[row];
    for (std::uint64_t head = 0; head < shape.heads + shape.kv_heads; ++head) {
      float* const values = queries + head * shape.key_length;
      const float* const weight = head < shape.heads ? layer.query_norm : layer.key_norm;
      if (weight != nullptr) rms_norm(values, values, weight, shape.epsilon, shape.key_length);
      rope(values, batch_[row].at.position, frequencies_.data(), frequencies_.size(),
           shape.rope_halves);
    }
    const float* const keys = queries + shape.queries();
    store(view_, number, batch_[row].at, keys, keys + shape.keys());
  }

  /// Adds to the residual what a layer's feed-forward network makes of it.
  void feed_forward(const Layer& layer, Rows scratch) {
    const std::size_t count = batch_.size();
    const Rows gates = rows_of(gate_up);
    norm(rows_of(normed_again), layer.feed_forward_norm);
    multiply(threads_, layer.gate_up, rows_of(normed_again), gates, count, scratch);
    for (std::size_t row = 0; row < count; ++row)
      gate(gates[row], gates[row] + plan_.shape.hidden, plan_.shape.hidden);
    multiply(threads_, layer.down, gates, rows_of(down), count, scratch);
    add_to_residual(rows_of(down));
  }

  void find_logits(Rows scratch) {
    const Rows last = rows_of(output_normed);
    std::size_t count = 0;
    for (std::size_t row = 0; row < batch_.size(); ++row) {
      if (!batch_[row].is_last) continue;
      rms_norm(last[count], rows_of(residual)[row], weights_.output_norm, plan_.shape.epsilon,
               plan_.shape.width);
      logit_rows_[batch_[row].sequence] = count++;
    }
    multiply(threads_, weights_.output, last, rows_of(Buffer::logits), count, scratch);
  }

  void norm(Rows to, const float* weight) const {
    for (std::size_t row = 0; row < batch_.size(); ++row)
      rms_norm(to[row], rows_of(residual)[row], weight, plan_.shape.epsilon, plan_.shape.width);
  }
  void add_to_residual(Rows from) const {
    for (std::size_t row = 0; row < batch_.size(); ++row)
      add(rows_of(residual)[row], from[row], plan_.shape.width);
  }
  [[nodiscard]] Rows rows_of(Buffer buffer) const {
    const auto [offset, width] = plan_.buffers[buffer];
    return {reinterpret_cast<float*>(activations_ + offset), width};
  }

  void keep(std::size_t number, typename Cache::Sequence sequence) {
    sequence.reserve(plan_.settings.context);
    sequences_.at(number).emplace(std::move(sequence));
  }

  RunPlan plan_;
  DeviceType device_;
  allot::load::ModelOn<DeviceType> model_;
  Cache cache_;
  allot::Workspace<DeviceType> workspace_;
  std::byte* activations_ = static_cast<std::byte*>(model_["activations"].address());
  Weights weights_;
  CacheView view_;
  Threads threads_;
  std::vector<float> frequencies_;
  // By sequence, and a batch's rows: as long from the start as they ever are.
  std::vector<std::optional<typename Cache::Sequence>> sequences_;
  std::vector<std::size_t> logit_rows_;
  std::size_t table_blocks_;
  std::vector<std::uint32_t> tables_;
  std::vector<Row> batch_;
};

extern template class Engine<allot::HostDevice>;  // compiled once: engine.cpp
extern template class Engine<allot::StagedHostDevice>;

}  // namespace llama
