// SPDX-License-Identifier: MIT
#include <allot/device/host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/verify.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/models.hpp"
#include "support/patterns.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;

template <class S, std::uint64_t Bytes>
struct WeightsOf {
  using Strategy = S;
  using Alignment = AlignTo<Bytes>;
  using Synchronization = Locked<>;
};

struct NotShareable {
  using Strategy = BestFit;
  using Alignment = AlignTo<256>;
  using Synchronization = Unsynchronized;
};
static_assert(!load::WeightPolicy<NotShareable>);
static_assert(!load::WeightPolicy<int>);
static_assert(!load::Margin<int>);
static_assert(!Device<int> && !Device<HostMemory>);

/// The host, with made-up figures, counting what is reserved.
struct CountingDevice : HostDevice {
  struct memory_type : HostMemory {
    std::uint64_t* reservations = nullptr;
    Region acquire(std::uint64_t bytes, std::uint64_t alignment) {
      ++*reservations;
      return HostMemory::acquire(bytes, alignment);
    }
  };
  std::uint64_t free;
  std::uint64_t reservations = 0;

  explicit CountingDevice(std::uint64_t free_bytes) : free{free_bytes} {}
  memory_type memory() {
    memory_type made;
    made.reservations = &reservations;
    return made;
  }
  [[nodiscard]] MemoryInfo memory_info() const { return {free, free}; }
  [[nodiscard]] std::string name() const { return "counting"; }
};
static_assert(Device<CountingDevice>);

/// Tensors of odd sizes: 1, 100, 256, 257, 0 and 9,000,001 bytes.
fs::path odd_model(const fs::path& folder) {
  gguf::Writer writer;
  int number = 0;
  for (const std::uint64_t bytes : {1U, 100U, 256U, 257U, 0U, 9'000'001U}) {
    writer.add_tensor("t" + std::to_string(number++), gguf::TensorType::I8, {bytes},
                      test::fill_with_offsets);
  }
  writer.write(folder / "odd.gguf");
  return folder / "odd.gguf";
}

}  // namespace

TEST_CASE("a plan is exact to the byte, for odd sizes too") {
  const test::TemporaryFolder folder;
  const gguf::File file{odd_model(folder.path())};
  const load::Plan plan = load::make_plan(file);
  REQUIRE(plan.arenas.size() == 1);
  CHECK(plan.tensor_bytes() == 1 + 100 + 256 + 257 + 9'000'001);
  CHECK(plan.arenas[0].capacity == 256 + 256 + 256 + 512 + 9'000'192);
  CHECK(plan.arenas[0].used == plan.arenas[0].capacity);
  CHECK(plan.arenas[0].padding == plan.arenas[0].used - plan.tensor_bytes());
  CHECK(plan.total_bytes() == plan.arenas[0].capacity);
  CHECK(plan.items.size() == 6);
  CHECK(plan.items[4].bytes == 0);
}

TEST_CASE_TEMPLATE("what was planned is loaded, with one reservation, and equals the file", P,
                   WeightsOf<BestFit, 1>, WeightsOf<BestFit, 256>, WeightsOf<FirstFit, 32>,
                   WeightsOf<Buddy, 256>, WeightsOf<BestFit, 2097152>) {
  const test::TemporaryFolder folder;
  const gguf::File file{odd_model(folder.path())};
  CountingDevice device{1 * GiB};
  const load::Plan plan = load::make_plan<P>(file);
  load::check(plan, device);
  const auto model = load::load<P>(file, plan, device);
  CHECK(device.reservations == 1);
  CHECK(!load::verify(file, model));
  const Usage usage = model.arenas().front().usage();
  CHECK(usage.capacity == plan.arenas[0].capacity);
  CHECK(usage.used == plan.arenas[0].used);
  CHECK(usage.padding == plan.arenas[0].padding);
  CHECK(model["t4"].slice().empty());
  CHECK(model["t3"].bytes() == 257);
  CHECK(model.find("absent") == nullptr);
  CHECK_THROWS_AS(static_cast<void>(model["absent"]), std::out_of_range);
}

TEST_CASE("a changed byte is found, with its tensor and place") {
  const test::TemporaryFolder folder;
  const gguf::File file{odd_model(folder.path())};
  HostDevice device;
  const auto model = load::load(file, load::make_plan(file), device);
  model["t5"].slice().span()[5'000'000] ^= std::byte{1};
  const auto difference = load::verify(file, model);
  REQUIRE(difference);
  CHECK(difference->tensor == "t5");
  CHECK(difference->byte == 5'000'000);
}

TEST_CASE("every real and generated file loads and equals itself") {
  const auto data = test::data_dir();
  if (!data) return;
  std::size_t loaded = 0;
  for (const char* kind : {"real", "generated"}) {
    for (const auto& entry : fs::directory_iterator{*data / "gguf" / kind}) {
      if (entry.path().string().find("bigendian") != std::string::npos) continue;
      if (entry.path().extension() != ".gguf") continue;
      INFO(entry.path().string());
      const gguf::File file{entry.path()};
      const load::Plan plan = load::make_plan(file);
      HostDevice device;
      const auto model = load::load(file, plan, device);
      CHECK(!load::verify(file, model));
      CHECK(plan.arenas.size() == (plan.tensor_bytes() == 0 ? 0 : 1));
      ++loaded;
    }
  }
  CHECK(loaded > 25);
}

TEST_CASE("tensors outlive the model, the plan and the file") {
  const test::TemporaryFolder folder;
  std::optional<load::Tensor<HostAccessible>> survivor;
  {
    const gguf::File file{odd_model(folder.path())};
    HostDevice device;
    const auto model = load::load(file, load::make_plan(file), device);
    survivor = model["t5"];
  }
  std::vector<std::byte> expected(9'000'001);
  test::fill_with_offsets(0, expected);
  const auto bytes = survivor->slice().span();
  CHECK(std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end()));
  CHECK(survivor->name() == "t5");
}

TEST_CASE("progress rises from nothing to everything, on the caller's thread") {
  const test::TemporaryFolder folder;
  const gguf::File file{odd_model(folder.path())};
  HostDevice device;
  std::vector<std::uint64_t> seen;
  std::uint64_t total = 0;
  const auto caller = std::this_thread::get_id();
  static_cast<void>(
      load::load(file, load::make_plan(file), device, [&](const load::Progress& progress) {
        CHECK(std::this_thread::get_id() == caller);
        seen.push_back(progress.done);
        CHECK(progress.total >= 9'000'615);
        total = progress.total;
        return true;
      }));
  REQUIRE(seen.size() >= 2);
  CHECK(seen.front() == 0);
  CHECK(seen.back() == total);
  CHECK(std::adjacent_find(seen.begin(), seen.end(), std::greater_equal<>{}) == seen.end());
}

TEST_CASE("a load can be cancelled at every step, and what the callback throws goes through") {
  const test::TemporaryFolder folder;
  const gguf::File file{odd_model(folder.path())};
  const load::Plan plan = load::make_plan(file);
  HostDevice device;
  for (int stop = 0; stop < 2; ++stop) {
    int calls = 0;
    CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, device,
                                                 [&](const auto&) { return calls++ < stop; })),
                    load::Cancelled);
    calls = 0;
    CHECK_THROWS_WITH_AS(static_cast<void>(load::load(file, plan, device,
                                                      [&](const auto&) -> bool {
                                                        if (calls++ >= stop)
                                                          throw std::runtime_error{"enough"};
                                                        return true;
                                                      })),
                         "enough", std::runtime_error);
  }
  CHECK(!load::verify(file, load::load(file, plan, device)));
}

TEST_CASE("a file cut off after it was opened is an error, and nothing stays reserved") {
  const test::TemporaryFolder folder;
  const gguf::File file{odd_model(folder.path())};
  const load::Plan plan = load::make_plan(file);
  HostDevice device;
  const auto model = load::load(file, plan, device);
  fs::resize_file(folder.path() / "odd.gguf", 5'000'000);
  CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, device)), gguf::ParseError);
  CHECK_THROWS_AS(static_cast<void>(load::verify(file, model)), gguf::ParseError);
}

TEST_CASE("a plan that another policy or file made is refused") {
  const test::TemporaryFolder folder;
  const gguf::File file{odd_model(folder.path())};
  HostDevice device;
  load::Plan plan = load::make_plan(file);
  plan.items[3].offset += 256;
  CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, device)), std::logic_error);
  plan = load::make_plan(file);
  plan.items.pop_back();
  CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, device)), std::logic_error);
  plan = load::make_plan(file);
  plan.items[0].arena = 7;
  CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, device)), std::logic_error);
  plan = load::make_plan(file);
  REQUIRE(plan.items[4].bytes == 0);
  plan.items[4].part_of = load::PartOf{7'000, 0};
  CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, device)), std::logic_error);
  plan = load::make_plan(file);
  plan.steps[0].file_offset = ~std::uint64_t{0};
  CHECK_THROWS_AS(static_cast<void>(load::load(file, plan, device)), std::logic_error);
}

TEST_CASE("too little memory is refused before anything is reserved, with what to cut") {
  const test::TemporaryFolder folder;
  const gguf::File file{odd_model(folder.path())};
  const load::Plan plan = load::make_plan(file);
  const std::uint64_t planned = plan.total_bytes();
  CountingDevice device{planned + 100 * MiB};
  CHECK_NOTHROW(load::check(plan, device));  // the usual margin is 100 MiB for so small a plan
  device.free -= 1;
  try {
    load::check(plan, device);
    FAIL("it was accepted");
  } catch (const InsufficientMemory& error) {
    CHECK(error.required() == planned + 100 * MiB);
    CHECK(error.available() == device.free);
    CHECK(error.deficit() == 1);
    CHECK(error.advice().find("t5") != std::string::npos);
  }
  CHECK(device.reservations == 0);
  device.free = planned;
  CHECK_NOTHROW(load::check(plan, device, load::NoMargin{}));
  CHECK_THROWS_AS(load::check(plan, device, load::PercentMargin{1}), InsufficientMemory);
  CHECK(load::UsualMargin{}(20 * GiB) == 2 * GiB);
}

TEST_CASE("the host's free memory is the smaller of the system's and the control groups'") {
  using namespace host_memory_info;
  CHECK(field("MemTotal:  10 kB\nMemAvailable:       7 kB\n", "MemAvailable") == 7 * KiB);
  CHECK(!field("MemTotal: 10 kB\n", "MemAvailable"));
  const test::TemporaryFolder folder;
  const auto put = [&](const char* name, const char* text) {
    fs::create_directories((folder.path() / name).parent_path());
    std::ofstream{folder.path() / name} << text;
  };
  put("a/memory.max", "1000\n");
  put("a/memory.current", "400\n");
  put("a/b/memory.max", "max\n");
  put("a/b/memory.current", "100\n");
  CHECK(left_by_groups("0::/a/b\n", folder.path()) == 600);
  CHECK(left_by_groups("0::/\n", folder.path()) == ~std::uint64_t{0});
  put("memory/x/memory.limit_in_bytes", "500\n");
  put("memory/x/memory.usage_in_bytes", "700\n");
  CHECK(left_by_groups("4:cpu,memory:/x\n0::/a\n", folder.path()) == 0);
  CHECK(HostDevice{}.memory_info().free > 0);
}

TEST_CASE("plans of real models take exactly the bytes that are known of them") {
  const auto data = test::data_dir();
  if (!data) return;
  const struct {
    const char* name;
    std::uint64_t total;
  } layouts[] = {{"qwen2.5-0.5b-instruct-q4_k_m", 485'452'288},
                 {"llama-3.1-8b-instruct-q4_k_m", 4'912'898'304},
                 {"llama-3.1-70b-instruct-q4_k_m", 42'512'531'712},
                 {"mixtral-8x7b-q4_k_m_modern_exps", 28'447'727'616},
                 {"qwen3-30b-a3b-q4_k_m", 18'550'716'416},
                 {"gpt-oss-120b-mxfp4", 63'374'323'968},
                 {"deepseek-r1-671b-q4_k_m", 404'424'884'224}};
  const fs::path script = *data / ".." / "tools" / "mk_sparse_gguf.py";
  for (const auto& layout : layouts) {
    INFO(layout.name);
    const test::TemporaryFolder folder;
    const fs::path csv = *data / "layouts" / (std::string{layout.name} + ".csv");
    const std::string command = "python3 '" + script.string() + "' '" + csv.string() + "' '" +
                                (folder.path() / "m.gguf").string() + "' >/dev/null";
    REQUIRE(std::system(command.c_str()) == 0);
    fs::path path = folder.path() / "m.gguf";
    if (!fs::exists(path)) path = folder.path() / "m-00003-of-00009.gguf";
    const gguf::File file{path};
    CHECK(load::make_plan(file).total_bytes() == layout.total);
  }
}

TEST_CASE("a model is stored by its name, and found by a tensor of the file, without a copy") {
  struct Engine {
    load::ModelOn<HostDevice> weights;
  };
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf")};
  HostDevice device;
  const Engine engine{load::load(file, load::make_plan(file), device)};
  static_assert(std::is_same_v<load::ModelOn<HostDevice, WeightsOf<Buddy, 256>>,
                               decltype(load::load<WeightsOf<Buddy, 256>>(
                                   file, std::declval<const load::Plan&>(), device))>);
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    CHECK(engine.weights[tensor.name].name() == tensor.name);
    CHECK(engine.weights.find(tensor.name)->type() == tensor.type);
  }
  CHECK(engine.weights["output.weight"].bytes() ==
        engine.weights[std::string{"output.weight"}].bytes());
}

TEST_CASE("a model's layers have their tensors by role") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf")};
  HostDevice device;
  load::PlanOptions options;
  options.cache = load::CacheOptions{16};
  auto loaded = load::load(file, load::make_plan(file, options), device);
  const auto layers = loaded.layers();
  const auto model = std::move(loaded);
  REQUIRE(layers.size() == 4);
  for (std::uint64_t i = 0; i < layers.size(); ++i) {
    const auto& layer = layers[i];
    const std::string name = "blk." + std::to_string(i) + ".";
    CHECK(layer.number() == i);
    CHECK(layer.stack().empty());
    CHECK(layer.size() == 8);
    CHECK(&layer["attn_q"] == model.find(name + "attn_q.weight"));
    CHECK(&layer["attn_q.weight"] == model.find(name + "attn_q.weight"));
    CHECK(&layer["cache.k"] == model.find("cache." + std::to_string(i) + ".k"));
    CHECK(layer.find("attn_q.bias") == nullptr);
    CHECK(layer.find("k") == nullptr);
    CHECK(layer.find("") == nullptr);
    std::vector<std::string> roles;
    layer.for_each([&](const std::string& role, const auto& tensor) {
      roles.push_back(role);
      CHECK(tensor.bytes() != 0);
    });
    CHECK(roles == std::vector<std::string>{"attn_norm.weight", "attn_q.weight", "attn_k.weight",
                                            "attn_v.weight", "attn_output.weight", "ffn_up.weight",
                                            "cache.k", "cache.v"});
  }
  CHECK_THROWS_WITH_AS(static_cast<void>(layers[3]["attn_x"]),
                       "layer blk.3 has no tensor attn_x; find returns null for one",
                       std::out_of_range);
}

TEST_CASE("layers of several stacks are in order, whatever the order of the file") {
  struct Named {
    std::string text;
    [[nodiscard]] const std::string& name() const { return text; }
    [[nodiscard]] static bool is_loaded() { return true; }
  };
  const std::vector<Named> tensors{{"dec.blk.1.a.weight"}, {"enc.blk.0.a.weight"},
                                   {"output.weight"},      {"dec.blk.0.a.weight"},
                                   {"cache.1.k"},          {"blk.x.a"},
                                   {"ablk.1.a"},           {"blk.7"}};
  std::string seen;
  for (const auto& layer : load::detail::layers_of(std::span<const Named>{tensors})) {
    seen += std::string{layer.stack()} + std::to_string(layer.number()) + ":";
    layer.for_each([&](const std::string& role, const Named&) { seen += role + ","; });
  }
  CHECK(seen == "dec.0:a.weight,dec.1:a.weight,enc.0:a.weight,enc.1:cache.k,");
}

TEST_CASE("layers, and stacks of them, may be any number in any order") {
  struct Numbered {  // comparing each with all others would take minutes
    std::string text;
    [[nodiscard]] const std::string& name() const { return text; }
    [[nodiscard]] static bool is_loaded() { return true; }
  };
  constexpr std::uint64_t count = 50'000;
  std::vector<Numbered> tensors;
  for (std::uint64_t i = 0; i < count; ++i) {
    tensors.push_back({"a" + std::to_string(i) + ".blk.0.a"});
    tensors.push_back({"blk." + std::to_string(count - 1 - i) + ".a"});
    tensors.push_back({"cache." + std::to_string(i) + ".k"});
  }
  const auto layers = load::detail::layers_of(std::span<const Numbered>{tensors});
  REQUIRE(layers.size() == 2 * count);
  CHECK(layers.front().stack() == "a0.");
  CHECK(layers.back().stack() == "a49999.");
  bool are_right = true;
  for (std::uint64_t i = 0; i < count; ++i) {  // the second stack
    const auto& layer = layers[1 + i];
    are_right = are_right && layer.stack().empty() && layer.number() == i && layer.size() == 2 &&
                layer.find("a") == &tensors[3 * (count - 1 - i) + 1] &&
                layer.find("cache.k") == &tensors[3 * i + 2];
  }
  CHECK(are_right);
}
