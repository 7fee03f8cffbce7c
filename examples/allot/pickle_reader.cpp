// SPDX-License-Identifier: MIT
#include "pickle_reader.hpp"

#include <charconv>
#include <deque>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pickle {

namespace {

constexpr std::uint32_t no_row = 0xffff'ffff;

/// What the stack holds: of containers only their kind, of dictionaries what is asked for.
struct Value {
  enum class Kind : std::uint8_t {
    scalar,
    list,        ///< made empty, and filled while it is on the stack
    dictionary,  ///< the same
    container,   ///< any that is complete, and can be put into others only
  };
  Kind kind = Kind::scalar;
  Scalar scalar{Scalar::Kind::other, 0, 0};
  std::uint32_t row = no_row;  ///< of a dictionary: what it has of the words
};

/// What the memo keeps of a value, in a byte: below `first_word` its kind, from there on a word.
constexpr std::uint8_t unset = 0, other_scalar = 1, container = 2, number = 3, first_word = 4;

class Reader {
 public:
  Reader(ByteStream& input, std::span<const std::string_view> words,
         const std::function<void(Row, std::uint64_t)>& visit)
      : input_{input}, words_{words}, visit_{visit} {
    for (const std::string_view word : words)
      longest_word_ = word.size() > longest_word_ ? word.size() : longest_word_;
  }

  void read() {
    for (;;) {
      at_ = input_.position();
      const auto opcode = static_cast<unsigned char>(take(1)[0]);
      if (opcode == '.') break;
      run(opcode);
    }
    static_cast<void>(pop());
    if (!has_list_) fail("no list '" + std::string{words_[0]} + "' in the pickle's dictionary");
  }

 private:
  /// More values than any writer leaves waiting for their container: Python's puts them in by
  /// thousands.
  static constexpr std::size_t most_waiting = std::size_t{1} << 18;

  [[noreturn]] void fail(const std::string& what) const { throw Error{at_, what}; }
  [[noreturn]] void fail_in_the_middle() const {
    throw Error{input_.position(), "the pickle ends in the middle"};
  }

  std::string_view take(std::size_t count) {
    const auto taken = input_.take(count);
    if (!taken) fail_in_the_middle();
    return *taken;
  }

  std::uint64_t little(std::size_t width) {
    const std::string_view raw = take(width);
    std::uint64_t value = 0;
    for (std::size_t i = width; i-- != 0;) value = value << 8 | static_cast<unsigned char>(raw[i]);
    return value;
  }

  /// Up to the end of the line, without it.
  std::string_view line() {
    const auto text = input_.line();
    if (!text) fail_in_the_middle();
    return *text;
  }

  void push(const Value& value) {
    if (stack_.size() == most_waiting)
      fail("more than 262,144 values wait to be put into a container");
    stack_.push_back(value);
  }
  void push_other() { push({}); }
  void push_number(std::uint64_t value) {
    push({Value::Kind::scalar, {Scalar::Kind::number, 0, value}, no_row});
  }
  void push_container(Value::Kind kind) { push({kind, {}, no_row}); }

  void push_text(std::string_view text) {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (text == words_[i])
        return push(
            {Value::Kind::scalar, {Scalar::Kind::word, static_cast<std::uint8_t>(i), 0}, no_row});
    }
    push_other();
  }

  void push_text_of(std::uint64_t bytes) {
    if (bytes <= longest_word_) return push_text(take(static_cast<std::size_t>(bytes)));
    if (!input_.skip(bytes)) fail_in_the_middle();
    push_other();
  }

  [[nodiscard]] std::size_t bottom() const { return marks_.empty() ? 0 : marks_.back(); }

  Value pop() {
    if (stack_.size() <= bottom()) fail("an opcode needs a value that is not there");
    const Value value = stack_.back();
    stack_.pop_back();
    return value;
  }

  /// Removes the last mark; returns where the values above it begin.
  std::size_t pop_mark() {
    if (marks_.empty()) fail("an opcode needs a mark that is not there");
    const std::size_t from = marks_.back();
    marks_.pop_back();
    return from;
  }

  void drop(const Value& value) {
    if (value.row != no_row) free_rows_.push_back(value.row);
  }

  /// Drops what lies above a number of values.
  void drop_to(std::size_t from) {
    for (std::size_t i = from; i < stack_.size(); ++i) drop(stack_[i]);
    stack_.resize(from);
  }

  Scalar& cell(Value& dictionary, std::uint8_t word) {
    if (dictionary.row == no_row) {
      if (free_rows_.empty()) {
        dictionary.row = static_cast<std::uint32_t>(rows_.size() / words_.size());
        rows_.resize(rows_.size() + words_.size());
      } else {
        dictionary.row = free_rows_.back();
        free_rows_.pop_back();
        for (std::size_t i = 0; i < words_.size(); ++i)
          rows_[dictionary.row * words_.size() + i] = {};
      }
    }
    return rows_[dictionary.row * words_.size() + word];
  }

  /// \param at  where the dictionary lies on the stack
  void set_item(std::size_t at, const Value& key, const Value& value) {
    if (key.kind != Value::Kind::scalar) fail("a dictionary's key is a container");
    if (key.scalar.kind == Scalar::Kind::word) {
      if (key.scalar.word == 0) take_list(at, value);
      cell(stack_[at], key.scalar.word) =
          value.kind == Value::Kind::scalar ? value.scalar : Scalar{Scalar::Kind::other, 0, 0};
    }
    drop(value);
  }

  /// The list of lists is complete.
  void take_list(std::size_t at, const Value& value) {
    const std::string name{words_[0]};
    if (at != 0 || has_list_) fail("a second '" + name + "'");
    if (value.kind != Value::Kind::list)
      fail("'" + name + "' is not a list that was filled in place");
    has_list_ = true;
  }

  /// Where the dictionary or the list lies that is filled with what is above `from`.
  std::size_t filled(std::size_t from, Value::Kind kind) {
    if (from <= bottom()) fail("an opcode needs a container that is not there");
    if (stack_[from - 1].kind != kind)
      fail("an opcode needs another kind of container, or one that is still being filled");
    return from - 1;
  }

  void set_items(std::size_t from) {
    if ((stack_.size() - from) % 2 != 0) fail("a dictionary's key has no value");
    const std::size_t at = filled(from, Value::Kind::dictionary);
    for (std::size_t i = from; i < stack_.size(); i += 2) set_item(at, stack_[i], stack_[i + 1]);
    stack_.resize(from);
  }

  enum class Level { elsewhere, list_of_lists, rows };

  /// What a list is, from what lies below it. The values below are those that wait for each other:
  /// the dictionary, its key, the list of lists, lists that wait beside this one, each behind a mark
  /// unless it is put in alone.
  [[nodiscard]] Level level_of(std::size_t list) const {
    if (list >= 2 && is_key(list - 1, marks_.size())) return Level::list_of_lists;
    if (list >= 3 && bottom() < list - 1 && is_outer(list - 1, marks_.size())) return Level::rows;
    if (!marks_.empty() && bottom() >= 3 && is_outer(bottom() - 1, marks_.size() - 1))
      return Level::rows;
    return Level::elsewhere;
  }
  [[nodiscard]] bool is_outer(std::size_t at, std::size_t marks) const {
    return stack_[at].kind == Value::Kind::list && is_key(at - 1, marks);
  }
  /// Whether a value is the key of the list of lists, with that many marks below it.
  [[nodiscard]] bool is_key(std::size_t at, std::size_t marks) const {
    const Value& key = stack_[at];
    if (key.kind != Value::Kind::scalar || key.scalar.kind != Scalar::Kind::word ||
        key.scalar.word != 0 || stack_[0].kind != Value::Kind::dictionary)
      return false;
    return marks == 0 ? at == 1 : marks == 1 && marks_[0] == 1 && at % 2 == 1;
  }

  /// Puts what lies above `from` into the list below it.
  void append(std::size_t from) {
    const std::size_t list = filled(from, Value::Kind::list);
    const Level level = level_of(list);
    for (std::size_t i = from; i < stack_.size(); ++i) {
      const Value& item = stack_[i];
      if (level == Level::list_of_lists && item.kind != Value::Kind::list)
        fail("what '" + std::string{words_[0]} + "' holds is not a list that was filled in place");
      if (level == Level::rows) visit(item);
      drop(item);
    }
    stack_.resize(from);
  }

  void visit(const Value& item) {
    if (item.kind != Value::Kind::dictionary)
      fail("an item of a list of '" + std::string{words_[0]} +
           "' is not a dictionary, or one that was there before");
    if (item.row == no_row) return visit_(empty_row(), at_);
    visit_(Row{rows_}.subspan(item.row * words_.size(), words_.size()), at_);
  }

  Row empty_row() {
    empty_row_.resize(words_.size());
    return empty_row_;
  }

  void remember(std::uint64_t index) {
    if (stack_.empty()) fail("there is nothing to remember");
    const Value& value = stack_.back();
    std::uint8_t kept = container;
    if (value.kind == Value::Kind::scalar) {
      kept = other_scalar;
      if (value.scalar.kind == Scalar::Kind::number) kept = number;
      if (value.scalar.kind == Scalar::Kind::word)
        kept = static_cast<std::uint8_t>(first_word + value.scalar.word);
    }
    if (kept == number) numbers_[index] = value.scalar.number;
    // Writers count from 0 or 1 on; a table up to any index would be as long as a file likes.
    if (index > memo_.size() + 1) {
      far_memo_[index] = kept;
    } else {
      if (index >= memo_.size()) memo_.resize(static_cast<std::size_t>(index) + 1, unset);
      memo_[static_cast<std::size_t>(index)] = kept;
    }
    ++remembered_;
  }

  void recall(std::uint64_t index) {
    std::uint8_t kept = index < memo_.size() ? memo_[static_cast<std::size_t>(index)] : unset;
    if (kept == unset) {
      const auto found = far_memo_.find(index);
      if (found != far_memo_.end()) kept = found->second;
    }
    if (kept == unset) fail("value " + std::to_string(index) + " was not remembered");
    if (kept == container) return push_container(Value::Kind::container);
    if (kept == number) return push_number(numbers_[index]);
    if (kept == other_scalar) return push_other();
    push({Value::Kind::scalar,
          {Scalar::Kind::word, static_cast<std::uint8_t>(kept - first_word), 0},
          no_row});
  }

  void repeat() {
    if (stack_.size() <= bottom()) fail("there is nothing to repeat");
    const Value& top = stack_.back();
    if (top.kind == Value::Kind::scalar) return push(Value{top});
    push_container(Value::Kind::container);
  }

  /// A number in two's complement, of any width; beyond 64 bits an error.
  void push_long(std::uint64_t width) {
    constexpr std::uint64_t most = 64;  // bytes; what does not fit is refused anyway
    if (width > most) fail("a number has more than 64 bits");
    const std::string_view raw = take(static_cast<std::size_t>(width));
    const bool is_negative = !raw.empty() && (static_cast<unsigned char>(raw.back()) & 0x80) != 0;
    std::uint64_t value = is_negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = raw.size(); i-- != 0;) {
      const auto byte = static_cast<unsigned char>(raw[i]);
      if (i < 8) {
        value = value << 8 | byte;
      } else if (byte != (is_negative ? 0xff : 0)) {
        fail("a number has more than 64 bits");
      }
    }
    if (is_negative && value >> 63 == 0) fail("a number has more than 64 bits");
    is_negative ? push_other() : push_number(value);
  }

  void push_decimal(std::string_view text) {
    if (!text.empty() && text.back() == 'L') text.remove_suffix(1);
    if (text == "00" || text == "01") return push_other();  // a boolean
    const char* const end = text.data() + text.size();
    std::uint64_t value = 0;
    if (const auto [to, error] = std::from_chars(text.data(), end, value);
        error == std::errc{} && to == end)
      return push_number(value);
    std::int64_t negative = 0;
    if (const auto [to, error] = std::from_chars(text.data(), end, negative);
        error == std::errc{} && to == end)
      return push_other();
    fail("a number is not one, or has more than 64 bits");
  }

  void push_float(std::string_view text) {
    double value = 0;
    const auto [to, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || to != text.data() + text.size()) fail("not a number");
    push_other();
  }

  std::uint64_t index_in(std::string_view text) const {
    std::uint64_t value = 0;
    const auto [to, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || to != text.data() + text.size()) fail("not a number");
    return value;
  }

  /// Protocol 0 of Python 2 puts texts into quotes.
  static std::string_view unquoted(std::string_view text) {
    const bool is_quoted = text.size() >= 2 && text.front() == text.back() &&
                           (text.front() == '\'' || text.front() == '"');
    return is_quoted ? text.substr(1, text.size() - 2) : text;
  }

  void push_tuple(std::size_t from) {
    drop_to(from);
    push_container(Value::Kind::container);
  }

  void run(unsigned char opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        if (const std::uint64_t protocol = little(1); protocol > 5)
          fail("protocol " + std::to_string(protocol) + "; 0 to 5 are read");
        return;
      case 0x95:  // FRAME
        static_cast<void>(little(8));
        return;
      case 'N':   // None
      case 0x88:  // true
      case 0x89:  // false
        return push_other();
      case 'K':
        return push_number(little(1));
      case 'M':
        return push_number(little(2));
      case 'J': {
        const std::uint64_t bits = little(4);
        return bits >> 31 != 0 ? push_other() : push_number(bits);
      }
      case 0x8a:
        return push_long(little(1));
      case 0x8b:
        return push_long(little(4));
      case 'I':
      case 'L':
        return push_decimal(line());
      case 'G':
        static_cast<void>(take(8));
        return push_other();
      case 'F':
        return push_float(line());
      case 0x8c:  // SHORT_BINUNICODE
      case 'U':   // SHORT_BINSTRING
      case 'C':   // SHORT_BINBYTES
        return push_text_of(little(1));
      case 'X':  // BINUNICODE
      case 'T':  // BINSTRING
      case 'B':  // BINBYTES
        return push_text_of(little(4));
      case 0x8d:  // BINUNICODE8
      case 0x8e:  // BINBYTES8
      case 0x96:  // BYTEARRAY8
        return push_text_of(little(8));
      case 'S':
        return push_text(unquoted(line()));
      case 'V':
        return push_text(line());
      case ']':
        return push_container(Value::Kind::list);
      case '}':
        return push_container(Value::Kind::dictionary);
      case ')':
        return push_container(Value::Kind::container);
      case '(':
        if (marks_.size() == most_waiting) fail("more than 262,144 marks");
        marks_.push_back(stack_.size());
        return;
      case '0':
        if (!marks_.empty() && marks_.back() == stack_.size()) {
          marks_.pop_back();
        } else {
          drop(pop());
        }
        return;
      case '1':
        return drop_to(pop_mark());
      case '2':
        return repeat();
      case 'a':
        if (stack_.size() <= bottom()) fail("an opcode needs a value that is not there");
        return append(stack_.size() - 1);
      case 'e':
        return append(pop_mark());
      case 's':
        if (stack_.size() < bottom() + 2) fail("an opcode needs values that are not there");
        return set_items(stack_.size() - 2);
      case 'u':
        return set_items(pop_mark());
      case 't':
        return push_tuple(pop_mark());
      case 'l': {
        const std::size_t from = pop_mark();
        if (from == stack_.size()) return push_container(Value::Kind::list);
        return push_tuple(from);  // complete: nothing is put into it later
      }
      case 'd': {
        const std::size_t from = pop_mark();
        push_container(Value::Kind::dictionary);
        stack_.insert(stack_.begin() + static_cast<std::ptrdiff_t>(from), stack_.back());
        stack_.pop_back();
        return set_items(from + 1);
      }
      case 0x85:
      case 0x86:
      case 0x87: {
        const std::size_t count = opcode - 0x84U;
        if (stack_.size() < bottom() + count) fail("an opcode needs values that are not there");
        return push_tuple(stack_.size() - count);
      }
      case 0x94:  // MEMOIZE
        return remember(remembered_);
      case 'q':
        return remember(little(1));
      case 'r':
        return remember(little(4));
      case 'h':
        return recall(little(1));
      case 'j':
        return recall(little(4));
      case 'p':
        return remember(index_in(line()));
      case 'g':
        return recall(index_in(line()));
      default:
        fail("opcode " + std::to_string(opcode) +
             " names or calls something, or is none; only data are read");
    }
  }

  ByteStream& input_;
  std::span<const std::string_view> words_;
  const std::function<void(Row, std::uint64_t)>& visit_;
  std::size_t longest_word_ = 0;
  std::uint64_t at_ = 0;  // the byte of the opcode
  bool has_list_ = false;
  std::vector<Value> stack_;
  std::vector<std::size_t> marks_;  // how many values lay below each
  std::deque<std::uint8_t> memo_;   // grows without a copy
  std::unordered_map<std::uint64_t, std::uint8_t> far_memo_;
  std::unordered_map<std::uint64_t, std::uint64_t> numbers_;  // of the memo
  std::uint64_t remembered_ = 0;
  std::vector<Scalar> rows_;  // a word's each
  std::vector<std::uint32_t> free_rows_;
  std::vector<Scalar> empty_row_;
};

}  // namespace

void read_rows(ByteStream& input, std::span<const std::string_view> words,
               const std::function<void(Row row, std::uint64_t byte)>& visit) {
  Reader{input, words, visit}.read();
}

}  // namespace pickle
