// SPDX-License-Identifier: MIT
/// \file
/// `gguf::Vocabulary`: the tokens of a model as a tokenizer needs them: their pieces of text, scores and
/// types, which number a piece has, and the tokens with a meaning of their own.
///
///     const gguf::Vocabulary vocabulary{file};
///     if (const auto token = vocabulary.find("the")) vocabulary.score(*token);
#pragma once

#include <allot/gguf/array.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/metadata.hpp>
#include <allot/gguf/name_index.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace allot::gguf {

/// What a token stands for, by `tokenizer.ggml.token_type`.
enum class TokenType : std::int32_t {
  normal = 1,        ///< its piece of text
  unknown = 2,       ///< text that has no token
  control = 3,       ///< no text: the beginning, the end
  user_defined = 4,  ///< its piece of text, which is never divided
  unused = 5,        ///< nothing
  byte = 6,          ///< a byte: the piece is `<0x0A>`
};

/// Views of a file's metadata, and an index of them: valid as long as the file.
class Vocabulary {
 public:
  using Token = std::uint32_t;  ///< as the vocabulary numbers them

  /// Complexity: linear in the tokens. Throws: `std::runtime_error` if there are not as many scores or
  /// types as tokens; `std::invalid_argument` for a key of another type; `std::bad_alloc`.
  explicit Vocabulary(const File& file) : metadata_{&file.metadata()} {
    if (const Value* value = find_key("model")) model_ = value->as<std::string_view>();
    if (const Value* value = find_key("tokens")) pieces_ = value->array().strings().to_vector();
    if (const Value* value = find_key("scores")) scores_ = value->array().values<float>();
    if (const Value* value = find_key("token_type")) types_ = value->array().values<std::int32_t>();
    require_count("scores", scores_.size());
    require_count("token_type", types_.size());
    names_.reserve(size());
    for (std::size_t i = 0; i < size(); ++i)  // of equal ones, the first counts
      static_cast<void>(names_.add(pieces_[i], i, PieceAt{&pieces_}));
  }

  /// Returns the kind of tokenizer that it is for: `llama`, `gpt2`; empty: the file has none.
  [[nodiscard]] std::string_view model() const noexcept { return model_; }
  /// Returns the number of tokens.
  [[nodiscard]] std::size_t size() const noexcept { return pieces_.size(); }
  /// Returns a token's text, as the file has it: `llama` writes U+2581 for a space, `gpt2` bytes as
  /// characters. Requires: the token exists.
  [[nodiscard]] std::string_view piece(Token token) const noexcept { return pieces_[token]; }
  /// Returns a token's score; 0 if the file has none. Requires: the token exists.
  [[nodiscard]] float score(Token token) const noexcept {
    return scores_.empty() ? 0 : scores_[token];
  }
  /// Returns what a token stands for; `normal` if the file does not say. Requires: the token exists.
  [[nodiscard]] TokenType type(Token token) const noexcept {
    return types_.empty() ? TokenType::normal : static_cast<TokenType>(types_[token]);
  }
  /// Returns the token of a piece, the first of several. Complexity: constant.
  [[nodiscard]] std::optional<Token> find(std::string_view piece) const noexcept {
    const auto found = names_.find(piece, PieceAt{&pieces_});
    if (!found) return std::nullopt;
    return static_cast<Token>(*found);
  }
  /// Returns the token of a byte, `<0x0A>`; if there is none, the unknown one as `special`
  /// gives it, or nothing.
  [[nodiscard]] std::optional<Token> find_byte(std::byte byte) const {
    constexpr char digits[] = "0123456789ABCDEF";
    const auto value = std::to_integer<std::size_t>(byte);
    const char name[] = {'<', '0', 'x', digits[value / 16], digits[value % 16], '>'};
    const auto token = find({name, sizeof name});
    return token ? token : special("unknown");
  }
  /// Returns the text that a token adds: its piece with spaces in place of U+2581, or its byte; nothing
  /// for control tokens. Requires: the token exists, and the model is `llama`.
  [[nodiscard]] std::string text(Token token) const {
    constexpr std::string_view space = "\xe2\x96\x81";
    std::string_view rest = piece(token);
    if (type(token) == TokenType::byte && rest.size() == 6)
      return {static_cast<char>(hex_digit(rest[3]) * 16 + hex_digit(rest[4]))};
    if (type(token) != TokenType::normal && type(token) != TokenType::user_defined) return {};
    std::string text;
    for (std::size_t at = 0; (at = rest.find(space)) != std::string_view::npos;) {
      text.append(rest.substr(0, at)) += ' ';
      rest.remove_prefix(at + space.size());
    }
    return text.append(rest);
  }

  /// Returns the token for a role: `bos`, `eos`, `unknown`, `padding` (`tokenizer.ggml.bos_token_id`).
  /// Empty if the file names none, or no number of 32 bits. The number is the file's: the vocabulary
  /// need not have that token.
  [[nodiscard]] std::optional<Token> special(std::string_view role) const {
    const Value* const value = find_key(std::string{role} + "_token_id");
    const auto number = value == nullptr ? std::nullopt : value->as_count();
    if (!number || *number > ~Token{0}) return std::nullopt;
    return static_cast<Token>(*number);
  }
  /// Returns what the file says of `add_bos_token`, `add_space_prefix` and others.
  /// \param otherwise  what it is if the file does not say
  /// Throws: `std::invalid_argument` if it is not a boolean.
  [[nodiscard]] bool flag(std::string_view key, bool otherwise) const {
    const Value* const value = find_key(key);
    return value == nullptr ? otherwise : value->as<bool>();
  }

 private:
  /// Returns the piece of a number, for the index.
  struct PieceAt {
    const std::vector<std::string_view>* pieces;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      return (*pieces)[place];
    }
  };

  [[nodiscard]] static int hex_digit(char digit) noexcept {
    return digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10;
  }
  [[nodiscard]] const Value* find_key(std::string_view key) const {
    return metadata_->find("tokenizer.ggml." + std::string{key});
  }
  void require_count(std::string_view key, std::uint64_t count) const {
    if (count == size() || find_key(key) == nullptr) return;
    throw std::runtime_error{"the vocabulary has " + std::to_string(size()) + " tokens, but " +
                             std::to_string(count) + " of tokenizer.ggml." + std::string{key} +
                             "; correct the file, or use token ids instead of text"};
  }

  const Metadata* metadata_;
  std::string_view model_{};
  std::vector<std::string_view> pieces_{};
  Elements<float> scores_{nullptr, 0};
  Elements<std::int32_t> types_{nullptr, 0};
  NameIndex names_{};
};

}  // namespace allot::gguf
