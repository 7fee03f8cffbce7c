// SPDX-License-Identifier: MIT
// A full KV cache that evicts, with each policy. A file of its own: with several caches in one, the
// compiler inlines less of each.
#include <benchmark/benchmark.h>
#include <allot/device/host_device.hpp>
#include <allot/pool/kv/eviction/decayed_hits.hpp>
#include <allot/pool/kv/eviction/least_frequently_used.hpp>
#include <allot/pool/kv/eviction/waiting_kept.hpp>
#include <allot/pool/kv/kv_cache.hpp>

#include <cstdint>
#include <vector>

#include "untouched_cache.hpp"

namespace {

using namespace allot;

/// Prompts that were never seen, in a cache that is full of such: for each block that is taken, one
/// is evicted. The time is that of a prompt of 16 full blocks and a token.
template <class Policy>
void start_and_evict(benchmark::State& state) {
  KvCache<HostDevice, Unsynchronized, Policy> cache{HostDevice{}, untouched_cache(1 << 16)};
  std::vector<std::uint32_t> prompt(257);
  const auto run = [&] {
    ++prompt.front();
    auto started = cache.start(prompt);
    started.sequence.publish();
  };
  while (cache.stats().evicted == 0) run();
  for (auto _ : state) run();
}

BENCHMARK(start_and_evict<LeastRecentlyUsed>);
BENCHMARK(start_and_evict<LeastFrequentlyUsed>);
BENCHMARK(start_and_evict<DecayedHits<>>);
BENCHMARK(start_and_evict<WaitingKept<>>);

}  // namespace
