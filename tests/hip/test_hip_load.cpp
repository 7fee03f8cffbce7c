// SPDX-License-Identifier: MIT
// Loading onto simulated GPUs: what happens when calls fail, memory is short, a load is cancelled,
// and what is never to happen at all.
#include <allot/device/hip_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/verify.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "hip/simulation.hpp"
#include "hipsim/watched_memory.hpp"
#include "support/models.hpp"
#include "support/sanitizers.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;

/// Small slots, so that a small model needs all of the pipeline.
constexpr load::LoadOptions small_ring{
    .slot_bytes = 64 * KiB, .slots = 3, .streams = 2, .readers = 3};

const std::vector<std::uint64_t> sizes{1, 100, 256, 257, 0, 2'000'001, 4097, 63};

/// A model in a folder of its own, open and planned.
struct Model {
  test::TemporaryFolder folder;
  gguf::File file{test::write_model(folder.path() / "m.gguf", sizes)};
  load::Plan plan = load::make_plan(file);
};

// Under the thread sanitizer, where a load takes ten times as long, some calls fail, not each.
constexpr std::uint64_t call_step = test::has_thread_sanitizer ? 7 : 1;

}  // namespace

TEST_CASE("a load commits no crime, early or late, and leaves nothing behind") {
  const Model model;
  for (const auto schedule : {hipsim::Schedule::eager, hipsim::Schedule::late}) {
    for (const auto choice :
         {load::StreamChoice::round_robin, load::StreamChoice::least_outstanding}) {
      const test::Simulation simulation{{.schedule = schedule}};
      hipsim::WatchedDevice device;
      load::LoadOptions options = small_ring;
      options.stream_choice = choice;
      const auto loaded = load::load(model.file, model.plan, device, {}, options);
      CHECK(hipsim::calls("hipMalloc") == 1);
      CHECK(hipsim::live() == hipsim::Live{.device_allocations = 1});
      CHECK(!load::verify(model.file, loaded, device));
    }
  }
}

TEST_CASE("a load that transforms commits no crime either, through slots of any size") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(
      folder.path() / "m.gguf",
      {.layers = 2, .heads = 4, .kv_heads = 2, .embedding = 64, .vocabulary = 77})};
  const load::Plan plan =
      load::make_plan(file, {.transforms = {.dequantize = {{"*", gguf::TensorType::F16, false}},
                                            .transpose = {"output.*", "*ffn_up*"},
                                            .fuse = {.qkv = true, .gate_up = true},
                                            .padding = {load::Padding::every_row, 512}}});
  CHECK(plan.fusions.size() == 4);
  for (const auto schedule : {hipsim::Schedule::eager, hipsim::Schedule::late}) {
    for (const std::uint64_t slot : {4 * KiB, 64 * KiB}) {
      const test::Simulation simulation{{.schedule = schedule}};
      hipsim::WatchedDevice device;
      load::LoadOptions options = small_ring;
      options.slot_bytes = slot;
      const auto loaded = load::load(file, plan, device, {}, options);
      CHECK(hipsim::calls("hipMalloc") == 1);
      CHECK(hipsim::peak_pinned() == loaded.report().staging_bytes);
      CHECK(!load::verify(file, loaded, device));
      CHECK(loaded.fused().size() == 2);
    }
  }
}

TEST_CASE("whichever call fails, a load that transforms gives everything back") {
  const test::TemporaryFolder folder;
  const gguf::File file{
      test::write_llama(folder.path() / "m.gguf", {.layers = 1, .vocabulary = 9})};
  const load::Plan plan =
      load::make_plan(file, {.transforms = {.dequantize = {{"*", gguf::TensorType::F16, false}},
                                            .transpose = {"output.*"},
                                            .padding = {load::Padding::every_row, 512}}});
  for (std::uint64_t call = 0; call < 80; ++call) {
    INFO("call " << call);
    hipsim::reset();
    test::CleanUpErrors told;
    HipDevice<> device;
    hipsim::fail_call(call, hipErrorUnknown);
    try {
      const auto loaded = load::load(file, plan, device, {}, small_ring);
      hipsim::stop_failing();
      REQUIRE(!load::verify(file, loaded, device));
    } catch (const hip::Error&) {
    } catch (const OutOfMemory&) {
    }
    hipsim::stop_failing();
    CHECK(hipsim::live() == hipsim::Live{});
  }
  hipsim::reset();
}

TEST_CASE("host memory stays at the ring, whatever the model's size") {
  const test::Simulation simulation;
  const Model model;
  HipDevice<> device;
  const auto loaded = load::load(model.file, model.plan, device, {}, small_ring);
  CHECK(hipsim::calls("hipHostMalloc") == 1);
  CHECK(hipsim::peak_pinned() == loaded.report().staging_bytes);
  CHECK(hipsim::peak_pinned() <= 3 * (64 * KiB + 8 * KiB));
  CHECK(model.plan.tensor_bytes() > hipsim::peak_pinned());
}

TEST_CASE("a model without tensor data takes no allocation, no stream, no ring") {
  const test::Simulation simulation;
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_model(folder.path() / "m.gguf", {0, 0})};
  HipDevice<> device;
  const auto loaded = load::load(file, load::make_plan(file), device);
  CHECK(hipsim::calls("hipMalloc") + hipsim::calls("hipHostMalloc") +
            hipsim::calls("hipStreamCreateWithFlags") ==
        0);
  CHECK(loaded["t1"].slice().empty());
}

TEST_CASE("a bit flipped on its way is found, with tensor and byte") {
  const test::Simulation simulation;
  const Model model;
  hipsim::WatchedDevice device;
  hipsim::flip_bit(5, 1234);
  load::LoadOptions one_reader = small_ring;  // so that the copies come in order
  one_reader.readers = 1;
  const auto loaded = load::load(model.file, model.plan, device, {}, one_reader);
  const auto difference = load::verify(model.file, loaded, device);
  REQUIRE(difference);
  CHECK(difference->tensor == "t5");
}

TEST_CASE(
    "whichever call of a load fails, it ends in an error or a named fallback, and all is "
    "released") {
  const Model model;
  std::vector<std::string> names;
  {
    const test::Simulation simulation;
    HipDevice<> device;
    const std::uint64_t before = hipsim::calls();
    static_cast<void>(load::load(model.file, model.plan, device, {}, small_ring));
    names = hipsim::call_names();
    names.erase(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(before));
  }
  REQUIRE(names.size() > 100);
  std::size_t errors = 0;
  std::size_t clean_ups = 0;
  // One load with one call failing, whose name is returned: that after `skipped` others, of `function` or, if it is empty, of all.
  const auto load_failing = [&](hipError_t code, const std::string& function,
                                std::uint64_t skipped) {
    INFO("call " << skipped << " of '" << function << "' with "
                 << std::string{hipGetErrorName(code)});
    const auto calls = [&function] {
      return function.empty() ? hipsim::calls() : hipsim::calls(function);
    };
    hipsim::reset();
    test::CleanUpErrors told;
    HipDevice<> device;
    const std::uint64_t free = device.memory_info().free;
    const std::uint64_t failing = calls() + skipped;
    hipsim::fail_call(function, skipped, code);
    bool threw = false;
    std::size_t noted = 0;
    std::uint64_t end = 0;
    try {
      const auto loaded = load::load(model.file, model.plan, device, {}, small_ring);
      noted = loaded.report().fallbacks.size();
      end = calls();
      hipsim::stop_failing();
      REQUIRE(!load::verify(model.file, loaded, device));
    } catch (const hip::Error& error) {
      threw = true;
      REQUIRE(error.code() == code);
    } catch (const OutOfMemory& error) {
      threw = true;
      REQUIRE(error.reason() == RefusalReason::source);
    }
    if (threw) end = calls();
    hipsim::stop_failing();
    std::string name = "none";
    if (failing < end) name = function.empty() ? hipsim::call_names()[failing] : function;
    INFO("which was " << name);
    errors += threw ? 1 : 0;
    clean_ups += told.count() != 0 ? 1 : 0;
    for (const auto& record : hipsim::crimes()) REQUIRE_MESSAGE(false, record.text);
    const hipsim::Live left = hipsim::live();
    const std::size_t lost =
        left.device_allocations + left.pinned_allocations + left.streams + left.events;
    // If the call that failed was to release something, that alone is left, and was reported.
    const bool may_be_lost = test::is_clean_up(name);
    REQUIRE(lost == (may_be_lost ? 1 : 0));
    if (may_be_lost) REQUIRE(told.count() == 1);
    if (!may_be_lost) REQUIRE(hipsim::used() == 0);
    if (!may_be_lost) REQUIRE(device.memory_info().free == free);
    if (!threw && name != "none") REQUIRE((noted != 0 || told.count() != 0));

    const auto again = load::load(model.file, model.plan, device, {}, small_ring);
    REQUIRE(!load::verify(model.file, again, device));
    return name;
  };

  // Readers race for slots, so the calls of a load vary a little: fail somewhat more than there
  // are, one at a time.
  for (const hipError_t code : {hipErrorUnknown, hipErrorOutOfMemory}) {
    for (std::uint64_t call = 0; call < names.size() + 20; call += call_step)
      load_failing(code, "", call);
  }
  CHECK(errors > 200 / call_step);
  if (call_step == 1) CHECK(clean_ups > 0);

  // For the same reason, the few calls of a function may be missed above: its first one fails here.
  for (const std::string name :
       {"hipMalloc", "hipHostMalloc", "hipMemcpyAsync", "hipEventRecord", "hipEventSynchronize",
        "hipStreamSynchronize", "hipStreamDestroy", "hipEventDestroy", "hipHostFree",
        "hipStreamCreateWithFlags", "hipEventCreateWithFlags", "hipGetDevice"}) {
    CHECK(load_failing(hipErrorUnknown, name, 0) == name);
  }
  hipsim::reset();
}

TEST_CASE("one allocation of the whole refused although memory is free: the load is divided") {
  const test::Simulation simulation{
      {.devices = {{.memory = 512 * MiB, .largest_allocation = 48 * MiB}}}};
  const test::TemporaryFolder folder;
  const gguf::File file{
      test::write_model(folder.path() / "m.gguf", {30'000'000, 30'000'000, 30'000'000, 1000})};
  HipDevice<> device;
  const load::Plan plan = load::make_plan(file, {.scratch_bytes = 1000});
  REQUIRE(plan.arenas.size() == 1);
  const auto loaded = load::load(file, plan, device);
  REQUIRE(loaded.report().fallbacks.size() == 1);
  CHECK(loaded.report().fallbacks[0].find("hip:0 refused an allocation of 85.83 MiB") == 0);
  CHECK(loaded.plan().arenas.size() == 3);
  CHECK(loaded.report().device_allocations == 3);
  CHECK(loaded.find("scratch") != nullptr);
  CHECK(!load::verify(file, loaded, device));
}

TEST_CASE("memory that is not free is out of memory, after the reclaimers were asked") {
  const test::Simulation simulation{{.devices = {{.memory = 64 * MiB}}}};
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_model(folder.path() / "m.gguf", {40'000'000})};
  HipDevice<> device;
  const load::Plan plan = load::make_plan(file);
  auto cache = std::optional{hip::DeviceMemory{0}.acquire(40 * MiB, 256)};
  CHECK_THROWS_AS(load::check(plan, device, load::NoMargin{}), InsufficientMemory);
  CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, device)), OutOfMemory);
  const Reclaimer reclaimer{[&](std::string_view, std::uint64_t) -> std::uint64_t {
    cache.reset();
    return 40 * MiB;
  }};
  const auto loaded = load::load(file, plan, device);
  CHECK(loaded.report().fallbacks.empty());
  CHECK(!load::verify(file, loaded, device));
}

TEST_CASE("a smaller ring is used where pinned memory is refused") {
  const test::Simulation simulation;
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_model(folder.path() / "m.gguf", {20'000'000})};
  const load::Plan plan = load::make_plan(file);
  HipDevice<> device;
  hipsim::fail_call("hipHostMalloc", 0, hipErrorOutOfMemory);
  const auto loaded = load::load(file, plan, device, {}, {.slot_bytes = 4 * MiB, .slots = 4});
  REQUIRE(loaded.report().fallbacks.size() == 1);
  CHECK(loaded.report().fallbacks[0] == "4 staging slots of 4 MiB were refused; used 4 of 2 MiB");
  CHECK(!load::verify(file, loaded, device));

  // Slots that cannot be smaller become fewer.
  for (const std::uint64_t call : {0U, 1U})
    hipsim::fail_call("hipHostMalloc", call, hipErrorOutOfMemory);
  const auto fewer = load::load(file, plan, device, {}, {.slot_bytes = 1 * MiB, .slots = 8});
  REQUIRE(fewer.report().fallbacks.size() == 1);
  CHECK(fewer.report().fallbacks[0] == "8 staging slots of 1 MiB were refused; used 2 of 1 MiB");
  CHECK(!load::verify(file, fewer, device));
}

TEST_CASE("a ring is no larger than what goes through it") {
  const test::Simulation simulation;
  const Model model;
  HipDevice<> device;
  const auto loaded = load::load(model.file, model.plan, device);
  CHECK(hipsim::peak_pinned() <= 4 * (1 * MiB + 8 * KiB));
  CHECK(!load::verify(model.file, loaded, device));
}

TEST_CASE("a load can be cancelled at any step, and nothing stays") {
  const Model model;
  for (const auto schedule : {hipsim::Schedule::eager, hipsim::Schedule::late}) {
    for (const int stop : {0, 1, 2, 5, 20, 33}) {
      const test::Simulation simulation{{.schedule = schedule}};
      hipsim::WatchedDevice device;
      load::LoadOptions options = small_ring;
      // With one reader the caller reads all and is called after each; with more, twice at least.
      if (stop > 1) options.readers = 1;
      int calls = 0;
      CHECK_THROWS_AS(static_cast<void>(load::load(
                          model.file, model.plan, device,
                          [&](const load::Progress&) { return calls++ < stop; }, options)),
                      load::Cancelled);
      CHECK(hipsim::live() == hipsim::Live{});
      calls = 0;
      CHECK_THROWS_WITH(static_cast<void>(load::load(
                            model.file, model.plan, device,
                            [&](const load::Progress&) -> bool {
                              if (calls++ == stop) throw std::runtime_error{"enough"};
                              return true;
                            },
                            options)),
                        "enough");
      CHECK(hipsim::used() == 0);
    }
  }
}

TEST_CASE("a file cut off in the middle of a load is an error, and nothing stays") {
  const Model model;
  fs::resize_file(model.folder.path() / "m.gguf", 1'000'000);
  for (const bool direct : {false, true}) {
    const test::Simulation simulation;
    hipsim::WatchedDevice device;
    load::LoadOptions options = small_ring;
    options.direct_io = direct;
    CHECK_THROWS_AS(static_cast<void>(load::load(model.file, model.plan, device, {}, options)),
                    gguf::ParseError);
  }
}

TEST_CASE("progress rises to the end, on the caller's thread, and counts what has arrived") {
  const test::Simulation simulation{{.schedule = hipsim::Schedule::late}};
  const Model model;
  HipDevice<> device;
  std::vector<std::uint64_t> seen;
  const auto loaded = load::load(
      model.file, model.plan, device,
      [&](const load::Progress& progress) {
        seen.push_back(progress.done);
        CHECK(progress.total >= model.plan.tensor_bytes());
        return true;
      },
      small_ring);
  REQUIRE(seen.size() >= 3);
  CHECK(seen.front() == 0);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(seen.back() == loaded.report().bytes);
}

TEST_CASE("four devices of unequal memory share a model by layers") {
  const test::Simulation simulation{
      {.devices = {
           {.memory = 4 * MiB}, {.memory = 8 * MiB}, {.memory = 16 * MiB}, {.memory = 8 * MiB}}}};
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf", {.layers = 14})};
  std::vector<HipDevice<>> devices;
  for (int i = 0; i < 4; ++i) devices.emplace_back(i);
  load::PlanOptions options{.cache = load::CacheOptions{128}, .scratch_bytes = 10'000};
  for (const HipDevice<>& device : devices) options.devices.push_back(load::planned_device(device));
  const load::Plan plan = load::make_plan(file, options);
  REQUIRE(plan.arenas.size() == 4);
  load::check(plan, std::span<const HipDevice<>>{devices}, load::NoMargin{});
  const auto loaded = load::load(file, plan, std::span{devices}, {}, small_ring);
  CHECK(!load::verify(file, loaded, std::span{devices}));
  CHECK(hipsim::calls("hipMalloc") == 4);
  double fullest = 0;
  double emptiest = 1;
  for (int i = 0; i < 4; ++i) {
    CHECK(hipsim::used(i) >= plan.bytes_on("hip:" + std::to_string(i)));
    const double share =
        static_cast<double>(plan.bytes_on("hip:" + std::to_string(i))) /
        static_cast<double>(devices[static_cast<std::size_t>(i)].memory_info().total);
    fullest = std::max(fullest, share);
    emptiest = std::min(emptiest, share);
  }
  // As even as whole layers allow: one of them is 0.41 of the smallest device.
  const double even = static_cast<double>(plan.total_bytes()) / static_cast<double>(36 * MiB);
  CHECK(fullest < even + 0.1);
  CHECK(emptiest > even - 0.25);
  // A layer and its cache are on one device, and the layers are in order.
  const auto device_of = [&](const std::string& name) {
    for (const load::Item& item : plan.items) {
      if (item.name == name) return plan.arenas[item.arena].device;
    }
    return std::string{"none"};
  };
  std::string last = device_of("token_embd.weight");
  CHECK(last == "hip:0");
  for (int layer = 0; layer < 14; ++layer) {
    const std::string number = std::to_string(layer);
    const std::string device = device_of("blk." + number + ".attn_q.weight");
    CHECK(device == device_of("blk." + number + ".ffn_up.weight"));
    CHECK(device == device_of("cache." + number + ".k"));
    CHECK(device >= last);
    last = device;
  }
  CHECK(device_of("output.weight") == "hip:3");
  for (int i = 0; i < 4; ++i) {
    CHECK(device_of("scratch." + std::to_string(i)) == "hip:" + std::to_string(i));
  }
}

TEST_CASE("a tensor larger than any device is an error that names it") {
  const test::Simulation simulation{{.devices = {{.memory = 1 * MiB}, {.memory = 2 * MiB}}}};
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_model(folder.path() / "m.gguf", {100, 3'000'000})};
  std::vector<HipDevice<>> devices;
  for (int i = 0; i < 2; ++i) devices.emplace_back(i);
  load::PlanOptions options;
  for (const HipDevice<>& device : devices) options.devices.push_back(load::planned_device(device));
  try {
    static_cast<void>(load::make_plan(file, options));
    FAIL("it was planned");
  } catch (const InsufficientMemory& error) {
    CHECK(std::string{error.what()}.find("t1 alone takes 2.86 MiB") != std::string::npos);
    CHECK(error.available() == 2 * MiB);
  }
}

TEST_CASE("a plan for devices that were not given is refused") {
  const test::Simulation simulation{{.devices = {{}, {}, {}}}};
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf")};
  std::vector<HipDevice<>> devices;
  for (int i = 0; i < 3; ++i) devices.emplace_back(i);
  load::PlanOptions options;
  for (const HipDevice<>& device : devices) options.devices.push_back(load::planned_device(device));
  const load::Plan plan = load::make_plan(file, options);
  CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, std::span{devices}.first(2))),
                  std::logic_error);
}

TEST_CASE("a selective load has the allocations that the plan says") {
  const test::Simulation simulation;
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf")};
  HipDevice<> device;
  const load::Plan plan = load::make_plan(file, {}, load::Selective{load::MatrixRules::of(file)});
  const auto loaded = load::load(file, plan, device, {}, small_ring);
  CHECK(hipsim::calls("hipMalloc") == plan.arenas.size());
  CHECK(loaded.report().device_allocations == 1 + 2 + 4 * 3);
  CHECK(!load::verify(file, loaded, device));
}
