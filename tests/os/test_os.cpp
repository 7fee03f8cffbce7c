// SPDX-License-Identifier: MIT
// What is POSIX's or Linux's own; test_files.cpp has what every system has.
#include <allot/core/units.hpp>
#include <allot/os/descriptor.hpp>
#include <allot/os/detail/shell_pattern.hpp>
#include <allot/os/host_memory_info.hpp>
#include <allot/os/pattern.hpp>
#include <allot/os/video_memory_info.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "gguf/files.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;

using test::write_file;

}  // namespace

TEST_CASE("a descriptor is closed once, by whichever object has it last") {
  const auto is_open = [](int number) { return ::fcntl(number, F_GETFD) != -1; };
  int number = -1;
  {
    os::Descriptor first{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    REQUIRE(first.is_open());
    number = first.number();
    os::Descriptor second{std::move(first)};
    os::Descriptor third;
    CHECK(!third.is_open());
    third = std::move(second);
    CHECK(third.number() == number);
    CHECK(is_open(number));
  }
  CHECK(!is_open(number));
  os::Descriptor closed{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  number = closed.number();
  CHECK(closed.close());
  CHECK(!closed.is_open());
  CHECK(!is_open(number));
}

TEST_CASE("a number in a file of the system ends at what is not a digit, and may be too large") {
  using namespace host_memory_info;
  CHECK(number("12 kB\n") == 12);
  CHECK(number(" \t\n7") == 7);
  CHECK(number("18446744073709551615") == ~std::uint64_t{0});
  CHECK(!number("18446744073709551616"));
  CHECK(!number("99999999999999999999999"));
  CHECK(!number("max\n"));
  CHECK(!number(""));
  CHECK(!number(" \n"));
  CHECK(!number("-1"));
}

TEST_CASE("a file of the system is read whole, and one that is not there is empty text") {
  const test::TemporaryFolder folder;
  const std::string bytes(10'000, 'x');
  write_file(folder.path() / "file", bytes);
  CHECK(host_memory_info::read(folder.path() / "file") == bytes);
  CHECK(host_memory_info::read(folder.path() / "none").empty());
  CHECK(host_memory_info::read(folder.path()).empty());
}

TEST_CASE("control groups are asked from a process's own up to the root, in either hierarchy") {
  const test::TemporaryFolder folder;
  const auto put = [&](const fs::path& group, const std::string& limit, const std::string& usage,
                       bool unified) {
    fs::create_directories(folder.path() / group);
    write_file(folder.path() / group / (unified ? "memory.max" : "memory.limit_in_bytes"), limit);
    write_file(folder.path() / group / (unified ? "memory.current" : "memory.usage_in_bytes"),
               usage);
  };
  put("", "9000\n", "1000\n", true);
  put("a", "1000\n", "400\n", true);
  put("a/b", "max\n", "100\n", true);
  put("memory/x", "500\n", "700\n", false);
  put("memory/y/z", "500\n", "100\n", false);
  const auto left = [&](std::string_view membership) {
    return host_memory_info::left_by_groups(membership, folder.path());
  };
  CHECK(left("0::/a/b\n") == 600);
  CHECK(left("0::/a/b") == 600);
  CHECK(left("0::/a/b/\n") == 600);
  CHECK(left("0::/\n") == 8000);
  CHECK(left("0::/none/deeper\n") == 8000);
  CHECK(left("4:cpu,memory:/x\n0::/a\n") == 0);
  CHECK(left("5:memory:/y/z\n3:cpu:/x\n") == 400);
  CHECK(left("3:cpu,memoryless:/x\n") == ~std::uint64_t{0});
  CHECK(left("garbage\n\n:\n") == ~std::uint64_t{0});
  CHECK(left("") == ~std::uint64_t{0});
}

TEST_CASE("a control group's inactive file cache is not used memory, in either hierarchy") {
  const test::TemporaryFolder folder;
  const auto put = [&](const fs::path& group, const char* name, const std::string& text) {
    fs::create_directories(folder.path() / group);
    write_file(folder.path() / group / name, text);
  };
  const auto left = [&](std::string_view membership) {
    return host_memory_info::left_by_groups(membership, folder.path());
  };
  put("a", "memory.max", "1000\n");
  put("a", "memory.current", "900\n");
  CHECK(left("0::/a\n") == 100);
  put("a", "memory.stat", "anon 200\nnot_inactive_file 5\ninactive_file 600\nactive_file 100\n");
  CHECK(left("0::/a\n") == 700);
  put("a", "memory.high", "max\n");
  CHECK(left("0::/a\n") == 700);
  put("a", "memory.high", "500\n");
  CHECK(left("0::/a\n") == 200);
  put("a", "memory.high", "100\n");
  CHECK(left("0::/a\n") == 0);
  put("a", "memory.stat", "inactive_file 5000\n");  // read later than what is used
  CHECK(left("0::/a\n") == 100);

  put("memory/x", "memory.limit_in_bytes", "9223372036854771712\n");  // none
  put("memory/x", "memory.usage_in_bytes", "900\n");
  CHECK(left("4:memory:/x\n") == ~std::uint64_t{0});
  put("memory/x", "memory.limit_in_bytes", "1000\n");
  put("memory/x", "memory.stat", "inactive_file 1\ntotal_inactive_file 300\n");
  CHECK(left("4:memory:/x\n") == 400);
  put("memory/x", "memory.memsw.limit_in_bytes", "1000\n");  // memory and swap together
  put("memory/x", "memory.memsw.usage_in_bytes", "950\n");
  CHECK(left("4:memory:/x\n") == 350);
  put("memory/x", "memory.stat", "inactive_file 100\n");
  CHECK(left("4:memory:/x\n") == 150);

  std::vector<MemorySource> sources;
  host_memory_info::add_groups(sources, "4:memory:/x\n0::/a\n", folder.path());
  REQUIRE(sources.size() == 4);
  CHECK(sources[0].source == folder.path() / "memory/x/memory.limit_in_bytes");
  CHECK(sources[0].bytes == 200);
  CHECK(sources[3].source == folder.path() / "a/memory.high");
}

namespace {

/// A control group of this process's memory that really is there, until it goes out of scope.
class RealGroup {
 public:
  RealGroup() {
    const fs::path root{"/sys/fs/cgroup"};
    const bool unified = fs::exists(root / "cgroup.controllers");
    folder_ = (unified ? root : root / "memory") / ("allot-test-" + std::to_string(::getpid()));
    std::error_code refused;
    made_ = fs::create_directory(folder_, refused) && fs::exists(limit_file(), refused) &&
            write(limit_file(), "268435456");
    membership_ = (unified ? "0::/" : "1:memory:/") + folder_.filename().string() + "\n";
  }
  ~RealGroup() {
    std::error_code refused;
    fs::remove(folder_, refused);
  }
  RealGroup(const RealGroup&) = delete;
  RealGroup& operator=(const RealGroup&) = delete;

  [[nodiscard]] bool is_made() const { return made_; }
  [[nodiscard]] const std::string& membership() const { return membership_; }
  /// Moves a process into it.
  bool enter() { return write(folder_ / "cgroup.procs", std::to_string(::getpid())); }

 private:
  [[nodiscard]] fs::path limit_file() const {
    const fs::path unified = folder_ / "memory.max";
    return fs::exists(unified) ? unified : folder_ / "memory.limit_in_bytes";
  }
  static bool write(const fs::path& path, const std::string& text) {
    std::ofstream file{path};
    file << text << std::flush;
    return static_cast<bool>(file);
  }

  fs::path folder_;
  std::string membership_;
  bool made_ = false;
};

}  // namespace

TEST_CASE("in a real control group, a file that was read leaves as much memory as before") {
  RealGroup group;
  if (!group.is_made()) {
    MESSAGE("skipped: a control group with a limit of memory cannot be made here");
    return;
  }
  const test::TemporaryFolder folder;
  const auto left = [&] {
    return host_memory_info::left_by_groups(group.membership(), "/sys/fs/cgroup");
  };
  const std::uint64_t before = left();
  CHECK(before <= 256 * MiB);
  const ::pid_t child = ::fork();
  if (child == 0) {  // pages count for the group of the process that reads or writes them first
    bool done = group.enter();
    std::ofstream out{folder.path() / "big", std::ios::binary};
    const std::string piece(1 * MiB, 'x');
    for (int i = 0; i < 64 && done; ++i) done = static_cast<bool>(out.write(piece.data(), 1 * MiB));
    out.flush();
    ::sync();
    ::_exit(done ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(left() + 16 * MiB >= before);
}

TEST_CASE("the process's own limits are sources of free memory, each with its name") {
  std::vector<MemorySource> sources;
  const std::string status = "VmSize:\t   100 kB\nVmLck:\t 0 kB\n";
  host_memory_info::add_limit(sources, "RLIMIT_AS", 1 * MiB, status, "VmSize");
  host_memory_info::add_limit(sources, "RLIMIT_DATA", 64 * KiB, status, "VmData");
  host_memory_info::add_limit(sources, "RLIMIT_AS", 50 * KiB, status, "VmSize");
  host_memory_info::add_limit(sources, "RLIMIT_MEMLOCK", ~std::uint64_t{0}, status, "VmLck");
  REQUIRE(sources.size() == 3);
  CHECK(sources[0].source == "RLIMIT_AS");
  CHECK(sources[0].bytes == 924 * KiB);
  CHECK(sources[1].bytes == 64 * KiB);
  CHECK(sources[2].bytes == 0);

  ::rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_DATA, &before) == 0);
  const auto used = host_memory_info::field(host_memory_info::read("/proc/self/status"), "VmData");
  REQUIRE(used);
  ::rlimit lowered = before;
  lowered.rlim_cur = *used + 512 * MiB;
  if (lowered.rlim_cur > before.rlim_max) return;
  REQUIRE(::setrlimit(RLIMIT_DATA, &lowered) == 0);
  const std::uint64_t free = host_memory().free;
  ::setrlimit(RLIMIT_DATA, &before);
  CHECK(free <= 512 * MiB);
}

TEST_CASE("the kernel's count of a GPU's memory counts only where it is the GPU's own") {
  CHECK(video_memory_info::pci_name(0, 0x0a, 0x1f) == "0000:0a:1f.0");
  const test::TemporaryFolder folder;
  CHECK(!video_memory_info::left_in(folder.path(), 1000));
  write_file(folder.path() / "mem_info_vram_total", "1000\n");
  write_file(folder.path() / "mem_info_vram_used", "300\n");
  const auto left = video_memory_info::left_in(folder.path(), 990);
  REQUIRE(left);
  CHECK(left->bytes == 700);
  CHECK(left->source == folder.path() / "mem_info_vram_used");
  CHECK(!video_memory_info::left_in(folder.path(), 64'000));  // shares the host's memory
}

TEST_CASE("where the system has no patterns, allot's own match what the system's match elsewhere") {
  const auto words = [](std::string_view letters, std::size_t longest) {
    std::vector<std::string> all{""};
    for (std::size_t first = 0, length = 0; length < longest; ++length) {
      for (const std::size_t end = all.size(); first < end; ++first)
        for (const char letter : letters) all.push_back(all[first] + letter);
    }
    return all;
  };
  const std::vector<std::string> names = words("abc]", 3);
  std::vector<std::string> differing;
  for (const std::string& pattern : words("ab*?[]!-", 5)) {
    for (const std::string& name : names) {
      if (os::detail::matches_shell_pattern(pattern.c_str(), name.c_str()) !=
          os::matches(pattern.c_str(), name.c_str()))
        differing.push_back(pattern + " " + name);
    }
  }
  CHECK(differing == std::vector<std::string>{});
}
