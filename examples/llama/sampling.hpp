// SPDX-License-Identifier: MIT
/// \file
/// `Sampler`: the next token, from the logits. The most likely one, unless there is a temperature.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tokenizer.hpp"

namespace llama {

class Sampler {
 public:
  Sampler(double temperature, std::uint64_t seed) noexcept
      : temperature_{temperature}, state_{seed} {}

  /// Returns the token of the highest logit; of equal ones, the first. With a temperature, each logit
  /// is divided by it and gets noise after Gumbel, which makes the highest one a sample of the softmax.
  [[nodiscard]] Token operator()(std::span<const float> logits) noexcept {
    std::size_t best = 0;
    double highest = -INFINITY;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double value = static_cast<double>(logits[i]) / (temperature_ > 0 ? temperature_ : 1) +
                           (temperature_ > 0 ? -std::log(-std::log(uniform())) : 0);
      if (value > highest) {
        best = i;
        highest = value;
      }
    }
    return static_cast<Token>(best);
  }

 private:
  /// Above 0 and below 1. SplitMix64 (Steele, Lea and Flood, 2014): the same numbers everywhere.
  [[nodiscard]] double uniform() noexcept {
    std::uint64_t mixed = state_ += 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
    return (static_cast<double>((mixed ^ (mixed >> 31)) >> 12) + 0.5) * 0x1p-52;
  }

  double temperature_;
  std::uint64_t state_;
};

}  // namespace llama
