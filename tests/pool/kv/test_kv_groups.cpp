// SPDX-License-Identifier: MIT
// Groups of layers in one allocation: own rows, own lengths, windows that slide.
#include <allot/device/host_device.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/kv_shape_of.hpp>
#include <allot/pool/kv/kv_group_cache.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "support/random.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using GroupCache = KvGroupCache<HostDevice>;
using TokenList = std::vector<std::uint32_t>;

TokenList tokens_from(std::uint32_t first, std::size_t count) {
  TokenList tokens(count);
  for (std::uint32_t& token : tokens) token = first++;
  return tokens;
}

/// Two layers that keep all, three with a window of 10, and one with keys alone.
KvGroupCacheConfig groups_config(std::uint64_t context, std::uint64_t sequences,
                                 std::uint64_t batch) {
  KvGroupCacheConfig config{.groups = {{.shape = {2, 2, 8, 8}},
                                       {.shape = {3, 1, 16, 8}, .window = 10},
                                       {.shape = {.layers = 1,
                                                  .kv_heads = 1,
                                                  .key_dimension = 24,
                                                  .value_dimension = 0,
                                                  .keeps_values = false}}},
                            .context = context,
                            .budget_bytes = 0,
                            .batch = batch,
                            .block_tokens = 4};
  for (const KvGroup& group : config.groups) {
    const KvLayout layout{group.shape, 4};
    const std::uint64_t all = (context + 3) / 4;
    const std::uint64_t kept = group.window == 0 ? all : (10 + batch + 3) / 4 + 1;
    config.budget_bytes += sequences * (kept < all ? kept : all) * layout.block_bytes();
  }
  return config;
}

/// Writes what tells a token and its position apart, where each group has its key.
void write_keys(GroupCache& cache, const GroupCache::Sequence& sequence, const TokenList& all,
                std::uint64_t from) {
  for (std::size_t group = 0; group < cache.groups(); ++group) {
    for (std::uint64_t i = from; i < all.size(); ++i) {
      const std::uint64_t value = i << 32U | all[i];
      std::memcpy(cache.cache(group).key(sequence.slot(group, i), KvLayer{0}), &value, 8);
    }
  }
}

/// Returns true if each group has the tokens that the next one looks at.
bool has_what_it_needs(GroupCache& cache, const GroupCache::Sequence& sequence,
                       const TokenList& all) {
  for (std::size_t group = 0; group < cache.groups(); ++group) {
    const std::uint64_t window = cache.group(group).window;
    const std::uint64_t first =
        window != 0 && all.size() + 1 > window ? all.size() + 1 - window : 0;
    for (std::uint64_t i = first; i < all.size(); ++i) {
      std::uint64_t value = 0;
      std::memcpy(&value, cache.cache(group).key(sequence.slot(group, i), KvLayer{0}), 8);
      if (value != (i << 32U | all[i])) return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("a window gives its blocks back as it slides; other layers keep every token") {
  GroupCache cache{HostDevice{}, groups_config(200, 1, 5)};
  auto [sequence, cached] = cache.start();
  CHECK(cached == 0);
  TokenList all;
  for (std::uint32_t step = 0; step < 40; ++step) {
    const TokenList batch = tokens_from(step * 5, 5);
    sequence.append(batch);
    all.insert(all.end(), batch.begin(), batch.end());
    write_keys(cache, sequence, all, all.size() - 5);
    CHECK(has_what_it_needs(cache, sequence, all));
    CHECK(sequence.block_table(1).size() <= 5);
    for (std::size_t group = 0; group < 3; ++group) CHECK(cache.cache(group).validate());
  }
  CHECK(sequence.tokens() == 200);
  CHECK(sequence.block_table(0).size() == 50);
  CHECK(sequence.first(0) == 0);
  CHECK(sequence.first(1) == 184);  // the block of token 186, the first that token 195 looks at
  CHECK_THROWS_AS(static_cast<void>(sequence.slot(1, 183)), std::out_of_range);
  CHECK_THROWS_AS(sequence.append(tokens_from(0, 5)), OutOfBlocks);
  CHECK(sequence.tokens() == 200);  // no group has more of them than the others
}

TEST_CASE("all groups are in one allocation, and hold as many sequences") {
  const KvGroupCacheConfig config = groups_config(64, 3, 4);
  GroupCache cache{HostDevice{}, config};
  const auto* const first = static_cast<const std::byte*>(cache.cache(0).storage().address());
  std::uint64_t bytes = 0;
  for (std::size_t group = 0; group < cache.groups(); ++group) {
    CHECK(cache.cache(group).storage().address() == first + bytes);
    bytes += cache.cache(group).storage().bytes();
  }
  CHECK(bytes <= config.budget_bytes);
  std::vector<GroupCache::Sequence> sequences;
  for (int i = 0; i < 3; ++i) {
    sequences.push_back(cache.start().sequence);
    for (std::uint32_t step = 0; step < 16; ++step)
      sequences.back().append(tokens_from(step * 4, 4));
  }
  CHECK_THROWS_AS(
      static_cast<void>(GroupCache{HostDevice{}, {.groups = {}, .context = 1, .budget_bytes = 1}}),
      std::invalid_argument);
}

TEST_CASE("a prompt is shared as far as every group still has it") {
  GroupCache cache{HostDevice{}, groups_config(64, 4, 4)};
  const TokenList prompt = tokens_from(0, 24);
  {
    auto writer = cache.start(prompt).sequence;
    for (std::uint32_t step = 0; step < 6; ++step) {
      writer.append(tokens_from(step * 4, 4));
      write_keys(cache, writer, tokens_from(0, step * 4 + 4), step * 4);
      writer.publish();
    }
  }
  TokenList longer = prompt;
  longer.push_back(1000);
  auto [reader, cached] = cache.start(longer);
  CHECK(cached == 24);
  CHECK(has_what_it_needs(cache, reader, prompt));
  cache.cache(1).evict(3);  // the window's last blocks of the prompt
  CHECK(cache.start(longer).cached <= 24);
  for (std::size_t group = 0; group < 3; ++group) CHECK(cache.cache(group).validate());
}

TEST_CASE("groups that have different parts of a prompt count only what the sequence begins with") {
  GroupCache cache{HostDevice{}, groups_config(64, 4, 4)};
  const TokenList prompt = tokens_from(0, 25);
  {
    auto writer = cache.start().sequence;
    writer.append(std::span{prompt}.first(24));
    writer.publish();
  }
  cache.cache(1).evict(2);
  const std::uint64_t cached = cache.start(prompt).cached;
  CHECK(cached < 24);
  for (std::size_t group = 0; group < 3; ++group) {
    const KvCacheStats stats = cache.cache(group).stats();
    CHECK(stats.hits == cached / 4);
    CHECK(stats.misses == 6 - cached / 4);
  }
}

TEST_CASE("a sequence goes back no further than its windows have kept") {
  GroupCache cache{HostDevice{}, groups_config(64, 2, 4)};
  auto sequence = cache.start().sequence;
  TokenList all;
  for (std::uint32_t step = 0; step < 10; ++step) {
    sequence.append(tokens_from(step * 4, 4));
    const TokenList batch = tokens_from(step * 4, 4);
    all.insert(all.end(), batch.begin(), batch.end());
    write_keys(cache, sequence, all, all.size() - 4);
  }
  CHECK_THROWS_AS(sequence.truncate(20), std::out_of_range);
  CHECK(sequence.tokens() == 40);
  sequence.truncate(38);  // two drafts that were not accepted
  all.resize(38);
  CHECK(has_what_it_needs(cache, sequence, all));
  auto other = sequence.fork();
  other.append(7);
  all.push_back(7);
  write_keys(cache, other, all, 38);
  CHECK(has_what_it_needs(cache, other, all));
  all.pop_back();
  CHECK(has_what_it_needs(cache, sequence, all));
}

TEST_CASE("random sequences keep what their windows look at") {
  const auto seed = static_cast<std::uint32_t>(test::first_seed());
  CAPTURE(seed);
  std::mt19937 random{seed};
  GroupCache cache{HostDevice{}, groups_config(60, 6, 6)};
  struct LiveGroups {
    GroupCache::Sequence sequence;
    TokenList tokens;
  };
  std::vector<LiveGroups> live;
  for (int step = 0; step < static_cast<int>(test::operations(2000)); ++step) {
    const auto choice = random() % 10;
    if (live.empty() || (choice == 0 && live.size() < 6)) {
      const TokenList prompt = tokens_from(0, 1 + random() % 30);  // prompts have common beginnings
      auto [sequence, cached] = cache.start(prompt);
      live.push_back(
          {std::move(sequence),
           TokenList(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(cached))});
      continue;
    }
    const std::size_t at = random() % live.size();
    LiveGroups& one = live[at];
    if (choice == 1) {
      std::swap(one, live.back());
      live.pop_back();
    } else if (choice == 2 && live.size() < 6) {
      live.push_back({one.sequence.fork(), one.tokens});
    } else if (choice == 3 && !one.tokens.empty()) {
      const std::size_t kept = one.tokens.size() - 1 - random() % (one.tokens.size() < 3 ? 1 : 2);
      try {
        one.sequence.truncate(kept);
        one.tokens.resize(kept);
      } catch (const std::out_of_range&) {
      }
    } else {
      const std::size_t had = one.tokens.size();
      TokenList more = tokens_from(static_cast<std::uint32_t>(had), 1 + random() % 6);
      if (had + more.size() > 60) continue;
      if (random() % 4 == 0) more.back() = 10000 + static_cast<std::uint32_t>(random() % 3);
      try {
        one.sequence.append(more);
      } catch (const OutOfBlocks&) {
        CHECK(one.sequence.tokens() == had);
        continue;
      }
      one.tokens.insert(one.tokens.end(), more.begin(), more.end());
      write_keys(cache, one.sequence, one.tokens, had);
      if (choice % 2 == 0) one.sequence.publish();
    }
    if (step % 20 != 0) continue;
    for (const LiveGroups& each : live)
      REQUIRE(has_what_it_needs(cache, each.sequence, each.tokens));
    for (std::size_t group = 0; group < 3; ++group) REQUIRE(cache.cache(group).validate());
  }
}

TEST_CASE("a file's layers make groups: windows, all tokens, rows of keys alone") {
  const test::TemporaryFolder folder;
  const auto groups = [&](const char* architecture, const auto& fill) {
    gguf::Writer writer;
    writer.add("general.architecture", architecture);
    fill(writer, std::string{architecture} + ".");
    writer.write(folder.path() / "m.gguf");
    return load::kv_groups_of(gguf::File{folder.path() / "m.gguf"});
  };
  const auto add_layers = [](gguf::Writer& writer, const std::string& prefix, std::uint32_t count,
                             std::uint32_t kv_heads) {
    writer.add(prefix + "block_count", count);
    writer.add(prefix + "embedding_length", std::uint32_t{64});
    writer.add(prefix + "attention.head_count", std::uint32_t{4});
    writer.add(prefix + "attention.head_count_kv", kv_heads);
  };
  const auto gemma = groups("gemma3", [&](gguf::Writer& writer, const std::string& prefix) {
    add_layers(writer, prefix, 7, 2);
    writer.add(prefix + "attention.sliding_window", std::uint32_t{64});
  });
  REQUIRE(gemma.size() == 2);
  CHECK(gemma[0].window == 64);
  CHECK(gemma[0].shape.layers == 6);
  CHECK(gemma[0].shape.kv_heads == 2);
  CHECK(gemma[0].shape.key_dimension == 16);
  CHECK(gemma[1].window == 0);
  CHECK(gemma[1].layers == std::vector<std::uint32_t>{5});
  const auto latent = groups("deepseek2", [&](gguf::Writer& writer, const std::string& prefix) {
    add_layers(writer, prefix, 2, 1);
    writer.add(prefix + "attention.key_length", std::uint32_t{96});
    writer.add(prefix + "attention.value_length", std::uint32_t{64});
    writer.add(prefix + "attention.key_length_mla", std::uint32_t{48});
    writer.add(prefix + "attention.value_length_mla", std::uint32_t{32});
  });
  REQUIRE(latent.size() == 1);
  CHECK(!latent[0].shape.keeps_values);
  CHECK(KvLayout{latent[0].shape, 16}.token_bytes() == 2 * 96 * 2);
}

TEST_CASE("as many groups as layers are made without comparing each with all others") {
  constexpr std::uint32_t layers = 50'000;  // which would take long
  std::vector<gguf::LayerMemory> kept;
  for (std::uint32_t i = 0; i < 2 * layers; ++i) {
    kept.push_back({.layer = i,
                    .kind = gguf::Keeps::full,
                    .key_elements = 8 * (1 + i % layers),
                    .value_elements = 8,
                    .heads = 1});
  }
  const auto groups = detail::groups_of_kept(kept, gguf::TensorType::F16, gguf::TensorType::F16);
  REQUIRE(groups.size() == layers);
  bool are_right = true;
  for (std::uint32_t i = 0; i < layers; ++i)
    are_right = are_right && groups[i].shape.key_dimension == 8 * (1 + i) &&
                groups[i].shape.layers == 2 &&
                groups[i].layers == std::vector<std::uint32_t>{i, layers + i};
  CHECK(are_right);
}

TEST_CASE("keys of a prompt's positions stay with the groups' blocks until they are published") {
  GroupCache cache{HostDevice{}, groups_config(64, 4, 8)};
  const TokenList prompt(16, 7);  // placeholders of an image
  const KvPromptKeys of_a{.positions = {{0, 16, KvContent{1}}}};
  {
    auto started = cache.start(prompt, of_a);
    CHECK(started.cached == 0);
    for (std::size_t i = 0; i < prompt.size(); i += 8)
      started.sequence.append({prompt.data() + i, 8});
    started.sequence.publish();
  }
  CHECK(cache.start(prompt).cached == 0);  // without keys it is another prompt
  CHECK(cache.start(prompt, {.positions = {{0, 16, KvContent{2}}}}).cached == 0);
}

TEST_CASE("groups that had room keep a prompt's keys if another has none for its tokens") {
  GroupCache cache{HostDevice{}, groups_config(64, 1, 16)};
  const TokenList prompt(16, 7);
  auto sequence = cache.start(prompt, {.positions = {{0, 16, KvContent{1}}}}).sequence;
  {
    const auto all = cache.cache(2).start(tokens_from(0, 64)).sequence;
    CHECK_THROWS_AS(sequence.append(prompt), OutOfBlocks);
  }
  CHECK(sequence.tokens() == 0);
  sequence.append(prompt);
  sequence.publish();
  for (std::size_t group = 0; group < cache.groups(); ++group) {
    auto& one = cache.cache(group);
    CHECK(one.start_shared(prompt).cached == 0);
    CHECK(one.start_shared(prompt, {.positions = {{0, 16, KvContent{1}}}}).cached == 12);
    CHECK(one.validate());
  }
}
