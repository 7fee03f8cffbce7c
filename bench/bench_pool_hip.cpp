// SPDX-License-Identifier: MIT
// What a pooled buffer of a GPU costs, beside hipMalloc and hipMallocAsync: the working buffers of
// a transformer layer, taken and given back, layer after layer. Times are of one buffer. On the
// simulated runtime (bench_pool_hipsim) they are those of its model: set HIPSIM_LINK.
//
// Usage: bench_pool_hip [LAYERS]
#include <allot/device/hip_device.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <vector>

namespace {

using namespace allot;

constexpr std::array<std::uint64_t, 8> sizes{1 * MiB,   1 * MiB,    1536 * KiB, 2 * MiB,
                                             512 * KiB, 2816 * KiB, 2816 * KiB, 1024};

/// Nanoseconds of one buffer; the median of nine rounds.
double cost(int layers, const std::function<void()>& layer) {
  layer();
  std::vector<double> rounds;
  for (int round = 0; round < 9; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < layers; ++i) layer();
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
    rounds.push_back(taken.count() / layers / static_cast<double>(sizes.size()));
  }
  std::sort(rounds.begin(), rounds.end());
  return rounds[rounds.size() / 2];
}

void row(const char* name, double nanoseconds, double yardstick) {
  std::printf("%-44s %12.0f ns %10.1f\n", name, nanoseconds, nanoseconds / yardstick);
}

template <class Stream>
void layer_of(BufferPool<HipDevice<>>& pool, Stream& stream) {
  std::array<PooledBuffer<HipDevice<>>, sizes.size()> buffers;
  for (std::size_t i = 0; i < sizes.size(); ++i) buffers[i] = pool.acquire(sizes[i], stream);
}

void run(int layers) {
  HipDevice<> device;
  std::printf("%s%s; %d layers of %zu buffers a round, medians of 9 rounds\n",
              device.properties().name.c_str(),
              device.properties().name == "hipsim" ? " (simulated: a model, no GPU)" : "", layers,
              sizes.size());
  BufferPool pool{device, 64 * MiB};
  const SharedStream first{device};
  const SharedStream second{device};
  auto plain = device.make_stream();
  const double pooled = cost(layers, [&] { layer_of(pool, first); });
  row("pool, one stream", pooled, pooled);
  bool is_second = false;
  row("pool, two streams in turn",
      cost(layers,
           [&] {
             layer_of(pool, is_second ? second : first);
             is_second = !is_second;
           }),
      pooled);
  row("pool, a stream that is not shared", cost(layers, [&] { layer_of(pool, plain); }), pooled);
  row("hipMalloc, hipFree",
      cost(layers,
           [&] {
             std::array<void*, sizes.size()> taken{};
             for (std::size_t i = 0; i < sizes.size(); ++i) {
               hip::check(hipMalloc(&taken[i], sizes[i]), "hipMalloc", "measuring");
             }
             for (void* each : taken) hip::check(hipFree(each), "hipFree", "measuring");
           }),
      pooled);
  hip::PooledMemory of_driver{0};
  row("hip::PooledMemory (hipMallocFromPoolAsync)",
      cost(layers,
           [&] {
             std::array<hip::PooledMemory::Region, sizes.size()> taken;
             for (std::size_t i = 0; i < sizes.size(); ++i)
               taken[i] = of_driver.acquire(sizes[i], 256);
           }),
      pooled);
  const PoolStats stats = pool.stats();
  std::printf("hit rate %.4f, %llu misses, %llu waits\n", stats.hit_rate(),
              static_cast<unsigned long long>(stats.misses),
              static_cast<unsigned long long>(stats.waits));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? std::max(1, std::atoi(argv[1])) : 200);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_pool_hip: %s\n", error.what());
    return 1;
  }
  return 0;
}
