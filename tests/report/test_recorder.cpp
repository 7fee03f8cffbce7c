// SPDX-License-Identifier: MIT
// What an arena does, recorded and read again.
#include <allot/arena.hpp>
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/observer/observers.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/kv/kv_group_cache.hpp>
#include <allot/pool/named/named_buffers.hpp>
#include <allot/report/recorder.hpp>
#include <allot/report/trace_text.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/stream/shared_stream.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/random.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
using report::Recorder;
using report::RecorderOptions;
using report::Recording;
using report::TraceDecoder;
using report::TraceEncoder;
using report::TraceKind;
using report::TraceRecord;
using test::ManualClock;

template <class ObserverType = Recorder>
using Watched = Arena<BestFit, AlignTo<256>, Unsynchronized, OffsetsOnly, ObserverType>;

/// The records of a trace, with texts of their own.
struct Decoded {
  std::vector<TraceRecord> records;
  std::vector<std::string> texts;
  std::string error;
  bool is_cut_off = false;
};

Decoded decoded(std::string_view bytes) {
  Decoded all;
  TraceDecoder decoder;
  for (;;) {
    const auto read = decoder.decode(bytes.substr(0, TraceEncoder::most_bytes));
    if (read.status == TraceDecoder::Status::malformed) all.error = read.error;
    if (read.status == TraceDecoder::Status::end) all.is_cut_off = !bytes.empty();
    if (read.bytes == 0) return all;
    if (read.status == TraceDecoder::Status::record) {
      all.records.push_back(read.record);
      all.records.back().text = {};
      all.texts.emplace_back(read.record.text);
    }
    bytes.remove_prefix(read.bytes);
  }
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class ArenaType>
std::string recording_of(ArenaType& arena) {
  return arena.with_observer([](const auto& recorder) { return text_of(recorder.recording()); });
}

std::string file_text(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

std::string encoded(const std::vector<TraceRecord>& records) {
  std::string bytes;
  TraceEncoder encoder;
  std::byte one[TraceEncoder::most_bytes];
  for (const TraceRecord& record : records)
    bytes.append(reinterpret_cast<const char*>(one), encoder.encode(record, one));
  return bytes;
}

/// What is live at the end of a recording: offsets and bytes. Every free must be of a known block.
std::map<std::uint64_t, std::uint64_t> live_in(const Decoded& all) {
  std::map<std::uint64_t, std::uint64_t> live;
  for (const TraceRecord& record : all.records) {
    switch (record.kind) {
      case TraceKind::start:
        live.clear();
        break;
      case TraceKind::live:
      case TraceKind::allocate:
        REQUIRE(live.emplace(record.offset, record.bytes).second);
        break;
      case TraceKind::resize:
        REQUIRE(live.contains(record.offset));
        live[record.offset] = record.bytes;
        break;
      case TraceKind::free:
        REQUIRE(live.erase(record.offset) == 1);
        break;
      default:
        break;
    }
  }
  return live;
}

std::size_t count_of(const Decoded& all, TraceKind kind) {
  std::size_t count = 0;
  for (const TraceRecord& record : all.records) count += record.kind == kind;
  return count;
}

/// Random calls; returns what is live at the end.
template <class ArenaType>
std::map<std::uint64_t, std::uint64_t> churn(ArenaType& arena, std::uint64_t seed, int steps) {
  std::mt19937_64 random{seed};
  std::map<std::uint64_t, std::uint64_t> requested;
  std::vector<Block> live;
  for (int i = 0; i < steps; ++i) {
    const std::size_t at = live.empty() ? 0 : random() % live.size();
    const std::uint64_t bytes = 1 + random() % 5000;
    if (live.size() > 30 || (!live.empty() && random() % 3 == 0)) {
      requested.erase(live[at].offset);
      arena.deallocate(live[at]);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
    } else if (!live.empty() && random() % 4 == 0) {
      const auto expanded = arena.try_expand(live[at], bytes);
      if (!expanded) continue;
      live[at] = *expanded;
      if (requested[live[at].offset] < bytes) requested[live[at].offset] = bytes;
    } else if (const auto block = arena.try_allocate({bytes, 0, "block " + std::to_string(at)})) {
      live.push_back(*block);
      requested[block->offset] = bytes;
    }
  }
  return requested;
}

/// A pool's events in words, buffers by letters, and when the stream changes.
std::string story_of(const Decoded& all) {
  std::string story;
  std::map<std::uint64_t, char> letters;
  for (const TraceRecord& record : all.records) {
    const auto letter = [&] {
      const char next = static_cast<char>('a' + letters.size());
      return letters.emplace(record.offset, next).first->second;
    };
    if (record.kind == TraceKind::stream) story += "on " + std::to_string(record.value) + ": ";
    if (record.kind == TraceKind::live) story += std::string{"live "} + letter() + ' ';
    if (record.kind == TraceKind::allocate)
      story += std::to_string(record.bytes) + " in " + letter() + ' ';
    if (record.kind == TraceKind::free) story += std::string{"free "} + letter() + ' ';
    if (record.kind == TraceKind::refuse) story += "refuse " + std::to_string(record.bytes) + ' ';
  }
  return story;
}

template <class DeviceType, class ObserverType = Recorder>
using RecordedPool = BufferPool<DeviceType, FourSteps, BestFit, AlignTo<256>, ObserverType>;

}  // namespace

TEST_CASE("a pool's buffers are recorded with their streams, reused ones too, and its refusals") {
  StagedHostDevice device;
  const SharedStream<StagedHostDevice> first{device};
  const SharedStream<StagedHostDevice> second{device};
  RecordedPool<StagedHostDevice, Observers<Recorder, Ledger>> pool{device, 16'384};
  pool.warm_up({1000});
  auto a = pool.acquire(1000, first);
  auto b = pool.acquire(3000, second);
  a.release();
  a = pool.acquire(900, first);
  CHECK_THROWS_AS(static_cast<void>(pool.acquire(20'000, first)), OutOfMemory);
  a.release(second);
  const auto part = b.slice(0, 10);
  b.release();
  const auto read = [&] {
    return decoded(pool.with_observer(
        [](const auto& both) { return text_of(both.template get<Recorder>().recording()); }));
  };
  const Decoded all = read();
  CHECK(all.error == "");
  CHECK(story_of(all) ==
        "on 1: 1000 in a on 2: 3000 in b on 1: free a 900 in a refuse 20000 on 2: free a ");
  CHECK(live_in(all).size() == 1);
  for (const TraceRecord& record : all.records) {
    if (record.kind == TraceKind::allocate) CHECK(record.alignment == 256);
  }
  pool.with_observer([](auto& both) {
    const Ledger& ledger = both.template get<Ledger>();
    CHECK(ledger.allocations() == 3);
    CHECK(ledger.deallocations() == 2);
    CHECK(ledger.refusals() == 1);
  });
  CHECK(pool.validate());
}

TEST_CASE("a pool's recording has what was live before its ring, and what outlives the pool") {
  RecordedPool<HostDevice> ring{HostDevice{}, 16'384, {}, Recorder{{.events = 2}}};
  auto a = ring.acquire(100);
  const auto b = ring.acquire(200);
  a.release();
  a = ring.acquire(300);
  const auto recording = [](const Recorder& recorder) { return text_of(recorder.recording()); };
  const Decoded latest = decoded(ring.with_observer(recording));
  CHECK(story_of(latest) == "live a live b free b 300 in c ");
  CHECK(live_in(latest).size() == 2);

  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "pool.trace").string();
  {
    typename RecordedPool<HostDevice>::buffer_type last;
    {
      RecordedPool<HostDevice> pool{
          HostDevice{}, 4096, {}, Recorder{{.keeps = Recording::everything, .file = file}}};
      last = pool.acquire(100);
    }
    CHECK(story_of(decoded(file_text(file))) == "");
  }
  CHECK(story_of(decoded(file_text(file))) == "100 in a free a ");
}

TEST_CASE("a KV cache's blocks are recorded with the streams of its lanes, and what is refused") {
  const test::TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "refused.trace";
  const KvShape shape{.layers = 1, .kv_heads = 1, .key_dimension = 16, .value_dimension = 16};
  KvCache<StagedHostDevice, Unsynchronized, LeastRecentlyUsed, Recorder> cache{
      StagedHostDevice{},
      {.shape = shape, .budget_bytes = 4096, .lanes = 2},
      Recorder{{.file = file.string()}}};
  REQUIRE(cache.layout().block_bytes() == 1024);
  const auto tokens = [](std::size_t count, std::uint32_t token) {
    return std::vector<std::uint32_t>(count, token);
  };
  const auto recorded = [&] {
    return decoded(
        cache.with_observer([](auto& recorder) { return text_of(recorder.recording()); }));
  };
  std::string story = "on 1: 1024 in a 1024 in b on 2: 1024 in c ";
  auto second = [&] {
    auto first = cache.start(tokens(17, 1)).sequence;
    auto other = cache.start(tokens(16, 2), 1).sequence;
    CHECK(story_of(recorded()) == story);
    CHECK(!other.try_append(tokens(48, 3)));
    CHECK(!std::filesystem::exists(file));
    CHECK_THROWS_AS(other.append(tokens(48, 3)), OutOfBlocks);
    CHECK(std::filesystem::exists(file));
    first.publish();
    return other;
  }();
  second.append(tokens(48, 3));  // evicts what was published
  story += "refuse 3072 refuse 3072 on 1: free b on 0: free a on 2: 1024 in a 1024 in b 1024 in d ";
  CHECK(story_of(recorded()) == story);
  second.truncate(16);
  static_cast<void>(cache.compact(1));
  story += "free d free b free a on 1: 1024 in a free c ";
  CHECK(story_of(recorded()) == story);
  CHECK(live_in(recorded()) == std::map<std::uint64_t, std::uint64_t>{{0, 1024}});
  CHECK(cache.validate());
  CHECK_THROWS_AS(static_cast<void>(cache.start(tokens(100, 4))), OutOfBlocks);
  CHECK(recorded().records.back().bytes == 7 * 1024);
}

TEST_CASE("each group of a cache of groups has a recorder of its own") {
  const KvShape shape{.layers = 1, .kv_heads = 1, .key_dimension = 16, .value_dimension = 16};
  KvGroupCache<HostDevice, LeastRecentlyUsed, Recorder> cache{
      HostDevice{},
      {.groups = {{.shape = shape}, {.shape = shape}}, .context = 64, .budget_bytes = 8192}};
  auto sequence = cache.start().sequence;
  sequence.append(std::vector<std::uint32_t>(20, 1));
  for (std::size_t i = 0; i < cache.groups(); ++i) {
    const auto recording = [](auto& recorder) { return text_of(recorder.recording()); };
    CHECK(story_of(decoded(cache.cache(i).with_observer(recording))) ==
          "on 1: 1024 in a 1024 in b ");
  }
}

TEST_CASE("named buffers are recorded by name, with the streams that they are resized on") {
  using RecordedArena =
      Arena<BestFit, AlignTo<256>, Locked<>, StagedHostDevice::memory_type, Recorder>;
  StagedHostDevice device;
  auto stream = device.make_stream();
  NamedBuffers<StagedHostDevice, RecordedArena> buffers{
      device, std::make_shared<RecordedArena>(16'384, device.memory(), Recorder{})};
  const BufferConfig plain{.growth = Growth::exact(), .minimum = 0};
  buffers.add<float>("a", 256, plain);
  buffers.add<float>("b", 256, plain);
  buffers.ensure_capacity<float>("a", 512, stream);  // moves
  device.synchronize(stream);
  static_cast<void>(buffers.stats());                 // frees what the copy had to read
  buffers.ensure_capacity<float>("a", 1024, stream);  // in place
  buffers.free("b");
  const Decoded all =
      decoded(buffers.with_observer([](auto& recorder) { return text_of(recorder.recording()); }));
  CHECK(all.error == "");
  CHECK(story_of(all) == "1024 in a 1024 in b on 1: 2048 in c free a on 0: free b ");
  CHECK(count_of(all, TraceKind::resize) == 1);
  CHECK(count_of(all, TraceKind::name) == 2);
  CHECK(live_in(all) == std::map<std::uint64_t, std::uint64_t>{{2048, 4096}});
}

TEST_CASE("a recording has every call with bytes, alignment, name, offset, thread and time") {
  using Timed = report::RecorderOf<ManualClock>;
  ManualClock::time = std::chrono::nanoseconds{1000};
  Watched<Timed> arena{4096};
  ManualClock::time += std::chrono::nanoseconds{5};
  const Block first = arena.allocate({100, 0, "weights"});
  const Block second = arena.allocate({300, 512, "scratch"});
  ManualClock::time += std::chrono::nanoseconds{70};
  CHECK_THROWS_AS(static_cast<void>(arena.allocate({5000, 256, "weights"})), OutOfMemory);
  arena.deallocate(first);
  const Block shrunk = arena.shrink(second, 200);
  const Decoded all = decoded(recording_of(arena));
  CHECK(all.error == "");
  REQUIRE(all.records.size() == 10);
  CHECK(all.records[0].kind == TraceKind::start);
  CHECK(all.records[0].sample == 1);
  CHECK(all.records[0].process != 0);
  CHECK(all.texts[1] == "weights");
  CHECK(all.records[2].value == 2);
  CHECK(all.records[3] == TraceRecord{.kind = TraceKind::unit, .value = 256});
  CHECK(all.records[4].kind == TraceKind::thread);
  CHECK(all.records[5] ==
        TraceRecord{.kind = TraceKind::allocate, .time = 5, .bytes = 100, .name = 1});
  CHECK(all.records[6] == TraceRecord{.kind = TraceKind::allocate,
                                      .time = 5,
                                      .offset = 512,
                                      .bytes = 300,
                                      .alignment = 512,
                                      .name = 2});
  CHECK(all.records[7] ==
        TraceRecord{.kind = TraceKind::refuse,
                    .time = 75,
                    .bytes = 5000,
                    .alignment = 256,
                    .name = 1,
                    .value = static_cast<std::uint64_t>(RefusalReason::too_large)});
  CHECK(all.records[8] == TraceRecord{.kind = TraceKind::free, .time = 75});
  CHECK(all.records[9] ==
        TraceRecord{.kind = TraceKind::resize, .time = 75, .offset = 512, .bytes = 200});
  CHECK(arena.owns(shrunk));
}

TEST_CASE("the latest events begin with what was live before them") {
  for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 20; ++seed) {
    INFO("ALLOT_SEED=" << seed);
    for (const std::uint32_t events : {1U, 7U, 100U, 1000U}) {
      Watched<> arena{100'000, {}, Recorder{{.events = events}}};
      const auto live = churn(arena, seed, 300);
      const Decoded all = decoded(recording_of(arena));
      REQUIRE(all.error == "");
      REQUIRE(live_in(all) == live);
      REQUIRE(arena.with_observer([](auto& recorder) { return recorder.lost(); }) == 0);
    }
  }
}

TEST_CASE("the latest events are written once, when a refusal is first thrown") {
  const test::TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "refused.trace";
  Watched<> arena{4096, {}, Recorder{{.file = file.string(), .events = 2}}};
  static_cast<void>(arena.allocate(1000));
  static_cast<void>(arena.allocate(1000));
  CHECK(!arena.try_allocate(9999));
  CHECK(!std::filesystem::exists(file));
  CHECK_THROWS_AS(static_cast<void>(arena.allocate(8888)), OutOfMemory);
  const std::string written = file_text(file);
  const Decoded all = decoded(written);
  CHECK(count_of(all, TraceKind::live) == 2);
  REQUIRE(count_of(all, TraceKind::refuse) == 2);
  CHECK(all.records.back().bytes == 8888);
  CHECK_THROWS_AS(static_cast<void>(arena.allocate(7777)), OutOfMemory);
  CHECK(file_text(file) == written);

  Watched<> nowhere{4096, {}, Recorder{{.file = (folder.path() / "none" / "x").string()}}};
  CHECK_THROWS_AS(static_cast<void>(nowhere.allocate(8888)), OutOfMemory);
  CHECK(nowhere.with_observer([](auto& recorder) { return recorder.failed_writes(); }) == 1);
}

TEST_CASE("everything goes to a file, to which the next recording is appended") {
  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "all.trace").string();
  for (int run = 0; run < 2; ++run) {
    Watched<> arena{
        100'000, {}, Recorder{{.keeps = Recording::everything, .file = file, .events = 16}}};
    const auto live = churn(arena, 5, 200);
    arena.with_observer([](auto& recorder) {
      recorder.flush();
      CHECK(recorder.lost() == 0);
      CHECK_THROWS_AS(static_cast<void>(recorder.recording()), std::logic_error);
    });
    const Decoded all = decoded(file_text(file));
    CHECK(all.error == "");
    CHECK(!all.is_cut_off);
    CHECK(count_of(all, TraceKind::start) == static_cast<std::size_t>(run + 1));
    CHECK(live_in(all) == live);
  }
}

TEST_CASE(
    "a recording that is cut off anywhere is read up to there, in at most 16 bytes an event") {
  Watched<> arena{100'000, {}, Recorder{{.events = 5000}}};
  static_cast<void>(churn(arena, 7, 3000));
  const std::string whole = recording_of(arena);
  const std::uint64_t events =
      arena.with_observer([](auto& recorder) { return recorder.events(); });
  CHECK(whole.size() <= 16 * events);
  const Decoded all = decoded(whole);
  for (std::size_t length = 0; length < whole.size(); length += 1 + length / 50) {
    const Decoded part = decoded(std::string_view{whole}.substr(0, length));
    REQUIRE(part.error == "");
    REQUIRE(part.records.size() < all.records.size());
    REQUIRE(std::equal(part.records.begin(), part.records.end(), all.records.begin()));
  }
}

TEST_CASE("a recording goes on after the last whole record of a file that was cut off anywhere") {
  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "cut.trace").string();
  const auto record = [&](std::uint64_t bytes) {
    Watched<> arena{
        100'000, {}, Recorder{{.keeps = Recording::everything, .file = file, .events = 4}}};
    for (int i = 0; i < 3; ++i)
      arena.deallocate(arena.allocate({bytes + static_cast<std::uint64_t>(i), 0, "block"}));
  };
  record(1000);
  const std::string whole = file_text(file);
  std::filesystem::remove(file);
  record(2000);
  const Decoded next = decoded(file_text(file));
  REQUIRE(count_of(next, TraceKind::allocate) == 3);
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    std::ofstream{file, std::ios::binary} << whole.substr(0, length);
    const Decoded before = decoded(whole.substr(0, length));
    record(2000);
    const Decoded all = decoded(file_text(file));
    REQUIRE(all.error == "");
    REQUIRE(!all.is_cut_off);
    REQUIRE(all.records.size() == before.records.size() + next.records.size());
    REQUIRE(std::equal(before.records.begin(), before.records.end(), all.records.begin()));
    REQUIRE(all.records[before.records.size()].kind == TraceKind::start);
  }
  for (const std::string text :
       {"# allot-trace 2\nstart sample=1\n", "x", "\x12\x02", "\x12\x01allos"}) {
    std::ofstream{file, std::ios::binary} << text;
    CHECK_THROWS_AS(record(1), os::FileError);
    CHECK(file_text(file) == text);
  }
}

TEST_CASE("a sample is of blocks, each with all of its events") {
  Watched<> arena{1'000'000, {}, Recorder{{.sample = 4}}};
  const auto live = churn(arena, 11, 4000);
  const Decoded all = decoded(recording_of(arena));
  CHECK(all.records[0].sample == 4);
  const auto sampled = live_in(all);
  for (const auto& [offset, bytes] : sampled) CHECK(live.at(offset) == bytes);
  const std::size_t made = count_of(all, TraceKind::allocate);
  CHECK(made > 200);
  CHECK(made < 1000);
}

TEST_CASE("what has no room is counted, and the rest is right") {
  Watched<> first{100'000, {}, Recorder{{.keeps = Recording::first, .events = 50}}};
  static_cast<void>(churn(first, 3, 200));
  const Decoded kept = decoded(recording_of(first));
  CHECK(kept.records.back().kind == TraceKind::lost);
  CHECK(kept.records.back().value > 0);
  static_cast<void>(live_in(kept));

  Watched<> few{100'000, {}, Recorder{{.blocks = 2, .names = 1}}};
  for (int i = 0; i < 4; ++i) static_cast<void>(few.allocate({10, 0, std::to_string(i)}));
  const Decoded some = decoded(recording_of(few));
  CHECK(count_of(some, TraceKind::name) == 1);
  CHECK(count_of(some, TraceKind::allocate) == 4);
  CHECK(some.records.back().value >= 2);

  CHECK_THROWS_AS(Recorder{{.events = 0}}, std::invalid_argument);
  CHECK_THROWS_AS(Recorder{{.sample = 0}}, std::invalid_argument);
  CHECK_THROWS_AS(Recorder{{.keeps = Recording::everything}}, std::invalid_argument);
}

TEST_CASE("several observers: each is notified of resizes and throws as it can be") {
  Watched<Observers<Ledger, Recorder>> arena{100'000};
  const Block block = arena.allocate(1000);
  static_cast<void>(arena.shrink(block, 10));
  arena.with_observer([](auto& both) {
    CHECK(both.template get<Ledger>().allocations() == 2);
    CHECK(both.template get<Recorder>().events() == 2);
  });
}

TEST_CASE("records of every kind are the same after bytes and after text") {
  const std::vector<TraceRecord> records{
      {.kind = TraceKind::start, .process = 77, .sample = 3},
      {.kind = TraceKind::name, .value = 1, .text = "a \\ name\nof two lines"},
      {.kind = TraceKind::unit, .value = 512},
      {.kind = TraceKind::thread, .value = 3},
      {.kind = TraceKind::stream, .value = ~std::uint64_t{0}},
      {.kind = TraceKind::device, .value = 1, .text = "gfx1100"},
      {.kind = TraceKind::call_site, .value = 12, .text = "main.cpp"},
      {.kind = TraceKind::live, .offset = 512, .bytes = 9, .alignment = 4096, .name = 1},
      {.kind = TraceKind::allocate, .time = 10, .offset = std::uint64_t{1} << 50, .bytes = 1},
      {.kind = TraceKind::resize, .time = 10, .offset = 512, .bytes = std::uint64_t{1} << 60},
      {.kind = TraceKind::copy, .time = 11, .offset = 1024, .bytes = 4, .value = 2},
      {.kind = TraceKind::refuse, .time = 12, .bytes = 4, .name = 1, .value = 1},
      {.kind = TraceKind::failed_call, .time = 13, .value = 2, .text = "hipMalloc"},
      {.kind = TraceKind::call, .time = 14, .offset = 1536, .bytes = 7, .text = "hipMemMap"},
      {.kind = TraceKind::free, .time = 1'000'000'000'000, .offset = 512},
      {.kind = TraceKind::lost, .value = 4},
  };
  const std::string bytes = encoded(records);
  const Decoded all = decoded(bytes);
  CHECK(all.error == "");
  REQUIRE(all.records.size() == records.size());
  report::TraceTextReader<> reader;
  for (std::size_t i = 0; i < records.size(); ++i) {
    TraceRecord read = all.records[i];
    read.text = all.texts[i];
    CHECK(read == records[i]);
    const std::string line = report::to_text(read);
    INFO(line);
    CHECK(line.find('\n') == std::string::npos);
    TraceRecord again;
    CHECK(reader.read(line, again) == nullptr);
    CHECK(again == records[i]);
  }
}

TEST_CASE("docs/traces.md has the bytes of an event") {
  const std::string bytes =
      encoded({{.kind = TraceKind::start, .process = 1, .sample = 1},
               {.kind = TraceKind::unit, .value = 256},
               {.kind = TraceKind::allocate, .time = 1000, .offset = 512, .bytes = 100}});
  CHECK(bytes.ends_with("\x05\x03\xe8\x07\x02\x64"));
}

TEST_CASE("kinds and fields of later versions are skipped, and what is wrong is refused") {
  const std::string start = encoded({{.kind = TraceKind::start, .process = 1, .sample = 1}});
  const auto error_of = [&](std::string_view bytes) {
    return decoded(start + std::string{bytes}).error;
  };
  const Decoded later =
      decoded(start + std::string{"\x03\x3e\x01\x02\0\x02\x08\x05\x04\x08\x05\x06\x07", 13});
  CHECK(later.error == "");
  CHECK(count_of(later, TraceKind::lost) == 2);

  const Decoded long_text = decoded(start + "\xf0\x02\x01" + std::string(238, 'n'));
  CHECK(long_text.texts.back() == std::string(200, 'n'));
  const Decoded aligned_to_one = decoded(start + std::string{"\x04\x87\x01\x01\0", 5});
  CHECK(aligned_to_one.records.back() ==
        TraceRecord{.kind = TraceKind::live, .offset = 1, .bytes = 1});

  CHECK(decoded("\x02\x08\x05").error == "the first record is not a start");
  CHECK(decoded("\x0f\x01"
                "allot-trace 9\x01")
            .error == "the recording is not of version 2 of allot-trace");
  CHECK(error_of("\x01\x03") == "a record is shorter than its kind");
  CHECK(error_of("\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x01") ==
        "a number has more than 64 bits");
  CHECK(error_of("\x02\x09\x03") == "a unit is not a power of two");
  CHECK(error_of("\x04\x87\x01\x01\x40") == "an alignment has more than 64 bits");
  CHECK(error_of("\x03\x09\x80\x08\x0b\x04\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f") ==
        "an offset has more than 64 bits");

  report::TraceTextReader<> reader;
  TraceRecord record;
  for (const std::pair<const std::string, std::string>& each : std::map<std::string, std::string>{
           {"free offset=1", "the first record is not a start"},
           {"start", "a start needs sample=N"},
           {"padding", "does not begin with a kind"},
           {"start sample=x", "not a whole number"},
           {"start sample=18446744073709551616", "not a whole number"},
           {"start size=1", "not key=value of a known key"},
           {"start sample=1 offset=4", "does not have"},
           {"start sample=1 text=\\x0", "does not have"}}) {
    const std::string& line = each.first;
    INFO(line);
    const char* const error = reader.read(line, record);
    REQUIRE(error != nullptr);
    if (line.find("text") == std::string::npos)
      CHECK(std::string_view{error}.find(each.second) != std::string_view::npos);
  }
  CHECK(reader.read("start sample=1", record) == nullptr);
  CHECK(reader.read("unit value=256", record) == nullptr);
  CHECK(reader.read("free time=9 offset=256", record) == nullptr);
  CHECK(std::string_view{reader.read("free time=8 offset=256", record)} ==
        "a time lies before that of the last event");
  CHECK(std::string_view{reader.read("free time=9 offset=255", record)} ==
        "an offset is not a multiple of the unit");
  CHECK(std::string_view{reader.read("name value=1 text=\\y", record)} ==
        "a backslash that begins no \\xNN");
}
