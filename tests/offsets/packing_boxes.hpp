// SPDX-License-Identifier: MIT
/// \file
/// Lifetimes whose best plan is known: a rectangle of steps and bytes cut into boxes without waste.
#pragma once

#include <allot/offsets/lifetime.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace allot::test {

inline constexpr std::uint64_t packing_bytes = std::uint64_t{1} << 20;

/// At least `boxes` of them, by straight cuts and by pinwheels of five, which no straight cuts make.
[[nodiscard]] inline std::vector<Lifetime> packing_boxes(std::size_t boxes, std::uint64_t seed) {
  struct Piece {
    std::uint64_t begin, end, low, high;
    [[nodiscard]] std::uint64_t width() const { return end - begin; }
    [[nodiscard]] std::uint64_t height() const { return high - low; }
  };
  std::mt19937_64 random{seed};
  const auto between = [&](std::uint64_t low, std::uint64_t high) {
    return low + random() % (high - low + 1);
  };
  std::vector<Piece> pieces{{0, std::max<std::uint64_t>(16, boxes), 0, packing_bytes}};
  while (pieces.size() < boxes) {
    // The largest of four, so that areas differ, but not without bound.
    std::size_t chosen = random() % pieces.size();
    for (int i = 0; i < 3; ++i) {
      const std::size_t other = random() % pieces.size();
      if (pieces[other].width() * pieces[other].height() >
          pieces[chosen].width() * pieces[chosen].height())
        chosen = other;
    }
    const Piece piece = pieces[chosen];
    pieces[chosen] = pieces.back();
    pieces.pop_back();
    if (piece.width() >= 3 && piece.height() >= 3 && random() % 10 < 3) {
      const std::uint64_t a = between(piece.begin + 1, piece.end - 2);
      const std::uint64_t b = between(a + 1, piece.end - 1);
      const std::uint64_t c = between(piece.low + 1, piece.high - 2);
      const std::uint64_t d = between(c + 1, piece.high - 1);
      pieces.push_back({piece.begin, b, piece.low, c});
      pieces.push_back({b, piece.end, piece.low, d});
      pieces.push_back({a, piece.end, d, piece.high});
      pieces.push_back({piece.begin, a, c, piece.high});
      pieces.push_back({a, b, c, d});
    } else if (piece.width() >= 2 && (piece.height() < 2 || random() % 2 == 0)) {
      const std::uint64_t cut = between(piece.begin + 1, piece.end - 1);
      pieces.push_back({piece.begin, cut, piece.low, piece.high});
      pieces.push_back({cut, piece.end, piece.low, piece.high});
    } else if (piece.height() >= 2) {
      const std::uint64_t cut = between(piece.low + 1, piece.high - 1);
      pieces.push_back({piece.begin, piece.end, piece.low, cut});
      pieces.push_back({piece.begin, piece.end, cut, piece.high});
    } else {
      pieces.push_back(piece);
    }
  }
  std::shuffle(pieces.begin(), pieces.end(), random);
  std::vector<Lifetime> lifetimes;
  for (const Piece& piece : pieces)
    lifetimes.push_back({piece.height(), piece.begin, piece.end - 1, 1});
  return lifetimes;
}

}  // namespace allot::test
