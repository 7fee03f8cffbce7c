// SPDX-License-Identifier: MIT
/// \file
/// Where the shared test data are: `ALLOT_TEST_DATA`, or `../shared` beside the project.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>

namespace allot::test {

/// The data folder, or nothing, said on standard output.
[[nodiscard]] inline std::optional<std::filesystem::path> data_dir() {
  const char* const named = std::getenv("ALLOT_TEST_DATA");
  const std::filesystem::path root =
      named != nullptr ? std::filesystem::path{named}
                       : std::filesystem::path{ALLOT_SOURCE_ROOT} / ".." / "shared";
  if (std::filesystem::is_directory(root / "data")) return root / "data";
  std::cout << "left out: " << root.string()
            << " holds no test data; set ALLOT_TEST_DATA to the folder that has data/\n";
  return std::nullopt;
}

/// A folder of its own, removed at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder() {
#if defined(_WIN32)
    static int made = 0;
    do {
      path_ = std::filesystem::temp_directory_path() / ("allot-" + std::to_string(made++));
    } while (!std::filesystem::create_directory(path_));
#else
    std::string pattern = (std::filesystem::temp_directory_path() / "allot-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error{"no temporary folder"};
    path_ = pattern;
#endif
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace allot::test
