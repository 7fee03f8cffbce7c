// SPDX-License-Identifier: MIT
/// \file
/// Text to tokens and back, for SentencePiece vocabularies (`tokenizer.ggml.model` is `llama`). Files
/// with another one, or none, take numbers of tokens, and give them.
#pragma once

#include <allot/gguf/file.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace llama {

using Token = std::uint32_t;

class Tokenizer {
 public:
  /// Throws: `std::runtime_error` for a vocabulary whose parts do not belong together.
  explicit Tokenizer(const allot::gguf::File& file);

  /// Throws: `std::runtime_error` if the file has no vocabulary that this engine reads.
  [[nodiscard]] std::vector<Token> encode(std::string_view text) const;
  /// Returns a token's text: empty for control tokens, and without a vocabulary.
  [[nodiscard]] std::string decode(Token token) const;
  [[nodiscard]] bool has_text() const noexcept { return !pieces_.empty(); }
  [[nodiscard]] std::optional<Token> end_of_sequence() const noexcept { return end_; }

 private:
  [[nodiscard]] std::optional<Token> find(std::string_view piece) const;

  std::vector<std::string> pieces_;
  std::vector<float> scores_;
  std::vector<std::int32_t> kinds_;
  std::unordered_map<std::string_view, Token> numbers_;  // of pieces_
  std::string model_ = "no vocabulary";
  std::optional<Token> begin_, end_, unknown_;
  bool adds_space_ = true;
};

}  // namespace llama
