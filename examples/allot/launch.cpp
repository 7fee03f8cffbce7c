// SPDX-License-Identifier: MIT
#include "launch.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "output.hpp"
#include "printable.hpp"
#include "signals.hpp"

namespace {

namespace fs = std::filesystem;

/// Beside the tool, as it was built or installed, or where it was to be installed.
std::string find_library(const std::string& name) {
  std::vector<fs::path> folders;
  if (const char* const told = std::getenv("ALLOT_LIBRARIES")) folders.emplace_back(told);
  std::error_code ignored;
  const fs::path tool = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  if (!tool.empty()) {
    folders.push_back(tool);
    folders.push_back(tool / ALLOT_LIBRARIES_FROM_TOOL);
  }
  std::string looked_in;
  for (const fs::path& folder : folders) {
    if (fs::is_regular_file(folder / name, ignored))
      return fs::absolute(folder / name).lexically_normal().string();
    looked_in += (looked_in.empty() ? "" : ", ") + printable(folder.lexically_normal().string());
  }
  throw std::runtime_error{
      "there is no " + name + " in " + looked_in +
      "; build and install allot with -Dcapi=enabled, or say where it is: --library"};
}

void set(const std::string& name, const std::string& value) {
  if (::setenv(name.c_str(), value.c_str(), 1) != 0)
    throw std::system_error{errno, std::generic_category(), "the environment cannot be changed"};
}

}  // namespace

std::string absolute(const std::string& path) { return fs::absolute(path).string(); }

void require_place_for(const std::string& path, bool may_replace) {
  if (!may_replace) refuse_to_overwrite({path});
  if ((fs::exists(path) && !fs::is_regular_file(path)) || !std::ofstream{path})
    throw std::runtime_error{printable(path) + ": no file can be written there"};
  fs::remove(path);
}

void launch(const Launch& launch, const char* name) {
  std::error_code ignored;
  if (!launch.library.empty() && !fs::is_regular_file(launch.library, ignored))
    throw std::runtime_error{printable(launch.library) +
                             ": the library was not found; check --library, or leave it out to use "
                             "that beside the tool"};
  std::string preload = launch.library.empty() ? find_library(name) : absolute(launch.library);
  if (preload.find_first_of(": ") != std::string::npos) {
    throw std::runtime_error{
        printable(preload) +
        ": a library in a folder with a colon or a space in its name cannot be preloaded"};
  }
  if (const char* const before = std::getenv("LD_PRELOAD"); before != nullptr && *before != '\0')
    preload += std::string{":"} + before;
  set("LD_PRELOAD", preload);
  set("ALLOT_SEAM_PROCESS", std::to_string(::getpid()));
  for (const auto& [variable, value] : launch.environment) set(variable, value);
  std::vector<char*> arguments;
  for (const std::string& argument : launch.program)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  restore_signals();
  ::execvp(arguments[0], arguments.data());
  throw std::runtime_error{printable(launch.program[0]) +
                           ": cannot be run: " + std::strerror(errno)};
}
