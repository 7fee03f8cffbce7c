// SPDX-License-Identifier: MIT
// What must hold of buffers on any HIP device: run against hipsim by scripts/test, against a real
// GPU by scripts/gpu-test. Whether streams are ordered shows in the bytes. It knows HIP and allot
// only.
#include <allot/device/hip_device.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/pool/kv/kv_cache.hpp>
#include <allot/pool/named/named_buffers.hpp>
#include <allot/pool/workspace/workspace.hpp>
#include <allot/stream/async_result.hpp>
#include <allot/stream/readback.hpp>
#include <allot/stream/stream_set.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pool/kv/kv_engine.hpp"
#include "support/patterns.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;
using Gpu = HipDevice<>;
using Word = std::uint32_t;

/// Pinned memory as words.
class PinnedWords {
 public:
  explicit PinnedWords(std::size_t words)
      : words_{words}, region_{hip::PinnedMemory{0}.acquire(words * sizeof(Word), 4096)} {}

  [[nodiscard]] std::span<Word> words() const {
    return {static_cast<Word*>(region_.address()), words_};
  }
  [[nodiscard]] Word* data() const { return words().data(); }
  [[nodiscard]] bool holds(Word number) const { return test::all_are<Word>(words(), number); }

 private:
  std::size_t words_;
  hip::PinnedMemory::Region region_;
};

constexpr std::size_t large_words = std::size_t{1} << 20;  // words: 4 MiB, some time on a link

}  // namespace

TEST_CASE("a pooled buffer is the next stream's after the work of the one before") {
  Gpu device;
  std::vector<std::unique_ptr<PinnedWords>> from;
  std::vector<std::unique_ptr<PinnedWords>> to;
  std::array streams{SharedStream<Gpu>{device.make_stream()},
                     SharedStream<Gpu>{device.make_stream()}};
  BufferPool pool{device, 8 * MiB, {.reuse = Reuse::cached_first}};
  pool.warm_up({large_words * sizeof(Word)});
  pool.on_miss(Misses::are_errors);
  void* address = nullptr;
  for (Word i = 0; i < 12; ++i) {
    from.push_back(std::make_unique<PinnedWords>(large_words));
    to.push_back(std::make_unique<PinnedWords>(large_words));
    std::fill(from.back()->words().begin(), from.back()->words().end(), i);
    const auto& stream = streams[i % 2];
    auto buffer = pool.acquire(large_words * sizeof(Word), stream);
    if (address == nullptr) address = buffer.address();
    CHECK(buffer.address() == address);  // there is only this one
    device.copy_to_device(buffer.address(), from.back()->data(), buffer.size(), *stream);
    device.copy_to_host(to.back()->data(), buffer.address(), buffer.size(), *stream);
  }
  for (const auto& stream : streams) device.synchronize(*stream);
  for (Word i = 0; i < 12; ++i) CHECK(to[i]->holds(i));
  CHECK(pool.stats().waits == 11);
  CHECK(pool.stats().misses == 0);
}

TEST_CASE("named buffers keep their contents as they grow, on two streams") {
  Gpu device;
  const PinnedWords from{large_words};
  const PinnedWords to{large_words};
  std::array streams{device.make_stream(), device.make_stream()};
  NamedBuffers buffers{device, 64 * MiB};
  for (Word i = 0; i < large_words; ++i) from.words()[i] = i * 2'654'435'761U;
  buffers.add<Word>("grows", 100, {.growth = Growth::ratio(3, 2), .asynchronous_readback = true});
  std::uint64_t written = 0;
  for (std::uint64_t elements = 100; elements <= large_words; elements = elements * 2 + 1) {
    auto& stream = streams[written % 2];
    buffers.ensure_capacity<Word>("grows", elements, stream);
    buffers.write<Word>("grows", written, from.words().subspan(written, elements - written),
                        stream);
    buffers.add<Word>("behind " + std::to_string(elements), 64);  // so that it must move
    written = elements;
  }
  buffers.read<Word>("grows", 0, to.words().first(written), streams[0]);
  device.synchronize(streams[0]);
  CHECK(std::equal(to.words().begin(), to.words().begin() + static_cast<std::ptrdiff_t>(written),
                   from.words().begin()));
  CHECK(buffers.stats().resizes > buffers.stats().resizes_in_place);
}

TEST_CASE("readbacks come in order, each with the bytes of its time") {
  Gpu device;
  const PinnedWords from{large_words};
  auto stream = device.make_stream();
  BufferPool pool{device, 32 * MiB};
  Readback<Word, Gpu> readback{device, large_words};
  for (Word i = 0; i < 20; ++i) {
    device.synchronize(stream);  // what was written before is on the device
    std::fill(from.words().begin(), from.words().end(), i);
    {
      const auto source = pool.acquire(large_words * sizeof(Word), stream);
      device.copy_to_device(source.address(), from.data(), source.size(), stream);
      readback.start(source.slice(), stream);
    }
    if (i == 0) continue;
    const auto words = readback.wait();
    CHECK(words.size() == large_words);
    CHECK(test::all_are<Word>(words, i - 1));
  }
}

TEST_CASE("a result behind an event is there when the copies before it are") {
  Gpu device;
  const PinnedWords from{large_words};
  const PinnedWords to{large_words};
  auto memory = device.memory();
  const auto region = memory.acquire(large_words * sizeof(Word), 256);
  std::fill(from.words().begin(), from.words().end(), 7U);
  auto stream = device.make_stream();
  device.copy_to_device(region.address(), from.data(), large_words * sizeof(Word), stream);
  device.copy_to_host(to.data(), region.address(), large_words * sizeof(Word), stream);
  auto done = device.make_event();
  device.record(done, stream);
  const auto sum = when_done(device, std::move(done), [&to] { return to.holds(7) ? 1 : 0; });
  const auto doubled = sum.then([](int value) { return 2 * value; });
  CHECK(doubled.wait() == 2);
  CHECK(sum.is_ready());
}

TEST_CASE("streams of a set wait for each other on the device") {
  Gpu device;
  const PinnedWords from{large_words};
  const PinnedWords to{large_words};
  auto memory = device.memory();
  const auto region = memory.acquire(2 * large_words * sizeof(Word), 256);
  auto* const first = static_cast<Word*>(region.address());
  auto* const second = first + large_words;
  constexpr std::uint64_t bytes = large_words * sizeof(Word);
  StreamSet streams{device, {"upload", "compute", "readback"}};
  for (Word i = 1; i <= 5; ++i) {
    std::fill(from.words().begin(), from.words().end(), i);
    const auto upload = streams.role("upload");
    const auto compute = streams.role("compute");
    const auto readback = streams.role("readback");
    streams.submit_to(upload, bytes, [&](auto&, auto& on) {
      device.copy_to_device(first, from.data(), bytes, on);
    });
    streams.wait(compute, upload);
    streams.submit_to(compute, bytes,
                      [&](auto&, auto& on) { device.copy_on_device(second, first, bytes, on); });
    streams.wait(readback, compute);
    streams.submit_to(readback, bytes,
                      [&](auto&, auto& on) { device.copy_to_host(to.data(), second, bytes, on); });
    streams.synchronize(readback);
    CHECK(to.holds(i));
  }
  CHECK(streams.outstanding(streams.role("readback")) == 0);
}

TEST_CASE("a workspace holds what each scope writes, at the same addresses again and again") {
  Gpu device;
  const PinnedWords from{large_words / 4};
  const PinnedWords to{large_words / 4};
  constexpr std::uint64_t bytes = large_words / 4 * sizeof(Word);
  Workspace workspace{device, {.minimum_bytes = 1 * MiB}};
  std::vector<void*> addresses;
  for (Word round = 0; round < 6; ++round) {
    std::vector<void*> seen;
    auto outer = workspace.scope();
    const auto kept = outer.allocate(bytes);
    seen.push_back(kept.address());
    for (Word i = 0; i < 3; ++i) {
      auto scope = workspace.scope(End::upper);
      const auto scratch = scope.allocate(bytes);
      seen.push_back(scratch.address());
      std::fill(from.words().begin(), from.words().end(), round * 3 + i);
      auto& stream = workspace.stream();
      device.copy_to_device(scratch.address(), from.data(), bytes, stream);
      device.copy_on_device(kept.address(), scratch.address(), bytes, stream);
      device.copy_to_host(to.data(), kept.address(), bytes, stream);
      device.synchronize(stream);
      CHECK(to.holds(round * 3 + i));
    }
    if (round >= 2) CHECK(seen == addresses);
    addresses = std::move(seen);
  }
}

TEST_CASE("a paged cache on three lanes holds what each sequence wrote, shared or copied") {
  Gpu device;
  constexpr std::size_t lanes = 3;
  KvCache cache{device, test::small_cache(64, lanes)};
  test::KvEngine engine{cache, lanes};
  using Sequence = decltype(cache)::Sequence;
  std::mt19937_64 random{test::first_seed()};
  INFO("ALLOT_SEED=" << test::first_seed());
  struct Running {
    Sequence sequence;
    test::Tokens tokens;
  };
  std::vector<Running> running;
  for (int step = 0; step < 300; ++step) {
    const std::size_t lane = random() % lanes;
    switch (running.empty() ? 0 : random() % 4) {
      case 0: {
        if (running.size() == 8) break;
        test::Tokens prompt(4 + random() % 12, static_cast<Word>(random() % 2));
        auto [sequence, cached] = cache.start(prompt, lane);
        engine.write(sequence, prompt, cached);
        sequence.publish();
        running.push_back({std::move(sequence), std::move(prompt)});
        break;
      }
      case 1: {
        if (running.size() == 8) break;
        Running& from = running[random() % running.size()];
        Running made{from.sequence.fork(lane), from.tokens};
        running.push_back(std::move(made));
        break;
      }
      case 2: {
        Running& grows = running[random() % running.size()];
        if (grows.tokens.size() >= 24) break;
        grows.tokens.push_back(static_cast<Word>(random() % 5));
        grows.sequence.append(grows.tokens.back());
        engine.write(grows.sequence, grows.tokens, grows.tokens.size() - 1);
        break;
      }
      default: {
        const std::size_t ends = random() % running.size();
        engine.check(running[ends].sequence, running[ends].tokens);
        std::swap(running[ends], running.back());
        running.pop_back();
        static_cast<void>(cache.compact(2, lane));
      }
    }
  }
  for (Running& each : running) engine.check(each.sequence, each.tokens);
  CHECK(cache.validate());
  CHECK(cache.stats().copied > 0);
  CHECK(cache.stats().hits > 0);
}
