// SPDX-License-Identifier: MIT
/// \file
/// Reads the data that Python's pickles hold, and nothing that they could run.
///
/// Dictionaries, lists, tuples, numbers, strings, bytes, booleans and None are built; an opcode that
/// names, imports or calls anything ends the reading with an error. Protocols 0 to 5, as far as they
/// hold only these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pickle {

struct Value;

struct None {};
/// Of values that the document owns: one may be named more than once, and hold itself.
using List = std::vector<const Value*>;
/// In the order written.
using Dictionary = std::vector<std::pair<const Value*, const Value*>>;

struct Value {
  std::variant<None, bool, std::int64_t, std::uint64_t, double, std::string, List, Dictionary> data;

  /// Returns the value of a text key, null if there is none or this is no dictionary.
  [[nodiscard]] const Value* find(std::string_view key) const;
  /// Returns how many keys it has, 0 if this is no dictionary.
  [[nodiscard]] std::size_t keys() const {
    const Dictionary* const dictionary = std::get_if<Dictionary>(&data);
    return dictionary == nullptr ? 0 : dictionary->size();
  }
  /// Returns the items, null if this is neither list nor tuple.
  [[nodiscard]] const List* list() const { return std::get_if<List>(&data); }
  /// Returns the text, null if this is none.
  [[nodiscard]] const std::string* text() const { return std::get_if<std::string>(&data); }
  /// Returns a whole number of at least 0, null if this is none.
  [[nodiscard]] const std::uint64_t* number() const { return std::get_if<std::uint64_t>(&data); }
};

/// What is wrong, at which byte.
class Error : public std::runtime_error {
 public:
  Error(std::size_t at, const std::string& what)
      : std::runtime_error{"byte " + std::to_string(at) + ": " + what} {}
};

/// What a pickle holds. Moved, not copied: the values name each other by address.
struct Document {
  std::deque<Value> values;
  const Value* root = nullptr;

  Document() = default;
  Document(Document&&) = default;
  Document& operator=(Document&&) = default;
};

/// Throws: `Error`; `std::bad_alloc`. Memory: some 50 times the bytes, at most.
[[nodiscard]] Document read(std::string_view bytes);

}  // namespace pickle
