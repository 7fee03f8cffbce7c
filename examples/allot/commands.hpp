// SPDX-License-Identifier: MIT
/// \file
/// The commands of the allot tool. Each prints its result to standard output and throws where it
/// cannot be done.
#pragma once

#include <cstdint>
#include <string>

struct InspectOptions {
  std::string file;
  bool tensors = false;
  bool metadata = false;
  bool json = false;
};

struct MemoryOptions {
  std::string file;
  std::string device = "host";
  std::uint64_t alignment = 256;
  std::string margin = "usual";
  bool verify = false;
  bool json = false;
};

void inspect(const InspectOptions& options);
void plan(const MemoryOptions& options);
void load(const MemoryOptions& options);
