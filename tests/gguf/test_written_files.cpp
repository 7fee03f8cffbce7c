// SPDX-License-Identifier: MIT
// The files that a writer makes, replaces or leaves, on POSIX systems; and a writer without memory.
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/copy.hpp>
#include <allot/gguf/writer/writer.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "gguf/files.hpp"
#include "gguf/work.hpp"
#include "support/patterns.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using gguf::TensorType;
using test::files_in;
using test::read_file;
using test::write_file;
namespace fs = std::filesystem;

/// Whether the file system of a folder has files without names.
bool has_unnamed_files(const fs::path& folder) {
#ifdef O_TMPFILE
  const int descriptor = ::open(folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
  if (descriptor >= 0) ::close(descriptor);
  return descriptor >= 0 && fs::exists("/proc/self/fd");
#else
  return false;
#endif
}

}  // namespace

TEST_CASE("a program that is killed while it writes leaves nothing, and the old file as it was") {
  const test::TemporaryFolder folder;
  if (!has_unnamed_files(folder.path())) {
    MESSAGE("left out: " << folder.path().string() << " has no files without names");
    return;
  }
  const fs::path path = folder.path() / "model.gguf";
  write_file(path, "old");
  gguf::Writer writer;
  for (const char* name : {"a", "b", "c"}) {
    writer.add_tensor(name, TensorType::I8, {1000}, [name](std::uint64_t, auto) {
      if (*name == 'c') ::kill(::getpid(), SIGKILL);
    });
  }
  for (const bool is_split : {false, true}) {
    const ::pid_t child = ::fork();
    if (child == 0) {
      gguf::SplitOptions options;
      options.max_tensors = 1;
      if (is_split) writer.write_split(folder.path() / "m", options);
      writer.write(path);
      ::_exit(0);
    }
    REQUIRE(child > 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(WTERMSIG(status) == SIGKILL);
    CHECK(files_in(folder.path()) == 1);
    CHECK(read_file(path) == "old");
  }
}

TEST_CASE("files that must have names are written beside, and replace what is there at the end") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  write_file(path, "old");
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  const std::string text = "new";
  for (const auto partial : {os::OutputFile::Partial::named, os::OutputFile::Partial::unnamed}) {
    const bool is_unnamed =
        partial == os::OutputFile::Partial::unnamed && has_unnamed_files(folder.path());
    write_file(path, "old");
    {
      os::OutputFile out{path, partial};
      out.write(std::as_bytes(std::span{text}));
      CHECK(files_in(folder.path()) == (is_unnamed ? 1 : 2));
      out.close(true);
    }
    CHECK(files_in(folder.path()) == 1);
    CHECK(read_file(path) == "old");
    os::OutputFile out{path, partial};
    out.write(std::as_bytes(std::span{text}));
    out.close(false);
    out.give_name();
    CHECK(files_in(folder.path()) == 2);
    out.commit();
    CHECK(files_in(folder.path()) == 1);
    CHECK(read_file(path) == "new");
    CHECK(fs::status(path).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
  }
}

TEST_CASE(
    "a file that a killed program with the same process id left is neither used nor in the way") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  const std::string text = "new";
  for (const auto partial : {os::OutputFile::Partial::named, os::OutputFile::Partial::unnamed}) {
    std::string name;  // .allot-PROCESS-NUMBER
    {
      const os::OutputFile probe{path, os::OutputFile::Partial::named};
      for (const auto& entry : fs::directory_iterator{folder.path()})
        if (entry.path() != path) name = entry.path().string();
    }
    const std::size_t digits = name.rfind('-') + 1;
    REQUIRE(digits > 1);
    const auto number = std::stoul(name.substr(digits));
    const fs::path left = name.substr(0, digits) + std::to_string(number + 1);
    write_file(left, "left");
    os::OutputFile out{path, partial};
    out.write(std::as_bytes(std::span{text}));
    out.close(false);
    out.commit();
    CHECK(read_file(path) == "new");
    CHECK(read_file(left) == "left");
    fs::remove(left);
    CHECK(files_in(folder.path()) == 1);
  }
}

TEST_CASE("a name as long as the file system allows can be written, named or unnamed before") {
  const test::TemporaryFolder folder;
  const std::string text = "new";
  for (const std::size_t length : {240U, 241U, 249U, 254U, 255U}) {
    for (const auto partial : {os::OutputFile::Partial::named, os::OutputFile::Partial::unnamed}) {
      const fs::path path = folder.path() / std::string(length, 'n');
      os::OutputFile out{path, partial};
      out.write(std::as_bytes(std::span{text}));
      out.close(false);
      out.commit();
      CHECK(read_file(path) == "new");
      CHECK(files_in(folder.path()) == 1);
      fs::remove(path);
    }
  }
  gguf::Writer writer;
  writer.add_tensor("a", TensorType::I8, {10}, test::fill_with_offsets);
  writer.add_tensor("b", TensorType::I8, {10}, test::fill_with_offsets);
  gguf::SplitOptions options;
  options.max_tensors = 1;
  const std::string ending = gguf::split_ending(2);
  const fs::path prefix = folder.path() / std::string(255 - 6 - ending.size(), 'p');
  CHECK(writer.write_split(prefix, options).size() == 2);
  CHECK_THROWS_WITH_AS(writer.write(folder.path() / std::string(256, 'n')),
                       doctest::Contains("File name too long"), std::runtime_error);
  CHECK(files_in(folder.path()) == 2);
}

TEST_CASE("a writer replaces none of the files that it copies, by whatever name") {
  const test::TemporaryFolder folder;
  gguf::Writer made;
  for (const char* const name : {"a", "b", "c"})
    made.add_tensor(name, TensorType::I8, {1000}, test::fill_with_offsets);
  gguf::SplitOptions one_each;
  one_each.max_tensors = 1;
  one_each.no_tensor_first_split = true;  // one of the shards has no tensor
  const std::vector<std::string> shards = made.write_split(folder.path() / "m", one_each);
  REQUIRE(shards.size() == 4);
  fs::create_symlink(shards[2], folder.path() / "symbolic.gguf");
  fs::create_hard_link(shards[1], folder.path() / "hard.gguf");
  fs::create_directory_symlink(folder.path(), folder.path() / "folder");
  std::vector<std::string> before;
  for (const std::string& shard : shards) before.push_back(read_file(shard));

  const gguf::File file{shards.front()};
  const gguf::Writer copy = gguf::copy_of(file);
  std::vector<std::string> targets = shards;
  for (const char* const name : {"symbolic.gguf", "hard.gguf", "folder/m-00004-of-00004.gguf",
                                 "folder/folder/./m-00001-of-00004.gguf"})
    targets.push_back((folder.path() / name).string());
  for (const std::string& target : targets) {
    INFO(target);
    CHECK_THROWS_WITH_AS(copy.write(target), doctest::Contains("write to another name"),
                         std::runtime_error);
    CHECK_THROWS_WITH_AS(copy.check_target(target), doctest::Contains(target.c_str()),
                         std::runtime_error);
  }
  CHECK_THROWS_WITH_AS(copy.write_split(folder.path() / "m", one_each),
                       doctest::Contains("write to another name"), std::runtime_error);
  // A writer that takes one tensor reads from that tensor's file alone.
  gguf::Writer part;
  gguf::add_tensor(part, file, *file.find("b"));
  CHECK_THROWS_AS(part.write(shards[2]), std::runtime_error);
  for (std::size_t i = 0; i < shards.size(); ++i) CHECK(read_file(shards[i]) == before[i]);
  CHECK_NOTHROW(part.write(shards[1]));
  CHECK_NOTHROW(copy.write(folder.path() / "whole.gguf"));
}

TEST_CASE("what is no regular file is written to as it is, an open descriptor, too") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add_tensor("a", TensorType::I8, {100}, test::fill_with_offsets);
  const std::uint64_t bytes = writer.write(folder.path() / "m.gguf");
  const std::string whole = read_file(folder.path() / "m.gguf");
  CHECK(bytes == whole.size());

  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const auto read_all = [&] {
    std::string text(whole.size(), '\0');
    std::size_t got = 0;
    while (got < text.size()) {
      const ::ssize_t more = ::read(ends[0], text.data() + got, text.size() - got);
      if (more <= 0) break;
      got += static_cast<std::size_t>(more);
    }
    return text;
  };
  for (const char* const form : {"/dev/fd/", "/proc/self/fd/"}) {
    CHECK(writer.write(form + std::to_string(ends[1])) == whole.size());
    CHECK(read_all() == whole);
  }
  CHECK_THROWS_WITH_AS(writer.write("/dev/fd/987"), doctest::Contains("Bad file descriptor"),
                       std::runtime_error);
  // A file behind a descriptor is written where the descriptor stands.
  const std::string log = (folder.path() / "log").string();
  const int open = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  REQUIRE(open >= 0);
  REQUIRE(::write(open, "head", 4) == 4);
  CHECK(writer.write("/dev/fd/" + std::to_string(open)) == whole.size());
  CHECK(read_file(log) == "head" + whole);
  ::close(open);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("a model of more shards than may be open at once is written whole") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  for (int i = 0; i < 300; ++i)
    writer.add_tensor("t" + std::to_string(i), TensorType::I8, {10}, test::fill_with_offsets);
  gguf::SplitOptions options;
  options.max_tensors = 1;
  rlimit before = {};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit small{200, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &small) == 0);
  std::vector<std::string> paths;
  CHECK_NOTHROW(paths = writer.write_split(folder.path() / "m", options));
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(paths.size() == 300);
  CHECK(files_in(folder.path()) == 300);
}

TEST_CASE("if writing fails, the old file is as it was, and nothing is left beside it") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "model.gguf";
  write_file(path, "old");
  gguf::Writer writer;
  writer.add_tensor("a", TensorType::I8, {1000}, [](std::uint64_t, std::span<std::byte>) {
    throw std::runtime_error{"no more"};
  });
  CHECK_THROWS_WITH_AS(writer.write(path), "no more", std::runtime_error);
  CHECK(read_file(path) == "old");
  gguf::SplitOptions options;
  CHECK_THROWS_WITH_AS(writer.write_split(folder.path() / "m", options), "no more",
                       std::runtime_error);
  CHECK(files_in(folder.path()) == 1);
  CHECK_THROWS_WITH_AS(writer.write(folder.path() / "none" / "m"),
                       doctest::Contains("none/m: No such file or directory"), std::runtime_error);
  CHECK_THROWS_WITH_AS(writer.write(folder.path()), doctest::Contains("it is a folder"),
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(gguf::Writer{}.write("/dev/full"),
                       "cannot write /dev/full: No space left on device", std::runtime_error);
}

TEST_CASE("a file that grows too large is an error that says so, and leaves nothing") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add_tensor("a", TensorType::I8, {100'000}, test::fill_with_offsets);
  rlimit before = {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{50'000, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  std::string message;
  try {
    writer.write(folder.path() / "m.gguf");
  } catch (const std::runtime_error& error) {
    message = error.what();
  }
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(message == "cannot write " + (folder.path() / "m.gguf").string() + ": File too large");
  CHECK(files_in(folder.path()) == 0);
}

TEST_CASE("a file keeps its mode and its link when it is rewritten") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "model.gguf";
  const fs::path link = folder.path() / "link.gguf";
  write_file(path, "old");
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("model.gguf", link);
  gguf::Writer{}.write(link, {.sync = true});
  CHECK(fs::is_symlink(link));
  CHECK(gguf::File{path}.tensors().empty());
  CHECK(fs::status(path).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(files_in(folder.path()) == 2);
}

TEST_CASE("a file whose permissions a new one cannot get is not replaced") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  write_file(path, "secret");
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  for (const auto partial : {os::OutputFile::Partial::named, os::OutputFile::Partial::unnamed}) {
    test::refuse_permissions(true);
    std::string message;
    try {
      const os::OutputFile out{path, partial};
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    test::refuse_permissions(false);
    CHECK(message == "cannot write " + path.string() +
                         ": a new file cannot get the permissions of the old one (Operation not "
                         "permitted); write to another path");
    CHECK(files_in(folder.path()) == 1);
    CHECK(read_file(path) == "secret");
  }
  {
    os::OutputFile out{path};
    out.close(false);
    out.commit();
  }
  const ::mode_t before = ::umask(0);
  fs::permissions(path, static_cast<fs::perms>(0666));
  test::refuse_permissions(true);  // a new file has them by itself
  CHECK_NOTHROW(os::OutputFile{path});
  test::refuse_permissions(false);
  ::umask(before);
}

TEST_CASE("a tensor that there was no memory for can be added again") {
  const std::string name(60, 'n');  // longer than what a string holds without memory
  bool added = false;
  for (std::size_t refused = 1; !added; ++refused) {
    gguf::Writer writer;
    writer.add_tensor("first", TensorType::I8, {10}, test::fill_with_offsets);
    const auto add = [&] {
      writer.add_tensor(name, TensorType::I8, {10}, test::fill_with_offsets);
    };
    test::refuse_allocation(refused);
    try {
      add();
      added = true;
    } catch (const std::bad_alloc&) {
    }
    test::refuse_allocation(0);
    if (added) {
      CHECK(refused > 2);
    } else {
      CHECK(writer.data_bytes() == 10);
      CHECK_NOTHROW(add());
    }
    CHECK(writer.data_bytes() == 42);
    CHECK_THROWS_AS(add(), std::invalid_argument);
  }
}
