// SPDX-License-Identifier: MIT
/// \file
/// `JsonText`: writes one JSON value, piece by piece, and puts the commas.
#pragma once

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

  JsonText& value(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    comma();
    text_ += '"';
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20) {
        text_ += "\\u00";
        text_ += digits[byte >> 4];
        text_ += digits[byte & 15];
        continue;
      }
      if (c == '"' || c == '\\') text_ += '\\';
      text_ += c;
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
  void comma() {
    if (!is_first_) text_ += ',';
    is_first_ = false;
  }

  std::string text_;
  bool is_first_ = true;
};

}  // namespace allot::report::detail
