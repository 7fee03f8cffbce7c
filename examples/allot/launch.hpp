// SPDX-License-Identifier: MIT
/// \file
/// Starts another program in the tool's place, with a library of allot's in front of HIP's.
#pragma once

#include <string>
#include <utility>
#include <vector>

/// What to start, and with what.
struct Launch {
  std::vector<std::string> program;  // and its arguments
  std::string library;  // where it is; empty: beside the tool, or where it was installed
  std::vector<std::pair<std::string, std::string>> environment;  // added to the tool's own
};

/// Becomes the program, which has the tool's process from then on: its exit status and its signals are what
/// the caller sees.
/// \param name  of the library's file
/// Throws: `std::runtime_error` if the program or the library is not there.
[[noreturn]] void launch(const Launch& launch, const char* name);

/// Makes sure that the program's processes can make a file, the first of them this one.
/// Throws: `std::runtime_error` for a file that exists, unless it may be replaced, and for a place where
/// there can be none.
void require_place_for(const std::string& path, bool may_replace);

/// Returns where a file is, from whatever folder the program goes to.
[[nodiscard]] std::string absolute(const std::string& path);
