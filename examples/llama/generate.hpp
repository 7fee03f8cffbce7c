// SPDX-License-Identifier: MIT
/// \file
/// `Generation`: a prompt's continuations, several at once. If the cache has no room for all, some give
/// up their blocks and go on when others have ended: from their tokens, and what is still cached.
#pragma once

#include <allot/pool/kv/errors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "sampling.hpp"
#include "tokenizer.hpp"

namespace llama {

struct Job {
  std::vector<Token> prompt;
  std::uint64_t tokens = 64;   ///< at most, of each sequence
  std::optional<Token> end{};  ///< a sequence ends before this token
  double temperature = 0;
  std::uint64_t seed = 0;  ///< of the first sequence; the next ones have the next seeds
};

template <class EngineType>
class Generation {
 public:
  Generation(EngineType& engine, Job job) : engine_{engine}, job_{std::move(job)} {
    if (job_.prompt.empty()) throw std::invalid_argument{"the prompt is empty; give some tokens"};
    for (std::uint64_t i = 0; i < engine.plan().settings.sequences; ++i) {
      runs_.push_back({job_.prompt, Sampler{job_.temperature, job_.seed + i}});
      runs_.back().tokens.reserve(static_cast<std::size_t>(job_.prompt.size() + job_.tokens));
    }
    inputs_.reserve(static_cast<std::size_t>(engine.plan().rows));
  }

  /// \param heard  called as `heard(sequence, token)` for each new token, and before the first as
  ///               `heard.prompt(logits)`
  void run(auto&& heard) {
    compute(0, job_.prompt);
    heard.prompt(engine_.logits(0));
    for (std::size_t i = 1; i < runs_.size(); ++i) engine_.fork(0, i);
    for (std::size_t i = 0; i < runs_.size(); ++i) accept(i, heard);
    while (step(heard) || resume()) {
    }
  }

  /// Returns a sequence's new tokens.
  [[nodiscard]] std::span<const Token> tokens(std::size_t sequence) const {
    return std::span{runs_.at(sequence).tokens}.subspan(job_.prompt.size());
  }
  /// Returns how many times a sequence gave up its blocks.
  [[nodiscard]] std::uint64_t suspended() const noexcept { return suspended_; }

 private:
  enum class State { active, waiting, done };
  struct Run {
    std::vector<Token> tokens;  // the prompt's, too
    Sampler sampler;
    State state = State::active;
  };

  /// Brings a sequence to the end of these tokens, in batches.
  void compute(std::size_t sequence, std::span<const Token> tokens) {
    tokens = tokens.subspan(static_cast<std::size_t>(engine_.open(sequence, tokens)));
    while (!tokens.empty()) {
      const auto batch = tokens.first(std::min<std::size_t>(tokens.size(), engine_.plan().rows));
      inputs_.clear();
      for (const Token token : batch) inputs_.push_back({sequence, token});
      engine_.step(inputs_);
      tokens = tokens.subspan(batch.size());
    }
  }

  /// Samples a sequence's next token; ends the sequence where it is the last.
  void accept(std::size_t sequence, auto& heard) {
    Run& run = runs_[sequence];
    const Token token = run.sampler(engine_.logits(sequence));
    const bool is_end = token == job_.end;
    if (!is_end) {
      run.tokens.push_back(token);
      heard(sequence, token);
    }
    if (is_end || tokens(sequence).size() == job_.tokens) leave(sequence, State::done);
  }

  /// Computes the last token of each active sequence. Returns false if there is none.
  bool step(auto& heard) {
    inputs_.clear();
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      if (runs_[i].state == State::active) inputs_.push_back({i, runs_[i].tokens.back()});
    }
    if (inputs_.empty()) return false;
    try {
      engine_.step(inputs_);
    } catch (const allot::OutOfBlocks&) {
      if (inputs_.size() == 1) throw;
      leave(inputs_.back().sequence, State::waiting);
      ++suspended_;
      return true;
    }
    for (const Input& input : inputs_) accept(input.sequence, heard);
    return true;
  }

  void leave(std::size_t sequence, State state) {
    engine_.close(sequence);
    runs_[sequence].state = state;
  }

  /// Lets the first waiting sequence go on. Returns false if there is none.
  bool resume() {
    const auto run = std::find_if(runs_.begin(), runs_.end(),
                                  [](const Run& one) { return one.state == State::waiting; });
    if (run == runs_.end()) return false;
    compute(static_cast<std::size_t>(run - runs_.begin()),
            std::span{run->tokens}.first(run->tokens.size() - 1));
    run->state = State::active;
    return true;
  }

  EngineType& engine_;
  Job job_;
  std::vector<Run> runs_;
  std::vector<Input> inputs_;
  std::uint64_t suspended_ = 0;
};

}  // namespace llama
