// SPDX-License-Identifier: MIT
#include <allot/gguf/writer/writer.hpp>

#include <doctest/doctest.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

using namespace allot;
using test::is_one_line;
using test::Outcome;
using test::read_file;
using test::run_program;
namespace fs = std::filesystem;
using Json = nlohmann::json;

Outcome run(const std::string& arguments) { return test::run_tool(arguments); }

/// The tool on the simulated runtime, and what that has to report.
struct Simulated : Outcome {
  std::string report;
};
Simulated run_simulated(const std::string& variables, const std::string& arguments) {
  const char* const tool = std::getenv("ALLOT_HIPSIM_TOOL");
  REQUIRE(tool != nullptr);
  const test::TemporaryFolder folder;
  const std::string report = (folder.path() / "report").string();
  const Outcome outcome =
      run_program(variables + " HIPSIM_REPORT=" + report + " " + tool, arguments);
  return {outcome, read_file(report)};
}

bool has_simulation() { return std::getenv("ALLOT_HIPSIM_TOOL") != nullptr; }

/// Nothing is live at the end, and no crime follows.
bool is_clean(const Simulated& outcome) {
  return outcome.report.starts_with("live 0 0 0 0 ") &&
         outcome.report.find('\n') == outcome.report.size() - 1;
}

/// Three tensors: 100, 0 and 70,000 bytes.
fs::path model(const fs::path& folder) {
  gguf::Writer writer;
  writer.add("general.architecture", "llama");
  writer.add("llama.block_count", std::uint32_t{2});
  const auto fill = [](std::uint64_t, std::span<std::byte> piece) {
    for (std::byte& byte : piece) byte = std::byte{42};
  };
  writer.add_tensor("a.weight", gguf::TensorType::I8, {100}, fill);
  writer.add_tensor("empty", gguf::TensorType::F32, {0}, fill);
  writer.add_tensor("b.weight", gguf::TensorType::I8, {700, 100}, fill);
  writer.write(folder / "model.gguf");
  return folder / "model.gguf";
}

/// Cuts a file off once it was read from so many times (the system may count several as one).
class CutOff {
 public:
  CutOff(const fs::path& path, int accesses) : path_{path}, events_{::inotify_init1(IN_CLOEXEC)} {
    REQUIRE(events_ >= 0);
    REQUIRE(::inotify_add_watch(events_, path.c_str(), IN_ACCESS | IN_CLOSE_NOWRITE) >= 0);
    thread_ = std::thread{[this, accesses] {
      inotify_event event;  // a file's own events have no name: one at a time
      for (int i = 0; i < accesses; ++i) {
        if (::read(events_, &event, sizeof event) <= 0) return;
      }
      fs::resize_file(path_, 1000);
    }};
  }
  ~CutOff() {
    // To read and to close are two events, should the tool have made none.
    std::ifstream{path_}.get();
    thread_.join();
    ::close(events_);
  }

 private:
  fs::path path_;
  int events_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("plan --json prints one object with the figures of the plan") {
  const test::TemporaryFolder folder;
  const Outcome outcome = run("plan --json " + model(folder.path()).string());
  CHECK(outcome.status == 0);
  CHECK(outcome.error.empty());
  const Json json = Json::parse(outcome.out);
  CHECK(json["tensors"] == 3);
  CHECK(json["tensor_bytes"] == 70'100);
  CHECK(json["alignment"] == 256);
  REQUIRE(json["arenas"].size() == 1);
  CHECK(json["arenas"][0]["device"] == "host");
  CHECK(json["arenas"][0]["capacity"] == 256 + 70'144);
  CHECK(json["arenas"][0]["used"] == 256 + 70'144);
  CHECK(json["arenas"][0]["padding"] == 156 + 144);
  CHECK(json["total_bytes"] == 256 + 70'144);
}

TEST_CASE("load --json prints one object with what happened") {
  const test::TemporaryFolder folder;
  const std::string file = model(folder.path()).string();
  const Outcome outcome = run("load --verify --json --margin none " + file);
  CHECK(outcome.status == 0);
  CHECK(outcome.error.empty());
  const Json json = Json::parse(outcome.out);
  CHECK(json["tensors"] == 3);
  CHECK(json["tensor_bytes"] == 70'100);
  CHECK(json["device"] == "host");
  CHECK(json["device_allocations"] == 1);
  for (const char* key :
       {"capacity", "used", "padding", "free", "largest_free", "free_blocks", "fragmentation"}) {
    CHECK(json["arena"].contains(key));
  }
  CHECK(json["arena"]["padding"] == 300);
  CHECK(json["seconds"].is_number());
  CHECK(json["gib_per_s"].is_number());
  CHECK(json["verified"] == true);
  CHECK(Json::parse(run("load --json " + file).out)["verified"].is_null());
}

TEST_CASE("alignments are honoured and reported to the byte") {
  const test::TemporaryFolder folder;
  const std::string file = model(folder.path()).string();
  const Json small = Json::parse(run("plan --json --alignment 32 " + file).out);
  CHECK(small["total_bytes"] == 128 + 70'016);
  const Json large = Json::parse(run("load --json --alignment 4096 " + file).out);
  CHECK(large["arena"]["capacity"] == 4096 + 73'728);
  CHECK(run("plan --alignment 300 " + file).status == 2);
}

TEST_CASE("plan and load transform, say what was fused and why not, and verify it") {
  const test::TemporaryFolder folder;
  const std::string path = test::write_llama(folder.path() / "m.gguf").string();
  const std::string transforms =
      " --dequantize 'blk.*=f16' --dequantize bf16 --fuse qkv,gate-up --transpose 'output.*' "
      "--pad every-row:512";
  const Json planned = Json::parse(run("plan --json " + path + transforms).out);
  REQUIRE(planned["fusions"].size() == 8);
  CHECK(planned["fusions"][0]["name"] == "blk.0.attn_qkv.weight");
  CHECK(planned["fusions"][0]["parts"].size() == 3);
  CHECK(planned["fusions"][4]["name"].is_null());
  CHECK(planned["fusions"][4]["reason"] == "there is no ffn_gate.weight");
  for (const std::string device : {"host", "staged-host"}) {
    const Outcome loaded =
        run("load --verify --json --slot 64KiB --device " + device + " " + path + transforms);
    REQUIRE(loaded.status == 0);
    const Json out = Json::parse(loaded.out);
    CHECK(out["verified"] == true);
    CHECK(out["tensor_bytes"] == planned["tensor_bytes"]);
  }
  const Outcome text = run("plan " + path + " --fuse qkv");
  CHECK(text.out.find("4 layers, blk.0-3: attn_qkv.weight") != std::string::npos);

  for (const std::string wrong :
       {"--dequantize q8_0", "--fuse all", "--pad sideways", "--pad every-row:x", "--dequantize"}) {
    const Outcome outcome = run("plan " + path + " " + wrong);
    CHECK_MESSAGE(outcome.status == 2, wrong);
  }
  const Outcome odd = run("plan " + path + " --pad every-row:100");
  CHECK(odd.status == 1);
  CHECK(odd.error.find("use a multiple of 256") != std::string::npos);
}

TEST_CASE("inspect shows facts, tensors and metadata") {
  const test::TemporaryFolder folder;
  const std::string file = model(folder.path()).string();
  const Json json = Json::parse(run("inspect --json --tensors --kv " + file).out);
  CHECK(json["version"] == 3);
  CHECK(json["types"]["I8"]["bytes"] == 70'100);
  CHECK(json["facts"]["llama.block_count"] == 2);
  CHECK(json["tensor_list"].size() == 3);
  CHECK(json["metadata"]["general.architecture"] == "llama");
  const Outcome text = run("inspect --tensors --kv " + file);
  CHECK(text.status == 0);
  CHECK(text.out.find("a.weight") != std::string::npos);
}

TEST_CASE("inspect shows arrays of arrays and the byte order") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  const std::uint16_t numbers[] = {1, 2, 3};
  const gguf::NestedArray rows[] = {gguf::NestedArray{std::span{numbers}}};
  writer.add_array("a.table", gguf::NestedArray{std::span{rows}});
  writer.write(folder.path() / "m.gguf");
  const Json json =
      Json::parse(run("inspect --json --kv " + (folder.path() / "m.gguf").string()).out);
  CHECK(json["byte_order"] == "little");
  CHECK(json["metadata"]["a.table"]["array_of"] == "array");
  CHECK(json["metadata"]["a.table"]["first"][0]["first"] == Json{1, 2, 3});
}

TEST_CASE("split writes shards, merge the model again, and neither replaces a file unasked") {
  const test::TemporaryFolder folder;
  const std::string file = model(folder.path()).string();
  const std::string prefix = (folder.path() / "part").string();
  const std::string first = prefix + "-00001-of-00002.gguf";
  const std::string merged = (folder.path() / "merged.gguf").string();
  const Outcome split = run("split --json --max-size 1K " + file + " " + prefix);
  CHECK(split.status == 0);
  CHECK(split.error.empty());
  const Json json = Json::parse(split.out);
  CHECK(json["tensors"] == 3);
  REQUIRE(json["shards"].size() == 2);
  CHECK(json["shards"][0]["file"] == first);
  CHECK(json["shards"][0]["tensors"] == 2);
  CHECK(json["shards"][1]["bytes"] == fs::file_size(prefix + "-00002-of-00002.gguf"));

  const Outcome merge = run("merge --json " + first + " " + merged);
  CHECK(merge.status == 0);
  CHECK(Json::parse(merge.out)["bytes"] == fs::file_size(merged));
  CHECK(Json::parse(merge.out)["shards"] == 2);
  CHECK(read_file(merged) == read_file(file));

  for (const std::string& again :
       {"merge " + first + " " + merged, "split --max-tensors 2 " + file + " " + prefix}) {
    const Outcome refused = run(again);
    CHECK(refused.status == 1);
    CHECK(is_one_line(refused.error));
    const bool is_one = again.starts_with("merge");
    CHECK(refused.error.find(is_one ? "exists already; use --force to replace it"
                                    : "exist already; use --force to replace them") !=
          std::string::npos);
    CHECK(run(again + " --force").status == 0);
  }
  const Outcome lone = run("split --max-size 1 --no-tensor-first-split " + file + " " + prefix);
  CHECK(lone.status == 0);
  CHECK(lone.out.find("into 4 files") != std::string::npos);
  CHECK(run("split " + file + " " + prefix).status == 2);
  CHECK(run("split --max-size 0 " + file + " " + prefix).status == 2);
  CHECK(run("split --max-size 1G " + file).status == 2);
  CHECK(run("merge " + file + " /dev/full").status == 1);
  CHECK(run("merge " + first + " " + (folder.path() / "none" / "m").string()).status == 1);
  for (const char* command : {"split", "merge"})
    CHECK(run(std::string{command} + " --help").status == 0);
}

TEST_CASE("what cannot be done exits with 1 and says so in one line") {
  const test::TemporaryFolder folder;
  for (const std::string command : {"inspect", "plan", "load"}) {
    const Outcome absent = run(command + " " + (folder.path() / "absent.gguf").string());
    CHECK(absent.status == 1);
    CHECK(absent.out.empty());
    CHECK(is_one_line(absent.error));
    std::ofstream{folder.path() / "broken.gguf"} << "GGUF\1";
    const Outcome broken = run(command + " --json " + (folder.path() / "broken.gguf").string());
    CHECK(broken.status == 1);
    CHECK(is_one_line(broken.error));
  }
  const Outcome huge = run("load --margin 9999% " + model(folder.path()).string());
  CHECK((huge.status == 0 || is_one_line(huge.error)));
}

TEST_CASE("wrong usage exits with 2, and help with 0") {
  CHECK(run("").status == 2);
  CHECK(run("inspect").status == 2);
  CHECK(run("dance").status == 2);
  CHECK(run("load --device moon x.gguf").status == 2);
  CHECK(run("load --device hip:0 x.gguf").status == 1);
  CHECK(run("load --device hip:0,moon x.gguf").status == 2);
  CHECK(run("load --device hip:0,hip:0 x.gguf").status == 2);
  CHECK(run("load --device host,host x.gguf").status == 2);
  CHECK(run("load --device hip:00,hip:0 x.gguf").status == 2);
  CHECK(run("plan --placement chunks x.gguf").status == 2);
  CHECK(run("plan --placement scattered x.gguf").status == 2);
  CHECK(run("plan --fit --context 7 x.gguf").status == 2);
  CHECK(run("load --stream-choice never x.gguf").status == 2);
  CHECK(run("load --margin lots x.gguf").status == 2);
  const Outcome help = run("--help");
  CHECK(help.status == 0);
  CHECK(help.out.find("Examples:") != std::string::npos);
}

TEST_CASE("every malformed file ends with status 1 and one line") {
  const auto data = test::data_dir();
  if (!data) return;
  for (const auto& entry : fs::directory_iterator{*data / "gguf" / "rejected"}) {
    const Outcome outcome = run("plan '" + entry.path().string() + "'");
    INFO(entry.path().string());
    CHECK(outcome.status == 1);
    CHECK(is_one_line(outcome.error));
  }
}

TEST_CASE(
    "a file that is cut off while the tool reads it ends with status 0 or 1, never a signal") {
  for (const std::string command : {"load --verify", "load", "inspect --tensors", "plan"}) {
    const test::TemporaryFolder folder;
    const fs::path path = folder.path() / "m.gguf";
    test::write_model(path, std::vector<std::uint64_t>(100, 500'000));
    for (const int accesses : {1, 2}) {
      test::write_model(path, std::vector<std::uint64_t>(100, 500'000));
      CutOff cut_off{path, accesses};
      const Outcome outcome = run(command + " '" + path.string() + "'");
      INFO(command << ", after " << accesses << " reads: " << outcome.error);
      CHECK((outcome.status == 0 || outcome.status == 1));
      CHECK((outcome.status == 0 || is_one_line(outcome.error)));
    }
  }
}

TEST_CASE("the demo's model has exactly the tensor table of Qwen2.5-0.5B-Instruct Q4_K_M") {
  const auto data = test::data_dir();
  if (!data) return;
  const char* const maker = std::getenv("ALLOT_MAKE_DEMO_MODEL");
  REQUIRE(maker != nullptr);
  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "demo.gguf").string();
  REQUIRE(std::system((std::string{maker} + " " + file + " >/dev/null").c_str()) == 0);
  const Json json = Json::parse(run("inspect --json --tensors " + file).out);
  std::ifstream csv{*data / "layouts" / "qwen2.5-0.5b-instruct-q4_k_m.csv"};
  std::string line;
  std::getline(csv, line);
  for (const Json& tensor : json["tensor_list"]) {
    REQUIRE(std::getline(csv, line));
    std::string row = tensor["name"].get<std::string>() + "," + tensor["type"].get<std::string>();
    for (std::size_t i = 0; i < 4; ++i) {
      row += "," + (i < tensor["shape"].size() ? tensor["shape"][i].dump() : std::string{"1"});
    }
    CHECK(row + "," + tensor["bytes"].dump() == line);
  }
  CHECK(!std::getline(csv, line));
}

TEST_CASE("a GPU that is not there is one line with what to check, and the host is unaffected") {
  const test::TemporaryFolder folder;
  const std::string file = model(folder.path()).string();
  const Outcome outcome = run("load --device hip " + file);
  if (outcome.status == 0) return;  // there is one
  CHECK(outcome.status == 1);
  CHECK(is_one_line(outcome.error));
  if (std::getenv("ALLOT_HAS_HIP") != nullptr) {  // the real runtime was called
    CHECK(outcome.error.find("no HIP device: hipGetDeviceCount says") != std::string::npos);
    CHECK(outcome.error.find("/dev/kfd") != std::string::npos);
  } else {
    CHECK(outcome.error.find("this build has no HIP") != std::string::npos);
  }
  CHECK(run("load --device host --margin none " + file).status == 0);
  CHECK(run("load --device staged-host --verify --margin none " + file).status == 0);
}

TEST_CASE(
    "every real and generated file loads onto the simulated GPU, verified, in one allocation" *
    doctest::skip(!has_simulation()) *
    doctest::description("HIP's headers were not found; install libamdhip64-dev")) {
  const auto data = test::data_dir();
  if (!data) return;
  std::size_t loaded = 0;
  for (const char* kind : {"real", "generated"}) {
    for (const auto& entry : fs::directory_iterator{*data / "gguf" / kind}) {
      if (entry.path().string().find("bigendian") != std::string::npos) continue;
      if (entry.path().extension() != ".gguf") continue;
      INFO(entry.path().string());
      const Simulated outcome =
          run_simulated("", "load --device hip --verify --json '" + entry.path().string() + "'");
      REQUIRE(outcome.status == 0);
      CHECK(is_clean(outcome));
      const Json json = Json::parse(outcome.out);
      const int allocations = json["tensor_bytes"] == 0 ? 0 : 1;
      CHECK(json["device_allocations"] == allocations);
      CHECK(outcome.report.find("hipMalloc " + std::to_string(allocations) + "\n") !=
            std::string::npos);
      CHECK(json["verified"] == true);
      ++loaded;
    }
  }
  CHECK(loaded > 25);
}

TEST_CASE("load --device hip: what it says, and what it does about refusals" *
          doctest::skip(!has_simulation()) *
          doctest::description("HIP's headers were not found; install libamdhip64-dev")) {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const std::string large =
      test::write_model(folder.path() / "large.gguf", {30'000'000, 30'000'000, 1000}).string();

  const Simulated flipped =
      run_simulated("HIPSIM_FLIP=0:100", "load --device hip --readers 1 --verify " + file);
  CHECK(flipped.status == 1);
  CHECK(is_one_line(flipped.error));
  CHECK(flipped.error.find("tensor token_embd.weight differs from the file at byte 100") !=
        std::string::npos);
  CHECK(is_clean(flipped));

  const Simulated text = run_simulated("", "load --device hip --verify --context 100 " + file);
  CHECK(text.status == 0);
  for (const char* part : {"KV cache", "device allocations 1", "staging memory, 4 streams",
                           "padding", "fragmentation", "GiB/s", "verified           every byte"}) {
    CHECK_MESSAGE(text.out.find(part) != std::string::npos, part);
  }

  const Simulated divided =
      run_simulated("HIPSIM_LARGEST=32", "load --device hip --verify --json " + large);
  CHECK(divided.status == 0);
  const Json json = Json::parse(divided.out);
  CHECK(json["device_allocations"] == 3);
  REQUIRE(json["fallbacks"].size() == 1);
  CHECK(json["fallbacks"][0].get<std::string>().find("refused an allocation") != std::string::npos);
  CHECK(is_clean(divided));

  const Simulated small = run_simulated("HIPSIM_MEMORY=40", "load --device hip " + large);
  CHECK(small.status == 1);
  CHECK(is_one_line(small.error));
  CHECK(small.error.find("not enough memory on hip:0: required") != std::string::npos);

  const Simulated refused = run_simulated("HIPSIM_LARGEST=10", "load --device hip --json " + large);
  CHECK(refused.status == 1);
  CHECK(is_one_line(refused.error));
  CHECK(refused.error.find("hipMalloc failed with hipErrorOutOfMemory") != std::string::npos);
  CHECK(refused.error.find("on hip:0") != std::string::npos);
  CHECK(refused.error.find("largest free block") == std::string::npos);

  const Simulated integrated =
      run_simulated("HIPSIM_INTEGRATED=1", "load --device hip --verify --json " + file);
  CHECK(integrated.status == 0);
  CHECK(Json::parse(integrated.out)["arenas"][0]["path"] == "straight");
  CHECK(Json::parse(integrated.out)["staging_bytes"] == 0);

  const Simulated shared = run_simulated(
      "HIPSIM_MEMORY=4,12", "load --device hip:0,hip:1 --margin none --verify --json " + file);
  CHECK(shared.status == 0);
  CHECK(Json::parse(shared.out)["device_allocations"] == 2);
  CHECK(is_clean(shared));
}

TEST_CASE("plan: the budget, the largest context, and what to cut" *
          doctest::skip(!has_simulation()) *
          doctest::description("HIP's headers were not found; install libamdhip64-dev")) {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  // 4 layers, 2 KV heads of 32, keys and values in f16: 1,024 bytes a token.
  const Json planned = Json::parse(run("plan --json --context 1000 --scratch 1MiB " + file).out);
  CHECK(planned["cache_bytes"] == 1'024'000);
  CHECK(planned["scratch_bytes"] == 1 << 20);
  CHECK(planned["trained_context"] == 4096);
  const std::uint64_t weights = planned["tensor_bytes"];
  CHECK(planned["total_bytes"] >= weights + 1'024'000 + (1 << 20));

  const Simulated fit = run_simulated(
      "HIPSIM_MEMORY=20", "plan --json --device hip --fit=memory --margin none " + file);
  REQUIRE(fit.status == 0);
  const std::uint64_t context = Json::parse(fit.out)["context"];
  CHECK(context > 1000);
  const std::string load = "load --device hip --margin none --context ";
  CHECK(run_simulated("HIPSIM_MEMORY=20", load + std::to_string(context) + " " + file).status == 0);
  const Simulated over =
      run_simulated("HIPSIM_MEMORY=20", load + std::to_string(context + 1) + " " + file);
  CHECK(over.status == 1);
  CHECK(over.error.find("cut the context: about") != std::string::npos);

  const Json elsewhere =
      Json::parse(run("plan --json --device hip:0,hip:1 --memory 100MiB,50MiB " + file).out);
  CHECK(elsewhere["arenas"].size() == 2);
  CHECK(elsewhere["devices"][0]["free"] == 100 << 20);
  CHECK(run("plan --device hip:0,hip:1 --memory 100MiB " + file).status == 2);
  const Outcome none =
      run("plan --context 10 " + test::write_model(folder.path() / "m.gguf", {10}).string());
  CHECK(none.status == 0);  // there is no cache to plan, and that is said
  CHECK(none.out.find("no cache is planned: the file does not say how many layers") !=
        std::string::npos);
}

TEST_CASE("the example for RDNA3 loads a model, pages and scratch" *
          doctest::skip(!has_simulation()) *
          doctest::description("HIP's headers were not found; install libamdhip64-dev")) {
  const char* const example = std::getenv("ALLOT_RDNA3_WEIGHTS");
  REQUIRE(example != nullptr);
  const test::TemporaryFolder folder;
  const Outcome outcome =
      run_program(example, test::write_llama(folder.path() / "llama.gguf").string());
  CHECK(outcome.status == 0);
  CHECK(outcome.out.find("gfx1100") != std::string::npos);
  CHECK(outcome.out.find("at a multiple of 2 MiB") != std::string::npos);
  CHECK(outcome.out.find("KV pages: 1024 of 64 KiB") != std::string::npos);
  CHECK(outcome.out.find(", 0 B after it") != std::string::npos);
  CHECK(run_program(example, "").status == 2);
  CHECK(run_program(example, "absent.gguf").status == 1);
}
