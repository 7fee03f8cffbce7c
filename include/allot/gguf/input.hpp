// SPDX-License-Identifier: MIT
/// \file
/// Opens and reads files; reports what the system refuses as a `ParseError`.
#pragma once

#include <allot/gguf/error.hpp>
#include <allot/os/file_error.hpp>
#include <allot/os/input_file.hpp>
#include <allot/os/path.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace allot::gguf {

/// Throws: `ParseError` if it cannot be opened, or is not a regular file.
[[nodiscard]] inline os::InputFile open_input(os::Path path) {
  try {
    return os::InputFile{std::move(path)};
  } catch (const os::FileError& error) {
    throw ParseError{error};
  }
}

/// Fills `into` with the bytes from `offset` on. Several threads may read at once.
/// Throws: `ParseError` if the file ends before that, or cannot be read.
inline void read_input(const os::InputFile& file, std::uint64_t offset, std::span<std::byte> into) {
  try {
    file.read(offset, into);
  } catch (const os::FileError& error) {
    throw ParseError{error};
  }
}

}  // namespace allot::gguf
