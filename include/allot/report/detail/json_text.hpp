// SPDX-License-Identifier: MIT
/// \file
/// `JsonText`: writes one JSON value, piece by piece, and puts the commas.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace allot::report::detail {

/// Requires: what is begun is ended, and members of objects have keys.
class JsonText {
 public:
  JsonText& begin(char bracket) {
    comma();
    text_ += bracket;
    is_first_ = true;
    return *this;
  }
  JsonText& end(char bracket) {
    text_ += bracket;
    is_first_ = false;
    return *this;
  }
  JsonText& key(std::string_view name) {
    value(name);
    text_ += ':';
    is_first_ = true;
    return *this;
  }

  /// Bytes that are not UTF-8 become U+FFFD, as JSON must be UTF-8: one for each beginning of a
  /// character that does not go on, as Unicode recommends.
  JsonText& value(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    comma();
    text_ += '"';
    while (!text.empty()) {
      const Character first = first_of(text);
      const char c = text.front();
      if (!first.is_utf8) {
        text_ += "\xef\xbf\xbd";  // U+FFFD
      } else if (const auto byte = static_cast<unsigned char>(c); byte < 0x20) {
        text_ += "\\u00";
        text_ += digits[byte >> 4];
        text_ += digits[byte & 15];
      } else {
        if (c == '"' || c == '\\') text_ += '\\';
        text_ += text.substr(0, first.bytes);
      }
      text.remove_prefix(first.bytes);
    }
    text_ += '"';
    return *this;
  }
  JsonText& value(std::uint64_t number) {
    comma();
    text_ += std::to_string(number);
    return *this;
  }
  JsonText& value(double number) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", number);
    for (char& c : text) c = c == ',' ? '.' : c;  // of the locale
    comma();
    text_ += text;
    return *this;
  }
  JsonText& value(bool is_true) {
    comma();
    text_ += is_true ? "true" : "false";
    return *this;
  }

  template <class Value>
  JsonText& member(std::string_view name, Value&& of) {
    return key(name).value(std::forward<Value>(of));
  }

  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  struct Character {
    std::size_t bytes;
    bool is_utf8;
  };

  /// Returns the bytes of a text's first character, or of its beginning (Unicode, table 3-7).
  [[nodiscard]] static Character first_of(std::string_view text) noexcept {
    const auto byte = [&](std::size_t i) {
      return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const unsigned lead = byte(0);
    if (lead < 0x80) return {1, true};
    if (lead < 0xc2 || lead > 0xf4) return {1, false};
    const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    // No longer form than needed, no surrogate, nothing above U+10FFFF.
    const unsigned least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (byte(1) < least || byte(1) > most) return {1, false};
    for (std::size_t i = 2; i < length; ++i) {
      if (byte(i) < 0x80 || byte(i) > 0xbf) return {i, false};
    }
    return {length, true};
  }

  void comma() {
    if (!is_first_) text_ += ',';
    is_first_ = false;
  }

  std::string text_;
  bool is_first_ = true;
};

}  // namespace allot::report::detail
