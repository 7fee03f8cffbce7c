// SPDX-License-Identifier: MIT
/// \file
/// `Engine`: a model, and all that it computes with: four allocations of a device, made by its
/// constructor.
///
/// Where the device's memory is not the host's, the engine stands for the device's kernels: once the
/// stream is idle, it works on the addresses that kernels get.
#pragma once

#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/load/load.hpp>
#include <allot/load/memory_use.hpp>
#include <allot/pool/kv/append_all.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/workspace/workspace.hpp>

#include "attention.hpp"
#include "plan.hpp"
#include "tokenizer.hpp"

namespace llama {

template <Device DeviceType>
class Engine {
  using Cache = KvCache<DeviceType>;

 public:
  /// The tokens that were computed of one text.
  struct Sequence {
    typename Cache::Sequence cache;
    std::size_t logits = 0;              ///< the row of its last token's
    std::vector<std::uint32_t> table{};  ///< of blocks, as kernels read it
  };
  /// Tokens to compute, at least one, at the end of a sequence.
  struct Input {
    Sequence* sequence;
    std::span<const Token> tokens;
  };

  /// Loads the weights, and takes all other memory. Throws: what the loader, the cache and the device
  /// throw; nothing stays reserved.
  Engine(const gguf::File& file, RunPlan plan, DeviceType device = DeviceType{})
      : plan_{std::move(plan)},
        device_{std::move(device)},
        model_{load::load(file, plan_.memory, device_)},
        cache_{device_, plan_.cache, model_["cache"].slice()},
        workspace_{device_, model_["scratch"].slice(), {}, cache_.shared_stream()},
        weights_{weights_of(shape_, load::Binder{model_})},
        threads_{static_cast<std::size_t>(plan_.settings.threads)} {
    batch_.reserve(static_cast<std::size_t>(plan_.rows));
  }
  virtual ~Engine() = default;

  /// Starts a sequence with those of its first tokens that were computed before, for itself or for
  /// others: `tokens()` of its cache. The rest is for `step`. Its full blocks stay when it ends, until
  /// room is needed.
  [[nodiscard]] Sequence start(std::span<const Token> tokens) {
    return with_room({cache_.start_shared(tokens).sequence});
  }
  /// Starts a sequence with the tokens, and the logits, of another. They share its blocks.
  [[nodiscard]] Sequence fork(Sequence& from) {
    return with_room({from.cache.fork(), from.logits});
  }

  /// Computes a batch of at most `plan().rows` tokens, of each sequence one input. Throws:
  /// `OutOfBlocks`, what the device throws; `std::invalid_argument` for no tokens, for one that the model
  /// does not have, for too many, and for more than the context. Every sequence then has the tokens that
  /// it had.
  void step(std::span<const Input> inputs) {
    append(inputs);
    try {
      compute(inputs);
      for (const Input& input : inputs) input.sequence->cache.publish();
    } catch (...) {
      for (const auto& [sequence, tokens] : inputs)
        sequence->cache.truncate(sequence->cache.tokens() - tokens.size(), true);
      throw;
    }
  }

  /// Returns the logits of a sequence's last token; valid until the next step.
  [[nodiscard]] std::span<const float> logits(const Sequence& of) const {
    return {rows_of(Buffer::logits)[of.logits], shape_.vocabulary};
  }

  [[nodiscard]] const RunPlan& plan() const noexcept { return plan_; }
  [[nodiscard]] KvCacheStats cache_stats() const { return cache_.stats(); }

  /// Returns what each arena was planned with, has and has used.
  [[nodiscard]] std::vector<load::MemoryUse> memory() const {
    auto arenas = load::memory_use(plan_.memory, model_);
    for (load::MemoryUse& arena : arenas) {
      if (arena.name == "cache")
        arena.used = cache_.stats().peak_used * cache_.layout().block_bytes();
      if (arena.name == "scratch") arena.used = workspace_.high_water();
    }
    return arenas;
  }

 protected:
  /// Writes a sequence's block table, as the kernels read it. Virtual for a test that makes it wrong.
  virtual void export_table(Sequence& sequence) const {
    sequence.cache.block_table(sequence.table);
  }

 private:
  struct Row {
    const Sequence* sequence;
    Token token;
    std::uint64_t position;
  };

  /// A sequence's table and the cache's list of its blocks are as long from the start as they ever are.
  [[nodiscard]] Sequence with_room(Sequence sequence) const {
    sequence.cache.reserve(plan_.settings.context);
    sequence.table.resize(cache_.layout().blocks_for(plan_.settings.context));
    return sequence;
  }

  /// Makes room for the tokens, all or none.
  void append(std::span<const Input> inputs) {
    batch_.clear();
    for (const auto& [sequence, tokens] : inputs) {
      std::uint64_t position = sequence->cache.tokens();
      if (tokens.empty())
        throw std::invalid_argument{"a sequence of the batch has no tokens; give at least one"};
      if (tokens.size() > plan_.settings.context - position ||
          tokens.size() > plan_.rows - batch_.size() || inputs.size() > plan_.settings.sequences)
        throw std::invalid_argument{
            "there is no room for " + std::to_string(tokens.size()) + " tokens after " +
            std::to_string(position) + " of their sequence and " + std::to_string(batch_.size()) +
            " of their batch; plan for a longer context, a larger batch or more sequences"};
      for (const Token token : tokens) {
        if (token >= shape_.vocabulary)
          throw std::invalid_argument{"there is no token " + std::to_string(token) +
                                      "; the model has " + std::to_string(shape_.vocabulary)};
        batch_.push_back({sequence, token, position++});
      }
    }
    append_all(
        inputs, [](const Input& input) -> auto& { return input.sequence->cache; });
  }

  /// Computes the batch, which its sequences have.
  void compute(std::span<const Input> inputs) {
    for (const Input& input : inputs) export_table(*input.sequence);
    device_.synchronize(cache_.stream());  // blocks are copied on it
    auto scope = workspace_.scope();
    const auto memory = scope.allocate(plan_.settings.threads * plan_.scratch_floats * 4);
    scratch_ = {static_cast<float*>(memory.address()), plan_.scratch_floats};
    const load::Matrix& embedding = weights_.embedding.front();
    for (std::size_t row = 0; row < batch_.size(); ++row) {
      const std::byte* const from = embedding.address + batch_[row].token * embedding.row_bytes;
      std::copy_n(gguf::floats_of(embedding.type, from, {scratch_[0], shape_.width}), shape_.width,
                  rows_of(residual)[row]);
    }
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      attention(KvLayer{i}, weights_.layers[i]);
      feed_forward(weights_.layers[i]);
    }
    find_logits(inputs);
  }

  /// Adds to the residual what a layer's attention finds.
  void attention(KvLayer number, const Layer& layer) {
    multiply_normed(layer.attention_norm, normed, layer.qkv, qkv);
    for (std::size_t row = 0; row < batch_.size(); ++row) turn_and_store(number, layer, row);
    threads_.run(batch_.size() * shape_.heads, [&](std::size_t i, std::size_t thread) {
      const std::size_t row = i / shape_.heads;
      attend(view_of(row), number, plan_.settings.cache_type, shape_, batch_[row].position + 1,
             i % shape_.heads, rows_of(qkv)[row], rows_of(attended)[row], scratch_[thread]);
    });
    multiply_and_add(layer.attention_output, attended, mixed);
  }

  /// Turns queries and keys by their position, and stores keys and values.
  void turn_and_store(KvLayer number, const Layer& layer, std::size_t row) {
    const std::uint64_t position = batch_[row].position;
    const Rows queries{rows_of(qkv)[row], shape_.key_length};
    const Rows keys{queries[shape_.heads], shape_.key_length};
    if (layer.query_norm != nullptr) {
      rms_norm(queries, queries, shape_.heads, shape_.key_length, layer.query_norm, shape_.epsilon);
      rms_norm(keys, keys, shape_.kv_heads, shape_.key_length, layer.key_norm, shape_.epsilon);
    }
    for (std::uint64_t i = 0; i < shape_.heads + shape_.kv_heads; ++i)
      rope(queries[i], position, weights_.angles, shape_.architecture != "llama");
    const KvView cache = view_of(row);
    const gguf::TensorType type = plan_.settings.cache_type;
    gguf::store_floats(type, {keys[0], shape_.keys()}, cache.key(number, position));
    gguf::store_floats(type, {keys[shape_.kv_heads], shape_.values()},
                       cache.value(number, position));
  }

  /// Adds to the residual what a layer's feed-forward network makes of it.
  void feed_forward(const Layer& layer) {
    multiply_normed(layer.feed_forward_norm, normed_2, layer.gate_up, gate_up);
    gate(rows_of(gate_up), batch_.size(), shape_.hidden);
    multiply_and_add(layer.down, gate_up, down);
  }

  /// Of each sequence's last token.
  void find_logits(std::span<const Input> inputs) {
    const std::size_t count = inputs.size();
    std::size_t end = 0;
    for (std::size_t i = 0; i < count; ++i) {
      end += inputs[i].tokens.size();
      std::copy_n(rows_of(residual)[end - 1], shape_.width, rows_of(outputs)[i]);
      inputs[i].sequence->logits = i;
    }
    rms_norm(rows_of(outputs), rows_of(outputs), count, shape_.width, weights_.output_norm,
             shape_.epsilon);
    multiply(threads_, weights_.output, rows_of(outputs), rows_of(Buffer::logits), count, scratch_);
  }

  void multiply_normed(const float* norm, Buffer in, const Matrices& by, Buffer out) {
    rms_norm(rows_of(in), rows_of(residual), batch_.size(), shape_.width, norm, shape_.epsilon);
    multiply(threads_, by, rows_of(in), rows_of(out), batch_.size(), scratch_);
  }
  void multiply_and_add(const Matrices& by, Buffer in, Buffer out) {
    multiply(threads_, by, rows_of(in), rows_of(out), batch_.size(), scratch_);
    add(rows_of(residual), rows_of(out), batch_.size(), shape_.width);
  }
  [[nodiscard]] Rows rows_of(Buffer buffer) const {
    const auto [offset, width] = plan_.buffers[buffer];
    return {reinterpret_cast<float*>(activations_ + offset), width};
  }
  [[nodiscard]] KvView view_of(std::size_t row) const {
    return {static_cast<std::byte*>(cache_.storage().address()), cache_.layout(),
            batch_[row].sequence->table.data()};
  }

  RunPlan plan_;
  const Shape& shape_ = plan_.shape;
  DeviceType device_;
  load::ModelOn<DeviceType> model_;
  Cache cache_;
  Workspace<DeviceType> workspace_;
  std::byte* activations_ = static_cast<std::byte*>(model_["activations"].address());
  Weights weights_;
  Threads threads_;
  Rows scratch_{};  // of a step, a row for each thread
  std::vector<Row> batch_;
};

extern template class Engine<HostDevice>;  // compiled once: engine.cpp
extern template class Engine<StagedHostDevice>;

}  // namespace llama
