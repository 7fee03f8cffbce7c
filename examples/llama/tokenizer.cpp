// SPDX-License-Identifier: MIT
#include "tokenizer.hpp"

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace llama {
namespace {

namespace gguf = allot::gguf;

constexpr std::string_view space = "\xe2\x96\x81";  // U+2581, which stands for a space
constexpr std::int32_t normal = 1, user_defined = 4, byte = 6;

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
}

std::size_t character_bytes(char first) noexcept {
  const auto bits = static_cast<unsigned char>(first);
  return bits < 0xc0 ? 1 : bits < 0xe0 ? 2 : bits < 0xf0 ? 3 : 4;
}

std::string byte_piece(unsigned value) {
  char text[8];
  std::snprintf(text, sizeof text, "<0x%02X>", value & 0xffU);
  return text;
}

}  // namespace

Tokenizer::Tokenizer(const gguf::File& file) {
  const auto key = [&](const char* name) {
    return file.metadata().find(std::string{"tokenizer.ggml."} + name);
  };
  if (const auto* const model = key("model")) model_ = model->as<std::string_view>();
  const gguf::Value* const tokens = key("tokens");
  const auto special = [&](const char* name) -> std::optional<Token> {
    const gguf::Value* const value = key(name);
    const auto number = value == nullptr ? std::nullopt : value->as_count();
    return number && *number < 0xffffffffU ? std::optional{static_cast<Token>(*number)}
                                           : std::nullopt;
  };
  begin_ = special("bos_token_id");
  end_ = special("eos_token_id");
  unknown_ = special("unknown_token_id");
  if (model_ != "llama" || tokens == nullptr) return;
  for (const std::string_view piece : tokens->array().strings()) pieces_.emplace_back(piece);
  const gguf::Value* const scores = key("scores");
  const gguf::Value* const kinds = key("token_type");
  if (scores != nullptr)
    for (const float score : scores->array().values<float>()) scores_.push_back(score);
  if (kinds != nullptr)
    for (const std::int32_t kind : kinds->array().values<std::int32_t>()) kinds_.push_back(kind);
  kinds_.resize(kinds == nullptr ? pieces_.size() : kinds_.size(), normal);
  if (scores_.size() != pieces_.size() || kinds_.size() != pieces_.size())
    throw std::runtime_error{"the vocabulary has " + std::to_string(pieces_.size()) + " tokens, " +
                             std::to_string(scores_.size()) + " scores and " +
                             std::to_string(kinds_.size()) + " types; give token ids instead"};
  for (std::size_t i = pieces_.size(); i-- != 0;) numbers_[pieces_[i]] = static_cast<Token>(i);
  const auto flag = [&](const char* name) {
    const gguf::Value* const value = key(name);
    return value == nullptr || value->as<bool>();
  };
  adds_begin_ = begin_ && flag("add_bos_token");
  adds_space_ = flag("add_space_prefix");
}

std::vector<Token> Tokenizer::encode(std::string_view text) const {
  if (pieces_.empty())
    throw std::runtime_error{"the file's vocabulary is \"" + model_ +
                             "\", which this engine does not read; give the prompt as --ids"};
  std::string spaced = (adds_space_ && !text.empty() ? " " : "") + std::string{text};
  replace_all(spaced, " ", space);
  std::vector<std::string_view> parts;  // characters; then neighbours are joined, best score first
  for (std::string_view rest = spaced; !rest.empty(); rest.remove_prefix(parts.back().size()))
    parts.push_back(rest.substr(0, character_bytes(rest.front())));
  const auto joined = [&](std::size_t i) {
    return std::string_view{parts[i].data(), parts[i].size() + parts[i + 1].size()};
  };
  for (;;) {
    std::optional<std::size_t> best;
    float best_score = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = numbers_.find(joined(i));
      if (found == numbers_.end() || (best && scores_[found->second] <= best_score)) continue;
      best = i;
      best_score = scores_[found->second];
    }
    if (!best) break;
    parts[*best] = joined(*best);
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(*best) + 1);
  }
  std::vector<Token> tokens;
  if (adds_begin_) tokens.push_back(*begin_);
  for (const std::string_view part : parts) {
    const auto found = numbers_.find(part);
    if (found != numbers_.end()) {
      tokens.push_back(found->second);
    } else {
      add_bytes(part, tokens);
    }
  }
  return tokens;
}

void Tokenizer::add_bytes(std::string_view piece, std::vector<Token>& tokens) const {
  for (const char one : piece) {
    const auto found = numbers_.find(byte_piece(static_cast<unsigned char>(one)));
    if (found == numbers_.end() && !unknown_)
      throw std::runtime_error{"the vocabulary has no token for a byte of the prompt"};
    tokens.push_back(found != numbers_.end() ? found->second : *unknown_);
  }
}

std::string Tokenizer::decode(Token token) const {
  if (token >= pieces_.size()) return {};
  std::string piece = pieces_[token];
  if (kinds_[token] == byte && piece.size() == 6)
    return std::string(1, static_cast<char>(std::strtoul(piece.c_str() + 3, nullptr, 16)));
  if (kinds_[token] != normal && kinds_[token] != user_defined) return {};
  replace_all(piece, space, " ");
  return piece;
}

}  // namespace llama
