// SPDX-License-Identifier: MIT
#include "convert_picture.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <vector>

#include "printable.hpp"

extern char** environ;

namespace {

namespace fs = std::filesystem;

/// A folder that only this user can look into, gone at the end of the scope.
class PrivateFolder {
 public:
  PrivateFolder() : path_{(fs::temp_directory_path() / "allot-XXXXXX").string()} {
    if (::mkdtemp(path_.data()) == nullptr)
      throw std::system_error{errno, std::generic_category(), printable(path_)};
  }
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;
  ~PrivateFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  [[nodiscard]] std::string file(const char* name) const {
    return (fs::path{path_} / name).string();
  }

 private:
  std::string path_;
};

/// Runs a program that says nothing. Returns its status.
int run(const std::vector<std::string>& arguments) {
  std::vector<char*> words;
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO})
    ::posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_WRONLY, 0);
  ::pid_t child = 0;
  const int error = ::posix_spawn(&child, words[0], &actions, nullptr, words.data(), ::environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error{error, std::generic_category(), printable(arguments[0])};
  int status = 0;
  while (::waitpid(child, &status, 0) == -1) {
    if (errno != EINTR) throw std::system_error{errno, std::generic_category(), "waitpid"};
  }
  return status;
}

/// Returns the number that stands in an attribute of the first element, which is ours.
std::string attribute(const std::string& svg, std::string_view name) {
  const std::size_t at = svg.find(name) + name.size();
  return svg.substr(at, svg.find('"', at) - at);
}

std::vector<std::string> arguments_of(const PictureConverter& converter, const std::string& svg,
                                      const PrivateFolder& folder) {
  const std::string from = folder.file("picture.svg");
  const std::string to = folder.file("picture.png");
  if (converter.name == "rsvg-convert") return {converter.program, "--output", to, from};
  if (converter.name == "magick" || converter.name == "convert")
    return {converter.program, "svg:" + from, "png:" + to};
  if (converter.name == "inkscape")
    return {converter.program, "--export-type=png", "--export-filename=" + to, from};
  std::vector<std::string> arguments{
      converter.program,
      "--headless",
      "--disable-gpu",
      "--hide-scrollbars",
      "--user-data-dir=" + folder.file("profile"),
      "--window-size=" + attribute(svg, "width=\"") + "," + attribute(svg, "height=\""),
      "--screenshot=" + to,
      "file://" + from};
  if (::geteuid() == 0) arguments.insert(arguments.begin() + 1, "--no-sandbox");
  return arguments;
}

}  // namespace

PictureConverter find_picture_converter() {
  const char* const path = std::getenv("PATH");
  const std::string folders = path == nullptr ? "" : path;
  for (const char* const name : {"rsvg-convert", "magick", "convert", "inkscape", "chromium",
                                 "chromium-browser", "google-chrome"}) {
    for (std::size_t begin = 0; begin < folders.size();) {
      const std::size_t end = std::min(folders.find(':', begin), folders.size());
      const std::string program = folders.substr(begin, end - begin) + "/" + name;
      if (program.size() > std::string_view{name}.size() + 1 &&
          ::access(program.c_str(), X_OK) == 0)
        return {name, program};
      begin = end + 1;
    }
  }
  throw std::runtime_error{
      "--png needs a program that draws SVG files: install rsvg-convert (librsvg2-bin), "
      "ImageMagick, Inkscape or Chromium, or write --svg"};
}

std::string png_of(const std::string& svg, const PictureConverter& converter) {
  const PrivateFolder folder;
  const std::string from = folder.file("picture.svg");
  if (!(std::ofstream{from, std::ios::binary} << svg << std::flush))
    throw std::runtime_error{printable(from) + ": cannot be written"};
  const int status = run(arguments_of(converter, svg, folder));
  std::ifstream made{folder.file("picture.png"), std::ios::binary};
  std::string png{std::istreambuf_iterator<char>{made}, {}};
  if (status != 0 || !png.starts_with("\x89PNG")) {
    throw std::runtime_error{printable(converter.program) +
                             " made no PNG file of the picture; write --svg and convert it"};
  }
  return png;
}
