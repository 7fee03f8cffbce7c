// SPDX-License-Identifier: MIT
/// \file
/// Text to tokens and back, for SentencePiece vocabularies (`tokenizer.ggml.model` is `llama`). Files
/// with another one, or none, take numbers of tokens, and give them.
#pragma once

#include <allot/gguf/vocabulary.hpp>

#include <algorithm>
#include <cmath>

namespace llama {

using namespace allot;

using Token = gguf::Vocabulary::Token;

class Tokenizer {
 public:
  /// Valid as long as the file. Throws: `std::runtime_error` for a vocabulary whose parts do not belong
  /// together.
  explicit Tokenizer(const gguf::File& file) : vocabulary_{file} {}

  /// Returns false where only numbers of tokens can be read and written.
  [[nodiscard]] bool has_text() const noexcept {
    return vocabulary_.model() == "llama" && vocabulary_.size() != 0;
  }
  [[nodiscard]] std::optional<Token> end_of_sequence() const { return vocabulary_.special("eos"); }

  /// Throws: `std::runtime_error` if the file has no vocabulary that this engine reads.
  [[nodiscard]] std::vector<Token> encode(std::string_view text) const {
    if (!has_text())
      throw std::runtime_error{"the file's vocabulary is \"" + std::string{vocabulary_.model()} +
                               "\", which this engine does not read; give the prompt as --ids"};
    const bool adds_space = !text.empty() && vocabulary_.flag("add_space_prefix", true);
    std::string spaced;
    for (const char one : (adds_space ? " " : "") + std::string{text})
      spaced += one == ' ' ? "\xe2\x96\x81" : std::string{one};  // U+2581 stands for a space
    std::vector<Token> tokens;
    const auto begin = vocabulary_.special("bos");
    if (begin && vocabulary_.flag("add_bos_token", true)) tokens.push_back(*begin);
    for (const std::string_view part : parts_of(spaced)) {
      if (const auto token = vocabulary_.find(part)) {
        tokens.push_back(*token);
        continue;
      }
      for (const char byte : part) {
        const auto token = vocabulary_.find_byte(static_cast<std::byte>(byte));
        if (!token)
          throw std::runtime_error{"the vocabulary has no token for a byte of the prompt"};
        tokens.push_back(*token);
      }
    }
    return tokens;
  }

  /// Returns a token's text: empty for control tokens, and without a vocabulary.
  [[nodiscard]] std::string decode(Token token) const {
    return has_text() && token < vocabulary_.size() ? vocabulary_.text(token) : std::string{};
  }

 private:
  /// Begins with characters. Then, again and again, the neighbours that make the best token are joined.
  [[nodiscard]] std::vector<std::string_view> parts_of(std::string_view text) const {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
      const auto first = static_cast<unsigned char>(text.front());
      parts.push_back(text.substr(0, first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4));
      text.remove_prefix(parts.back().size());
    }
    const auto joined = [&](std::size_t i) {
      return std::string_view{parts[i].data(), parts[i].size() + parts[i + 1].size()};
    };
    const auto score_of = [&](std::size_t i) {
      const auto token = vocabulary_.find(joined(i));
      return token ? vocabulary_.score(*token) : -INFINITY;
    };
    std::vector<float> scores;  // of each part, joined with the next
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) scores.push_back(score_of(i));
    for (;;) {
      const auto best = std::max_element(scores.begin(), scores.end());
      if (best == scores.end() || *best == -INFINITY) return parts;
      const auto i = static_cast<std::size_t>(best - scores.begin());
      parts[i] = joined(i);
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      scores.erase(best);
      if (i < scores.size()) scores[i] = score_of(i);
      if (i != 0) scores[i - 1] = score_of(i - 1);
    }
  }

  gguf::Vocabulary vocabulary_;
};

}  // namespace llama
