// SPDX-License-Identifier: MIT
/// \file
/// `whole_records_in`: where a recording that a program did not finish can be continued.
#pragma once

#include <allot/core/units.hpp>
#include <allot/os/file_error.hpp>
#include <allot/os/input_file.hpp>
#include <allot/report/trace_records.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace allot::report::detail {

/// Returns true if bytes that are not empty are a start record, or the beginning of one.
[[nodiscard]] inline bool begins_with_start(std::string_view bytes) noexcept {
  const auto length = static_cast<unsigned char>(bytes[0]);
  const std::size_t least = trace_mark.size() + 3;  // the kind and two numbers
  if (length < least || (bytes.size() == 1 && length > least + 18)) return false;
  if (bytes.size() > 1 && bytes[1] != static_cast<char>(TraceKind::start)) return false;
  const std::string_view mark = bytes.substr(bytes.size() < 2 ? bytes.size() : 2);
  return mark.substr(0, trace_mark.size()) == trace_mark.substr(0, mark.size());
}

/// Returns how many bytes the whole records of an `allot-trace` 2 take: what follows was cut off.
/// Complexity: linear in the file's bytes, which are read once.
/// Throws: `os::FileError` for a file of something else, and if it cannot be read; `std::bad_alloc`.
inline std::uint64_t whole_records_in(const os::InputFile& file) {
  std::vector<char> piece(64 * 1024);
  bool has_started = false;
  std::uint64_t at = 0;
  while (at < file.size()) {
    const auto bytes =
        static_cast<std::size_t>(smaller<std::uint64_t>(piece.size(), file.size() - at));
    file.read(at, std::as_writable_bytes(std::span{piece}.first(bytes)));
    std::string_view rest{piece.data(), bytes};
    while (!rest.empty()) {
      const std::size_t length = static_cast<unsigned char>(rest[0]);
      if (length != 0 && !has_started && !begins_with_start(rest)) {
        throw os::FileError{file.path(), at,
                            "not an allot-trace 2 in bytes, so that nothing can be recorded after "
                            "it; name another file"};
      }
      if (rest.size() < 1 + length) break;
      has_started |= length != 0;
      rest.remove_prefix(1 + length);
    }
    if (rest.size() == bytes) break;  // not even one is whole
    at += bytes - rest.size();
  }
  return at;
}

}  // namespace allot::report::detail
