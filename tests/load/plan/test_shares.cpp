// SPDX-License-Identifier: MIT
// Models divided between ranks: every element on one rank, or on all with a reason; the products of
// the shares are those of the whole; what cannot be divided is an error that says what can.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/shares.hpp>
#include <allot/load/verify.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/layout_file.hpp"
#include "support/models.hpp"
#include "support/sanitizers.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using load::CutRange;
using load::Plan;
using load::Shares;
using load::TensorCut;
namespace fs = std::filesystem;

std::vector<Plan> shares_of(const gguf::File& file, Shares shares, load::PlanOptions options = {}) {
  options.shares = shares;
  return load::make_shares(file, options);
}

/// Returns what is wrong with the parts of a tensor on several ranks: they are not all of it, or
/// not apart although they are not repeated. Empty: nothing.
std::string wrong_parts(const gguf::TensorInfo& tensor, const std::vector<const load::Item*>& items,
                        bool is_repeated) {
  if (!items.front()->cut) return is_repeated || items.size() == 1 ? "" : "is there twice";
  const std::uint32_t dimension = items.front()->cut->dimension;
  std::vector<CutRange> ranges;
  for (const load::Item* item : items) {
    if (!item->cut || item->cut->dimension != dimension) return "is cut along two dimensions";
    ranges.insert(ranges.end(), item->cut->ranges.begin(), item->cut->ranges.end());
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const CutRange& a, const CutRange& b) { return a.first < b.first; });
  std::uint64_t end = 0;
  for (const CutRange& range : ranges) {
    if (is_repeated ? range.first > end : range.first != end) return "has a gap or an overlap";
    end = std::max(end, range.first + range.count);
  }
  return end == tensor.shape.extent[dimension] ? "" : "is not whole";
}

/// Returns what is wrong with the shares of a file: every tensor is to be on one stage, or listed as
/// repeated. Empty: nothing.
std::string wrong_shares(const gguf::File& file, const std::vector<Plan>& plans) {
  const auto& tensors = file.tensors();
  std::vector<std::set<std::uint32_t>> repeated;
  for (const Plan& plan : plans) {
    if (plan.share->rank != repeated.size()) return "the ranks are out of order";
    repeated.emplace_back();
    for (const load::RepeatedItem& item : plan.repeated) {
      if (item.reason.empty()) return "a reason is missing";
      repeated.back().insert(item.item);
    }
    load::detail::check_plan(plan, file);
  }
  for (std::uint32_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].bytes == 0) continue;
    const std::string name = std::string{tensors[i].name} + " ";
    std::map<std::uint32_t, std::vector<const load::Item*>> of_stage;
    std::size_t listed = 0;
    std::size_t there = 0;
    for (std::size_t rank = 0; rank < plans.size(); ++rank) {
      if (plans[rank].items[i].left_out) continue;
      of_stage[plans[rank].share->stage].push_back(&plans[rank].items[i]);
      listed += repeated[rank].count(i);
      ++there;
    }
    if (there == 0) return name + "is missing";
    if (listed != 0 && listed != there) return name + "is not listed on every rank that has it";
    if (of_stage.size() > 1 && listed == 0) return name + "is on two stages";
    for (const auto& [stage, items] : of_stage) {
      if (auto wrong = wrong_parts(tensors[i], items, listed != 0); !wrong.empty())
        return name + wrong;
    }
  }
  return {};
}

/// The values of a tensor in memory.
template <class ModelType>
std::vector<float> loaded_values(const ModelType& model, std::string_view name) {
  const auto& tensor = model[name];
  std::vector<float> values(tensor.shape().elements());
  gguf::dequantize(tensor.type(), tensor.slice().span().first(tensor.bytes()), std::span{values});
  return values;
}

/// Returns a matrix times a vector.
std::vector<double> product(const std::vector<float>& matrix, const std::vector<double>& vector) {
  std::vector<double> made(matrix.size() / vector.size(), 0.0);
  for (std::size_t row = 0; row < made.size(); ++row) {
    for (std::size_t i = 0; i < vector.size(); ++i)
      made[row] += static_cast<double>(matrix[row * vector.size() + i]) * vector[i];
  }
  return made;
}

std::vector<double> some_vector(std::uint64_t elements) {
  std::vector<double> vector(elements);
  for (std::size_t i = 0; i < vector.size(); ++i)
    vector[i] = std::sin(static_cast<double>(i) + 1.0);
  return vector;
}

/// A model of one layer with every kind of tensor that is divided, 4 heads of 8, 2 of them kept, 8
/// experts, biases, and a quantized matrix.
fs::path write_divisible(const fs::path& path) {
  gguf::Writer writer;
  writer.add("general.architecture", "llama");
  const std::pair<const char*, std::uint32_t> numbers[] = {{"block_count", 1},
                                                           {"context_length", 64},
                                                           {"embedding_length", 64},
                                                           {"attention.head_count", 4},
                                                           {"attention.head_count_kv", 2},
                                                           {"attention.key_length", 32},
                                                           {"attention.value_length", 32}};
  for (const auto& [key, value] : numbers) writer.add(std::string{"llama."} + key, value);
  const auto add = [&](const char* name, gguf::TensorType type,
                       std::initializer_list<std::uint64_t> extent) {
    writer.add_tensor(name, type, extent, test::fill_with_offsets);
  };
  using enum gguf::TensorType;
  add("token_embd.weight", F16, {64, 101});
  add("blk.0.attn_norm.weight", F32, {64});
  add("blk.0.attn_qkv.weight", Q8_0, {64, 256});
  add("blk.0.attn_qkv.bias", F32, {256});
  add("blk.0.attn_output.weight", Q8_0, {128, 64});
  add("blk.0.attn_output.bias", F32, {64});
  add("blk.0.ffn_gate_inp.weight", F32, {64, 8});
  add("blk.0.ffn_up_exps.weight", Q4_0, {64, 32, 8});
  add("blk.0.ffn_down_exps.weight", F16, {32, 64, 8});
  add("blk.0.ffn_down_exps.bias", F32, {64, 8});
  add("blk.0.ffn_up.weight", Q8_0, {64, 256});  // gate and up in one
  add("blk.0.ffn_up.bias", F32, {256});
  add("blk.0.ffn_down.weight", Q4_0, {128, 64});
  add("blk.0.ffn_down.bias", F32, {64});
  add("output.weight", Q8_0, {64, 101});
  writer.write(path);
  return path;
}

std::uint64_t layers_of(const gguf::File& file) {
  return gguf::model_shape_of(file).block_count.value_or(1);
}

std::string refusal(const gguf::File& file, Shares shares, load::PlanOptions options = {}) {
  try {
    static_cast<void>(shares_of(file, shares, std::move(options)));
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("every tensor is divided by what it is for") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_divisible(folder.path() / "m.gguf")};
  const auto plans = shares_of(file, {.tensor = 2});
  CHECK(wrong_shares(file, plans) == "");
  const auto cut = [&](std::size_t rank, std::string_view name) {
    for (const load::Item& item : plans[rank].items) {
      if (item.name == name)
        return item.left_out ? TensorCut{9, {}} : item.cut.value_or(TensorCut{});
    }
    FAIL("there is no such item");
    return TensorCut{};
  };
  const TensorCut whole{};
  const TensorCut nothing{9, {}};
  CHECK(cut(1, "token_embd.weight") == TensorCut{1, {{50, 51}}});
  CHECK(cut(1, "blk.0.attn_norm.weight") == whole);
  // Two of four heads of 32, one of two of keys, one of values.
  CHECK(cut(1, "blk.0.attn_qkv.weight") == TensorCut{1, {{64, 64}, {160, 32}, {224, 32}}});
  CHECK(cut(1, "blk.0.attn_qkv.bias") == TensorCut{0, {{64, 64}, {160, 32}, {224, 32}}});
  CHECK(cut(1, "blk.0.attn_output.weight") == TensorCut{0, {{64, 64}}});
  CHECK(cut(0, "blk.0.attn_output.bias") == whole);
  CHECK(cut(1, "blk.0.attn_output.bias") == nothing);
  CHECK(cut(1, "blk.0.ffn_gate_inp.weight") == whole);
  CHECK(cut(1, "blk.0.ffn_up_exps.weight") == TensorCut{2, {{4, 4}}});
  CHECK(cut(1, "blk.0.ffn_down_exps.bias") == TensorCut{1, {{4, 4}}});
  CHECK(cut(1, "blk.0.ffn_up.weight") == TensorCut{1, {{64, 64}, {192, 64}}});
  CHECK(cut(1, "blk.0.ffn_up.bias") == TensorCut{0, {{64, 64}, {192, 64}}});
  CHECK(cut(1, "blk.0.ffn_down.weight") == TensorCut{0, {{64, 64}}});
  CHECK(cut(1, "blk.0.ffn_down.bias") == nothing);
  REQUIRE(plans[0].repeated.size() == 2);
  CHECK(plans[0].repeated[0].reason == "it is a norm");
  CHECK(plans[0].repeated[1].reason == "it is of the router");

  // With four ranks each head of keys and values is on two of them.
  const auto four = shares_of(file, {.tensor = 4});
  CHECK(wrong_shares(file, four) == "");
  CHECK(four[1].items[2].cut == TensorCut{1, {{32, 32}, {128, 32}, {192, 32}}});
  CHECK(four[2].items[2].cut == TensorCut{1, {{64, 32}, {160, 32}, {224, 32}}});
}

TEST_CASE("each rank's tensors are the file's, whatever is made of them, on both devices") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_divisible(folder.path() / "m.gguf")};
  load::PlanOptions plain;
  load::PlanOptions changed;
  changed.transforms = {.dequantize = {{"*", gguf::TensorType::F32, false}},
                        .transpose = {"blk.0.attn_output.weight", "output.weight"},
                        .padding = {load::Padding::every_row, 256}};
  load::PlanOptions padded;
  padded.transforms.padding = {load::Padding::last_row, 512};
  load::PlanOptions transposed;
  transposed.transforms = {.dequantize = {{"*", gguf::TensorType::F16}}, .transpose = {"*"}};
  for (const load::PlanOptions& options : {plain, changed, padded, transposed}) {
    for (const std::uint32_t ranks : {1U, 2U, 4U}) {
      for (const Plan& plan : shares_of(file, {.tensor = ranks}, options)) {
        HostDevice host;
        CHECK(!load::verify(file, load::load(file, plan, host)));
        StagedHostDevice staged;
        const auto model =
            load::load(file, plan, staged, {},
                       {.slot_bytes = 64 * KiB, .slots = 2, .streams = 2, .readers = 2});
        CHECK(!load::verify(file, model, staged));
      }
    }
  }
}

TEST_CASE("rows of several ranges, and of several matrices, are transposed like whole tensors") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add("general.architecture", "llama");
  for (const auto& [key, value] : {std::pair{"block_count", 1U},
                                   {"context_length", 64U},
                                   {"embedding_length", 64U},
                                   {"attention.head_count", 4U},
                                   {"attention.head_count_kv", 2U},
                                   {"attention.key_length", 32U},
                                   {"attention.value_length", 32U}})
    writer.add(std::string{"llama."} + key, value);
  writer.add_tensor("blk.0.attn_qkv.weight", gguf::TensorType::F16, {64, 256},
                    test::fill_with_offsets);
  writer.add_tensor("blk.0.attn_output.weight", gguf::TensorType::F16, {128, 64},
                    test::fill_with_offsets);
  writer.add_tensor("token_embd.weight", gguf::TensorType::F16, {64, 101, 3},
                    test::fill_with_offsets);
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  HostDevice host;
  for (const auto& plan :
       shares_of(file, {.tensor = 2}, {.transforms = {.transpose = {"*qkv*", "token*"}}})) {
    const auto model = load::load(file, plan, host);
    for (const char* const name : {"blk.0.attn_qkv.weight", "token_embd.weight"}) {
      INFO(name, " of rank ", plan.share->rank);
      const gguf::TensorInfo& tensor = *file.find(name);
      const auto index = static_cast<std::size_t>(&tensor - file.tensors().data());
      const TensorCut& cut = *plan.items[index].cut;
      const std::byte* const whole = file.data(tensor).data();
      const std::byte* const part = model[name].slice().span().data();
      const std::uint64_t rows = cut.extent();
      std::uint64_t wrong = 0;
      for (std::uint64_t matrix = 0; matrix < tensor.shape.extent[2]; ++matrix) {
        for (std::uint64_t column = 0; column < 64; ++column) {
          std::uint64_t row = 0;  // of the part
          for (const CutRange& range : cut.ranges) {
            for (std::uint64_t i = 0; i < range.count; ++i, ++row) {
              const std::uint64_t from =
                  (matrix * tensor.shape.extent[1] + range.first + i) * 64 + column;
              const std::uint64_t to = (matrix * 64 + column) * rows + row;
              wrong += std::memcmp(whole + 2 * from, part + 2 * to, 2) == 0 ? 0 : 1;
            }
          }
        }
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("verify finds a byte of a cut tensor that differs") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_divisible(folder.path() / "m.gguf")};
  for (const char* const name : {"blk.0.attn_qkv.weight", "blk.0.ffn_down.weight",
                                 "blk.0.ffn_up_exps.weight", "blk.0.ffn_up.bias"}) {
    HostDevice host;
    const auto model = load::load(file, shares_of(file, {.tensor = 2})[1], host);
    const auto bytes = model[name].slice().span();
    bytes[bytes.size() - 1] ^= std::byte{1};
    const auto difference = load::verify(file, model);
    REQUIRE(difference);
    CHECK(difference->tensor == name);
    CHECK(difference->byte == bytes.size() - 1);
  }
}

TEST_CASE("the products of the shares are the product of the whole") {
  const auto data = test::data_dir();
  if (!data) return;
  for (const char* const name :
       {"gguf/real/stories260K.gguf", "gguf/generated/stories260K_bf16.gguf",
        "gguf/generated/stories260K_v3_bigendian.gguf", "kv/models/qwen3.gguf"}) {
    INFO(name);
    const gguf::File file{*data / name};
    for (const std::uint32_t ranks : {2U, 4U}) {
      const auto plans =
          shares_of(file, {.tensor = ranks},
                    {.transforms = {.dequantize = {{"*", gguf::TensorType::F32, false}}}});
      HostDevice host;
      std::vector<load::ModelOn<HostDevice>> models;
      for (const Plan& plan : plans) models.push_back(load::load(file, plan, host));
      const auto whole = load::load(
          file,
          load::make_plan(file,
                          {.transforms = {.dequantize = {{"*", gguf::TensorType::F32, false}}}}),
          host);
      for (const char* const matrix :
           {"attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up", "attn_output", "ffn_down"}) {
        INFO(matrix);
        const std::string tensor = "blk.0." + std::string{matrix} + ".weight";
        const bool is_of_columns =
            std::string_view{matrix} == "attn_output" || std::string_view{matrix} == "ffn_down";
        const auto vector = some_vector(whole[tensor].shape().extent[0]);
        const auto expected = product(loaded_values(whole, tensor), vector);
        std::vector<double> made(is_of_columns ? expected.size() : 0, 0.0);
        for (std::size_t rank = 0; rank < ranks; ++rank) {
          const TensorCut& cut = *plans[rank]
                                      .items[plans[rank].source_of(static_cast<std::uint32_t>(
                                          file.find(tensor) - file.tensors().data()))]
                                      .cut;
          if (is_of_columns) {
            const auto first = vector.begin() + static_cast<std::ptrdiff_t>(cut.ranges[0].first);
            const auto sum = product(loaded_values(models[rank], tensor),
                                     {first, first + static_cast<std::ptrdiff_t>(cut.extent())});
            for (std::size_t i = 0; i < sum.size(); ++i) made[i] += sum[i];
          } else if (cut.ranges[0].first >= made.size()) {  // heads that ranks share come once
            const auto rows = product(loaded_values(models[rank], tensor), vector);
            made.insert(made.end(), rows.begin(), rows.end());
          }
        }
        REQUIRE(made.size() == expected.size());
        for (std::size_t i = 0; i < made.size(); ++i)
          REQUIRE(made[i] == doctest::Approx(expected[i]).epsilon(1e-9));
      }
    }
  }
}

TEST_CASE("every model is whole in every number of shares that it allows, its cache too") {
  if (test::has_thread_sanitizer) return;  // there are no threads in it
  const auto data = test::data_dir();
  if (!data) return;
  std::size_t divided = 0;
  for (const auto& entry : fs::directory_iterator{*data / "kv" / "models"}) {
    if (entry.path().extension() != ".gguf") continue;
    INFO(entry.path().string());
    const gguf::File file{entry.path()};
    load::PlanOptions options;
    std::uint64_t whole = 0;
    try {
      options.cache = load::CacheOptions{64};
      whole = load::make_plan(file, options).bytes_for(load::Purpose::cache);
    } catch (const std::runtime_error&) {
      options.cache.reset();  // its keys do not say what it keeps
    }
    for (std::uint32_t stages = 1; stages <= 3; ++stages) {
      for (std::uint32_t parts = 1; parts <= 16; ++parts) {
        INFO(stages << " stages of " << parts);
        const load::detail::TensorParallel<void> division{file, parts, false};
        if (!division.problem().empty() || layers_of(file) < stages) continue;
        const auto plans = shares_of(file, {.pipeline = stages, .tensor = parts}, options);
        ++divided;
        CHECK(wrong_shares(file, plans) == "");
        std::uint64_t cache = 0;
        for (const Plan& plan : plans) cache += plan.bytes_for(load::Purpose::cache);
        CHECK(cache >= whole);
        if (parts == 1) CHECK(cache == whole);
      }
    }
  }
  CHECK(divided > 150);
}

TEST_CASE(
    "heads of keys and values are divided with the cache, or are on as many ranks as need them") {
  const test::TemporaryFolder folder;
  const gguf::File file{
      test::write_llama(folder.path() / "m.gguf", {.layers = 4, .heads = 8, .kv_heads = 2})};
  load::PlanOptions options;
  options.cache = load::CacheOptions{100};
  const auto row = [&](const Plan& plan) { return plan.cache->groups.at(0).key_row_bytes; };
  const Plan whole = load::make_plan(file, options);
  CHECK(row(whole) == 2 * 32 * 2);
  const auto two = shares_of(file, {.tensor = 2}, options);
  for (const Plan& plan : two) CHECK(row(plan) == 32 * 2);
  for (const Plan& plan : shares_of(file, {.tensor = 8}, options)) CHECK(row(plan) == 32 * 2);
  // Stages keep the caches of their layers.
  const auto staged = shares_of(file, {.pipeline = 2, .tensor = 2}, options);
  for (const Plan& plan : staged) CHECK(plan.cache->groups.at(0).layers == 2);
  CHECK(staged[0].items.back().name == "cache.1.v");
  CHECK(staged[3].items.back().name == "cache.3.v");
}

TEST_CASE("an output that shares its weights with the embedding has them on its own stage too") {
  const auto data = test::data_dir();
  if (!data) return;
  const gguf::File file{*data / "kv" / "models" / "gemma3.gguf"};
  REQUIRE(file.find("output.weight") == nullptr);
  const auto plans = shares_of(file, {.pipeline = 2});
  CHECK(wrong_shares(file, plans) == "");
  REQUIRE(plans[1].repeated.size() == 1);
  CHECK(plans[1].items[plans[1].repeated[0].item].name == "token_embd.weight");
}

TEST_CASE("real layouts are divided by 1 to 16, or the error says by what they can be") {
  if (test::has_thread_sanitizer) return;  // there are no threads in it
  const auto data = test::data_dir();
  if (!data) return;
  // Heads: config.json of each model's publisher; R1's keys have 128 + 64 elements.
  const struct {
    test::Layout layout;
    std::string allowed;
    std::string moved;
  } known[] = {
      {{"qwen2.5-0.5b-instruct-q4_k_m", 24, 14, 2, 64, 64}, "1", "1 2 4 6 8 9 10 11 12 13 14"},
      {{"qwen2.5-0.5b-instruct-fp16", 24, 14, 2, 64, 64}, "1 2", "1 2 4 6 8 9 10 11 12 13 14"},
      {{"llama-3.1-8b-instruct-q4_k_m", 32, 32, 8, 128, 128}, "1 2 4 8", "1 2 3 4 5 6 7 8 16"},
      {{"llama-3.1-70b-instruct-q4_k_m", 80, 64, 8, 128, 128}, "1 2 4 8 16", "1 2 3 4 5 6 7 8 16"},
      {{"mixtral-8x7b-q4_k_m_modern_exps", 32, 32, 8, 128, 128}, "1 2 4 8", "1 2 4 8"},
      {{"qwen3-30b-a3b-q4_k_m", 48, 32, 4, 128, 128}, "1 2 4 8 16", "1 2 4 8 16"},
      {{"gpt-oss-120b-mxfp4", 36, 64, 8, 64, 64}, "1 2 4 8 16", "1 2 4 8 16"},
      {{"deepseek-r1-671b-q4_k_m", 61, 128, 128, 192, 128}, "1 2 4 8", "1 2 4 8"}};
  for (const auto& [layout, allowed, moved] : known) {
    const std::string name = layout.name;
    INFO(name);
    const test::TemporaryFolder folder;
    const gguf::File file{test::write_layout(*data, layout, folder.path())};
    for (const bool moves : {false, true}) {
      std::string found;
      for (std::uint32_t parts = 1; parts <= 16; ++parts) {
        const Shares shares{.tensor = parts, .move_to_blocks = moves};
        const load::detail::TensorParallel<void> division{file, parts, moves};
        if (!division.problem().empty()) continue;
        found += (found.empty() ? "" : " ") + std::to_string(parts);
        CHECK(wrong_shares(file, shares_of(file, shares)) == "");
      }
      CHECK(found == (moves ? moved : allowed));
    }
    CHECK(wrong_shares(
              file, shares_of(file, {.pipeline = 3, .tensor = 2, .move_to_blocks = true})) == "");
  }
}

TEST_CASE("what cannot be divided is refused, with what can") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_divisible(folder.path() / "m.gguf")};
  CHECK(refusal(file, {.tensor = 3}) ==
        "the matrices cannot be divided into 3 parts: layer 0 has 4 heads of 32 "
        "(blk.0.attn_output.weight, Q8_0 in blocks of 32), which cannot be divided evenly; numbers "
        "of parts that work, up to 64: 1, 2, 4");
  CHECK(refusal(file, {.pipeline = 0}).find("use 1 to 65536 ranks") != std::string::npos);
  CHECK(refusal(file, {.pipeline = 5000, .tensor = 5000}).find("use 1 to") != std::string::npos);
  CHECK(refusal(file, {.pipeline = 4}).find("nothing is left for stage") != std::string::npos);
  load::PlanOptions shared;
  shared.shares.tensor = 2;
  CHECK_THROWS_AS(static_cast<void>(load::make_plan(file, shared)), std::invalid_argument);
  const gguf::File bare{test::write_model(folder.path() / "bare.gguf", {100, 200})};
  CHECK(refusal(bare, {.tensor = 2}).find("general.architecture is missing") != std::string::npos);
}

TEST_CASE("a cut that was changed is refused before anything is read") {
  const test::TemporaryFolder folder;
  const gguf::File file{write_divisible(folder.path() / "m.gguf")};
  const Plan plan = shares_of(file, {.tensor = 2})[1];
  HostDevice host;
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    if (!plan.items[i].cut) continue;
    INFO(plan.items[i].name);
    for (int change = 0; change < 6; ++change) {
      Plan changed = plan;
      TensorCut& cut = *changed.items[i].cut;
      if (change == 0) cut.ranges.back().first += 1'000'000;
      if (change == 1) cut.ranges.back().count = ~std::uint64_t{0};
      if (change == 2) cut.dimension = 7;
      if (change == 3) cut.ranges.clear();
      if (change == 4) cut.ranges.push_back(cut.ranges.back());
      if (change == 5) cut.ranges.back().count = 0;
      CHECK_THROWS_AS(static_cast<void>(load::load(file, changed, host)), std::logic_error);
    }
  }
}
