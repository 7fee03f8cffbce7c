// SPDX-License-Identifier: MIT
/// \file
/// Reads the data that Python's pickles hold, and nothing that they could run.
///
/// Dictionaries, lists, tuples, numbers, strings, bytes, booleans and None are read; an opcode that
/// names, imports or calls anything ends the reading with an error. Protocols 0 to 5, as far as they
/// hold only these. Nothing is kept but what is asked for, so memory does not grow with the file,
/// but for a byte for each value that the pickle numbers to name it again.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "byte_stream.hpp"

namespace pickle {

/// What stands for a key in a row.
struct Scalar {
  enum class Kind : std::uint8_t {
    absent,
    number,  ///< whole, at least 0
    word,    ///< one of the texts that were asked for
    other,
  };
  Kind kind = Kind::absent;
  std::uint8_t word = 0;     ///< its index
  std::uint64_t number = 0;  ///< the number
};

/// A dictionary: at the index of each word what stands for it as a key.
using Row = std::span<const Scalar>;

/// What is wrong, at which byte.
class Error : public std::runtime_error {
 public:
  Error(std::uint64_t at, const std::string& what)
      : std::runtime_error{"byte " + std::to_string(at) + ": " + what} {}
};

/// Reads a pickle of a dictionary that has a list of lists of dictionaries, and calls `visit(row,
/// byte)` for each of these in order, when it was read. What else is in the pickle is checked and
/// skipped.
///
/// \param words  the texts to recognize, at most 200; the first is the key of the list of lists
/// Throws: `Error`, also if there is no such list; `std::bad_alloc`; what `visit` throws.
/// Memory: 32 MiB at most, and a byte for each numbered value.
void read_rows(ByteStream& input, std::span<const std::string_view> words,
               const std::function<void(Row row, std::uint64_t byte)>& visit);

}  // namespace pickle
