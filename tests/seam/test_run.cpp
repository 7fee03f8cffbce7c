// SPDX-License-Identifier: MIT
// `allot run` on programs that know HIP alone.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

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
using allot::test::run_tool;
using allot::test::says;
using allot::test::TemporaryFolder;

constexpr std::uint64_t mib_bytes = 1 << 20;

std::string running(const std::string& options = "--budget 512MiB") {
  return allot::test::variable("ALLOT_TOOL") + " run --json saved.json " + options + " --";
}

nlohmann::json saved_in(const TemporaryFolder& folder) {
  return nlohmann::json::parse(read_file(folder.path() / "saved.json"));
}

/// What the simulated runtime calls a crime: a line each, after that of what is live.
std::size_t crimes_of(const HipRun& run) { return count_of(run.report, "\n") - 1; }

}  // namespace

TEST_CASE("an engine runs from one allocation, and returns what it does alone") {
  const TemporaryFolder folder;
  const HipRun alone = run_hip(folder, "env", "llama");
  const HipRun run = run_hip(folder, running(), "llama");
  CHECK(run.status == 0);
  CHECK(run.out == alone.out);
  CHECK(crimes_of(run) == 0);
  const auto saved = saved_in(folder);
  CHECK(saved["calls_served"] == 6);
  CHECK(saved["driver_calls"] == 1);
  CHECK(saved["waits"] == 3);  // hipFree waits for the device
  CHECK(saved["devices"][0]["budget"] == 512 * mib_bytes);
  CHECK(saved["devices"][0]["peak_bytes"] == (300 + 64 + 17) * mib_bytes + 5);
  CHECK(saved["devices"][0]["live_blocks"] == 0);
  REQUIRE(saved["not_served"].size() == 1);
  CHECK(saved["not_served"][0]["call"] == "hipMemCreate");
  CHECK(saved["not_served"][0]["bytes"] == 8 * mib_bytes);
  CHECK(says(run.error, "allot run: 6 calls"));
  CHECK(says(run.error, "not served: hipMemCreate"));
}

TEST_CASE(
    "temporaries of threads and streams: the right bytes, no crime, one call of the driver's") {
  const TemporaryFolder folder;
  const HipRun run = run_hip(folder, running(), "streams 50000");
  CHECK(run.status == 0);
  CHECK(run.out.empty());
  CHECK(crimes_of(run) == 0);
  CHECK(saved_in(folder)["calls_served"] == 200'000);
  CHECK(saved_in(folder)["driver_calls"] == 1);
}

TEST_CASE("memory that goes from call to call and stream to stream under way: no crime") {
  const TemporaryFolder folder;
  const HipRun run = run_hip(folder, running(), "mixed");
  CHECK(run.status == 0);
  CHECK(run.out.empty());
  CHECK_MESSAGE(crimes_of(run) == 0, run.report);
  const auto saved = saved_in(folder);
  CHECK(saved["served"]["hipMallocAsync"] == 40);
  CHECK(saved["served"]["hipMalloc"] == 20);
  CHECK(saved["devices"][0]["live_blocks"] == 0);
  CHECK(saved["driver"] ==
        nlohmann::json{
            {"hipMalloc", 1}, {"hipMallocFromPoolAsync", 1}, {"hipFreeAsync", 1}, {"hipFree", 1}});
  std::string what;
  for (const auto& row : saved["not_served"]) what += row["call"].get<std::string>() + " ";
  CHECK(what == "hipMallocFromPoolAsync hipMallocManaged ");
}

TEST_CASE("a served address answers with its own block, memory with the budget") {
  const TemporaryFolder folder;
  const HipRun run = run_hip(folder, running("--budget 64MiB"), "ask");
  CHECK(run.status == 0);
  CHECK(
      run.out ==
      "range: 1, 1000 bytes\nsize: 2097152 bytes\ndevice 0, 1\nof what was freed: 1, last error 1\n"
      "last error now: 0\nmemory: 67107840 of 67108864\n");
}

TEST_CASE(
    "a budget is kept to, and is whole again when all is freed: the pool gives back what it "
    "keeps") {
  const TemporaryFolder folder;
  const HipRun run = run_hip(folder, running("--budget 64MiB"), "fill");
  CHECK(run.status == 0);
  CHECK(run.out == "64 MiB, then 2\n");
  CHECK(crimes_of(run) == 0);
  CHECK(saved_in(folder)["driver_calls"] == 1);
  // Nine tenths of what is free, if none is given: of 100 MiB.
  const HipRun usual = run_hip(folder, "HIPSIM_MEMORY=100 " + running("--force"), "fill");
  CHECK(usual.status == 0);
  CHECK(usual.out == "88 MiB, then 2\n");
  CHECK(saved_in(folder)["devices"][0]["budget"] == 90 * mib_bytes);
}

TEST_CASE(
    "a budget that the driver refuses: it serves the program itself, and the summary says so") {
  const TemporaryFolder folder;
  const HipRun run = run_hip(folder, "HIPSIM_MEMORY=400 " + running(), "one");
  CHECK(run.status == 0);
  CHECK(crimes_of(run) == 0);
  CHECK(says(run.error, "not served: the budget, the driver refused it: 1 call, 512 MiB"));
  CHECK(saved_in(folder)["driver"] == nlohmann::json{{"hipMalloc", 2}, {"hipFree", 1}});
}

TEST_CASE("large requests are left to the driver on request") {
  const TemporaryFolder folder;
  const HipRun run = run_hip(folder, running("--budget 100MiB --direct-above 32MiB"), "llama");
  CHECK(run.status == 0);
  CHECK(crimes_of(run) == 0);
  const auto saved = saved_in(folder);
  CHECK(saved["driver"] == nlohmann::json{{"hipMalloc", 3}, {"hipFree", 2}});
  CHECK(saved["devices"][0]["peak_bytes"] == 17 * mib_bytes + 5);
}

TEST_CASE("hostile calls get HIP's errors: nothing inside an arena reaches the driver") {
  const TemporaryFolder folder;
  const HipRun alone = run_hip(folder, "env", "hostile");
  const HipRun run = run_hip(folder, running(), "hostile");
  CHECK(run.status == 5);
  CHECK(run.out == alone.out);
  CHECK(crimes_of(run) == 1);  // the address on the stack: the driver's to refuse
  CHECK(says(run.error, "not served: hipFree, no block begins there: 2 calls"));
}

TEST_CASE(
    "devices: each has its own budget; a reset takes back all; what is captured is the driver's") {
  const TemporaryFolder folder;
  const HipRun run =
      run_hip(folder, "HIPSIM_MEMORY=100,100 " + running("--budget 32MiB"), "devices");
  CHECK(run.status == 0);
  CHECK(run.out ==
        "hip:0: 31744 of 32768\nhip:1: 31744 of 32768\ncurrent: 1\nafter the reset: 1\n");
  const auto saved = saved_in(folder);
  CHECK(saved["devices"].size() == 2);
  // Three arenas, one of which was given back; one block that was reset already is the driver's to refuse.
  CHECK(
      saved["driver"] ==
      nlohmann::json{{"hipMalloc", 3}, {"hipFree", 2}, {"hipMallocAsync", 1}, {"hipFreeAsync", 1}});
  CHECK(says(run.error, "not served: hipMallocAsync, a stream that is captured: 1 call, 1 MiB"));
}

TEST_CASE(
    "a program can be run and recorded: what it asks for, or what the pool asks the driver for") {
  const std::string tool = allot::test::variable("ALLOT_TOOL");
  const TemporaryFolder folder;
  const std::string record = tool + " record --force --out trace -- ";
  const auto allocations = [&] {
    return nlohmann::json::parse(
        run_tool("replay --json " + (folder.path() / "trace").string()).out)["allocations"];
  };
  CHECK(run_hip(folder, running("--force") + " " + record, "streams 100").status == 0);
  CHECK(allocations() == 200);
  CHECK(run_hip(folder, record + running("--force"), "streams 100").status == 0);
  CHECK(allocations() == 1);
  CHECK(saved_in(folder)["calls_served"] == 400);
}

TEST_CASE("a library that is loaded later, with HIP behind it, is served") {
  const TemporaryFolder folder;
  const std::string python = "python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(\"" +
                             allot::test::variable("ALLOT_HIP_PLUGIN") + "\").run())'";
  const auto outcome =
      allot::test::run_shell("cd " + folder.path().string() + " && " + running() + " " + python);
  CHECK(outcome.status == 0);
  CHECK(saved_in(folder)["calls_served"] == 2);
}

TEST_CASE("functions that a program asks the linker for by name are served") {
  const TemporaryFolder folder;
  const auto outcome = allot::test::run_shell("cd " + folder.path().string() + " && " + running() +
                                              " " + allot::test::symbols_program());
  CHECK_MESSAGE(outcome.status == 0, outcome.out);
  CHECK(saved_in(folder)["calls_served"] == 4);
}

TEST_CASE("a stream that was destroyed is an error of HIP's, and the memory stays the program's") {
  const TemporaryFolder folder;
  const HipRun run = run_hip(folder, running(), "stale");
  CHECK(run.status == 0);  // the block could still be freed
  CHECK(run.out == "malloc on it: 400\nfree on it: 400\n");
  CHECK(saved_in(folder)["devices"][0]["live_blocks"] == 0);
}

TEST_CASE("processes: each has its own arena, and its own summary") {
  for (const Processes& of : {Processes{"fork-before", 2}, {"fork-after", 1}, {"children", 3}}) {
    CAPTURE(of.mode);
    const TemporaryFolder folder;
    const HipRun run = run_hip(folder, running("--budget 8MiB"), of.mode);
    CHECK(run.status == 0);
    CHECK(crimes_of(run) == 0);
    CHECK(count_of(run.error, "allot run: 2 calls") == of.count);
    std::size_t files = 0;
    for (const auto& entry : fs::directory_iterator{folder.path()})
      files += entry.path().filename().string().starts_with("saved.json") ? 1 : 0;
    CHECK(files == of.count);
  }
}

TEST_CASE("an export to another process is refused, and listed") {
  const TemporaryFolder folder;
  const HipRun run = run_hip(folder, running(), "export");
  CHECK(run.status == 3);
  CHECK(says(run.out, "hipIpcGetMemHandle"));
  CHECK(says(run.out, "(801)"));
  CHECK(crimes_of(run) == 0);
  CHECK(says(run.error, "not served: hipIpcGetMemHandle, refused"));
}

TEST_CASE("memory that is live at the end, and static objects that free after main") {
  const TemporaryFolder folder;
  const HipRun live = run_hip(folder, running(), "live");
  CHECK(live.status == 9);
  CHECK(says(live.error, "2 blocks, 2 MiB, live at the end"));
  CHECK(saved_in(folder)["devices"][0]["live_bytes"] == 2 * mib_bytes);
  const HipRun fixed =
      run_hip(folder, "HIP_PROGRAM_STATIC=1 " + running("--budget 64MiB --force"), "static");
  CHECK(fixed.status == 0);
  CHECK(fixed.out == "static destructor: 0\n");
  CHECK(saved_in(folder)["calls_served"] == 2);
}

TEST_CASE("the installed HIP, without a GPU: its errors go through `allot run`") {
  const std::string runtime = allot::test::installed_runtime();
  if (runtime.empty() || fs::exists("/dev/kfd")) {
    std::puts("skipped: the installed HIP without a GPU: there is no libamdhip64.so.5, or a GPU");
    return;
  }
  for (const std::string mode : {"llama", "hostile", "one", "export", "fork-before"}) {
    CAPTURE(mode);
    const TemporaryFolder folder;
    const std::string preload = "LD_PRELOAD=" + runtime + " ";
    const HipRun alone = run_hip(folder, preload, mode);
    const HipRun run = run_hip(folder, preload + running(), mode);
    CHECK(run.status == alone.status);
    CHECK(run.out == alone.out);
    CHECK(run.error == alone.error);
  }
}

TEST_CASE("run: what a program without HIP prints is its own; usage") {
  const TemporaryFolder folder;
  const HipRun none = run_hip(folder, running(), "none");
  CHECK(none.status == 7);
  CHECK(none.error.empty());
  CHECK(!fs::exists(folder.path() / "saved.json"));
  CHECK(run_tool("run").status == 2);
  CHECK(run_tool("run --budget much -- true").status == 2);
  const std::string file = allot::test::write_text(folder, "there", "kept");
  CHECK(run_tool("run --json " + file + " -- true").status == 1);
  CHECK(read_file(file) == "kept");
}
