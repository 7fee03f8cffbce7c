// SPDX-License-Identifier: MIT
/// \file
/// Matrix products whose buffers come from a pool: one after another, by two threads at a time, and
/// in batches on two streams of a device. After a warm-up, misses are errors, so that a program
/// that still allocates would end; each result is compared with the plain product.
///
///     pooled_matmul [PRODUCTS]
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/pool/buffer_pool.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <future>
#include <new>
#include <random>
#include <stdexcept>
#include <vector>

namespace {

/// What this thread asked the system for: see `operator new` below.
thread_local std::uint64_t allocations = 0;

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* const memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using allot::BufferPool;
using allot::HostDevice;
using allot::MiB;
using allot::SharedStream;
using allot::StagedHostDevice;

constexpr std::size_t n = 96;
constexpr std::uint64_t matrix_bytes = n * n * sizeof(float);

/// c = a b, all of n rows of n numbers.
void multiply(const float* a, const float* b, float* c) {
  std::fill(c, c + n * n, 0.0F);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < n; ++k) {
      for (std::size_t j = 0; j < n; ++j) c[i * n + j] += a[i * n + k] * b[k * n + j];
    }
  }
}

/// Whole numbers so small that every order of additions gives the same sum.
void fill(float* matrix, std::uint32_t seed) {
  std::minstd_rand random{seed + 1};
  for (std::size_t i = 0; i < n * n; ++i) matrix[i] = static_cast<float>(random() % 9) - 4;
}

/// Whether a matrix is the product of those of two seeds, by the definition.
bool is_product(const float* c, std::uint32_t seed_a, std::uint32_t seed_b) {
  static thread_local std::array<float, n * n> a;
  static thread_local std::array<float, n * n> b;
  fill(a.data(), seed_a);
  fill(b.data(), seed_b);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      float sum = 0;
      for (std::size_t k = 0; k < n; ++k) sum += a[i * n + k] * b[k * n + j];
      if (sum != c[i * n + j]) return false;
    }
  }
  return true;
}

void require(bool is_right) {
  if (!is_right) throw std::runtime_error{"a pooled product differs from the plain one"};
}

float* numbers(const auto& buffer) { return static_cast<float*>(buffer.address()); }

void product_of(BufferPool<HostDevice>& pool, std::uint32_t seed) {
  const auto a = pool.acquire(matrix_bytes);
  const auto b = pool.acquire(matrix_bytes);
  const auto c = pool.acquire(matrix_bytes);
  fill(numbers(a), seed);
  fill(numbers(b), seed + 1);
  multiply(numbers(a), numbers(b), numbers(c));
  require(is_product(numbers(c), seed, seed + 1));
}

/// One after another.
std::uint64_t pooled(BufferPool<HostDevice>& pool, std::uint32_t products) {
  const std::uint64_t before = allocations;
  for (std::uint32_t i = 0; i < products; ++i) product_of(pool, i);
  return allocations - before;
}

/// By two threads, which share the pool; the results arrive later.
std::uint64_t asynchronous(BufferPool<HostDevice>& pool, std::uint32_t products) {
  auto other = std::async(std::launch::async, [&] { return pooled(pool, products / 2); });
  const std::uint64_t here = pooled(pool, products - products / 2);
  return here + other.get();
}

/// On a device with streams: matrices go up, products come down, and while one stream multiplies,
/// the other copies. A buffer is returned as soon as its last work is given to the stream: who gets
/// it next waits on the device.
std::uint64_t batched(BufferPool<StagedHostDevice>& pool, StagedHostDevice& device,
                      std::array<SharedStream<StagedHostDevice>, 2>& streams,
                      std::vector<float>& staging, std::uint32_t products) {
  constexpr std::size_t batch = 4;  // products in flight
  std::uint64_t counted = 0;
  for (std::uint32_t first = 0; first < products; first += batch) {
    for (std::uint32_t i = 0; i < batch; ++i) {
      auto& stream = streams[i % 2];
      float* const host = staging.data() + i * 3 * n * n;
      fill(host, first + i);
      fill(host + n * n, first + i + 1);
      const std::uint64_t before = allocations;
      auto a = pool.acquire(matrix_bytes, stream);
      auto b = pool.acquire(matrix_bytes, stream);
      auto c = pool.acquire(matrix_bytes, stream);
      counted += allocations - before;  // what the streams' threads queue is their own
      device.copy_to_device(a.address(), host, matrix_bytes, *stream);
      device.copy_to_device(b.address(), host + n * n, matrix_bytes, *stream);
      (*stream)->push(
          [from = numbers(a), with = numbers(b), to = numbers(c)] { multiply(from, with, to); });
      device.copy_to_host(host + 2 * n * n, c.address(), matrix_bytes, *stream);
    }
    for (auto& stream : streams) device.synchronize(*stream);
    for (std::uint32_t i = 0; i < batch; ++i)
      require(is_product(staging.data() + (i * 3 + 2) * n * n, first + i, first + i + 1));
  }
  return counted;
}

/// Runs `work`, which gives the allocations it counted, and tells how its pool did.
template <class Pool, class Work>
void tell(const char* name, Pool& pool, std::uint32_t products, Work&& work) {
  const auto before = pool.stats();
  const auto start = std::chrono::steady_clock::now();
  const std::uint64_t counted = work();
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
  const auto after = pool.stats();
  const std::uint64_t hits = after.hits - before.hits;
  const std::uint64_t misses = after.misses - before.misses;
  std::printf("%-14s %6u products %9.1f ms   hit rate %5.1f %%   %llu misses   %llu allocations\n",
              name, products, taken.count(),
              100 * static_cast<double>(hits) / static_cast<double>(hits + misses),
              static_cast<unsigned long long>(misses), static_cast<unsigned long long>(counted));
}

void run(std::uint32_t products) {
  std::printf("products of %zu x %zu, each equal to the plain product; buffers of %s\n", n, n,
              allot::ReadableBytes{matrix_bytes}.c_str());
  // For two users at a time: two threads, or two streams. With buffers for one alone, the second
  // stream would wait for the first.
  const std::vector<std::uint64_t> of_two(2 * 3, matrix_bytes);
  {
    HostDevice device;
    BufferPool pool{device, 1 * MiB};
    pool.warm_up(of_two);
    pool.on_miss(allot::Misses::are_errors);
    tell("pooled", pool, products, [&] { return pooled(pool, products); });
    tell("asynchronous", pool, products, [&] { return asynchronous(pool, products); });
  }
  StagedHostDevice device;
  std::array streams{SharedStream{device}, SharedStream{device}};
  std::vector<float> staging(4 * 3 * n * n);
  BufferPool pool{device, 1 * MiB};
  pool.warm_up(of_two);
  products = (products + 3) / 4 * 4;
  static_cast<void>(batched(pool, device, streams, staging, 4));  // the pool knows the streams now
  pool.on_miss(allot::Misses::are_errors);
  tell("batched", pool, products,
       [&] { return batched(pool, device, streams, staging, products); });
  const auto stats = pool.stats();
  std::printf("%llu buffers in one allocation of %s served %llu acquisitions\n",
              static_cast<unsigned long long>(stats.cached_buffers),
              allot::ReadableBytes{stats.capacity}.c_str(),
              static_cast<unsigned long long>(stats.hits + stats.misses));
}

}  // namespace

int main(int argc, char** argv) {
  char* end = nullptr;
  const long products = argc > 1 ? std::strtol(argv[1], &end, 10) : 200;
  if (argc > 2 || (argc == 2 && (*end != '\0' || products < 2 || products > 1'000'000))) {
    std::fprintf(stderr, "usage: pooled_matmul [PRODUCTS]   (2 to 1,000,000; 200 otherwise)\n");
    return 2;
  }
  try {
    run(static_cast<std::uint32_t>(products));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pooled_matmul: %s\n", error.what());
    return 1;
  }
  return 0;
}
