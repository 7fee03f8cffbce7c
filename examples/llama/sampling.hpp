// SPDX-License-Identifier: MIT
/// \file
/// `Sampler`: the next token, from the logits. The most likely one, unless there is a temperature.
#pragma once

#include <cmath>
#include <random>
#include <span>

#include "tokenizer.hpp"

namespace llama {

class Sampler {
 public:
  Sampler(double temperature, std::uint64_t seed) : temperature_{temperature}, random_{seed} {}

  /// Returns the token of the highest logit; of equal ones, the first. With a temperature, each logit
  /// is divided by it and gets noise after Gumbel, which makes the highest one a sample of the softmax.
  [[nodiscard]] Token operator()(std::span<const float> logits) {
    std::size_t best = 0;
    double highest = -INFINITY;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      auto value = static_cast<double>(logits[i]);
      if (temperature_ > 0) value = value / temperature_ - std::log(-std::log(uniform()));
      if (value > highest) {
        best = i;
        highest = value;
      }
    }
    return static_cast<Token>(best);
  }

 private:
  /// Above 0 and below 1; the same numbers everywhere.
  [[nodiscard]] double uniform() { return (static_cast<double>(random_() >> 12) + 0.5) * 0x1p-52; }

  double temperature_;
  std::mt19937_64 random_;
};

}  // namespace llama
