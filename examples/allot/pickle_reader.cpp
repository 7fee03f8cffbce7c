// SPDX-License-Identifier: MIT
#include "pickle_reader.hpp"

#include <bit>
#include <charconv>
#include <cstring>
#include <optional>
#include <system_error>
#include <unordered_map>

namespace pickle {

namespace {

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_{bytes} {}

  Document read() {
    for (;;) {
      const std::size_t at = at_;
      const auto opcode = static_cast<unsigned char>(take(1)[0]);
      if (opcode == '.') {
        document_.root = pop();
        return std::move(document_);
      }
      run(opcode, at);
    }
  }

 private:
  [[noreturn]] void fail(std::size_t at, const std::string& what) const { throw Error{at, what}; }

  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - at_)
      fail(at_, "the pickle ends in the middle: " + std::to_string(count) + " more bytes needed");
    const std::string_view taken = bytes_.substr(at_, static_cast<std::size_t>(count));
    at_ += static_cast<std::size_t>(count);
    return taken;
  }

  std::uint64_t little(std::size_t width) {
    const std::string_view raw = take(width);
    std::uint64_t value = 0;
    for (std::size_t i = width; i-- != 0;) value = value << 8 | static_cast<unsigned char>(raw[i]);
    return value;
  }

  /// Up to the end of the line, without it.
  std::string_view line() {
    const std::size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) fail(at_, "the pickle ends in the middle of a line");
    const std::string_view text = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return text;
  }

  template <class Data>
  void push(Data&& data) {
    document_.values.emplace_back();
    document_.values.back().data = std::forward<Data>(data);
    stack_.push_back(&document_.values.back());
  }

  void push_signed(std::int64_t number) {
    if (number < 0) return push(number);
    push(static_cast<std::uint64_t>(number));
  }

  Value* pop() {
    if (stack_.empty() || (!marks_.empty() && stack_.size() <= marks_.back()))
      fail(at_, "an opcode needs a value that is not there");
    Value* const value = stack_.back();
    stack_.pop_back();
    return value;
  }

  /// What lies above the last mark.
  List pop_to_mark() {
    if (marks_.empty()) fail(at_, "an opcode needs a mark that is not there");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    List above{from, stack_.end()};
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return above;
  }

  template <class Data>
  Data& top() {
    if (stack_.empty() || (!marks_.empty() && stack_.size() <= marks_.back()))
      fail(at_, "an opcode needs a container that is not there");
    Data* const container = std::get_if<Data>(&stack_.back()->data);
    if (container == nullptr) fail(at_, "an opcode needs another kind of container");
    return *container;
  }

  void set_items(const List& items) {
    if (items.size() % 2 != 0) fail(at_, "a dictionary's key has no value");
    auto& dictionary = top<Dictionary>();
    for (std::size_t i = 0; i < items.size(); i += 2)
      dictionary.emplace_back(items[i], items[i + 1]);
  }

  void remember(std::uint64_t number) {
    if (stack_.empty()) fail(at_, "there is nothing to remember");
    memo_[number] = stack_.back();
  }

  void recall(std::uint64_t number) {
    const auto found = memo_.find(number);
    if (found == memo_.end()) fail(at_, "value " + std::to_string(number) + " was not remembered");
    stack_.push_back(found->second);
  }

  /// A number in two's complement, of any width; beyond 64 bits an error.
  void push_long(std::uint64_t width) {
    const std::size_t at = at_;
    const std::string_view raw = take(width);
    const bool is_negative = !raw.empty() && (static_cast<unsigned char>(raw.back()) & 0x80) != 0;
    std::uint64_t value = is_negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = raw.size(); i-- != 0;) {
      const auto byte = static_cast<unsigned char>(raw[i]);
      if (i >= 8) {
        if (byte != (is_negative ? 0xff : 0)) fail(at, "a number has more than 64 bits");
        continue;
      }
      value = value << 8 | byte;
    }
    if (is_negative && value >> 63 == 0) fail(at, "a number has more than 64 bits");
    if (is_negative) return push(static_cast<std::int64_t>(value));
    push(value);
  }

  void push_decimal(std::size_t at, std::string_view text) {
    if (!text.empty() && text.back() == 'L') text.remove_suffix(1);
    if (text == "00") return push(false);
    if (text == "01") return push(true);
    std::int64_t number = 0;
    std::uint64_t large = 0;
    const char* const end = text.data() + text.size();
    if (const auto [to, error] = std::from_chars(text.data(), end, number);
        error == std::errc{} && to == end)
      return push_signed(number);
    if (const auto [to, error] = std::from_chars(text.data(), end, large);
        error == std::errc{} && to == end)
      return push(large);
    fail(at, "a number is not one, or has more than 64 bits");
  }

  void run(unsigned char opcode, std::size_t at) {
    switch (opcode) {
      case 0x80:  // PROTO
        if (const std::uint64_t protocol = little(1); protocol > 5)
          fail(at, "protocol " + std::to_string(protocol) + "; 0 to 5 are read");
        return;
      case 0x95:  // FRAME
        static_cast<void>(little(8));
        return;
      case 'N':
        return push(None{});
      case 0x88:
        return push(true);
      case 0x89:
        return push(false);
      case 'K':
        return push(little(1));
      case 'M':
        return push(little(2));
      case 'J':
        return push_signed(static_cast<std::int32_t>(static_cast<std::uint32_t>(little(4))));
      case 0x8a:
        return push_long(little(1));
      case 0x8b:
        return push_long(little(4));
      case 'I':
      case 'L':
        return push_decimal(at, line());
      case 'G': {
        const std::string_view raw = take(8);
        std::uint64_t bits = 0;
        for (const char byte : raw) bits = bits << 8 | static_cast<unsigned char>(byte);
        return push(std::bit_cast<double>(bits));
      }
      case 'F': {
        const std::string_view text = line();
        double number = 0;
        const auto [to, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error != std::errc{} || to != text.data() + text.size()) fail(at, "not a number");
        return push(number);
      }
      case 0x8c:  // SHORT_BINUNICODE
      case 'U':   // SHORT_BINSTRING
      case 'C':   // SHORT_BINBYTES
        return push(std::string{take(little(1))});
      case 'X':  // BINUNICODE
      case 'T':  // BINSTRING
      case 'B':  // BINBYTES
        return push(std::string{take(little(4))});
      case 0x8d:  // BINUNICODE8
      case 0x8e:  // BINBYTES8
      case 0x96:  // BYTEARRAY8
        return push(std::string{take(little(8))});
      case 'S':
      case 'V':
        return push(std::string{line()});
      case ']':
        return push(List{});
      case '}':
        return push(Dictionary{});
      case ')':
        return push(List{});
      case '(':
        marks_.push_back(stack_.size());
        return;
      case '0':
        static_cast<void>(pop());
        return;
      case '1':
        static_cast<void>(pop_to_mark());
        return;
      case '2':
        if (stack_.empty()) fail(at, "there is nothing to repeat");
        stack_.push_back(stack_.back());
        return;
      case 'a': {
        const Value* const item = pop();
        top<List>().push_back(item);
        return;
      }
      case 'e': {
        const List items = pop_to_mark();
        List& list = top<List>();
        list.insert(list.end(), items.begin(), items.end());
        return;
      }
      case 's': {
        const Value* const value = pop();
        const Value* const key = pop();
        top<Dictionary>().emplace_back(key, value);
        return;
      }
      case 'u':
        return set_items(pop_to_mark());
      case 't':
      case 'l':
        return push(pop_to_mark());
      case 'd': {
        const List items = pop_to_mark();
        push(Dictionary{});
        return set_items(items);
      }
      case 0x85:
      case 0x86:
      case 0x87: {
        List items(opcode - 0x84U);
        for (std::size_t i = items.size(); i-- != 0;) items[i] = pop();
        return push(std::move(items));
      }
      case 0x94:  // MEMOIZE
        return remember(memo_.size());
      case 'q':
        return remember(little(1));
      case 'r':
        return remember(little(4));
      case 'h':
        return recall(little(1));
      case 'j':
        return recall(little(4));
      case 'p':
      case 'g': {
        const std::string_view text = line();
        std::uint64_t number = 0;
        const auto [to, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error != std::errc{} || to != text.data() + text.size()) fail(at, "not a number");
        return opcode == 'p' ? remember(number) : recall(number);
      }
      default:
        fail(at, "opcode " + std::to_string(opcode) +
                     " names or calls something, or is none; only data are read");
    }
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  Document document_;
  std::vector<Value*> stack_;
  std::vector<std::size_t> marks_;  // how many values lay below each
  std::unordered_map<std::uint64_t, Value*> memo_;
};

}  // namespace

const Value* Value::find(std::string_view key) const {
  const auto* const dictionary = std::get_if<Dictionary>(&data);
  if (dictionary == nullptr) return nullptr;
  for (const auto& [name, value] : *dictionary) {
    const std::string* const text = name->text();
    if (text != nullptr && *text == key) return value;
  }
  return nullptr;
}

Document read(std::string_view bytes) { return Reader{bytes}.read(); }

}  // namespace pickle
