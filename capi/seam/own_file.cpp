// SPDX-License-Identifier: MIT
#include "own_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

namespace allot::seam {
namespace {

[[nodiscard]] bool make(const std::string& path, int what_if_it_exists) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | what_if_it_exists, 0666);
  if (file < 0) return false;
  ::close(file);
  return true;
}

}  // namespace

std::string make_own_file(const std::string& path) {
  if (path.empty()) return {};
  if (make(path, O_EXCL)) return path;
  std::string own = path + "." + std::to_string(::getpid());
  return make(own, O_TRUNC) ? own : std::string{};
}

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_first_process() { return variable("ALLOT_SEAM_PROCESS") == std::to_string(::getpid()); }

}  // namespace allot::seam
