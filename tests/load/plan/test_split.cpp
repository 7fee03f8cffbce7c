// SPDX-License-Identifier: MIT
// Which device gets what: layers by name, rules, the host beside others, experts on the host.
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/check.hpp>
#include <allot/load/plan/detail/assign.hpp>
#include <allot/load/plan/detail/experts.hpp>
#include <allot/load/plan/detail/layer_order.hpp>
#include <allot/load/plan/detail/split.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/plan/sort.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/models.hpp"
#include "support/random.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using namespace allot::load;
namespace fs = std::filesystem;

/// A tensor of bytes; of experts if there is a count.
ItemLayout named(std::string name, std::uint64_t bytes, std::uint64_t experts = 1) {
  return {.name = std::move(name),
          .type = gguf::TensorType::I8,
          .shape = {.extent = {bytes / experts, 1, experts, 1}, .rank = 3},
          .bytes = bytes};
}

/// Returns the names on a device, in order.
std::vector<std::string> names_on(const std::vector<ItemLayout>& items,
                                  const std::vector<std::vector<std::uint32_t>>& split,
                                  std::size_t device) {
  std::vector<std::string> names;
  for (const std::uint32_t item : split[device]) names.push_back(items[item].name);
  return names;
}

using Names = std::vector<std::string>;

std::uint64_t bytes_of_names(const std::vector<ItemLayout>& items, const Names& names) {
  std::uint64_t bytes = 0;
  for (const ItemLayout& item : items)
    bytes += std::count(names.begin(), names.end(), item.name) != 0 ? item.bytes : 0;
  return bytes;
}

/// Writes a layout of data/layouts as a file without tensor data.
fs::path sparse_file(const fs::path& data, const std::string& layout, const fs::path& folder) {
  const std::string command = "python3 '" + (data / ".." / "tools" / "mk_sparse_gguf.py").string() +
                              "' '" + (data / "layouts" / (layout + ".csv")).string() + "' '" +
                              (folder / "m.gguf").string() + "' >/dev/null";
  REQUIRE(std::system(command.c_str()) == 0);
  const fs::path one = folder / "m.gguf";
  return fs::exists(one) ? one : folder / "m-00001-of-00009.gguf";
}

}  // namespace

TEST_CASE("layers are recognized in every naming in use, by the word before the number") {
  const struct {
    const char* name;
    const char* stack;
    std::uint64_t number;
  } known[] = {
      {"blk.12.attn_q.weight", "", 12},
      {"v.blk.3.ln1.bias", "v.", 3},
      {"draft:blk.3.attn_q.weight", "draft:", 3},
      {"double_blocks.0.img_attn.qkv.weight", "double_blocks.", 0},
      {"model.diffusion_model.single_blocks.37.linear1.weight",
       "model.diffusion_model.single_blocks.", 37},
      {"transformer_blocks.4.attn.to_q.weight", "transformer_blocks.", 4},
      {"joint_blocks.7.x_block.attn.qkv.weight", "joint_blocks.", 7},
      {"double_layers.1.attn.w1q.weight", "double_layers.", 1},
      {"model.layers.30.mlp.experts.5.up_proj.weight", "model.layers.", 30},
      {"model.language_model.layers.2.self_attn.q_proj.weight", "model.language_model.layers.", 2},
      {"transformer.h.9.attn.c_attn.weight", "transformer.h.", 9},
      {"gpt_neox.layers.1.attention.dense.bias", "gpt_neox.layers.", 1},
      {"encoder.layer.11.output.dense.weight", "encoder.layer.", 11},
      {"encoder.block.2.layer.0.SelfAttention.q.weight", "encoder.block.", 2},
      {"noise_refiner.1.attention.qkv.weight", "noise_refiner.", 1},
      {"input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight", "input_blocks.", 4},
      {"vision_model.transformer.resblocks.5.ln_1.weight", "vision_model.transformer.resblocks.",
       5}};
  for (const auto& one : known) {
    INFO(one.name);
    const auto layer = load::detail::layer_name_of(one.name);
    REQUIRE(layer);
    CHECK(layer->stack == one.stack);
    CHECK(layer->number == one.number);
  }
  for (const char* name : {"time_embed.0.weight", "final_layer.adaLN_modulation.1.weight",
                           "token_embd.weight", "per_layer_token_embd.weight", "mm.0.weight",
                           "blk..x", "blk.-1.x", "blk.1x.y", "blk.1", "layers", "", ".", "h."}) {
    INFO(name);
    CHECK(!load::detail::layer_name_of(name));
  }
  CHECK(load::detail::layer_name_of("posnet.3.conv.weight", load::detail::LayerWord::any)->number ==
        3);
}

TEST_CASE("output, head and final norm come after all layers of their stack, embeddings before") {
  const std::vector<ItemLayout> items{named("output.weight", 1),
                                      named("token_embd.weight", 1),
                                      named("output_norm.weight", 1),
                                      named("blk.0.a", 1),
                                      named("blk.1.a", 1),
                                      named("rope_freqs.weight", 1),
                                      named("per_layer_proj_norm", 1),
                                      named("token_embd_norm.weight", 1)};
  const load::detail::LayerOrder order{items};
  const auto place = [&](std::size_t i) { return order.place_of(items[i]); };
  CHECK(place(0) == load::detail::LayerOrder<>::output);
  CHECK(place(2) == load::detail::LayerOrder<>::output);
  for (const std::size_t first : {1U, 5U, 6U, 7U}) CHECK(place(first) == 0);
  CHECK(place(3) < place(4));
  CHECK(place(4) < place(0));

  const std::vector<ItemLayout> huggingface{
      named("lm_head.weight", 1), named("model.norm.weight", 1),
      named("model.embed_tokens.weight", 1), named("model.layers.0.a", 1)};
  const load::detail::LayerOrder by_other_names{huggingface};
  CHECK(by_other_names.place_of(huggingface[0]) == load::detail::LayerOrder<>::output);
  CHECK(by_other_names.place_of(huggingface[1]) == load::detail::LayerOrder<>::output);
  CHECK(by_other_names.place_of(huggingface[2]) == 0);

  const std::vector<ItemLayout> both{named("dec.blk.0.a", 1), named("enc.output_norm.weight", 1),
                                     named("enc.blk.1.a", 1), named("dec.output_norm.weight", 1)};
  const load::detail::LayerOrder stacks{both};
  CHECK(stacks.place_of(both[2]) < stacks.place_of(both[1]));
  CHECK(stacks.place_of(both[1]) < stacks.place_of(both[0]));
  CHECK(stacks.place_of(both[3]) == load::detail::LayerOrder<>::output);
}

TEST_CASE("diffusion models are divided by their two stacks of layers") {
  std::vector<ItemLayout> items{named("final_layer.linear.weight", 10), named("img_in.weight", 10)};
  for (int i = 0; i < 3; ++i)
    items.push_back(named("double_blocks." + std::to_string(i) + ".a", 100));
  for (int i = 0; i < 3; ++i)
    items.push_back(named("single_blocks." + std::to_string(i) + ".a", 100));
  const auto split = load::detail::split_by_layers(
      items, {{.name = "a", .free_bytes = 1000}, {.name = "b", .free_bytes = 1000}}, {});
  CHECK(names_on(items, split, 0) ==
        Names{"img_in.weight", "double_blocks.0.a", "double_blocks.1.a", "double_blocks.2.a"});
  CHECK(names_on(items, split, 1).size() == 4);
}

TEST_CASE("without any layers, tensors are divided one by one, and the plan says so") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  const std::vector<std::byte> bytes(1024);
  for (const char* name : {"alpha", "beta", "gamma", "delta"})
    writer.add_tensor(name, gguf::TensorType::I8, {1024}, bytes);
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  const Plan plan = make_plan(
      file, {.devices = {{.name = "a", .free_bytes = 4096}, {.name = "b", .free_bytes = 4096}}});
  CHECK(plan.bytes_on("a") == 2048);
  CHECK(plan.bytes_on("b") == 2048);
  REQUIRE(plan.notes.size() == 1);
  CHECK(plan.notes[0].find("no layers were recognized") != std::string::npos);
  CHECK(make_plan(file).notes.empty());
}

TEST_CASE("beside the host, a device takes the last layers that fit, and the host the rest") {
  std::vector<ItemLayout> items{named("token_embd.weight", 300)};
  for (int i = 0; i < 4; ++i) items.push_back(named("blk." + std::to_string(i) + ".a", 100));
  items.push_back(named("output.weight", 200));
  ItemLayout cache = named("cache.0.k", 50);
  cache.purpose = Purpose::cache;
  items.push_back(cache);
  const auto split = [&](std::uint64_t free, std::uint64_t reserved = 0) {
    return load::detail::split_by_layers(
        items, {{.name = "gpu", .free_bytes = free}, {.name = "host", .free_bytes = 10'000}},
        {.reserved = reserved});
  };
  CHECK(split(950)[1].empty());
  CHECK(names_on(items, split(949), 1) == Names{"token_embd.weight"});
  CHECK(names_on(items, split(649), 1) == Names{"token_embd.weight", "blk.0.a", "cache.0.k"});
  CHECK(names_on(items, split(300), 0) == Names{"blk.3.a", "output.weight"});
  CHECK(names_on(items, split(350, 50), 0) == Names{"blk.3.a", "output.weight"});
  CHECK(split(199)[0].empty());
  CHECK(split(0)[1].size() == items.size());
  // The order in which the devices are given changes nothing, and two of them share their part.
  const auto three = load::detail::split_by_layers(items,
                                                   {{.name = "host", .free_bytes = 10'000},
                                                    {.name = "a", .free_bytes = 200},
                                                    {.name = "b", .free_bytes = 200}},
                                                   {});
  CHECK(names_on(items, three, 1) == Names{"blk.2.a", "blk.3.a"});
  CHECK(names_on(items, three, 2) == Names{"output.weight"});
}

TEST_CASE("the margin is part of the division: what it keeps free is not given away") {
  CHECK(usable_bytes(1000, NoMargin{}) == 1000);
  CHECK(usable_bytes(11 * GiB, UsualMargin{}) == 10 * GiB);
  CHECK(usable_bytes(150 * MiB, UsualMargin{}) == 50 * MiB);
  CHECK(usable_bytes(50 * MiB, UsualMargin{}) == 0);
  CHECK(usable_bytes(largest_of<std::uint64_t>, NoMargin{}) == largest_of<std::uint64_t>);
  std::vector<ItemLayout> items;
  for (int i = 0; i < 4; ++i) items.push_back(named("blk." + std::to_string(i) + ".a", 100));
  const auto split =
      load::detail::split_by_layers(items,
                                    {{.name = "gpu", .free_bytes = 400, .usable_bytes = 300},
                                     {.name = "host", .free_bytes = 400}},
                                    {});
  CHECK(names_on(items, split, 1) == Names{"blk.0.a"});
}

TEST_CASE("rules place tensors on a device by their names, and layers share what is left") {
  std::vector<ItemLayout> items;
  for (int i = 0; i < 4; ++i) {
    items.push_back(named("blk." + std::to_string(i) + ".ffn_up_exps.weight", 400, 4));
    items.push_back(named("blk." + std::to_string(i) + ".attn_q.weight", 100));
  }
  const std::vector<PlannedDevice> devices{{.name = "gpu", .free_bytes = 900},
                                           {.name = "host", .free_bytes = 10'000}};
  const std::vector<PlaceRule> rules{{"blk.[01].ffn_*_exps.*", "gpu"},
                                     {"blk.*.ffn_*_exps.*", "host"}};
  const auto split = load::detail::split_by_layers(items, devices, {.place = rules});
  CHECK(names_on(items, split, 0) ==
        Names{"blk.0.ffn_up_exps.weight", "blk.1.ffn_up_exps.weight", "blk.3.attn_q.weight"});
  const std::vector<PlaceRule> unknown{{"a", "gpu"}, {"b", "hip:7"}};
  CHECK_THROWS_WITH_AS(
      static_cast<void>(load::detail::split_by_layers(items, devices, {.place = unknown})),
      "tensors cannot be placed on hip:7 (b): the plan is for gpu, host; add the device to it",
      std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(
                      load::detail::split_by_layers(items, {{.name = "gpu"}}, {.place = unknown})),
                  std::invalid_argument);
}

TEST_CASE("an output that shares the embedding's weights stays beside them without room for both") {
  std::vector<ItemLayout> items{named("token_embd.weight", 300)};
  for (int i = 0; i < 4; ++i) items.push_back(named("blk." + std::to_string(i) + ".a", 100));
  items.push_back(named("output_norm.weight", 10));
  ItemLayout copy = named("output.weight", 300);
  copy.purpose = Purpose::copy;
  copy.copy_of = 0;
  items.push_back(copy);
  for (const std::uint64_t free : {100U, 250U, 309U, 310U, 450U, 709U, 710U, 5000U}) {
    CAPTURE(free);
    load::detail::Layouts<> layouts{items, {}};
    const auto assigned = load::detail::assign(
        std::move(layouts),
        {{.name = "gpu", .free_bytes = free}, {.name = "host", .free_bytes = 10'000}}, {}, {},
        OneArena{});
    const auto is_on_gpu = [&](const std::string& name) {
      for (const auto& arena : assigned.arenas) {
        for (const std::uint32_t item : arena.group.items) {
          if (arena.device == "gpu" && assigned.layouts.items[item].name == name) return true;
        }
      }
      return false;
    };
    const bool has_weights = is_on_gpu("output.weight") || is_on_gpu("token_embd.weight");
    CHECK(is_on_gpu("output_norm.weight") == has_weights);
  }
}

TEST_CASE("outputs that stay beside the embedding may be any number") {
  constexpr std::uint64_t outputs = 20'000;  // with a rule for each this would take minutes
  std::vector<ItemLayout> items{named("token_embd.weight", 300), named("blk.0.a", 100)};
  for (std::uint64_t i = 0; i < outputs; ++i)
    items.push_back(named("output_norm." + std::to_string(i), 1));
  ItemLayout copy = named("output.weight", 300);
  copy.purpose = Purpose::copy;
  copy.copy_of = 0;
  items.push_back(copy);
  items.push_back(named("cache.0.k", 10));
  const auto assigned = load::detail::assign(
      load::detail::Layouts<>{items, {}},
      {{.name = "gpu", .free_bytes = outputs + 200}, {.name = "host", .free_bytes = 100'000}}, {},
      {}, OneArena{});
  REQUIRE(assigned.arenas.size() == 2);
  CHECK(assigned.layouts.items.size() == items.size() - 1);  // without the copy
  CHECK(assigned.arenas[0].group.items == std::vector<std::uint32_t>{1, outputs + 2});
  CHECK(assigned.arenas[1].group.items.size() == outputs + 1);
}

TEST_CASE("sorting keeps the order of what is equal") {
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  for (std::size_t count = 0; count < 70; ++count) {
    std::vector<std::pair<std::uint64_t, std::size_t>> made;
    for (std::size_t i = 0; i < count; ++i) made.emplace_back(random() % 20, i);
    const auto before = [](const auto& a, const auto& b) { return a.first < b.first; };
    auto expected = made;
    std::stable_sort(expected.begin(), expected.end(), before);
    load::detail::sort_stably(made, before);
    REQUIRE(made == expected);
  }
}

TEST_CASE("no choice of experts reads fewer bytes a token on the host than the one that is made") {
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  for (int round = 0; round < 2000; ++round) {
    const std::size_t count = 1 + random() % 10;
    const std::uint64_t sizes = 1 + random() % 4;
    const std::uint64_t unit = random() % 3 == 0 ? 1 + (random() % 100'000'000) : 1;
    std::vector<load::detail::Movable> movable;
    std::uint64_t total = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint64_t bytes = unit * (1 + random() % sizes * 7);
      movable.push_back({i, bytes, random() % 2 == 0 ? bytes / 4 + 1 : 1 + random() % 20});
      total += bytes;
    }
    const std::uint64_t least = random() % (total + total / 10 + 1);
    const std::uint64_t most = random() % 3 == 0 ? random() % (total + 1) : total;
    std::optional<std::uint64_t> best;
    for (std::uint32_t chosen = 0; chosen < 1U << count; ++chosen) {
      std::uint64_t bytes = 0;
      std::uint64_t cost = 0;
      for (std::size_t i = 0; i < count; ++i) {
        bytes += (chosen >> i & 1U) != 0 ? movable[i].bytes : 0;
        cost += (chosen >> i & 1U) != 0 ? movable[i].cost : 0;
      }
      if (bytes >= least && (bytes <= most || least == 0) && (!best || cost < *best)) best = cost;
    }
    const auto check = [&](const std::optional<std::vector<std::uint32_t>>& made) {
      REQUIRE(made.has_value() == best.has_value());
      if (!made) return;
      std::uint64_t bytes = 0;
      std::uint64_t cost = 0;
      for (const std::uint32_t item : *made) {
        bytes += movable[item].bytes;
        cost += movable[item].cost;
      }
      REQUIRE(bytes >= least);
      REQUIRE(cost == *best);
    };
    check(load::detail::cheapest_to_move(movable, least, most));
    if (least == 0) continue;
    // The search for sizes without a common measure finds the same.
    const auto kinds = load::detail::kinds_of(movable);
    const auto counts = load::detail::CountSearch{kinds, least, most}.best();
    std::optional<std::vector<std::uint32_t>> found;
    if (counts) {
      found.emplace();
      for (std::size_t kind = 0; kind < kinds.size(); ++kind)
        found->insert(found->end(), kinds[kind].items.begin(),
                      kinds[kind].items.begin() + static_cast<std::ptrdiff_t>((*counts)[kind]));
    }
    check(found);
  }
}

TEST_CASE("experts of 200,000 sizes are chosen without as many calls on the stack") {
  std::vector<load::detail::Movable> movable;
  std::uint64_t total = 0;
  for (std::uint32_t i = 0; i < 200'000; ++i) {
    movable.push_back({i, 1000 + i, 2000 - i % 1000});
    total += movable.back().bytes;
  }
  const auto moved = load::detail::cheapest_to_move(movable, total - 5'000'000, total);
  REQUIRE(moved);
  std::uint64_t bytes = 0;
  for (const std::uint32_t item : *moved) bytes += movable[item].bytes;
  CHECK(bytes >= total - 5'000'000);
  CHECK(bytes < total);
}

TEST_CASE("of 200,000 choices of experts, each better than the one before, the last is made") {
  std::vector<load::detail::Movable> movable;  // copying every choice would take minutes
  for (std::uint32_t i = 0; i < 200'000; ++i) movable.push_back({i, 400'000 - i, 400'000 - i});
  const auto moved = load::detail::cheapest_to_move(movable, 100'000, 1'000'000);
  REQUIRE(moved);
  CHECK(*moved == std::vector<std::uint32_t>{199'999});
}

TEST_CASE("experts go to the host only as far as the rest needs their room") {
  std::vector<ItemLayout> items{named("token_embd.weight", 100), named("output.weight", 100)};
  for (int i = 0; i < 4; ++i) {
    const std::string layer = "blk." + std::to_string(i);
    items.push_back(named(layer + ".attn_q.weight", 100));
    items.push_back(named(layer + ".ffn_up_exps.weight", 400, 4));
    items.push_back(named(layer + ".ffn_up_shexp.weight", 40));
  }
  const auto split = [&](std::uint64_t free, bool move = true) {
    return load::detail::split_by_layers(
        items, {{.name = "gpu", .free_bytes = free}, {.name = "host", .free_bytes = 10'000}},
        {.move_experts = move});
  };
  const std::uint64_t all = bytes_of_names(items, [&] {
    Names names;
    for (const ItemLayout& item : items) names.push_back(item.name);
    return names;
  }());
  CHECK(split(all)[1].empty());
  CHECK(names_on(items, split(all - 1), 1) == Names{"blk.0.ffn_up_exps.weight"});
  CHECK(names_on(items, split(all - 401), 1).size() == 2);
  CHECK(names_on(items, split(all - 1600), 1).size() == 4);
  CHECK(names_on(items, split(all - 1601), 1).size() == 5);  // then what comes before the layers
  CHECK(names_on(items, split(all - 1601), 1)[0] == "token_embd.weight");
  CHECK(names_on(items, split(all - 1, false), 1) == Names{"token_embd.weight"});
  // Two devices beside the host hold whole layers, and still not more than they have room for.
  const auto three = load::detail::split_by_layers(items,
                                                   {{.name = "a", .free_bytes = 900},
                                                    {.name = "b", .free_bytes = 900},
                                                    {.name = "host", .free_bytes = 10'000}},
                                                   {.move_experts = true});
  for (const std::string& name : names_on(items, three, 2))
    CHECK(name.find("_exps") != std::string::npos);
  CHECK(bytes_of_names(items, names_on(items, three, 0)) <= 900);
  CHECK(bytes_of_names(items, names_on(items, three, 1)) <= 900);
}

TEST_CASE("DeepSeek's experts are placed in milliseconds, exactly as many as must go") {
  const auto data = test::data_dir();
  if (!data) return;
  const test::TemporaryFolder folder;
  const gguf::File file{sparse_file(*data, "deepseek-r1-671b-q4_k_m", folder.path())};
  const PlanOptions options{.devices = {{.name = "gpu", .free_bytes = 80 * GiB},
                                        {.name = "host", .free_bytes = 512 * GiB}},
                            .move_experts = true};
  const Plan plan = make_plan(file, options);
  CHECK_NOTHROW(check(plan, std::span{options.devices}, NoMargin{}));
  std::uint64_t least_expert = largest_of<std::uint64_t>;
  for (const Item& item : plan.items) {
    const bool is_moved = plan.arenas[item.arena].device == "host";
    CHECK(is_moved <= load::detail::is_of_experts(item.name));
    if (is_moved) least_expert = std::min(least_expert, item.bytes);
  }
  // One tensor fewer on the host, and the rest would not fit.
  CHECK(plan.bytes_on("gpu") + least_expert > 80 * GiB);
}
