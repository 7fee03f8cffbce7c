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

#include <bit>
#include <cstddef>
#include <cstdint>

namespace allot::gguf::detail {

/// The codebooks as tables of values, and the masks that negate groups of values. Computed on first
/// use, in tens of microseconds: as constants they would add half a second to every compilation.
struct Codebooks {
  std::int8_t iq2_xxs[8 * 256];
  std::int8_t iq2_xs[8 * 512];
  std::int8_t iq2_s[8 * 1024];
  std::int8_t iq3_xxs[4 * 256];
  std::int8_t iq3_s[4 * 512];
  std::int8_t iq1_s[8 * 2048];
  /// Eight bytes for each byte of signs: -1 for a set bit, else 0.
  std::int8_t negated[8 * 256];
  /// The same for seven signs, and an eighth that makes the number of set bits even.
  std::int8_t negated_evenly[8 * 128];

  Codebooks() noexcept {
    expand<8>(iq2_xxs, iq2_xxs_codes, iq2_levels);
    expand<8>(iq2_xs, iq2_xs_codes, iq2_levels);
    expand<8>(iq2_s, iq2_s_codes, iq2_levels);
    expand<4>(iq3_xxs, iq3_xxs_codes, iq3_xxs_levels);
    expand<4>(iq3_s, iq3_s_codes, iq3_s_levels);
    expand<8>(iq1_s, iq1_s_codes, iq1_levels);
    for (unsigned i = 0; i < 8 * 256; ++i)
      negated[i] = static_cast<std::int8_t>(-static_cast<int>((i / 8 >> i % 8) & 1U));
    for (unsigned signs = 0; signs < 128; ++signs) {
      const unsigned odd = static_cast<unsigned>(std::popcount(signs)) & 1U;
      for (unsigned i = 0; i < 8; ++i)
        negated_evenly[8 * signs + i] = negated[8 * (signs | odd << 7) + i];
    }
  }

 private:
  template <unsigned Group, std::size_t Values, std::size_t Levels>
  static void expand(std::int8_t (&values)[Values], const char16_t (&codes)[Values / Group + 1],
                     const std::int8_t (&levels)[Levels]) noexcept {
    constexpr unsigned bits = Group == 8 ? 2 : 3;
    for (std::size_t i = 0; i < Values; ++i)
      values[i] = levels[(codes[i / Group] >> (bits * (i % Group))) & ((1U << bits) - 1)];
  }
};

/// Any thread may call it.
[[nodiscard]] inline const Codebooks& codebooks() noexcept {
  static const Codebooks tables;
  return tables;
}

}  // namespace allot::gguf::detail
