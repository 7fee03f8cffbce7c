// SPDX-License-Identifier: MIT
/// \file
/// Text to tokens and back, for SentencePiece vocabularies (`tokenizer.ggml.model` is `llama`). Files
/// with another one, or none, take numbers of tokens, and give them.
#pragma once

#include <allot/gguf/file.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace llama {

using Token = std::uint32_t;

class Tokenizer {
 public:
  /// Throws: `std::runtime_error` for a vocabulary whose parts do not belong together.
  explicit Tokenizer(const allot::gguf::File& file) {
    const auto key = [&](const std::string& name) {
      return file.metadata().find("tokenizer.ggml." + name);
    };
    const auto flag = [&](const char* name) { return !key(name) || key(name)->as<bool>(); };
    const auto special = [&](const char* name) -> std::optional<Token> {
      const auto number = key(name) ? key(name)->as_count() : std::nullopt;
      if (!number || *number > 0xffffffffU) return std::nullopt;
      return static_cast<Token>(*number);
    };
    if (key("model")) model_ = key("model")->as<std::string_view>();
    end_ = special("eos_token_id");
    unknown_ = special("unknown_token_id");
    if (flag("add_bos_token")) begin_ = special("bos_token_id");
    adds_space_ = flag("add_space_prefix");
    if (model_ != "llama" || !key("tokens")) return;
    pieces_ = key("tokens")->array().strings().to_vector<std::string>();
    if (key("scores")) scores_ = key("scores")->array().values<float>().to_vector();
    kinds_.resize(pieces_.size(), normal);
    if (key("token_type")) kinds_ = key("token_type")->array().values<std::int32_t>().to_vector();
    if (scores_.size() != pieces_.size() || kinds_.size() != pieces_.size())
      throw std::runtime_error{"the vocabulary has " + std::to_string(pieces_.size()) +
                               " tokens, " + std::to_string(scores_.size()) + " scores and " +
                               std::to_string(kinds_.size()) + " types; give token ids instead"};
    for (std::size_t i = pieces_.size(); i-- != 0;) numbers_[pieces_[i]] = static_cast<Token>(i);
  }

  /// Throws: `std::runtime_error` if the file has no vocabulary that this engine reads.
  [[nodiscard]] std::vector<Token> encode(std::string_view text) const {
    if (pieces_.empty())
      throw std::runtime_error{"the file's vocabulary is \"" + model_ +
                               "\", which this engine does not read; give the prompt as --ids"};
    std::string spaced = (adds_space_ && !text.empty() ? " " : "") + std::string{text};
    replace_all(spaced, " ", space);
    std::vector<Token> tokens;
    if (begin_) tokens.push_back(*begin_);
    for (const std::string_view part : parts_of(spaced)) {
      if (const auto token = find(part)) {
        tokens.push_back(*token);
        continue;
      }
      for (const char one : part) {  // byte by byte
        char name[8];
        std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(one) & 0xffU);
        const auto token = find(name) ? find(name) : unknown_;
        if (!token)
          throw std::runtime_error{"the vocabulary has no token for a byte of the prompt"};
        tokens.push_back(*token);
      }
    }
    return tokens;
  }

  /// Returns a token's text: empty for control tokens, and without a vocabulary.
  [[nodiscard]] std::string decode(Token token) const {
    if (token >= pieces_.size()) return {};
    std::string piece = pieces_[token];
    if (kinds_[token] == byte && piece.size() == 6)
      return std::string(1, static_cast<char>(std::strtoul(piece.c_str() + 3, nullptr, 16)));
    if (kinds_[token] != normal && kinds_[token] != user_defined) return {};
    replace_all(piece, space, " ");
    return piece;
  }

  [[nodiscard]] bool has_text() const noexcept { return !pieces_.empty(); }
  [[nodiscard]] std::optional<Token> end_of_sequence() const noexcept { return end_; }

 private:
  static constexpr std::string_view space = "\xe2\x96\x81";  // U+2581, which stands for a space
  static constexpr std::int32_t normal = 1, user_defined = 4, byte = 6;

  static void replace_all(std::string& text, std::string_view what, std::string_view by) {
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
      text.replace(at, what.size(), by);
  }

  [[nodiscard]] std::optional<Token> find(std::string_view piece) const {
    const auto found = numbers_.find(piece);
    return found == numbers_.end() ? std::nullopt : std::optional{found->second};
  }

  /// Begins with characters. Then, again and again, the neighbours that make the best token are joined.
  [[nodiscard]] std::vector<std::string_view> parts_of(std::string_view text) const {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
      const auto first = static_cast<unsigned char>(text.front());
      parts.push_back(text.substr(0, first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4));
      text.remove_prefix(parts.back().size());
    }
    std::vector<float> scores(parts.size(), -INFINITY);  // of each with the next
    const auto joined = [&](std::size_t i) {
      return std::string_view{parts[i].data(), parts[i].size() + parts[i + 1].size()};
    };
    const auto rate = [&](std::size_t i) {
      const auto token = i + 1 < parts.size() ? find(joined(i)) : std::nullopt;
      scores[i] = token ? scores_[*token] : -INFINITY;
    };
    for (std::size_t i = 0; i < parts.size(); ++i) rate(i);
    while (!parts.empty()) {
      const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
      const auto i = static_cast<std::size_t>(best);
      if (scores[i] == -INFINITY) break;
      parts[i] = joined(i);
      parts.erase(parts.begin() + best + 1);
      scores.erase(scores.begin() + best + 1);
      rate(i);
      if (i != 0) rate(i - 1);
    }
    return parts;
  }

  std::vector<std::string> pieces_;
  std::vector<float> scores_;
  std::vector<std::int32_t> kinds_;
  std::unordered_map<std::string_view, Token> numbers_;  // of pieces_
  std::string model_ = "no vocabulary";
  std::optional<Token> begin_, end_, unknown_;
  bool adds_space_ = true;
};

}  // namespace llama
