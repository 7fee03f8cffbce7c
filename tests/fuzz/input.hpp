// SPDX-License-Identifier: MIT
/// \file
/// What the fuzz targets share. `scripts/fuzz` builds and runs them.
///
/// | target            | what its input is                                                    |
/// |-------------------|----------------------------------------------------------------------|
/// | `fuzz_reader`     | a GGUF file, or shards of a split one, `InputFiles::border` between  |
/// | `fuzz_writer`     | such a file, copied where it is read; else calls of the writer       |
/// | `fuzz_plan`       | such a file; its last 16 bytes choose the options                    |
/// | `fuzz_dequantize` | a type, a choice, blocks                                             |
/// | `fuzz_tool`       | a CSV file of lifetimes, a trace, a log of requests, or a dump       |
///
/// One execution opens a real file, since a `gguf::File` has a path: a few microseconds of system
/// calls in /dev/shm, a small part of what the sanitizers take.
#pragma once

#include <allot/gguf/error.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::fuzz {

/// Ends the program, which libFuzzer reports with the input, unless `holds`.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

/// A file in memory, at one path for the whole run.
class InputFile {
 public:
  explicit InputFile(std::filesystem::path path) : path_{std::move(path)} {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(descriptor_ >= 0, "the input's file can be made");
  }
  InputFile(InputFile&& other) noexcept
      : path_{std::move(other.path_)}, descriptor_{std::exchange(other.descriptor_, -1)} {}
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    ::unlink(path_.c_str());
  }

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

  void set(std::span<const std::uint8_t> bytes) const {
    const auto size = static_cast<::ssize_t>(bytes.size());
    require(::pwrite(descriptor_, bytes.data(), bytes.size(), 0) == size &&
                ::ftruncate(descriptor_, size) == 0,
            "the input's file can be written");
  }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// A folder for this process, in memory where there is /dev/shm; removed at the end.
class InputFolder {
 public:
  InputFolder() {
    const std::filesystem::path shm{"/dev/shm"};
    const std::filesystem::path parent =
        std::filesystem::is_directory(shm) ? shm : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "allot-fuzz-XXXXXX").string();
    require(::mkdtemp(pattern.data()) != nullptr, "there is a folder for the input's file");
    path_ = pattern;
  }
  InputFolder(const InputFolder&) = delete;
  InputFolder& operator=(const InputFolder&) = delete;
  ~InputFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

/// The input as a file, or as up to four shards.
class InputFiles {
 public:
  static constexpr std::string_view border = "--SHARD--";
  static constexpr std::size_t most_shards = 4;

  /// The path to open.
  [[nodiscard]] const std::filesystem::path& set(std::span<const std::uint8_t> bytes) {
    const std::vector<std::span<const std::uint8_t>> parts = divide(bytes);
    if (parts.size() == 1) {
      single_.set(bytes);
      return single_.path();
    }
    shards_.clear();
    for (std::size_t i = 0; i < parts.size(); ++i) {
      char name[32];
      std::snprintf(name, sizeof name, "m-%05u-of-%05u.gguf", static_cast<unsigned>(i + 1),
                    static_cast<unsigned>(parts.size()));
      shards_.emplace_back(folder_.path() / name).set(parts[i]);
    }
    return shards_.front().path();
  }

 private:
  [[nodiscard]] static std::vector<std::span<const std::uint8_t>> divide(
      std::span<const std::uint8_t> bytes) {
    std::vector<std::span<const std::uint8_t>> parts;
    while (parts.size() + 1 < most_shards) {
      const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
      const std::size_t at = text.find(border);
      if (at == std::string_view::npos) break;
      parts.push_back(bytes.first(at));
      bytes = bytes.subspan(at + border.size());
    }
    parts.push_back(bytes);
    return parts;
  }

  InputFolder folder_;
  InputFile single_{folder_.path() / "m.gguf"};
  std::vector<InputFile> shards_;
};

/// Choices taken from the input, byte by byte; zeros where it ends.
class Choices {
 public:
  explicit Choices(std::span<const std::uint8_t> bytes) noexcept : bytes_{bytes} {}

  [[nodiscard]] bool is_empty() const noexcept { return bytes_.empty(); }

  template <class T>
  [[nodiscard]] T number() noexcept {
    T value{};
    const std::size_t count = bytes_.size() < sizeof(T) ? bytes_.size() : sizeof(T);
    if (count != 0) std::memcpy(&value, bytes_.data(), count);
    bytes_ = bytes_.subspan(count);
    return value;
  }
  [[nodiscard]] std::uint8_t below(std::uint8_t end) noexcept {
    return static_cast<std::uint8_t>(number<std::uint8_t>() % end);
  }
  [[nodiscard]] bool flag() noexcept { return (number<std::uint8_t>() & 1U) != 0; }
  [[nodiscard]] std::string_view text(std::size_t most) noexcept {
    const std::size_t count = std::min<std::size_t>({bytes_.size(), most});
    const std::string_view taken{reinterpret_cast<const char*>(bytes_.data()), count};
    bytes_ = bytes_.subspan(count);
    return taken;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

/// What a refusal says is of use: where, and which rule.
inline void check_refusal(const gguf::ParseError& error, std::size_t input_bytes) {
  require(error.offset() <= input_bytes, "a refusal names a byte of the file, or its end");
  require(!error.rule().empty(), "a refusal names the rule");
}

/// Reads every byte of a text or of data; under the sanitizers, that is a check.
template <class Range>
[[nodiscard]] std::uint64_t sum_of(const Range& bytes) noexcept {
  std::uint64_t sum = 0;
  for (const auto byte : bytes) sum += static_cast<std::uint8_t>(byte);
  return sum;
}

/// Keeps what was computed.
inline void keep(std::uint64_t value) noexcept { asm volatile("" : : "r"(value)); }

}  // namespace allot::fuzz
