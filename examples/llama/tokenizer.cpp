// SPDX-License-Identifier: MIT
#include "tokenizer.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace llama {
namespace {

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

}  // namespace

Tokenizer::Tokenizer(const allot::gguf::File& file) {
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
  for (const std::string_view piece : key("tokens")->array().strings()) pieces_.emplace_back(piece);
  if (key("scores"))
    for (const float score : key("scores")->array().values<float>()) scores_.push_back(score);
  if (key("token_type"))
    for (const auto kind : key("token_type")->array().values<std::int32_t>())
      kinds_.push_back(kind);
  if (!key("token_type")) kinds_.resize(pieces_.size(), normal);
  if (scores_.size() != pieces_.size() || kinds_.size() != pieces_.size())
    throw std::runtime_error{"the vocabulary has " + std::to_string(pieces_.size()) + " tokens, " +
                             std::to_string(scores_.size()) + " scores and " +
                             std::to_string(kinds_.size()) + " types; give token ids instead"};
  for (std::size_t i = pieces_.size(); i-- != 0;) numbers_[pieces_[i]] = static_cast<Token>(i);
}

std::vector<Token> Tokenizer::encode(std::string_view text) const {
  if (pieces_.empty())
    throw std::runtime_error{"the file's vocabulary is \"" + model_ +
                             "\", which this engine does not read; give the prompt as --ids"};
  std::string spaced = (adds_space_ && !text.empty() ? " " : "") + std::string{text};
  replace_all(spaced, " ", space);
  // Characters at first. Then, again and again, the neighbours that make the best token are joined.
  struct Part {
    std::string_view text;
    float score;  // of the token that it makes with the next one
  };
  std::vector<Part> parts;
  for (std::string_view rest = spaced; !rest.empty(); rest.remove_prefix(parts.back().text.size()))
    parts.push_back({rest.substr(0, character_bytes(rest.front())), 0});
  const auto joined = [&](std::size_t i) {
    return std::string_view{parts[i].text.data(), parts[i].text.size() + parts[i + 1].text.size()};
  };
  const auto rate = [&](std::size_t i) {
    const auto token = i + 1 < parts.size() ? find(joined(i)) : std::nullopt;
    parts[i].score = token ? scores_[*token] : -INFINITY;
  };
  for (std::size_t i = 0; i < parts.size(); ++i) rate(i);
  const auto is_worse = [](const Part& a, const Part& b) { return a.score < b.score; };
  while (!parts.empty()) {
    const auto best = std::max_element(parts.begin(), parts.end(), is_worse);
    if (best->score == -INFINITY) break;
    const auto i = static_cast<std::size_t>(best - parts.begin());
    best->text = joined(i);
    parts.erase(best + 1);
    rate(i);
    if (i != 0) rate(i - 1);
  }
  std::vector<Token> tokens;
  if (begin_) tokens.push_back(*begin_);
  for (const Part& part : parts) {
    if (const auto token = find(part.text)) {
      tokens.push_back(*token);
      continue;
    }
    for (const char one : part.text) {  // byte by byte
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(one) & 0xffU);
      const auto token = find(name) ? find(name) : unknown_;
      if (!token) throw std::runtime_error{"the vocabulary has no token for a byte of the prompt"};
      tokens.push_back(*token);
    }
  }
  return tokens;
}

std::optional<Token> Tokenizer::find(std::string_view piece) const {
  const auto found = numbers_.find(piece);
  return found == numbers_.end() ? std::nullopt : std::optional{found->second};
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
