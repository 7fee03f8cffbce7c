// SPDX-License-Identifier: MIT
// Files, paths, pages and patterns: what every system has. Windows runs these, too.
#include <allot/core/units.hpp>
#include <allot/os/direct_file.hpp>
#include <allot/os/file_error.hpp>
#include <allot/os/file_mapping.hpp>
#include <allot/os/folder.hpp>
#include <allot/os/host_memory_info.hpp>
#include <allot/os/input_file.hpp>
#include <allot/os/output_file.hpp>
#include <allot/os/pages.hpp>
#include <allot/os/path.hpp>
#include <allot/os/pattern.hpp>
#include <allot/os/peak_memory.hpp>
#include <allot/os/random.hpp>
#include <allot/os/terminal.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "gguf/files.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;

using test::read_file;
using test::write_file;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("a path is taken as text or as std::filesystem::path") {
  const auto taken = [](const os::Path& path) { return path.text(); };
  CHECK(taken("a/b") == "a/b");
  CHECK(taken(std::string{"a/b"}) == "a/b");
  CHECK(taken(std::string_view{"a/b"}) == "a/b");
  CHECK(taken(fs::path{"a"} / "b") == (fs::path{"a"} / "b").string());
  static_assert(!std::is_convertible_v<int, os::Path>);
  static_assert(!std::is_convertible_v<std::vector<char>, os::Path>);
}

TEST_CASE("a file's name stands behind the last slash, its folder before") {
  CHECK(os::file_name_of("a/b/c.txt") == "c.txt");
  CHECK(os::folder_of("a/b/c.txt") == "a/b/");
  CHECK(os::file_name_of("c.txt") == "c.txt");
  CHECK(os::folder_of("c.txt").empty());
  CHECK(os::folder_of("/c.txt") == "/");
  CHECK(os::file_name_of("a/").empty());
#if defined(_WIN32)
  CHECK(os::file_name_of("a\\b/c.txt") == "c.txt");
  CHECK(os::file_name_of("a/b\\c.txt") == "c.txt");
  CHECK(os::folder_of("C:\\a\\c.txt") == "C:\\a\\");
  CHECK(os::folder_of("C:c.txt") == "C:");
#endif
}

TEST_CASE("a name of any letters is the same as text in UTF-8 and as std::filesystem::path") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / u8"gr\u00f6\u00dfer \u6a21\u578b \U0001f600";
  const std::u8string utf8 = path.u8string();
  const std::string name{utf8.begin(), utf8.end()};
  CHECK(os::Path{path}.text() == name);
  CHECK(!os::exists(name));
  os::OutputFile out{path};
  out.write(std::as_bytes(std::span{"text", 4}));
  out.close(false);
  out.commit();
  CHECK(os::exists(name));
  CHECK(os::InputFile{name}.size() == 4);
  CHECK(os::leads_to(name, os::InputFile{path}.id()));
  CHECK(text_of(os::FileMapping{os::InputFile{path}}.bytes()) == "text");
  std::set<std::string> names;
  os::for_each_name(os::folder_of(name), [&](std::string_view one) { names.emplace(one); });
  names.erase(".");
  names.erase("..");
  CHECK(names == std::set<std::string>{std::string{os::file_name_of(name)}});
}

TEST_CASE("a file is written beside its target, which is as it was until it is replaced") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  const std::string text(100'000, 'n');
  for (const auto partial : {os::OutputFile::Partial::named, os::OutputFile::Partial::unnamed}) {
    write_file(path, "old");
    {
      os::OutputFile out{path, partial};
      out.write(std::as_bytes(std::span{text}));
      out.close(true);
      CHECK(out.written() == text.size());
    }
    CHECK(test::files_in(folder.path()) == 1);
    CHECK(read_file(path) == "old");
    os::OutputFile out{path, partial};
    out.write(std::as_bytes(std::span{text}));
    out.close(false);
    out.give_name();
    CHECK(test::files_in(folder.path()) == 2);
    CHECK(read_file(path) == "old");
    out.commit();
    CHECK(test::files_in(folder.path()) == 1);
    CHECK(read_file(path) == text);
  }
  const auto no_folder = (folder.path() / "none" / "file").string();
  CHECK_THROWS_WITH_AS(os::OutputFile{no_folder},
                       ("cannot write " + no_folder + ": No such file or directory").c_str(),
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(os::OutputFile{folder.path()}, doctest::Contains("it is a folder"),
                       std::runtime_error);
}

TEST_CASE("a file is read from any offset, and its end is an error that says how much is missing") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  write_file(path, "0123456789");
  os::InputFile file{path};
  CHECK(file.size() == 10);
  CHECK(file.path() == path);
  std::array<std::byte, 4> into;
  file.read(3, into);
  CHECK(text_of(into) == "3456");
  try {
    file.read(8, into);
    FAIL("read beyond the end");
  } catch (const os::FileError& error) {
    CHECK(error.path() == path);
    CHECK(error.offset() == 10);
    CHECK(std::string_view{error.what()}.find("2 bytes short") != std::string_view::npos);
  }
  const os::InputFile moved{std::move(file)};
  moved.read(0, into);
  CHECK(text_of(into) == "0123");
}

TEST_CASE("a file is still the one that was opened if its name goes to another") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  write_file(path, "old");
  const os::InputFile file{path};
  write_file(folder.path() / "new", "new");
#if defined(_WIN32)  // where a name in use is not taken by another file at once
  fs::rename(path, folder.path() / "away");
#endif
  fs::rename(folder.path() / "new", path);
  std::array<std::byte, 3> into;
  file.read(0, into);
  CHECK(text_of(into) == "old");
  CHECK(text_of(os::FileMapping{file}.bytes()) == "old");
}

TEST_CASE("what is not there or is not a regular file cannot be opened, and the error says why") {
  const test::TemporaryFolder folder;
  const auto problem_of = [](const fs::path& path) -> std::string {
    try {
      os::InputFile file{path};
    } catch (const os::FileError& error) {
      CHECK(error.path() == path);
      return error.what();
    }
    return "opened";
  };
  CHECK(problem_of(folder.path() / "none") == "cannot open: No such file or directory");
  CHECK(problem_of(folder.path()) == "a folder; name a file in it");
}

TEST_CASE("a mapping has the file's bytes, and one of an empty file has none") {
  const test::TemporaryFolder folder;
  write_file(folder.path() / "file", "0123456789");
  write_file(folder.path() / "empty", "");
  os::FileMapping mapping{os::InputFile{folder.path() / "file"}};
  CHECK(text_of(mapping.bytes()) == "0123456789");
  const os::FileMapping moved{std::move(mapping)};
  CHECK(text_of(moved.bytes()) == "0123456789");
  const os::FileMapping empty{os::InputFile{folder.path() / "empty"}};
  CHECK(empty.bytes().empty());
  CHECK(!os::FileMapping{}.is_mapped());
}

TEST_CASE("direct reads give any range of a file, and say if the file is too short") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  std::string bytes(3 * 4096 + 100, ' ');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>('a' + i * 7 % 23);
  write_file(path, bytes);
  const os::InputFile file{path};
  const os::DirectFile direct{file};
  if (!direct.is_open()) return;  // the file system has no direct reads
  const std::uint64_t room = os::DirectFile::room_for(bytes.size());
  std::byte* const memory = os::map_pages(align_down(room + 4095, 4096), 4096);
  REQUIRE(memory != nullptr);
  const std::span buffer{memory, static_cast<std::size_t>(room)};
  bool is_refused = false;
  const std::pair<std::uint64_t, std::uint64_t> ranges[] = {
      {0, 1}, {0, 4096}, {1, 4096}, {4095, 2}, {5000, 7388}, {12'287, 101}, {0, bytes.size()}};
  for (const auto& range : ranges) {
    const auto offset = range.first;  // a message captures no structured binding under clang++ 14
    const auto size = range.second;
    INFO(offset, " ", size);
    const std::byte* const first = direct.read(offset, size, buffer);
    is_refused = first == nullptr;  // if the file system has larger blocks
    if (is_refused) break;
    CHECK(text_of({first, static_cast<std::size_t>(size)}) == bytes.substr(offset, size));
  }
  if (!is_refused)
    CHECK_THROWS_AS(static_cast<void>(direct.read(12'000, 1000, buffer)), os::FileError);
  os::unmap_pages(memory, align_down(room + 4095, 4096));
}

TEST_CASE("pages are mapped at the alignment asked for, hold zeros, and can be filled at once") {
  std::byte* const first = os::map_pages(4 * MiB, 2 * MiB);
  REQUIRE(first != nullptr);
  CHECK(reinterpret_cast<std::uintptr_t>(first) % (2 * MiB) == 0);
  os::prefer_huge_pages(first, 4 * MiB);
  os::populate_pages(first + 100, 1 * MiB);
  CHECK(std::all_of(first, first + 4 * MiB, [](std::byte byte) { return byte == std::byte{0}; }));
  first[4 * MiB - 1] = std::byte{1};
  os::unmap_pages(first, 4 * MiB);
  CHECK(os::map_pages(std::uint64_t{1} << 60, 2 * MiB) == nullptr);
}

TEST_CASE("the system says what memory the host and this process have") {
  const MemoryInfo memory = host_memory();
  CHECK(memory.free > 0);
  CHECK(memory.total > 0);
  CHECK(os::peak_resident_bytes() > 0);
  CHECK(os::random_seed() == os::random_seed());
  CHECK(os::peak_resident_bytes() < memory.total);
}

TEST_CASE("the width of a terminal is known where there is one") {
  if (!os::has_terminal()) CHECK(os::error_columns() == 0);
  CHECK(os::output_columns() < 100'000);
}

TEST_CASE("pages that are returned can be written again") {
  std::byte* const first = os::map_pages(1 * MiB, 64 * KiB);
  REQUIRE(first != nullptr);
  std::fill(first, first + 1 * MiB, std::byte{7});
  os::return_pages(first + 1, 1 * MiB - 1);
  CHECK(first[0] == std::byte{7});  // its page lies not wholly in the range
  std::fill(first, first + 1 * MiB, std::byte{8});
  CHECK(first[1 * MiB - 1] == std::byte{8});
  os::unmap_pages(first, 1 * MiB);
}

TEST_CASE("patterns are those of a shell, and a slash is a letter like others") {
  CHECK(os::matches("blk.*.attn_[qk].weight", "blk.12.attn_q.weight"));
  CHECK(!os::matches("blk.*.attn_[qk].weight", "blk.12.attn_v.weight"));
  CHECK(os::matches("a*c", "a/b/c"));
  CHECK(os::matches("a?c", "abc"));
  CHECK(os::matches("[!a-c]*[]]", "d]"));
  CHECK(!os::matches("[!a-c]*[]]", "b]"));
  CHECK(os::matches("a\\*", "a*"));
  CHECK(!os::matches("a\\*", "ab"));
}
