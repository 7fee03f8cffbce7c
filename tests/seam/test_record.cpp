// SPDX-License-Identifier: MIT
// `allot record` on programs that know HIP alone.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "seam/programs.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

namespace fs = std::filesystem;
using allot::test::count_of;
using allot::test::HipRun;
using allot::test::Processes;
using allot::test::read_file;
using allot::test::run_hip;
using allot::test::run_shell;
using allot::test::run_tool;
using allot::test::says;
using allot::test::TemporaryFolder;
using allot::test::variable;

const std::string plain = "env";

std::string recording() { return variable("ALLOT_TOOL") + " record --out trace --"; }

/// A trace as text.
std::string text_of(const TemporaryFolder& folder, const std::string& trace = "trace") {
  const fs::path text = folder.path() / (trace + ".txt");
  static_cast<void>(
      run_tool("replay " + (folder.path() / trace).string() + " --text " + text.string()));
  return read_file(text);
}

nlohmann::json replay_of(const TemporaryFolder& folder, const std::string& trace = "trace") {
  const auto outcome = run_tool("replay --json " + (folder.path() / trace).string());
  REQUIRE_MESSAGE(outcome.status == 0, outcome.error);
  return nlohmann::json::parse(outcome.out);
}

/// The traces of all processes.
std::vector<std::string> traces_in(const TemporaryFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator{folder.path()}) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("trace")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("a recorded program prints, returns and leaves live what it does alone") {
  for (const std::string mode : {"none", "llama", "hostile", "one", "fork-before", "fork-after",
                                 "live", "children", "export"}) {
    CAPTURE(mode);
    const TemporaryFolder folder;
    const HipRun alone = run_hip(folder, plain, mode);
    const HipRun recorded = run_hip(folder, recording(), mode);
    CHECK(recorded.status == alone.status);
    CHECK(recorded.out == alone.out);
    // Addresses differ; what is live does not, nor how many crimes there are.
    const auto first_line = [](const std::string& text) { return text.substr(0, text.find('\n')); };
    CHECK(first_line(recorded.report) == first_line(alone.report));
    CHECK(count_of(recorded.report, "\n") == count_of(alone.report, "\n"));
  }
}

TEST_CASE("allocations, mappings and copies of an engine are in the trace, with their call sites") {
  const TemporaryFolder folder;
  CHECK(run_hip(folder, recording(), "llama").status == 0);
  const auto replayed = replay_of(folder);
  CHECK(replayed["format"] == "allot-trace 2");
  CHECK(replayed["allocations"] == 5);  // three buffers, two pieces of physical memory
  CHECK(replayed["frees"] == 5);
  CHECK(replayed["live_at_end"] == 0);
  CHECK(replayed["unknown_frees"] == 0);
  constexpr std::uint64_t mib = 1 << 20;
  CHECK(replayed["peak_bytes"] == (300 + 64 + 17 + 6) * mib + 5);
  CHECK(replayed["rows"][0]["unit"] == 256);

  const std::string text = text_of(folder);
  // Of copies the kinds: four pieces of weights, two on the device, one back.
  CHECK(count_of(text, "\ncopy ") == 7);
  CHECK(count_of(text, "bytes=4194304\n") == 4);
  CHECK(count_of(text, "bytes=2097152 value=2\n") == 1);
  CHECK(count_of(text, "bytes=6291456 value=2\n") == 1);
  CHECK(count_of(text, "bytes=1048576 value=1\n") == 1);
  CHECK(says(text, "\ndevice value=65535 text=host\n"));
  for (const std::string name :
       {"hipMemAddressReserve", "hipMemMap", "hipMemSetAccess", "hipMemUnmap", "hipMemAddressFree"})
    CHECK(says(text, " text=" + name + "\n"));
  const std::string program = variable("ALLOT_HIP_PROGRAM");
  CHECK(says(text, " text=hipMalloc " + program + "+0x"));
  CHECK(says(text, " text=hip_program\nfree "));
  CHECK(says(text, "\nstream value=1\n"));
  CHECK(run_tool("map " + (folder.path() / "trace").string() + " --out " +
                 (folder.path() / "map.html").string())
            .status == 0);
}

TEST_CASE("threads and streams: every call once, none before the free that made it possible") {
  const TemporaryFolder folder;
  CHECK(run_hip(folder, recording(), "streams 600").status == 0);
  const auto replayed = replay_of(folder);
  CHECK(replayed["allocations"] == 1200);
  CHECK(replayed["frees"] == 1200);
  CHECK(replayed["live_at_end"] == 0);
  CHECK(replayed["repeated"] == 0);
  const std::string text = text_of(folder);
  CHECK(says(text, "\nthread value=1\n"));
  CHECK(says(text, "\nthread value=2\n"));
  CHECK(says(text, "\nstream value=4\n"));
}

TEST_CASE("errors of HIP's go through and are recorded as failed calls") {
  const TemporaryFolder folder;
  const HipRun run = run_hip(folder, recording(), "hostile");
  CHECK(run.status == 5);
  const std::string text = text_of(folder);
  CHECK(count_of(text, " text=hipFree\n") == 3);  // foreign, inside a block, twice
  CHECK(count_of(text, "value=1 text=hipMalloc\n") == 1);
  CHECK(count_of(text, "value=2 text=hipMalloc\n") == 1);
  CHECK(count_of(text, "\nrefuse ") == 1);
  CHECK(says(text, "bytes=1125899906842624"));
  const auto replayed = replay_of(folder);
  CHECK(replayed["allocations"] == 1);
  CHECK(replayed["frees"] == 1);
  CHECK(replayed["empty"] == 1);
  CHECK(replayed["refused"] == 1);
  CHECK(replayed["unknown_frees"] == 0);
}

TEST_CASE("each process writes a trace of its own") {
  for (const Processes& of :
       {Processes{"fork-before", 2}, {"fork-after", 1}, {"children", 3}, {"export", 2}}) {
    CAPTURE(of.mode);
    const TemporaryFolder folder;
    CHECK(run_hip(folder, recording(), of.mode).status == 0);
    const auto traces = traces_in(folder);
    CHECK(traces.size() == of.count);
    for (const std::string& trace : traces)
      CHECK(count_of(text_of(folder, trace), "\nstart ") == 1);
  }
  const TemporaryFolder folder;
  CHECK(run_hip(folder, recording(), "fork-before").status == 0);
  for (const std::string& trace : traces_in(folder)) CHECK(replay_of(folder, trace)["frees"] == 1);
}

TEST_CASE("a program that is killed, or leaves by _exit, has its calls in the trace") {
  for (const std::string mode : {"killed", "live"}) {
    CAPTURE(mode);
    const TemporaryFolder folder;
    const auto outcome = run_hip(folder, recording(), mode + "; exit 0");
    CHECK(outcome.status == 0);
    const auto replayed = replay_of(folder);
    CHECK(replayed["allocations"] == 3);
    CHECK(replayed["frees"] == 1);
    CHECK(replayed["live_at_end"] == 2);
    CHECK(replayed["cut_off"] == false);
  }
}

TEST_CASE("static objects: what is allocated before main and freed after it is recorded") {
  const TemporaryFolder folder;
  const HipRun run = run_hip(folder, "HIP_PROGRAM_STATIC=1 " + recording(), "static");
  CHECK(run.status == 0);
  CHECK(run.out == "static destructor: 0\n");
  const auto replayed = replay_of(folder);
  CHECK(replayed["allocations"] == 1);
  CHECK(replayed["frees"] == 1);
}

TEST_CASE("a library that is loaded later, with HIP behind it, is recorded") {
  const TemporaryFolder folder;
  const std::string python = "python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(\"" +
                             variable("ALLOT_HIP_PLUGIN") + "\").run())'";
  const auto outcome =
      run_shell("cd " + folder.path().string() + " && " + recording() + " " + python);
  CHECK(outcome.status == 0);
  CHECK(outcome.error.empty());
  CHECK(replay_of(folder)["allocations"] == 1);
  CHECK(replay_of(folder)["peak_bytes"] == 5 << 20);
}

TEST_CASE(
    "functions that a program asks the linker for by name are recorded, and the rest is the "
    "linker's") {
  const TemporaryFolder folder;
  CHECK(run_shell(allot::test::symbols_program()).status == 0);
  const auto outcome = run_shell("cd " + folder.path().string() + " && " + recording() + " " +
                                 allot::test::symbols_program());
  CHECK_MESSAGE(outcome.status == 0, outcome.out);
  CHECK(outcome.error.empty());
  CHECK(replay_of(folder)["allocations"] == 2);
  CHECK(replay_of(folder)["frees"] == 2);
  CHECK(replay_of(folder)["peak_bytes"] == 3 << 20);
  CHECK(count_of(text_of(folder), "text=hipMalloc " + variable("ALLOT_HIP_SYMBOLS") + "+0x") == 2);
  const std::string python =
      "python3 -c 'import ctypes; hip = ctypes.CDLL(\"" + variable("ALLOT_HIP_RUNTIME") +
      "\"); a = ctypes.c_void_p(); print(hip.hipMalloc(ctypes.byref(a), 1 << 20))'";
  const TemporaryFolder other;
  const auto from_python =
      run_shell("cd " + other.path().string() + " && " + recording() + " " + python);
  CHECK(from_python.out == "0\n");
  CHECK(replay_of(other)["allocations"] == 1);
}

TEST_CASE("liballot, which loads HIP when a GPU is first named, is recorded") {
  const TemporaryFolder folder;
  const std::string python =
      "python3 -c 'import ctypes; allot = ctypes.CDLL(\"" + variable("ALLOT_C_LIBRARY") +
      "\"); pool = ctypes.c_void_p(); print(allot.allot_pool_create(b\"hip:0\", "
      "ctypes.c_uint64(3 << 20), None, ctypes.byref(pool))); allot.allot_pool_destroy(pool)'";
  const fs::path runtime = variable("ALLOT_HIP_RUNTIME");
  const auto outcome = run_shell("cd " + folder.path().string() + " && LD_LIBRARY_PATH=" +
                                 runtime.parent_path().string() + " " + recording() + " " + python);
  CHECK_MESSAGE(outcome.status == 0, outcome.error);
  CHECK(outcome.out == "0\n");
  const auto replayed = replay_of(folder);
  CHECK(replayed["allocations"] == 1);
  CHECK(replayed["frees"] == 1);
  CHECK(replayed["peak_bytes"] == 3 << 20);
}

TEST_CASE("the installed HIP, without a GPU: its errors go through") {
  const std::string runtime = allot::test::installed_runtime();
  if (runtime.empty() || fs::exists("/dev/kfd")) {
    std::puts("skipped: the installed HIP without a GPU: there is no libamdhip64.so.5, or a GPU");
    return;
  }
  for (const std::string mode : {"llama", "hostile", "one", "live", "export", "fork-before"}) {
    CAPTURE(mode);
    const TemporaryFolder folder;
    const std::string preload = "LD_PRELOAD=" + runtime + " ";
    const HipRun alone = run_hip(folder, preload, mode);
    const HipRun recorded = run_hip(folder, preload + recording(), mode);
    CHECK(alone.status != 0);
    CHECK(recorded.status == alone.status);
    CHECK(recorded.out == alone.out);
    if (mode != "llama") CHECK(says(text_of(folder), " text=hipMalloc\n"));
  }
}

TEST_CASE("a program without HIP is told so, and what cannot be recorded is wrong before it runs") {
  const TemporaryFolder folder;
  const HipRun none = run_hip(folder, recording(), "none");
  CHECK(none.status == 7);
  CHECK(says(none.error, "no HIP call"));
  CHECK(traces_in(folder).empty());

  CHECK(run_tool("record").status == 2);
  const std::string file = allot::test::write_text(folder, "there", "kept");
  const auto there = run_tool("record --out " + file + " -- touch " + file + ".ran");
  CHECK(there.status == 1);
  CHECK(says(there.error, "--force"));
  CHECK(read_file(file) == "kept");
  CHECK(!fs::exists(file + ".ran"));
  const auto nowhere =
      run_tool("record --out " + folder.path().string() + "/no/trace -- touch " + file + ".ran");
  CHECK(nowhere.status == 1);
  CHECK(allot::test::is_one_line(nowhere.error));
  CHECK(!fs::exists(file + ".ran"));
  const auto no_library = run_tool("record --library /no/such.so -- true");
  CHECK(no_library.status == 1);
  CHECK(says(no_library.error, "/no/such.so"));
  const auto no_program = run_tool("record --out " + file + ".2 -- /no/such/program --help");
  CHECK(no_program.status == 1);
  CHECK(says(no_program.error, "/no/such/program"));
  CHECK(run_tool("record --out /dev/null -- true").status == 1);
  CHECK(fs::exists("/dev/null"));
}
