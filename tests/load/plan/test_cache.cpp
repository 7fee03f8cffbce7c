// SPDX-License-Identifier: MIT
// What models keep: against what llama.cpp allocated for tiny models of 33 architectures, against
// the shapes of real models, and for metadata that are wrong or leave something open.
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/model_memory.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/plan/cache.hpp>
#include <allot/load/plan/check.hpp>
#include <allot/load/plan/fit.hpp>
#include <allot/load/plan/fit_experts.hpp>
#include <allot/load/plan/make_plan.hpp>

#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;
using load::CacheBytes;
using load::CacheGroup;
using load::CacheOptions;
using load::PlannedCache;

/// A table with a line of names.
class Table {
 public:
  explicit Table(const fs::path& path) : lines_{path} {
    std::string line;
    std::getline(lines_, line);
    names_ = split(line);
  }
  bool next() {
    std::string line;
    if (!std::getline(lines_, line)) return false;
    fields_ = split(line);
    return true;
  }
  [[nodiscard]] const std::string& operator[](const std::string& name) const {
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (names_[i] == name) return fields_.at(i);
    }
    throw std::out_of_range{"no column " + name};
  }
  [[nodiscard]] std::uint64_t count(const std::string& name, std::uint64_t otherwise = 0) const {
    const std::string& text = (*this)[name];
    return text.empty() ? otherwise : std::stoull(text);
  }

 private:
  /// Fields may be in quotation marks; there are none within.
  [[nodiscard]] static std::vector<std::string> split(const std::string& line) {
    std::vector<std::string> fields(1);
    bool is_quoted = false;
    for (const char c : line) {
      if (c == '"') {
        is_quoted = !is_quoted;
      } else if (c == ',' && !is_quoted) {
        fields.emplace_back();
      } else if (c != '\r') {
        fields.back() += c;
      }
    }
    return fields;
  }

  std::ifstream lines_;
  std::vector<std::string> names_;
  std::vector<std::string> fields_;
};

gguf::TensorType type_of(const std::string& name) {
  return name == "f32"    ? gguf::TensorType::F32
         : name == "bf16" ? gguf::TensorType::BF16
         : name == "q8_0" ? gguf::TensorType::Q8_0
         : name == "q4_0" ? gguf::TensorType::Q4_0
                          : gguf::TensorType::F16;
}

/// The options of a row: what was asked for.
CacheOptions options_of(const Table& row) {
  const gguf::TensorType type = type_of(row["cache_type"]);
  CacheOptions options{row.count("context"), type, type};
  options.engine = &load::llama_cpp;
  options.sequences = row.count("n_seq", 1);
  const std::uint64_t batch = row.count("n_ubatch", 512);  // cut to the context: 512 was asked for
  options.batch = batch == 128 || batch == 2048 ? batch : 512;
  options.unified = row["unified"] == "1";
  options.full_windows = row["swa_full"] == "1";
  options.flash_attention = row["flash_attention"] != "off";
  options.prediction = row["prediction_context"] == "1";
  return options;
}

std::uint64_t sum(const std::vector<load::ItemLayout>& items, bool of_prediction) {
  std::uint64_t bytes = 0;
  for (const load::ItemLayout& item : items)
    bytes += item.name.starts_with("prediction.") == of_prediction ? item.bytes : 0;
  return bytes;
}

/// A file with an architecture and what `fill` adds.
gguf::File file_with(const fs::path& folder, const char* architecture,
                     const std::function<void(gguf::Writer&)>& fill) {
  gguf::Writer writer;
  writer.add("general.architecture", architecture);
  fill(writer);
  writer.write(folder / "m.gguf");
  return gguf::File{folder / "m.gguf"};
}

/// Adds counts under `ARCHITECTURE.key`.
struct Counts {
  gguf::Writer& writer;
  std::string prefix;
  Counts& operator()(const char* key, std::uint32_t value) {
    writer.add(prefix + key, value);
    return *this;
  }
  Counts& operator()(const char* key, const std::vector<std::int32_t>& values) {
    writer.add_array(prefix + key, std::span<const std::int32_t>{values});
    return *this;
  }
};

/// 6 layers of 4 heads, 2 of them for keys and values, of 16 elements.
Counts usual(gguf::Writer& writer, const char* architecture) {
  Counts counts{writer, std::string{architecture} + "."};
  counts("block_count", 6)("context_length", 4096)("embedding_length", 64);
  counts("attention.head_count", 4)("attention.head_count_kv", 2);
  return counts;
}

bool says(const std::vector<std::string>& assumed, const std::string& what) {
  for (const std::string& sentence : assumed) {
    if (sentence.find(what) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a plan for llama.cpp has every byte that llama.cpp allocated, and its refusals") {
  const auto data = test::data_dir();
  if (!data) return;
  Table rows{*data / "kv" / "kv_expect.csv"};
  std::string name;
  std::unique_ptr<gguf::File> file;
  int refusals = 0;
  int predictions = 0;
  int compared = 0;
  while (rows.next()) {
    if (rows["file"] != name) {
      name = rows["file"];
      file = std::make_unique<gguf::File>(*data / "kv" / "models" / name);
    }
    INFO(name, " ", rows["context"], " ", rows["cache_type"], " n_seq ", rows["n_seq"]);
    const CacheOptions options = options_of(rows);
    const PlannedCache planned = load::plan_cache(*file, options);
    ++compared;
    if (rows["total_bytes"].empty()) {
      ++refusals;
      CHECK(!planned.refused.empty());
      CHECK_THROWS_AS(static_cast<void>(load::cache_items(*file, options)), std::runtime_error);
      continue;
    }
    REQUIRE(planned.refused.empty());
    predictions += options.prediction ? 1 : 0;
    const CacheBytes bytes =
        load::bytes_of(options.prediction ? planned.prediction : planned.groups);
    CHECK(bytes.cache == rows.count("kv_bytes_full") + rows.count("kv_bytes_swa") +
                             rows.count("index_bytes") + rows.count("compressed_bytes"));
    CHECK(bytes.state == rows.count("recurrent_bytes"));
    CHECK(bytes.all() == rows.count("total_bytes"));
    CHECK(sum(load::cache_items(*file, options), options.prediction) == bytes.all());
    for (const CacheGroup& group : planned.groups) {
      CHECK(group.bytes == group.layers * group.cells * group.streams *
                               (group.key_row_bytes + group.value_row_bytes));
      if (group.kind == gguf::Keeps::full) CHECK(group.cells == rows.count("cells_full"));
      if (group.kind == gguf::Keeps::window) CHECK(group.cells == rows.count("cells_swa"));
    }
  }
  CHECK(compared == 924);
  CHECK(refusals == 8);
  CHECK(predictions == 2);
}

TEST_CASE("each layer keeps what llama.cpp says that it keeps") {
  const auto data = test::data_dir();
  if (!data) return;
  Table rows{*data / "kv" / "kv_layers.csv"};
  std::string name;
  gguf::ModelMemory memory;
  while (rows.next()) {
    if (rows["file"] != name) {
      name = rows["file"];
      memory = gguf::model_memory_of(gguf::File{*data / "kv" / "models" / name},
                                     load::llama_cpp.metadata);
    }
    const std::string& cache = rows["cache"];
    INFO(name, " layer ", rows["layer"], " ", cache, " ", rows["part"]);
    const bool is_key = rows["part"] == "k" || rows["part"] == "r";
    bool is_there = false;
    for (const gguf::LayerMemory& kept : memory.kept) {
      const bool is_state = gguf::is_state(kept.kind);
      const bool is_window = kept.kind == gguf::Keeps::window || kept.kind == gguf::Keeps::chunked;
      const char* const named = is_state                          ? rows["part"].c_str()
                                : kept.kind == gguf::Keeps::index ? "index"
                                : is_window                       ? "swa"
                                                                  : "full";
      if (kept.layer != rows.count("layer") || named != cache) continue;
      is_there = (is_key ? kept.key_elements : kept.value_elements) == rows.count("elements");
    }
    CHECK(is_there);
  }
}

TEST_CASE("models of real shapes take what their own keys say") {
  const auto data = test::data_dir();
  if (!data) return;
  const auto plan = [&](const char* name, std::uint64_t batch = 1) {
    CacheOptions options{32'768};
    options.batch = batch;
    return load::plan_cache(gguf::File{*data / "reports" / name}, options);
  };
  const auto bytes = [&](const char* name) { return load::bytes_of(plan(name).groups); };
  constexpr std::uint64_t context = 32'768;
  CHECK(bytes("bert-head.gguf").all() == 0);
  CHECK(bytes("mamba-head.gguf").state == 64 * (3 * 5120 + 16 * 5120) * 4);
  CHECK(bytes("mamba-head.gguf").cache == 0);
  CHECK(bytes("rwkv6-head.gguf").state == 32 * (2 * 4096 + 4096 * 64) * 4);
  CHECK(bytes("gemma4-12b-head.gguf").cache ==
        40 * 1025 * 8 * 512 * 2 + 8 * context * 1024 * 2);  // about 0.81 GiB
  CHECK(bytes("gemma3n-e4b-head.gguf").cache == 16 * 513 * 2048 + 4 * context * 2048);
  CHECK(bytes("gpt-oss-20b-head.gguf").cache == 12 * 129 * 2048 + 12 * context * 2048);
  CHECK(bytes("lfm2-1.2b-head.gguf").cache == 384 * MiB);
  CHECK(bytes("lfm2-1.2b-head.gguf").state == 10 * 2 * 2048 * 4);
  CHECK(bytes("nemotron-h-head.gguf").cache == 8 * context * 2 * 256 * 2);
  CHECK(bytes("nemotron-h-head.gguf").state ==
        80 * (3 * (8192 + 2 * 8 * 128) + 128 * 8192) * std::uint64_t{4});
  const PlannedCache short_list = plan("nextn-short-array-head.gguf");
  CHECK(load::bytes_of(short_list.groups).cache == 5 * GiB + 768 * MiB);
  CHECK(says(short_list.assumed, "head_count_kv has 46 elements for 47 layers"));
  CHECK(says(short_list.assumed, "the last layer, which predicts further tokens"));
  CHECK(bytes("mmproj-head.gguf").all() == 0);
  CHECK(bytes("lora-head.gguf").all() == 0);
}

TEST_CASE("llama.cpp refuses files for reasons that a plan names") {
  const auto data = test::data_dir();
  if (!data) return;
  const auto refused = [&](const char* name) {
    CacheOptions options{4096};
    options.engine = &load::llama_cpp;
    return load::plan_cache(gguf::File{*data / "reports" / name}, options).refused;
  };
  CHECK(refused("nextn-short-array-head.gguf").find("has 46 elements, and llama.cpp expects 47") !=
        std::string::npos);
  CHECK(refused("nemotron-h-head.gguf").find("0 in layer 0") != std::string::npos);
  CHECK(refused("mmproj-head.gguf").find("not a model by itself") != std::string::npos);
  CHECK(refused("gemma3n-e4b-head.gguf").empty());
}

TEST_CASE("a plan by itself counts the tokens asked for: windows and a batch, for each sequence") {
  const test::TemporaryFolder folder;
  const gguf::File file = file_with(folder.path(), "gpt-oss", [](gguf::Writer& writer) {
    usual(writer, "gpt-oss")("attention.sliding_window", 100);
  });
  const auto groups = [&](std::uint64_t context, std::uint64_t sequences, std::uint64_t batch) {
    CacheOptions options{context};
    options.sequences = sequences;
    options.batch = batch;
    return load::plan_cache(file, options).groups;
  };
  auto planned = groups(1000, 1, 0);
  REQUIRE(planned.size() == 2);
  CHECK(planned[0].kind == gguf::Keeps::window);
  CHECK(planned[0].layers == 3);
  CHECK(planned[0].cells == 101);
  CHECK(planned[0].key_row_bytes == 64);
  CHECK(planned[1].kind == gguf::Keeps::full);
  CHECK(planned[1].cells == 1000);
  planned = groups(1000, 3, 50);
  CHECK(planned[0].cells == 150);
  CHECK(planned[0].streams == 3);
  CHECK(planned[1].cells == 1000);
  CHECK(planned[1].bytes == 3 * 1000 * 3 * 128);
  planned = groups(120, 1, 50);  // a window is never longer than the context
  REQUIRE(planned.size() == 2);
  CHECK(planned[0].cells == 120);
}

TEST_CASE("as many groups as layers are found without comparing each with all others") {
  constexpr std::uint64_t layers = 50'000;  // which would take long
  const gguf::LayerMemory memory{
      .layer = 0, .kind = gguf::Keeps::full, .key_elements = 1, .value_elements = 1};
  std::vector<load::detail::CacheEntry> entries;
  for (std::uint64_t i = 0; i < 2 * layers; ++i) {
    entries.push_back({.memory = &memory,
                       .key_type = gguf::TensorType::I8,
                       .value_type = gguf::TensorType::I8,
                       .key_elements = 1,
                       .value_elements = 1,
                       .cells = 10,
                       .streams = 1,
                       .key_row_bytes = 1 + i % layers,
                       .value_row_bytes = 1});
  }
  const std::vector<CacheGroup> groups = load::detail::groups_of<>(entries);
  REQUIRE(groups.size() == layers);
  bool are_right = true;
  for (std::uint64_t i = 0; i < layers; ++i)
    are_right = are_right && groups[i].layers == 2 && groups[i].key_row_bytes == 1 + i &&
                groups[i].bytes == 20 * (2 + i);
  CHECK(are_right);
}

TEST_CASE("the context that is said to fit leaves windows and states as they are") {
  const test::TemporaryFolder folder;
  const gguf::File file = file_with(folder.path(), "gpt-oss", [](gguf::Writer& writer) {
    usual(writer, "gpt-oss")("attention.sliding_window", 1000);
  });
  load::PlanOptions options{.cache = CacheOptions{100'000}};
  const load::Plan plan = load::make_plan(file, options);
  REQUIRE(plan.cache);
  const double growing = 3 * 100'000 * 128;
  CHECK(load::growing_part(*plan.cache) == doctest::Approx(growing / (growing + 3 * 1001 * 128)));
  const load::PlannedDevice small{.name = "host",
                                  .free_bytes = plan.total_bytes() - 3 * 128 * 40'000};
  CHECK_THROWS_WITH_AS(load::check(plan, {&small, 1}, load::NoMargin{}),
                       doctest::Contains("cut the context: about 60000 fits"), InsufficientMemory);
}

TEST_CASE("keys and values may have types of their own, unless they are one row") {
  const test::TemporaryFolder folder;
  const gguf::File file = file_with(folder.path(), "deepseek2", [](gguf::Writer& writer) {
    Counts counts{writer, "deepseek2."};
    counts("block_count", 3)("context_length", 4096)("embedding_length", 64);
    counts("attention.head_count", 4)("attention.head_count_kv", 1);
    counts("attention.key_length", 96)("attention.value_length", 64);
    counts("attention.key_length_mla", 48)("attention.value_length_mla", 32);
  });
  CacheOptions options{256, gguf::TensorType::Q8_0, gguf::TensorType::F16};
  const auto planned = load::plan_cache(file, options).groups;
  REQUIRE(planned.size() == 1);
  CHECK(planned[0].kind == gguf::Keeps::latent);
  CHECK(planned[0].key_row_bytes == 3 * 34);
  CHECK(planned[0].value_row_bytes == 0);
  options.engine = &load::llama_cpp;
  CHECK(load::plan_cache(file, options).refused.find("both have one type") != std::string::npos);
  options.value_type = gguf::TensorType::Q8_0;
  CHECK(load::plan_cache(file, options).refused.empty());
  options.flash_attention = false;
  CHECK(load::plan_cache(file, options).refused.find("need flash attention") != std::string::npos);
}

TEST_CASE("an encoder's output is kept by each layer of the decoder") {
  const test::TemporaryFolder folder;
  const gguf::File file = file_with(folder.path(), "t5", [](gguf::Writer& writer) {
    usual(writer, "t5")("decoder_block_count", 2);
  });
  const PlannedCache planned = load::plan_cache(file, {100});
  REQUIRE(planned.groups.size() == 2);
  CHECK(planned.groups[0].kind == gguf::Keeps::full);
  CHECK(planned.groups[1].kind == gguf::Keeps::cross);
  CHECK(planned.groups[1].layers == 2);
  CHECK(says(planned.assumed, "encoder's output"));
  CHECK(load::cache_items(file, {100})[2].name == "cache.0.cross.k");
}

TEST_CASE("an encoder's output is kept, too, by layers that share another's cache") {
  const test::TemporaryFolder folder;
  for (const std::uint32_t shared : {1U, 2U}) {
    const gguf::File file = file_with(folder.path(), "t5", [&](gguf::Writer& writer) {
      usual(writer, "t5")("decoder_block_count", 2)("attention.shared_kv_layers", shared);
    });
    const PlannedCache planned = load::plan_cache(file, {100});
    REQUIRE(planned.groups.size() == 3 - shared);
    CHECK(planned.groups.back().kind == gguf::Keeps::cross);
    CHECK(planned.groups.back().layers == 2);
    CHECK(planned.groups.back().key_row_bytes != 0);
  }
}

TEST_CASE(
    "a layer that is listed again and again has one history; one that is not there has none") {
  const test::TemporaryFolder folder;
  const gguf::File file = file_with(folder.path(), "newest", [](gguf::Writer& writer) {
    usual(writer, "newest")("full_attention_interval", 3)("ssm.conv_kernel", 4)(
        "ssm.inner_size", 32)("ssm.state_size", 8)("ssm.group_count", 1)("ple.conv_kernel", 3)(
        "ple.ngram_size", 2)("hyper_connection.count", 2);
    std::vector<std::int32_t> listed(1'000'000, 1);
    listed.push_back(2'000'000'000);
    Counts{writer, "newest."}("ple.layers", listed);
  });
  const PlannedCache planned = load::plan_cache(file, {100});
  REQUIRE(planned.groups.size() == 3);
  CHECK(planned.groups[1].kind == gguf::Keeps::convolution);
  CHECK(planned.groups[1].layers == 1);
  CHECK(planned.groups[1].key_row_bytes == 2 * 2 * 2 * 64 * 4);
}

TEST_CASE("what metadata leave open is assumed, and said") {
  const test::TemporaryFolder folder;
  const auto assumed = [&](const char* architecture, auto&& fill) {
    const gguf::File file = file_with(folder.path(), architecture, fill);
    return load::plan_cache(file, {1000}).assumed;
  };
  CHECK(says(assumed("newest", [](gguf::Writer& writer) { usual(writer, "newest"); }),
             "not known here"));
  CHECK(says(assumed("newest",
                     [](gguf::Writer& writer) {
                       usual(writer, "newest")("attention.sliding_window", 64);
                     }),
             "does not say which layers have the window"));
  CHECK(says(assumed("gemma2", [](gguf::Writer& writer) { usual(writer, "gemma2"); }),
             "taken to be 4096 tokens"));
  CHECK(says(assumed("gemma3",
                     [](gguf::Writer& writer) {
                       usual(writer, "gemma3")("attention.sliding_window", 64)(
                           "attention.sliding_window_pattern", std::vector<std::int32_t>{1, 1});
                     }),
             "Layers from 2 on"));
  CHECK(says(assumed("llama", [](gguf::Writer&) {}), "llama.block_count is missing"));
  CHECK(assumed("llama", [](gguf::Writer& writer) { usual(writer, "llama"); }).empty());
}

TEST_CASE("keys of an architecture that is not known are followed") {
  const test::TemporaryFolder folder;
  const auto groups = [&](auto&& fill) {
    return load::plan_cache(file_with(folder.path(), "newest", fill), {1000}).groups;
  };
  auto planned = groups([](gguf::Writer& writer) {
    usual(writer, "newest")("attention.sliding_window", 64)("attention.sliding_window_pattern", 3)(
        "attention.key_length_swa", 8)("attention.value_length_swa", 8)(
        "attention.shared_kv_layers", 3);
  });
  REQUIRE(planned.size() == 2);
  CHECK(planned[0].kind == gguf::Keeps::window);
  CHECK(planned[0].layers == 2);
  CHECK(planned[0].cells == 65);
  CHECK(planned[0].key_row_bytes == 32);
  CHECK(planned[1].layers == 1);
  planned = groups([](gguf::Writer& writer) {
    usual(writer, "newest")("full_attention_interval", 3)("ssm.conv_kernel", 4)(
        "ssm.inner_size", 32)("ssm.state_size", 8)("ssm.group_count", 1);
  });
  REQUIRE(planned.size() == 2);
  CHECK(planned[0].kind == gguf::Keeps::recurrent);
  CHECK(planned[0].layers == 4);
  CHECK(planned[0].cells == 1);
  CHECK(planned[0].key_row_bytes == 3 * (32 + 16) * 4);
  CHECK(planned[0].value_row_bytes == 32 * 8 * 4);
  CHECK(planned[1].layers == 2);
  planned = groups([](gguf::Writer& writer) {
    usual(writer, "newest");
    writer.add("newest.attention.causal", false);
  });
  CHECK(planned.empty());
}

namespace {

/// A model of states alone: two layers, of 64 KiB and more each.
gguf::File states_only(const fs::path& folder) {
  return file_with(folder, "mamba", [](gguf::Writer& writer) {
    Counts{writer, "mamba."}("block_count", 2)("embedding_length", 64)("ssm.conv_kernel", 4)(
        "ssm.inner_size", 1024)("ssm.state_size", 16);
  });
}

}  // namespace

TEST_CASE("states that no device has room for do not fit, whatever the context") {
  const test::TemporaryFolder folder;
  const gguf::File file = states_only(folder.path());
  load::PlanOptions options;
  options.devices = {{.name = "a", .free_bytes = 1000}, {.name = "b", .free_bytes = 1000}};
  CHECK(load::fit_context(file, options, false, load::NoMargin{}).fits_memory == 0);
  for (load::PlannedDevice& device : options.devices) device.free_bytes = 1'000'000;
  CHECK(load::fit_context(file, options, false, load::NoMargin{}).fits_memory ==
        load::FittingContext::any);
}

TEST_CASE("the context of a model of states is limited by its draft model's cache") {
  const test::TemporaryFolder folder;
  const gguf::File file = states_only(folder.path());
  const test::TemporaryFolder other;
  const gguf::File draft =
      file_with(other.path(), "llama", [](gguf::Writer& writer) { usual(writer, "llama"); });
  load::PlanOptions options;
  options.devices = {{.name = "a", .free_bytes = 1'000'000}};
  options.draft = &draft;
  const std::uint64_t fitting =
      load::fit_context(file, options, false, load::NoMargin{}).fits_memory;
  CHECK(fitting > 100);
  CHECK(fitting < 4096);
  CHECK(load::largest_context(file, options, load::NoMargin{}) == fitting);
  options.devices.push_back({.name = "host", .free_bytes = 0});
  CHECK(load::fit_beside_host(file, options, false, load::NoMargin{}).fits_memory == fitting);
}

TEST_CASE("a trained context of 0 says nothing") {
  const test::TemporaryFolder folder;
  const gguf::File file = file_with(folder.path(), "llama", [](gguf::Writer& writer) {
    Counts{writer, "llama."}("context_length", 0);
  });
  CHECK_FALSE(load::trained_context(file));
}

TEST_CASE("metadata that contradict each other are an error that names the key") {
  const test::TemporaryFolder folder;
  const auto problem = [&](const char* architecture, auto&& fill) {
    const gguf::File file = file_with(folder.path(), architecture, fill);
    try {
      static_cast<void>(load::cache_items(file, {1000}));
      return std::string{"planned"};
    } catch (const std::exception& error) {
      return std::string{error.what()};
    }
  };
  const auto has = [](const std::string& text, const char* what) {
    INFO(text);
    return text.find(what) != std::string::npos;
  };
  CHECK(has(problem("gemma4",
                    [](gguf::Writer& writer) {
                      usual(writer, "gemma4")("attention.shared_kv_layers", 7);
                    }),
            "gemma4.attention.shared_kv_layers is 7, but there are 6 layers"));
  CHECK(has(
      problem("glm4moe",
              [](gguf::Writer& writer) { usual(writer, "glm4moe")("nextn_predict_layers", 7); }),
      "glm4moe.nextn_predict_layers is more than there are layers"));
  CHECK(has(problem("mamba",
                    [](gguf::Writer& writer) {
                      Counts{writer, "mamba."}("block_count", 6)("embedding_length", 64)(
                          "ssm.conv_kernel", 4);
                    }),
            "mamba.ssm.inner_size is missing"));
  CHECK(has(problem("gemma3",
                    [](gguf::Writer& writer) {
                      usual(writer, "gemma3");
                      writer.add("gemma3.attention.sliding_window", std::int32_t{-1});
                    }),
            "gemma3.attention.sliding_window is not a count"));
  CHECK(has(problem("qwen3next",
                    [](gguf::Writer& writer) {
                      usual(writer, "qwen3next")("full_attention_interval", 0);
                    }),
            "qwen3next.full_attention_interval is 0"));
  CHECK(has(
      problem("nanbeige",
              [](gguf::Writer& writer) { usual(writer, "nanbeige")("num_loops", 4'000'000'000U); }),
      "nanbeige.num_loops is 4000000000"));
  CHECK(has(problem("rwkv6",
                    [](gguf::Writer& writer) {
                      Counts{writer, "rwkv6."}("block_count", 2)("wkv.head_size", 64);
                      writer.add("rwkv6.embedding_length", ~std::uint64_t{0});
                    }),
            "more than 2^64 elements"));
}
