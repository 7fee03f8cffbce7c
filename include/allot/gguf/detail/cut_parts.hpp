// SPDX-License-Identifier: MIT
/// \file
/// Files that were cut by size, which are joined before they are read: `m.gguf.part1of2`,
/// `m.gguf-split-a`, `m.gguf.001` and their like. Shards (`m-00001-of-00003.gguf`) are whole files.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/os/file_error.hpp>
#include <allot/os/folder.hpp>
#include <allot/os/input_file.hpp>
#include <allot/os/path.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace allot::gguf::detail {

[[nodiscard]] constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
[[nodiscard]] constexpr bool is_letter(char c) noexcept {
  return lower(c) >= 'a' && lower(c) <= 'z';
}

/// `wanted` has small letters.
[[nodiscard]] constexpr bool ends_with(std::string_view text, std::string_view wanted) noexcept {
  if (text.size() < wanted.size()) return false;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (lower(text[text.size() - wanted.size() + i]) != wanted[i]) return false;
  }
  return true;
}

[[nodiscard]] constexpr std::string_view without(std::string_view text, std::size_t last) noexcept {
  return text.substr(0, text.size() - last);
}
[[nodiscard]] constexpr std::string_view without_separator(std::string_view text) noexcept {
  return ends_with(text, ".") || ends_with(text, "-") || ends_with(text, "_") ? without(text, 1)
                                                                              : text;
}
/// Returns the characters at the end of `text` that `is_one` accepts.
template <class IsOne>
[[nodiscard]] constexpr std::string_view run_at_end(std::string_view text, IsOne is_one) noexcept {
  std::size_t length = 0;
  while (length < text.size() && is_one(text[text.size() - 1 - length])) ++length;
  return text.substr(text.size() - length);
}

/// The name of a part, in pieces: `m.gguf.part` `1` `of2`.
struct PartName {
  std::string_view before;
  std::string_view index;  ///< digits, or letters as `split` numbers: `aa`, `ab`
  std::string_view after;
  std::string_view whole;   ///< what precedes the word or the separator: `m.gguf`
  std::uint64_t total = 0;  ///< 0: the name does not say
  bool is_joined = false;   ///< letters without a separator before them
  bool has_word = false;    ///< `part` or `split`: no other name of a model ends like this

  [[nodiscard]] bool is_number() const noexcept { return is_digit(index[0]); }
};

[[nodiscard]] constexpr std::uint64_t number_of(std::string_view digits) noexcept {
  std::uint64_t number = 0;
  for (const char digit : digits) number = number * 10 + static_cast<std::uint64_t>(digit - '0');
  return number;
}

/// Removes `part` or `split` from the end. Returns whether one was there, as a separate word.
[[nodiscard]] constexpr bool take_word(std::string_view& text) noexcept {
  for (const std::string_view word : {std::string_view{"part"}, std::string_view{"split"}}) {
    if (!ends_with(text, word)) continue;
    const std::string_view rest = without(text, word.size());
    if (!rest.empty() && is_letter(rest.back()) && !ends_with(rest, ".gguf")) return false;
    text = rest;
    return true;
  }
  return false;
}

/// Returns the pieces of a name with its index at its end; nothing if it has none.
template <class Owner>
[[nodiscard]] constexpr DeferredOptional<PartName, Owner> index_at_end(
    std::string_view name) noexcept {
  constexpr std::size_t most_digits = 9;
  PartName part;
  part.index = run_at_end(name, is_digit);
  const std::string_view before_number = without(name, part.index.size());
  if (const auto total = part.index;
      !total.empty() && ends_with(without_separator(before_number), "of")) {
    const std::string_view counted =
        without_separator(without(without_separator(before_number), 2));
    part.index = run_at_end(counted, is_digit);
    part.total = total.size() > most_digits ? 0 : number_of(total);
    if (part.index.empty()) return std::nullopt;
    part.before = without(counted, part.index.size());
  } else if (!part.index.empty()) {
    part.before = before_number;
  } else {
    part.index = run_at_end(name, is_letter);
    part.before = without(name, part.index.size());
    // Without a separator the letters run into what precedes them: `m.ggufaa`, `m.partaa`.
    for (const std::string_view word : {std::string_view{"gguf"}, std::string_view{"part"}}) {
      const std::size_t more = part.index.size() - word.size();
      if (part.index.size() <= word.size() || more > 3 || !ends_with(without(name, more), word))
        continue;
      part.is_joined = true;
      part.index = name.substr(name.size() - more);
      part.before = without(name, more);
    }
    if (part.index.empty() || part.index.size() > 3) return std::nullopt;
  }
  if (part.index.size() > most_digits) return std::nullopt;
  part.whole = without_separator(part.before);
  part.has_word = take_word(part.whole);
  if (part.has_word) part.whole = without_separator(part.whole);
  const bool is_extension = part.is_number() && part.before.ends_with('.') && part.index.size() > 1;
  if (!part.has_word && !ends_with(part.whole, ".gguf") && !is_extension) return std::nullopt;
  if (part.whole.empty()) return std::nullopt;
  return part;
}

template <class Owner = void>
[[nodiscard]] constexpr DeferredOptional<PartName, Owner> part_name(
    std::string_view name) noexcept {
  if (!ends_with(name, ".gguf")) return index_at_end<Owner>(name);
  // `m.part1.gguf`, `m.part1of2.gguf`: the word must be there.
  auto part = index_at_end<Owner>(without(name, 5));
  if (!part || !part->has_word) return std::nullopt;
  return part;
}

/// Returns the next index of as many letters: `ab` for `aa`. After the last one begins again.
template <class = void>
[[nodiscard]] std::string next_letters(std::string letters) {
  for (std::size_t i = letters.size(); i-- > 0;) {
    if (lower(letters[i]) != 'z') {
      ++letters[i];
      return letters;
    }
    letters[i] = static_cast<char>(letters[i] - ('z' - 'a'));
  }
  return letters;
}

/// The parts of a file, found beside one of them. A template: compiled only if a file is opened.
template <class Owner = void>
class CutParts {
 public:
  /// \param path  must exist as long as this object
  explicit CutParts(const std::string& path)
      : folder_{os::folder_of(path)}, part_{part_name<Owner>(os::file_name_of(path))} {
    if (!part_) return;
    const std::string_view name = os::file_name_of(path);
    after_ = name.substr(part_->before.size() + part_->index.size());
    os::for_each_name(folder_, [this](std::string_view other) { add(other); });
    for (std::size_t i = 1; i < indexes_.size(); ++i) {  // few: insertion keeps them sorted
      for (std::size_t k = i; k > 0 && is_before(indexes_[k], indexes_[k - 1]); --k)
        indexes_[k].swap(indexes_[k - 1]);
    }
  }

  /// Returns what to do about it; empty if the file is not such a part.
  [[nodiscard]] std::string advice() const {
    if (!part_ || indexes_.empty() || !is_sure()) return {};
    std::string text = "a part of a file that was cut by size; ";
    if (const std::string missing = missing_names(); !missing.empty())
      return text + "parts are missing beside it: " + missing;
    text += "join the parts: cat";
    for (const std::string& index : indexes_) text += " " + quoted(folder_ + name_of(index));
    std::string whole{part_->whole};
    if (!ends_with(whole, ".gguf")) whole += ".gguf";
    return text + " > " + quoted(folder_ + whole);
  }

 private:
  static constexpr std::size_t most = 1000;

  /// A name alone may mean something else: `m-part-one`, `m.gguf.old`. Others beside it, numbered from
  /// the start, do not.
  [[nodiscard]] bool is_sure() const noexcept {
    const bool is_first = part_->is_number() || lower(indexes_.front().front()) == 'a';
    if (!part_->has_word || part_->is_joined) return indexes_.size() > 1 && is_first;
    return part_->is_number() || part_->index.size() == 1 || is_first || indexes_.size() > 1;
  }

  void add(std::string_view name) {
    const auto other = part_name<Owner>(name);
    if (!other || other->before != part_->before || indexes_.size() == most) return;
    if (name.substr(other->before.size() + other->index.size()) != after_) return;
    if (other->is_number() != part_->is_number()) return;
    if (!other->is_number() && other->index.size() != part_->index.size()) return;
    indexes_.emplace_back(other->index);
  }

  [[nodiscard]] static bool is_before(const std::string& left, const std::string& right) noexcept {
    return left.size() != right.size() ? left.size() < right.size() : left < right;
  }

  [[nodiscard]] std::string name_of(std::string_view index) const {
    return std::string{part_->before} + std::string{index} + std::string{after_};
  }

  [[nodiscard]] std::string missing_names() const {
    constexpr std::size_t most_named = 16;
    std::string text;
    std::size_t named = 0;
    std::size_t at = 0;
    std::string index = first_index();
    const std::uint64_t total = part_->total < most ? part_->total : 0;
    for (std::size_t i = 0; i < most && (at < indexes_.size() || i < total); ++i) {
      if (at < indexes_.size() && indexes_[at] == index) {
        ++at;
      } else if (named++ < most_named) {
        text += (text.empty() ? "" : ", ") + name_of(index);
      }
      index = next_index(index);
    }
    return text;
  }

  /// Parts are counted from 1, or from 0 if there is such a one.
  [[nodiscard]] std::string first_index() const {
    const std::string& least = indexes_.front();
    if (!part_->is_number()) {
      std::string first = least;
      for (char& c : first) c = c >= 'a' ? 'a' : 'A';
      return first;
    }
    // What begins with 1 and not with GGUF has another before it.
    const std::uint64_t number = number_of(least);
    const bool from_zero =
        number == 0 || (number == 1 && !begins_with_magic(folder_ + name_of(least)));
    std::string first(least.size(), '0');
    // `9`, `10`: as wide as the narrowest, unless all have the zeros in front.
    if (!from_zero) first.back() = '1';
    if (least.size() > 1 && least.front() != '0') first = from_zero ? "0" : "1";
    return first;
  }

  [[nodiscard]] static bool begins_with_magic(const std::string& path) {
    try {
      std::byte magic[4] = {};
      Deferred<os::InputFile, Owner>{path}.read(0, {magic, sizeof magic});
      return std::string_view{reinterpret_cast<const char*>(magic), sizeof magic} == "GGUF";
    } catch (const os::FileError&) {
      return false;
    }
  }

  [[nodiscard]] std::string next_index(const std::string& index) const {
    if (!part_->is_number()) return next_letters(index);
    std::string next = std::to_string(number_of(index) + 1);
    if (next.size() < index.size()) next.insert(0, index.size() - next.size(), '0');
    return next;
  }

  /// Returns a word of the shell.
  [[nodiscard]] static std::string quoted(const std::string& text) {
    const auto is_plain = [](char c) {
      return is_digit(c) || is_letter(c) || c == '.' || c == '-' || c == '_' || c == '/';
    };
    if (run_at_end(text, is_plain).size() == text.size()) return text;
    std::string made = "'";
    for (const char c : text) made += c == '\'' ? std::string{"'\\''"} : std::string{c};
    return made + "'";
  }

  std::string folder_;
  DeferredOptional<PartName, Owner> part_;
  std::string_view after_;
  DeferredVector<std::string, Owner> indexes_;  // of those that are there, in order
};

}  // namespace allot::gguf::detail
