// SPDX-License-Identifier: MIT
/// \file
/// Shell patterns for systems without `fnmatch`: the same but for named classes (`[[:digit:]]`), which
/// are sets of their letters here.
#pragma once

namespace allot::os::detail {

/// A set of letters in a pattern, as in `[a-z_]` or `[!0-9]`.
struct LetterSet {
  bool holds = false;         ///< the letter asked for
  const char* end = nullptr;  ///< what follows the set; null if the bracket is never closed
};

/// \param at  behind the opening bracket
[[nodiscard]] constexpr LetterSet letter_set(const char* at, char asked) noexcept {
  const auto letter = [&at] {
    if (*at == '\\' && at[1] != '\0') ++at;
    return static_cast<unsigned char>(*at == '\0' ? *at : *at++);
  };
  const auto wanted = static_cast<unsigned char>(asked);
  const bool is_negated = *at == '!' || *at == '^';
  if (is_negated) ++at;
  bool holds = false;
  for (bool is_first = true; is_first || *at != ']'; is_first = false) {
    if (*at == '\0') return {};
    const unsigned char low = letter();
    unsigned char high = low;
    if (*at == '-' && at[1] != ']' && at[1] != '\0') {
      ++at;
      high = letter();
    }
    holds = holds || (low <= wanted && wanted <= high);
  }
  return {holds != is_negated, at + 1};
}

/// Returns what follows the pattern's first element if that matches a letter; null if it does not.
[[nodiscard]] constexpr const char* behind_match(const char* pattern, char letter) noexcept {
  if (*pattern == '?') return pattern + 1;
  if (*pattern == '[') {
    if (const LetterSet set = letter_set(pattern + 1, letter); set.end != nullptr)
      return set.holds ? set.end : nullptr;
  }
  if (*pattern == '\\' && pattern[1] != '\0') ++pattern;
  return *pattern == letter ? pattern + 1 : nullptr;
}

/// Complexity: the product of both lengths at most.
[[nodiscard]] constexpr bool matches_shell_pattern(const char* pattern, const char* name) noexcept {
  const char* behind_star = nullptr;
  const char* taken = nullptr;  // what follows the letters that the last star stands for
  while (*name != '\0') {
    if (*pattern == '*') {
      behind_star = ++pattern;
      taken = name;
    } else if (const char* const next = behind_match(pattern, *name)) {
      pattern = next;
      ++name;
    } else if (behind_star != nullptr) {
      pattern = behind_star;
      name = ++taken;
    } else {
      return false;
    }
  }
  while (*pattern == '*') ++pattern;
  return *pattern == '\0';
}

}  // namespace allot::os::detail
