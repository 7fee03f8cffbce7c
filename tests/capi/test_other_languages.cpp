// SPDX-License-Identifier: MIT
// What the shared library shows, and Python and Rust programs over it.
#include <doctest/doctest.h>

#if defined(ALLOT_C_LIBRARY)

#if defined(ALLOT_C_HIP)
#include <hip/hip_version.h>
#endif

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>

#include "support/models.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

namespace fs = std::filesystem;
using allot::test::run_shell;

const std::string library = ALLOT_C_LIBRARY;
const fs::path root = ALLOT_SOURCE_ROOT;

// For programs: the library, and in place of HIP's own the simulated one.
const std::string with_libraries =
    "LD_LIBRARY_PATH=" + fs::path{library}.parent_path().string() + ":" ALLOT_HIPSIM_FOLDER;
#if defined(ALLOT_C_HIP)
constexpr const char* devices[] = {"host", "hip:0"};
#else
constexpr const char* devices[] = {"host"};
#endif

std::set<std::string> names_in(const std::string& text, const std::regex& form) {
  std::set<std::string> names;
  for (std::sregex_iterator at{text.begin(), text.end(), form}, end; at != end; ++at)
    names.insert((*at)[1]);
  return names;
}

}  // namespace

TEST_CASE("the library exports what the header declares, with its version, and nothing else") {
  const auto symbols = run_shell("nm -D --defined-only --with-symbol-versions " + library);
  REQUIRE(symbols.status == 0);
  const auto exported = names_in(symbols.out, std::regex{"(?:T|t|W|V|B|D) (\\w+)@@ALLOT_0.1\n"});
  const auto all = names_in(symbols.out, std::regex{" (?:[^A]) (\\S+)\n"});
  const auto declared = names_in(allot::test::read_file(root / "include/allot.h"),
                                 std::regex{"ALLOT_API [\\w ]+[ *](allot_\\w+)\\("});
  CHECK(declared.size() >= 27);
  CHECK(exported == declared);
  CHECK(all.size() == exported.size());
}

TEST_CASE("the C programs of the page run, on the host and on a GPU") {
  const allot::test::TemporaryFolder folder;
  const auto model = allot::test::write_llama(folder.path() / "m.gguf");
  const std::string page = (root / "docs/integrating.md").string();
  REQUIRE(run_shell((root / "tests/pages/write_files").string() + " " + page + " " +
                    folder.path().string())
              .status == 0);
  for (const char* const name : {"arena", "pool"}) {
    const std::string program = (folder.path() / name).string();
    const auto built =
        run_shell("cc -std=c11 -Wall -Wextra -Wpedantic -Werror -I" + (root / "include").string() +
                  " -o " + program + " " + program + ".c " + library);
    REQUIRE_MESSAGE(built.status == 0, (built.out + built.error));
    for (const std::string device : devices) {
      const auto outcome =
          run_shell(with_libraries + " " + program + " " + model.string() + " " + device);
      CHECK_MESSAGE(outcome.status == 0, outcome.error);
    }
  }
}

TEST_CASE("a Python program uses it through ctypes, on the host and on a GPU") {
  const allot::test::TemporaryFolder folder;
  const auto path = allot::test::write_llama(folder.path() / "m.gguf");
  for (const std::string device : devices) {
    const auto outcome =
        run_shell(with_libraries + " python3 " + (root / "tests/capi/use_allot.py").string() + " " +
                  library + " " + path.string() + " " + device);
    CHECK_MESSAGE(outcome.status == 0, (outcome.out + outcome.error));
  }
}

#if defined(ALLOT_C_HIP)

TEST_CASE("HIP's runtime is loaded when a GPU is first named, and not for the host") {
  const allot::test::TemporaryFolder folder;
  const auto path = allot::test::write_llama(folder.path() / "m.gguf");
  const std::string runtime = "libamdhip64.so." + std::to_string(HIP_VERSION_MAJOR);
  std::ofstream{folder.path() / runtime} << "not a library";
  const std::string run = "LD_LIBRARY_PATH=" + folder.path().string() + " python3 " +
                          (root / "tests/capi/use_allot.py").string() + " " + library + " " +
                          path.string() + " ";
  const auto on_host = run_shell(run + "host");
  CHECK_MESSAGE(on_host.status == 0, (on_host.out + on_host.error));
  const auto on_gpu = run_shell(run + "hip:0");
  CHECK(on_gpu.status != 0);
  CHECK_MESSAGE(on_gpu.error.find("cannot use HIP's runtime: ") != std::string::npos, on_gpu.error);
  CHECK(on_gpu.error.find("install ROCm with " + runtime) != std::string::npos);
}

#endif

TEST_CASE("a Rust program uses it: an arena, a model's weights by name, a pool") {
  if (run_shell("rustc --version").status != 0) {
    std::puts("skipped: the Rust example: there is no rustc");
    return;
  }
  const allot::test::TemporaryFolder folder;
  const auto path = allot::test::write_llama(folder.path() / "m.gguf");
  const std::string program = (folder.path() / "weights").string();
  const auto built =
      run_shell("rustc --edition 2021 -D warnings -L " + fs::path{library}.parent_path().string() +
                " -o " + program + " " + (root / "examples/rust/main.rs").string());
  REQUIRE_MESSAGE(built.status == 0, (built.out + built.error));
  const std::string run = with_libraries + " " + program + " ";
  for (const std::string device : devices) {
    const auto outcome = run_shell(run + path.string() + " " + device);
    CHECK_MESSAGE(outcome.status == 0, outcome.error);
    CHECK(outcome.out.find("0 B in use, all of it given back") != std::string::npos);
    CHECK(outcome.out.find("pool on " + device + ": 2 buffers made, 198 reused, 0 B in use") !=
          std::string::npos);
  }
  const auto missing = run_shell(run + "missing.gguf");
  CHECK(missing.status == 1);
  CHECK(missing.error.find("missing.gguf") != std::string::npos);
}

#endif
