// SPDX-License-Identifier: MIT
/// \file
/// The codebooks of the IQ types, expanded: groups of values, one after another, and the signs of
/// groups.
///
/// | header | types |
/// |---|---|
/// | codebooks/iq1.hpp | IQ1_S, IQ1_M |
/// | codebooks/iq2.hpp | IQ2_XXS, IQ2_XS, IQ2_S |
/// | codebooks/iq3.hpp | IQ3_XXS, IQ3_S |
#pragma once

#include <allot/gguf/detail/codebooks/iq1.hpp>
#include <allot/gguf/detail/codebooks/iq2.hpp>
#include <allot/gguf/detail/codebooks/iq3.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace allot::gguf::detail {

/// The codebooks as tables of values, and the masks that negate groups of values. Computed on first
/// use, in tens of microseconds: as constants they would add half a second to every compilation.
struct Codebooks {
  std::array<std::int8_t, 8 * iq2_xxs_codes.size()> iq2_xxs;
  std::array<std::int8_t, 8 * iq2_xs_codes.size()> iq2_xs;
  std::array<std::int8_t, 8 * iq2_s_codes.size()> iq2_s;
  std::array<std::int8_t, 4 * iq3_xxs_codes.size()> iq3_xxs;
  std::array<std::int8_t, 4 * iq3_s_codes.size()> iq3_s;
  std::array<std::int8_t, 8 * iq1_s_codes.size()> iq1_s;
  /// Eight bytes for each byte of signs: -1 for a set bit, else 0.
  std::array<std::int8_t, 8 * 256> negated;
  /// The same for seven signs, and an eighth that makes the number of set bits even.
  std::array<std::int8_t, 8 * 128> negated_evenly;

  Codebooks() noexcept {
    expand(iq2_xxs, iq2_xxs_codes, iq2_levels);
    expand(iq2_xs, iq2_xs_codes, iq2_levels);
    expand(iq2_s, iq2_s_codes, iq2_levels);
    expand(iq3_xxs, iq3_xxs_codes, iq3_xxs_levels);
    expand(iq3_s, iq3_s_codes, iq3_s_levels);
    expand(iq1_s, iq1_s_codes, iq1_levels);
    for (unsigned i = 0; i < negated.size(); ++i)
      negated[i] = static_cast<std::int8_t>(-static_cast<int>((i / 8 >> i % 8) & 1U));
    for (unsigned signs = 0; signs < 128; ++signs) {
      const unsigned odd = static_cast<unsigned>(std::popcount(signs)) & 1U;
      for (unsigned i = 0; i < 8; ++i)
        negated_evenly[8 * signs + i] = negated[8 * (signs | odd << 7) + i];
    }
  }

 private:
  template <std::size_t Values, std::size_t Codes, std::size_t Levels>
  static void expand(std::array<std::int8_t, Values>& values,
                     const std::array<std::uint16_t, Codes>& codes,
                     const std::array<std::int8_t, Levels>& levels) noexcept {
    constexpr std::size_t group = Values / Codes;
    constexpr unsigned bits = group == 8 ? 2 : 3;
    for (std::size_t i = 0; i < Values; ++i)
      values[i] = levels[(codes[i / group] >> (bits * (i % group))) & ((1U << bits) - 1)];
  }
};

/// Any thread may call it.
[[nodiscard]] inline const Codebooks& codebooks() noexcept {
  static const Codebooks tables;
  return tables;
}

}  // namespace allot::gguf::detail
