// SPDX-License-Identifier: MIT
/// \file
/// `Engine`: a model, and what it computes with: four allocations of a device, made by its
/// constructor. Compiled for `HostDevice` and `StagedHostDevice` (`engine.cpp`).
///
/// Where the device's memory is not the host's, the engine stands for the device's kernels: once the
/// stream is idle, it works on the addresses that kernels get.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/model_on.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/workspace/workspace.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/synchronization.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
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
  Engine(const allot::gguf::File& file, RunPlan plan, DeviceType device = DeviceType{});
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  /// Opens a sequence with those of its first tokens that were computed before, for itself or for
  /// others. Returns how many they are: the rest is for `step`.
  std::uint64_t open(std::size_t sequence, std::span<const Token> tokens);
  /// Opens a sequence with the tokens, and the logits, of another. They share its blocks.
  void fork(std::size_t from, std::size_t to);
  /// Ends a sequence. Its full blocks stay until room is needed.
  void close(std::size_t sequence) { sequences_.at(sequence).reset(); }

  /// Computes a batch of at most `plan().rows()` tokens, in the order given, of any open sequences.
  /// Throws: `OutOfBlocks`; every sequence is then as it was. `std::invalid_argument` for a token that
  /// the model does not have, for too many, and for more than the context.
  void step(std::span<const Input> inputs);
  /// Returns the logits of a sequence's last token; valid until the next step.
  [[nodiscard]] std::span<const float> logits(std::size_t sequence) const;

  [[nodiscard]] const RunPlan& plan() const noexcept { return plan_; }
  [[nodiscard]] MemoryReport memory() const;
  [[nodiscard]] allot::KvCacheStats cache_stats() const { return cache_.stats(); }

 protected:
  using Cache = allot::KvCache<DeviceType>;
  /// Writes a sequence's block table, as the kernels read it. Virtual for a test that makes it wrong.
  virtual void export_table(const typename Cache::Sequence& sequence,
                            std::span<std::uint32_t> table) const {
    sequence.block_table(table);
  }

 private:
  using Activations = allot::Arena<allot::Linear, allot::AlignTo<256>, allot::Unsynchronized,
                                   typename DeviceType::memory_type>;
  struct Row {
    Place at;
    std::size_t sequence;
    bool is_last;  // of its sequence in this batch
  };

  void check(std::span<const Input> inputs) const;
  void append(std::span<const Input> inputs);
  [[nodiscard]] Rows rows_of(Buffer buffer) const noexcept;
  void run_layer(allot::KvLayer number, const Layer& layer, Scratch scratch);
  void turn_and_store(allot::KvLayer number, const Layer& layer);
  void find_logits(Scratch scratch);

  RunPlan plan_;
  DeviceType device_;
  allot::load::ModelOn<DeviceType> model_;
  Cache cache_;
  Activations activations_;
  std::byte* activations_begin_;
  allot::Workspace<DeviceType> workspace_;
  Weights weights_;
  CacheView view_;
  Threads threads_;
  std::vector<float> frequencies_;
  // By sequence, and a batch's rows: as long from the start as they ever are.
  std::vector<std::optional<typename Cache::Sequence>> sequences_;
  std::vector<std::size_t> logit_rows_;
  std::vector<std::uint32_t> tables_;
  std::vector<Row> batch_;
};

}  // namespace llama
