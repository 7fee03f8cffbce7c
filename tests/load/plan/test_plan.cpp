// SPDX-License-Identifier: MIT
// Groupings, the KV cache, and the division between devices: all without any device.
#include <allot/gguf/file.hpp>
#include <allot/load/check.hpp>
#include <allot/load/kv_shape_of.hpp>
#include <allot/load/plan/cache.hpp>
#include <allot/load/plan/check_plan.hpp>
#include <allot/load/plan/detail/split.hpp>
#include <allot/load/plan/grouping.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/plan/matrix_rules.hpp>
#include <allot/rdna3.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "support/models.hpp"
#include "support/random.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using namespace allot::load;
namespace fs = std::filesystem;

struct NotAGrouping {
  static std::vector<int> groups(std::span<const ItemLayout>, std::span<const std::uint32_t>,
                                 std::uint64_t) {
    return {};
  }
};
static_assert(!GroupingPolicy<int> && !GroupingPolicy<NotAGrouping>);
static_assert(!Classifier<int> && !Classifier<OneArena>);

ItemLayout matrix(std::string name, std::uint64_t columns, std::uint64_t rows) {
  return {.name = std::move(name),
          .type = gguf::TensorType::I8,
          .shape = {.extent = {columns, rows, 1, 1}, .rank = 2},
          .bytes = columns * rows};
}

std::vector<std::vector<std::uint32_t>> chunks(std::uint64_t bytes,
                                               const std::vector<std::uint64_t>& sizes) {
  std::vector<ItemLayout> items;
  for (const std::uint64_t size : sizes) items.push_back(matrix("t", size, 1));
  std::vector<std::uint32_t> chosen(items.size());
  std::iota(chosen.begin(), chosen.end(), 0U);
  std::vector<std::vector<std::uint32_t>> found;
  for (const Group& group : ArenasOf{bytes}.groups(items, chosen, 256))
    found.push_back(group.items);
  return found;
}

/// What a plan promises, whatever its grouping: every item in its arena, none over another, every
/// byte of the file in exactly one step.
void check_sound(const gguf::File& file, const Plan& plan) {
  std::vector<std::vector<std::pair<std::uint64_t, std::uint64_t>>> ranges(plan.arenas.size());
  for (const Item& item : plan.items) {
    if (item.bytes == 0) continue;
    REQUIRE(item.arena < plan.arenas.size());
    REQUIRE(item.offset + item.bytes <= plan.arenas[item.arena].capacity);
    REQUIRE(item.offset % plan.arenas[item.arena].alignment == 0);
    ranges[item.arena].emplace_back(item.offset, item.offset + item.bytes);
  }
  for (auto& list : ranges) {
    std::sort(list.begin(), list.end());
    for (std::size_t i = 1; i < list.size(); ++i) REQUIRE(list[i - 1].second <= list[i].first);
  }
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const gguf::TensorInfo& tensor = file.tensors()[i];
    if (tensor.bytes == 0) continue;
    const std::uint64_t first = file.shards()[tensor.shard].data_offset() + tensor.offset;
    const auto brings = [&](const Step& step) {
      return step.shard == tensor.shard && step.arena == plan.items[i].arena &&
             step.file_offset <= first && first + tensor.bytes <= step.file_offset + step.bytes &&
             step.arena_offset + (first - step.file_offset) == plan.items[i].offset;
    };
    REQUIRE(std::count_if(plan.steps.begin(), plan.steps.end(), brings) == 1);
  }
  std::uint64_t items = 0;
  std::uint64_t arenas = 0;
  for (const RuleCount& rule : plan.rules()) {
    items += rule.items;
    arenas += rule.arenas;
  }
  CHECK(arenas == plan.arenas.size());
  CHECK(items == static_cast<std::uint64_t>(
                     std::count_if(plan.items.begin(), plan.items.end(),
                                   [](const Item& item) { return item.bytes != 0; })));
}

}  // namespace

// 64 KiB: 16 tokens, 8 KV heads of 128, keys and values in f16.
static_assert(16 * 8 * 128 * 2 * 2 == 64 * KiB);
static_assert(rdna3::device_bytes(1) == 4 * KiB);
static_assert(rdna3::device_bytes(2 * MiB - 1) == 2 * MiB);
static_assert(rdna3::device_bytes(2 * MiB + 1) == 4 * MiB);
static_assert(!rdna3::device_bytes(~std::uint64_t{0}));

TEST_CASE("the policy set for RDNA3 plans what the default plans, and pages have their size") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf")};
  CHECK(make_plan<rdna3::Weights>(file).total_bytes() == make_plan(file).total_bytes());
  rdna3::ArenaOf<rdna3::KvPages<4 * KiB>, OffsetsOnly> pages{64 * KiB};
  CHECK(pages.allocate(4 * KiB).size == 4 * KiB);
  CHECK(pages.allocate(1, 4 * KiB).offset == 4 * KiB);
  rdna3::ArenaOf<rdna3::Staging, OffsetsOnly> slots{rdna3::Staging::slots *
                                                    rdna3::Staging::slot_bytes};
  for (std::uint32_t i = 0; i < rdna3::Staging::slots; ++i)
    CHECK(slots.allocate(rdna3::Staging::slot_bytes).size == rdna3::Staging::slot_bytes);
  CHECK(rdna3::Staging::load_options().slot_bytes == LoadOptions{}.slot_bytes);
}

TEST_CASE("chunks are filled in order, and what is larger than one has its own") {
  using Lists = std::vector<std::vector<std::uint32_t>>;
  CHECK(chunks(1024, {256, 256, 512}) == Lists{{0, 1, 2}});
  CHECK(chunks(1024, {256, 256, 513}) == Lists{{0, 1}, {2}});
  CHECK(chunks(1024, {1023, 1}) == Lists{{0}, {1}});
  CHECK(chunks(1024, {768, 1}) == Lists{{0, 1}});
  CHECK(chunks(1024, {5000, 256, 5000, 256, 256}) == Lists{{0}, {1}, {2}, {3, 4}});
  CHECK(chunks(1, {256, 256}) == Lists{{0}, {1}});
  CHECK(chunks(1024, {}) == Lists{});
}

TEST_CASE("a tensor just under and at the threshold is not large, one over it is") {
  MatrixRules rules;
  CHECK(rules.large_above == 32 * MiB);
  CHECK(rules.rule_of(matrix("ffn_up", 32 * MiB - 1, 1)).empty());
  CHECK(rules.rule_of(matrix("ffn_up", 32 * MiB, 1)).empty());
  CHECK(rules.rule_of(matrix("ffn_up", 32 * MiB + 1, 1)) == "large");
  rules.large_above = 1000;
  CHECK(rules.rule_of(matrix("ffn_up", 1001, 1)) == "large");
}

TEST_CASE("the token embedding of 520 MB is large, whatever else it is") {
  // Qwen2.5-0.5B's, in f32, as a prior system had it: 151,936 x 896 x 4 bytes = 519 MiB.
  ItemLayout embedding = matrix("token_embd.weight", 896, 151'936);
  embedding.type = gguf::TensorType::F32;
  embedding.bytes *= 4;
  CHECK(embedding.bytes == 544'538'624);
  CHECK(MatrixRules{.vocabulary = 151'936}.rule_of(embedding) == "large");
  CHECK(MatrixRules{.large_above = 1 * GiB}.rule_of(embedding) == "transposed");
  CHECK(MatrixRules{.large_above = 1 * GiB, .transposed = false}.rule_of(embedding).empty());
}

TEST_CASE("projections and matrices with the vocabulary as a dimension are named, others are not") {
  const MatrixRules rules{.vocabulary = 1000};
  CHECK(rules.rule_of(matrix("blk.0.attn_q.weight", 64, 64)) == "qkv");
  CHECK(rules.rule_of(matrix("blk.0.attn_qkv.weight", 64, 192)) == "qkv");
  CHECK(rules.rule_of(matrix("model.layers.0.self_attn.k_proj.weight", 64, 64)) == "qkv");
  CHECK(rules.rule_of(matrix("lm_head", 64, 1000)) == "transposed");
  CHECK(rules.rule_of(matrix("wte", 1000, 64)) == "transposed");
  CHECK(rules.rule_of(matrix("output.weight", 64, 10)) == "transposed");
  // What a name alone once took along.
  CHECK(rules.rule_of(matrix("blk.0.attn_norm.weight", 64, 64)).empty());
  CHECK(rules.rule_of(matrix("blk.0.attn_output.weight", 64, 64)).empty());
  ItemLayout bias = matrix("blk.0.attn_q.bias", 64, 1);
  bias.shape.rank = 1;
  CHECK(rules.rule_of(bias).empty());
  ItemLayout cache = matrix("cache.0.k", 64, 1000);
  cache.purpose = Purpose::cache;
  CHECK(rules.rule_of(cache).empty());
}

TEST_CASE("the vocabulary's size is the metadata's") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf", {.vocabulary = 777})};
  CHECK(MatrixRules::of(file).vocabulary == 777);
  const gguf::File plain{test::write_model(folder.path() / "p.gguf", {1})};
  CHECK(!MatrixRules::of(plain).vocabulary);
}

TEST_CASE("every grouping makes a sound plan, with the rules' counts") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf")};
  const PlanOptions options{.cache = CacheOptions{77}, .scratch_bytes = 12'345};
  const Plan one = make_plan(file, options);
  CHECK(one.arenas.size() == 1);
  check_sound(file, one);
  const Plan chunked = make_plan(file, options, ChunkedArenas<1 * MiB>{});
  CHECK(chunked.arenas.size() > 5);
  check_sound(file, chunked);
  const Plan selective = make_plan(file, options, Selective{MatrixRules::of(file)});
  check_sound(file, selective);
  const auto rules = selective.rules();
  REQUIRE(rules.size() == 3);
  CHECK(rules[0].rule == "pooled");
  CHECK(rules[0].arenas == 1);
  CHECK(rules[1].rule == "transposed");
  CHECK(rules[1].items == 2);
  CHECK(rules[2].rule == "qkv");
  CHECK(rules[2].items == 12);
  CHECK(rules[2].arenas == 12);
}

TEST_CASE("the cache is KV heads times head dimensions, for each layer") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(
      folder.path() / "m.gguf", {.layers = 3, .heads = 8, .kv_heads = 2, .embedding = 256})};
  const auto layers = gguf::model_memory_of(file).kept;
  REQUIRE(layers.size() == 3);
  CHECK(layers[1].key_elements == 64);
  CHECK(layers[1].value_elements == 64);
  const auto items = cache_items(file, {100, gguf::TensorType::F16, gguf::TensorType::Q8_0});
  REQUIRE(items.size() == 6);
  CHECK(items[2].name == "cache.1.k");
  CHECK(items[2].bytes == 64 * 2 * 100);
  CHECK(items[3].name == "cache.1.v");
  const Plan planned = make_plan(file, {.cache = CacheOptions{100}});
  for (const load::Item& item : planned.items) {
    if (item.purpose != load::Purpose::cache) continue;
    CHECK(item.strides[1] == item.bytes / 100);
    CHECK(item.strides[2] == item.bytes);
  }
  CHECK(items[3].bytes == 2 * 34 * 100);
  CHECK(trained_context(file) == 4096);
}

TEST_CASE("heads may differ from layer to layer, and have sizes of their own") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add("general.architecture", "mixed");
  writer.add("mixed.block_count", std::uint32_t{3});
  writer.add("mixed.attention.head_count", std::uint32_t{4});
  const std::vector<std::int32_t> heads{2, 0, 1};
  writer.add_array("mixed.attention.head_count_kv", std::span<const std::int32_t>{heads});
  writer.add("mixed.attention.key_length", std::uint32_t{192});
  writer.add("mixed.attention.value_length", std::uint32_t{128});
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  const auto items = cache_items(file, {10});
  REQUIRE(items.size() == 4);  // the layer without heads keeps nothing
  CHECK(items[0].bytes == 2 * 192 * 2 * 10);
  CHECK(items[1].bytes == 2 * 128 * 2 * 10);
  CHECK(items[2].name == "cache.2.k");
}

TEST_CASE("a paged cache has the shape of the layers that keep anything, if they are alike") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(
      folder.path() / "m.gguf", {.layers = 3, .heads = 8, .kv_heads = 2, .embedding = 256})};
  const KvShape shape = load::kv_shape_of(file, gguf::TensorType::F16, gguf::TensorType::Q8_0);
  CHECK(shape.layers == 3);
  CHECK(shape.kv_heads == 2);
  CHECK(shape.key_dimension == 32);
  CHECK(shape.value_dimension == 32);
  CHECK(shape.key_element.bytes == 2);
  CHECK(shape.key_element.elements == 1);
  CHECK(shape.value_element.bytes == 34);
  CHECK(shape.value_element.elements == 32);
  const KvLayout layout{shape, 16};  // as much as the planned cache of as many tokens
  std::uint64_t planned = 0;
  for (const load::ItemLayout& item :
       load::cache_items(file, {16, gguf::TensorType::F16, gguf::TensorType::Q8_0}))
    planned += item.bytes;
  CHECK(layout.token_bytes() * 16 == planned);

  gguf::Writer writer;
  writer.add("general.architecture", "mixed");
  writer.add("mixed.block_count", std::uint32_t{3});
  writer.add("mixed.attention.key_length", std::uint32_t{64});
  writer.add("mixed.attention.value_length", std::uint32_t{64});
  const auto of_heads = [&](const std::vector<std::int32_t>& heads) {
    gguf::Writer made = writer;
    made.add_array("mixed.attention.head_count_kv", std::span<const std::int32_t>{heads});
    made.write(folder.path() / "mixed.gguf");
    return load::kv_shape_of(gguf::File{folder.path() / "mixed.gguf"});
  };
  CHECK(of_heads({2, 0, 2}).layers == 2);
  CHECK_THROWS_WITH_AS(static_cast<void>(of_heads({2, 0, 1})),
                       doctest::Contains("2 KV heads with keys of 64 and values of 64 and 1 KV"),
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(of_heads({0, 0, 0})),
                       doctest::Contains("no layer of this model"), std::runtime_error);
}

TEST_CASE("a cache that cannot be planned is an error that names the key") {
  const test::TemporaryFolder folder;
  const auto error_of = [&](auto&& fill) {
    gguf::Writer writer;
    fill(writer);
    writer.write(folder.path() / "m.gguf");
    const gguf::File file{folder.path() / "m.gguf"};
    try {
      static_cast<void>(make_plan(file, {.cache = CacheOptions{1'000'000}}));
      return std::string{"planned"};
    } catch (const std::exception& error) {
      return std::string{error.what()};
    }
  };
  CHECK(error_of([](gguf::Writer&) {}).find("general.architecture is missing") !=
        std::string::npos);
  CHECK(error_of([](gguf::Writer& writer) { writer.add("general.architecture", "x"); }) ==
        "planned");  // nothing is kept, and `assumed` says so
  CHECK(error_of([](gguf::Writer& writer) {
          writer.add("general.architecture", "x");
          writer.add("x.block_count", ~std::uint64_t{0});
        }).find("x.block_count is more than the file has tensors") != std::string::npos);
  CHECK(error_of([](gguf::Writer& writer) {  // a few hundred bytes that would be 130,000 items
          writer.add("general.architecture", "x");
          writer.add("x.block_count", std::uint32_t{65'536});
          writer.add("x.attention.head_count", std::uint32_t{1});
          writer.add("x.embedding_length", std::uint32_t{64});
        })
            .find("more than the file has tensors") != std::string::npos);
  CHECK(error_of([](gguf::Writer& writer) {
          writer.add("general.architecture", "x");
          writer.add("x.block_count", std::uint32_t{2});
          writer.add("x.attention.head_count", std::uint32_t{0});
          writer.add("x.attention.head_count_kv", std::uint32_t{2});
        }) == "planned");
  CHECK(error_of([](gguf::Writer& writer) {
          writer.add("general.architecture", "x");
          writer.add("x.block_count", std::uint32_t{2});
          writer.add("x.embedding_length", std::uint32_t{64});
          writer.add("x.attention.head_count", std::uint32_t{4});
          writer.add("x.attention.head_count_kv", std::int32_t{-8});
        }).find("x.attention.head_count_kv is not a count") != std::string::npos);
  CHECK(error_of([](gguf::Writer& writer) {
          writer.add("general.architecture", "x");
          writer.add("x.block_count", std::uint32_t{2});
          writer.add("x.embedding_length", std::uint32_t{64});
          writer.add("x.attention.head_count", std::uint32_t{4});
          const std::vector<std::uint16_t> one{2};
          writer.add_array("x.attention.head_count_kv", std::span<const std::uint16_t>{one});
        }).find("fewer elements than there are layers") != std::string::npos);
  CHECK(error_of([](gguf::Writer& writer) {
          writer.add("general.architecture", "x");
          writer.add("x.block_count", std::uint32_t{2});
          writer.add("x.attention.head_count", std::uint32_t{1});
          writer.add("x.attention.key_length", ~std::uint64_t{0} / 2);
          writer.add("x.attention.value_length", std::uint32_t{1});
        }).find("more than 2^64") != std::string::npos);
  CHECK_THROWS_AS(static_cast<void>([&] {
                    const gguf::File file{test::write_llama(
                        folder.path() / "l.gguf",
                        {.heads = 8, .kv_heads = 1, .embedding = 128})};  // 16 elements a row
                    return cache_items(file, {1, gguf::TensorType::Q8_0, gguf::TensorType::F16});
                  }()),
                  std::invalid_argument);
}

TEST_CASE("stacks of layers are in the file's order, however many, and what decodes comes last") {
  std::vector<load::ItemLayout> items;
  const auto add = [&](const std::string& name) {
    load::ItemLayout item{};
    item.name = name;
    items.push_back(item);
  };
  add("dec.blk.0.x");
  for (int i = 40; i > 0; --i) add("s" + std::to_string(i) + ".blk.0.x");
  add("blk.0.x");
  const load::detail::LayerOrder order{items};
  for (std::size_t i = 2; i < items.size(); ++i)
    CHECK(order.place_of(items[i - 1]) < order.place_of(items[i]));
  CHECK(order.place_of(items.back()) < order.place_of(items.front()));
  CHECK(order.place_of(items.front()) < load::detail::LayerOrder<>::output);
}

TEST_CASE("layers are found by name") {
  CHECK(load::detail::layer_name_of("blk.12.attn_q.weight")->number == 12);
  CHECK(load::detail::layer_name_of("blk.12.attn_q.weight")->stack.empty());
  CHECK(load::detail::layer_name_of("enc.blk.7.attn_q.weight")->number == 7);
  CHECK(load::detail::layer_name_of("enc.blk.7.attn_q.weight")->stack == "enc.");
  CHECK(load::detail::layer_name_of("cache.3.k")->number == 3);
  CHECK(!load::detail::layer_name_of("subblk.3.k"));
  CHECK(!load::detail::layer_name_of("blk.x.attn_q.weight"));
  CHECK(!load::detail::layer_name_of("blk.12"));
  CHECK(!load::detail::layer_name_of("output.weight"));
  CHECK(!load::detail::layer_name_of("blk.99999999999999999999999.x"));
}

TEST_CASE("stacks of layers are divided, one after the other: the decoder's last, with its cache") {
  std::vector<ItemLayout> items;
  for (const char* stack : {"dec.", "enc."}) {
    for (int layer = 0; layer < 4; ++layer)
      items.push_back(matrix(stack + ("blk." + std::to_string(layer)) + ".w", 1000, 1));
  }
  ItemLayout cache = matrix("cache.3.k", 500, 1);
  cache.purpose = Purpose::cache;
  items.push_back(cache);
  const auto assigned = load::detail::split_by_layers(
      items, {{.name = "a", .free_bytes = 6000}, {.name = "b", .free_bytes = 6000}}, {});
  CHECK(assigned == std::vector<std::vector<std::uint32_t>>{{4, 5, 6, 7}, {0, 1, 2, 3, 8}});
}

TEST_CASE("scratch memory counts before layers are divided") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf", {.layers = 20})};
  const std::uint64_t weights = make_plan(file).total_bytes();
  const std::uint64_t scratch = weights / 9;
  const PlanOptions options{.devices = {{.name = "a", .free_bytes = weights + scratch},
                                        {.name = "b", .free_bytes = weights / 5}},
                            .scratch_bytes = scratch};
  const Plan plan = make_plan(file, options);
  CHECK_NOTHROW(check(plan, std::span{options.devices}, NoMargin{}));
}

TEST_CASE("no contiguous division is more even than the one that is made") {
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  for (int round = 0; round < 300; ++round) {
    std::vector<load::detail::Portion> portions(1 + random() % 9);
    for (std::size_t i = 0; i < portions.size(); ++i)
      portions[i] = {i, static_cast<double>(1 + random() % 100)};
    std::vector<PlannedDevice> devices(1 + random() % 4);
    for (PlannedDevice& device : devices)
      device.free_bytes = random() % 4 == 0 ? 0 : 1 + random() % 200;
    if (std::all_of(devices.begin(), devices.end(),
                    [](const PlannedDevice& device) { return device.free_bytes == 0; })) {
      continue;
    }
    const auto fullest = [&](const std::vector<std::uint32_t>& assigned) {
      std::vector<double> held(devices.size(), 0);
      for (std::size_t i = 0; i < portions.size(); ++i) held[assigned[i]] += portions[i].bytes;
      double worst = 0;
      for (std::size_t d = 0; d < devices.size(); ++d) {
        if (held[d] == 0) continue;
        worst = std::max(worst, devices[d].free_bytes == 0
                                    ? 1e300
                                    : held[d] / static_cast<double>(devices[d].free_bytes));
      }
      return worst;
    };
    const auto made = load::detail::divide(portions, 0, devices);
    REQUIRE(std::is_sorted(made.begin(), made.end()));
    // All of them, one after the other.
    std::vector<std::uint32_t> assigned(portions.size(), 0);
    double best = fullest(assigned);
    const std::function<void(std::size_t, std::uint32_t)> try_from = [&](std::size_t i,
                                                                         std::uint32_t device) {
      if (i == portions.size()) {
        best = std::min(best, fullest(assigned));
        return;
      }
      for (std::uint32_t d = device; d < devices.size(); ++d) {
        assigned[i] = d;
        try_from(i + 1, d);
      }
    };
    try_from(0, 0);
    REQUIRE(fullest(made) <= best * (1 + 1e-9));
  }
}

TEST_CASE("the largest context that fits does fit, and one more does not") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf")};
  const std::uint64_t weights = make_plan(file).total_bytes();
  PlanOptions options{.devices = {{.name = "gpu", .free_bytes = weights + 5'000'000}}};
  const std::uint64_t context = largest_context(file, options, NoMargin{});
  CHECK(context == 5'000'000 / 1024);  // rows of 256 bytes or more: no padding
  options.cache = CacheOptions{context};
  CHECK_NOTHROW(
      check(make_plan(file, options), std::span<const PlannedDevice>{options.devices}, NoMargin{}));
  options.cache = CacheOptions{context + 1};
  try {
    check(make_plan(file, options), std::span<const PlannedDevice>{options.devices}, NoMargin{});
    FAIL("it was accepted");
  } catch (const InsufficientMemory& error) {
    CHECK(error.advice().find("cut the context: about 488") != std::string::npos);
    CHECK(error.advice().find("KV cache 4.76 MiB") != std::string::npos);
  }
  options.cache = CacheOptions{1'000'000'000};
  CHECK_THROWS_WITH_AS(check(make_plan(file, options), std::span{options.devices}),
                       doctest::Contains("cut the context"), InsufficientMemory);
  CHECK_THROWS_AS(static_cast<void>(largest_context(file, {.device = "gpu"})),
                  std::invalid_argument);
  options.devices[0].free_bytes = weights - 1;
  CHECK(largest_context(file, options, NoMargin{}) == 0);
}

TEST_CASE("what a plan of a hostile size needs is an error, not an overflow") {
  const test::TemporaryFolder folder;
  const gguf::File file{test::write_llama(folder.path() / "m.gguf")};
  CHECK_THROWS_AS(static_cast<void>(make_plan(file, {.cache = CacheOptions{~std::uint64_t{0}}})),
                  std::length_error);
  CHECK_THROWS_AS(static_cast<void>(make_plan(file, {.scratch_bytes = ~std::uint64_t{0}})),
                  std::length_error);
}

TEST_CASE("plans of real layouts are sound in every grouping, split over devices too") {
  const auto data = test::data_dir();
  if (!data) return;
  const fs::path script = *data / ".." / "tools" / "mk_sparse_gguf.py";
  for (const char* name : {"qwen2.5-0.5b-instruct-q4_k_m", "gpt-oss-120b-mxfp4"}) {
    INFO(name);
    const test::TemporaryFolder folder;
    const std::string command = "python3 '" + script.string() + "' '" +
                                (*data / "layouts" / (std::string{name} + ".csv")).string() +
                                "' '" + (folder.path() / "m.gguf").string() + "' >/dev/null";
    REQUIRE(std::system(command.c_str()) == 0);
    const gguf::File file{folder.path() / "m.gguf"};
    check_sound(file, make_plan(file));
    check_sound(file, make_plan(file, {}, ChunkedArenas<1 * GiB>{}));
    check_sound(file, make_plan(file, {}, Selective{MatrixRules::of(file)}));
    const Plan split = make_plan(file, {.devices = {{.name = "a", .free_bytes = 24 * GiB},
                                                    {.name = "b", .free_bytes = 16 * GiB},
                                                    {.name = "c", .free_bytes = 48 * GiB}}});
    CHECK(split.arenas.size() == 3);
    check_sound(file, split);
  }
}

TEST_CASE(
    "a file that is read leniently is planned if all of it is known, refused by name if not") {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "m.gguf";
  gguf::Writer writer;
  writer.add_tensor("newer", gguf::TensorType::I8, {32}, test::fill_with_offsets);
  writer.write(path);
  CHECK(make_plan(gguf::File{path, gguf::Reading::lenient}).total_bytes() == 256);
  const Plan plan = make_plan(gguf::File{path});
  std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
  std::string bytes(200, '\0');
  file.read(bytes.data(), 200);
  file.clear();
  file.seekp(static_cast<std::streamoff>(bytes.find("newer") + 5 + 4 + 8));  // its type
  file.put(99);
  file.close();
  const gguf::File changed{path, gguf::Reading::lenient};
  CHECK_THROWS_WITH_AS((void)make_plan(changed), doctest::Contains("tensor newer has type 99"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(load::detail::check_plan(plan, changed),
                       doctest::Contains("tensor newer has type 99"), std::invalid_argument);
}
