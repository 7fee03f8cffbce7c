// SPDX-License-Identifier: MIT
// What README and docs/ say besides their C++ blocks, which are test cases of this program as well.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tool/run_program.hpp"

namespace {

namespace fs = std::filesystem;

const fs::path root{ALLOT_SOURCE_ROOT};

struct Line {
  fs::path page;
  std::size_t number;
  std::string text;
  bool is_block;  // in a fence, or indented
};

std::vector<Line> lines_of_pages() {
  std::vector<fs::path> pages{root / "README.md", root / "CONTRIBUTING.md"};
  for (const auto& entry : fs::directory_iterator{root / "docs"})
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  std::sort(pages.begin(), pages.end());
  std::vector<Line> lines;
  for (const fs::path& page : pages) {
    std::ifstream file{page};
    bool is_fenced = false;
    std::size_t number = 0;
    for (std::string text; std::getline(file, text);) {
      const bool is_fence = text.starts_with("```");
      if (is_fence) is_fenced = !is_fenced;
      lines.push_back({fs::relative(page, root), ++number, text,
                       is_fenced || is_fence || text.starts_with("    ")});
    }
  }
  return lines;
}

/// Cells of a table's row; a bar in backquotes or after a backslash is none of its own.
std::size_t cells_of(const std::string& row) {
  std::size_t bars = 0;
  bool is_code = false;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i] == '`') is_code = !is_code;
    if (row[i] == '|' && !is_code && (i == 0 || row[i - 1] != '\\')) ++bars;
  }
  return bars - 1;
}

/// What stands between an opening and a closing text, each time.
std::vector<std::string> between(const std::string& text, const std::string& opening,
                                 char closing) {
  std::vector<std::string> found;
  for (std::size_t at = text.find(opening); at != text.npos; at = text.find(opening, at)) {
    at += opening.size();
    found.push_back(text.substr(at, text.find(closing, at) - at));
  }
  return found;
}

std::string text_of(const fs::path& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  for (const char letter : text + ' ') {
    if (letter != ' ') {
      word += letter;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  return words;
}

/// The letters that a name of an option has, from its start: `--margin` of `--margin=usual)`.
std::string option_in(const std::string& word) {
  const auto end = std::find_if(word.begin() + 2, word.end(), [](char letter) {
    return letter != '-' && (letter < 'a' || letter > 'z') && (letter < '0' || letter > '9');
  });
  return {word.begin(), end};
}

}  // namespace

TEST_CASE("the rows of a table have as many cells as its head") {
  std::size_t cells = 0;
  for (const Line& line : lines_of_pages()) {
    CAPTURE(line.page);
    CAPTURE(line.number);
    if (line.is_block || !line.text.starts_with("|")) {
      cells = 0;
      continue;
    }
    if (cells == 0) cells = cells_of(line.text);
    CHECK(cells_of(line.text) == cells);
  }
}

TEST_CASE("a link to a file of the project leads somewhere") {
  for (const Line& line : lines_of_pages()) {
    if (line.is_block) continue;
    for (const std::string& link : between(line.text, "](", ')')) {
      if (link.starts_with("http") || link.starts_with("#")) continue;
      CAPTURE(line.page);
      CAPTURE(line.number);
      CAPTURE(link);
      CHECK(fs::exists(root / line.page.parent_path() / link.substr(0, link.find('#'))));
    }
  }
}

TEST_CASE("every class that is thrown has a row of docs/errors.md") {
  const std::string page = text_of(root / "docs/errors.md");
  std::size_t classes = 0;
  for (const auto& entry : fs::recursive_directory_iterator{root / "include"}) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file{entry.path()};
    for (std::string text; std::getline(file, text);) {
      if (!text.starts_with("class ")) continue;
      const std::size_t base = text.find(" : public ");
      if (base == text.npos) continue;
      const std::string bases = text.substr(base);
      if (bases.find("_error") == bases.npos && bases.find("bad_alloc") == bases.npos &&
          bases.find("invalid_argument") == bases.npos && bases.find("Error") == bases.npos)
        continue;
      const std::string name = text.substr(6, base - 6);
      CAPTURE(entry.path());
      CAPTURE(name);
      CHECK((page.find("| `" + name + "`") != page.npos ||
             page.find("::" + name + "` |") != page.npos));
      ++classes;
    }
  }
  CHECK(classes >= 12);
}

// In an indented or fenced line, what follows a `$` or begins it: a command of the tool or of a script.
TEST_CASE("the options in the pages' commands exist") {
  const char* const tool = std::getenv("ALLOT_TOOL");
  std::map<std::string, std::string> known;  // a command, and all that it says of itself
  for (const Line& line : lines_of_pages()) {
    if (!line.is_block) continue;
    std::vector<std::string> words = words_of(line.text.substr(0, line.text.find(" #")));
    if (!words.empty() && words[0] == "$") words.erase(words.begin());
    if (words.empty() || words[0].ends_with(":")) continue;  // "FILE: ...", which a command printed
    std::string command = words[0];
    if (command.ends_with(':')) continue;  // what a command prints of a file
    const bool is_tool = command == "allot" || command.ends_with("/allot");
    if (!is_tool && !command.starts_with("scripts/") && !command.starts_with("bench/")) continue;
    CAPTURE(line.page);
    CAPTURE(line.number);
    if (is_tool) {
      if (tool == nullptr || words.size() < 2) continue;
      command = words[1];
      if (!known.contains(command)) {
        const bool is_command = !command.starts_with("-");
        known[command] =
            allot::test::run_program(tool, (is_command ? command + " " : "") + "--help").out;
      }
    } else {
      REQUIRE(fs::exists(root / command));
      if (!known.contains(command)) known[command] = text_of(root / command);
    }
    for (const std::string& word : words) {
      if (word == "|" || word == "&&" || word == ";") break;
      if (!word.starts_with("--") || word.size() == 2) continue;
      CAPTURE(word);
      CHECK(known[command].find(option_in(word)) != std::string::npos);
    }
  }
}
