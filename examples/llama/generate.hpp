// SPDX-License-Identifier: MIT
/// \file
/// `Generation`: a prompt's continuations, several at once. If the cache has no room for all, some give
/// up their blocks and go on when others have ended: from their tokens, and what is still cached.
#pragma once

#include "engine.hpp"
#include "sampling.hpp"

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
  /// Computes the prompt: the first sequence has its last token's logits.
  Generation(EngineType& engine, Job job) : engine_{engine}, job_{std::move(job)} {
    if (job_.prompt.empty()) throw std::invalid_argument{"the prompt is empty; give some tokens"};
    for (std::uint64_t i = 0; i < engine.plan().settings.sequences; ++i) {
      runs_.push_back({job_.prompt, Sampler{job_.temperature, job_.seed + i}});
      runs_.back().tokens.reserve(static_cast<std::size_t>(job_.prompt.size() + job_.tokens));
    }
    batch_.reserve(runs_.size());
    compute(runs_.front(), job_.prompt);
  }

  /// \param heard  called as `heard(sequence, token)` for each new token
  void run(const auto& heard) {
    for (std::size_t i = 1; i < runs_.size(); ++i)
      runs_[i].sequence.emplace(engine_.fork(*runs_.front().sequence));
    for (std::size_t i = 0; i < runs_.size(); ++i) accept(i, heard);
    while (step(heard) || resume()) {
    }
  }

  /// Returns a sequence's new tokens.
  [[nodiscard]] std::span<const Token> tokens(std::size_t number) const {
    return std::span{runs_.at(number).tokens}.subspan(job_.prompt.size());
  }
  /// Returns the logits of a sequence that has not ended; valid until the next step.
  [[nodiscard]] std::span<const float> logits(std::size_t number) const {
    return engine_.logits(runs_.at(number).sequence.value());
  }
  /// Returns how many times a sequence gave up its blocks.
  [[nodiscard]] std::uint64_t suspended() const noexcept { return suspended_; }

 private:
  struct Run {
    std::vector<Token> tokens;  // the prompt's, too
    Sampler sampler;
    std::optional<typename EngineType::Sequence> sequence{};  // none: it has ended, or waits
    bool has_ended = false;
  };

  /// Starts a sequence and brings it to the end of these tokens, in batches.
  void compute(Run& run, std::span<const Token> tokens) {
    run.sequence.emplace(engine_.start(tokens));
    tokens = tokens.subspan(run.sequence->cache.tokens());
    while (!tokens.empty()) {
      const auto some = tokens.first(std::min<std::size_t>(tokens.size(), engine_.plan().rows));
      batch_.assign(1, {&*run.sequence, some});
      engine_.step(batch_);
      tokens = tokens.subspan(some.size());
    }
  }

  /// Samples a sequence's next token; ends the sequence where it is the last.
  void accept(std::size_t number, const auto& heard) {
    Run& run = runs_[number];
    const Token token = run.sampler(logits(number));
    run.has_ended = token == job_.end;
    if (!run.has_ended) {
      run.tokens.push_back(token);
      heard(number, token);
      run.has_ended = tokens(number).size() == job_.tokens;
    }
    if (run.has_ended) run.sequence.reset();
  }

  /// Computes the last token of each sequence that there is. Returns false if there is none.
  bool step(const auto& heard) {
    batch_.clear();
    Run* last = nullptr;
    for (Run& run : runs_) {
      if (!run.sequence) continue;
      batch_.push_back({&*run.sequence, std::span{run.tokens}.last(1)});
      last = &run;
    }
    if (last == nullptr) return false;
    try {
      engine_.step(batch_);
    } catch (const OutOfBlocks&) {
      if (batch_.size() == 1) throw;
      last->sequence.reset();  // it waits
      ++suspended_;
      return true;
    }
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      if (runs_[i].sequence) accept(i, heard);
    }
    return true;
  }

  /// Lets the first waiting sequence go on. Returns false if there is none.
  bool resume() {
    for (Run& run : runs_) {
      if (run.sequence || run.has_ended) continue;
      compute(run, std::span{run.tokens}.first(run.tokens.size() - 1));
      return true;
    }
    return false;
  }

  EngineType& engine_;
  Job job_;
  std::vector<Run> runs_;
  std::vector<typename EngineType::Input> batch_;
  std::uint64_t suspended_ = 0;
};

}  // namespace llama
