// SPDX-License-Identifier: MIT
#include "load_shares.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "printable.hpp"
#include "signals.hpp"

namespace {

namespace fs = std::filesystem;

/// Returns the arguments that this process was started with.
std::vector<std::string> own_arguments() {
  std::ifstream in{"/proc/self/cmdline", std::ios::binary};
  const std::string all{std::istreambuf_iterator<char>{in}, {}};
  std::vector<std::string> arguments;
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t end = all.find('\0', at);
    arguments.push_back(all.substr(at, end - at));
    at = end == std::string::npos ? all.size() : end + 1;
  }
  return arguments;
}

void become_allot_mpi(const MemoryOptions&) {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path() / "allot-mpi";
  std::vector<std::string> texts = own_arguments();
  std::vector<char*> arguments;
  for (std::string& text : texts) arguments.push_back(text.data());
  arguments.push_back(nullptr);
  restore_signals();
  ::execv(program.c_str(), arguments.data());
  throw std::runtime_error{"load --shares needs " + printable(program.string()) + " (" +
                           std::strerror(errno) +
                           "): install MPI (Debian: libopenmpi-dev) and build allot with "
                           "-Dmpi=enabled -Dexamples=enabled"};
}

}  // namespace

void (*load_shares)(const MemoryOptions&) = become_allot_mpi;
