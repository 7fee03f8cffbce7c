// SPDX-License-Identifier: MIT
/// \file
/// Matrix products whose buffers come from a pool. Each product is compared with the plain one.
///
/// | way          | what it shows                                                               |
/// |--------------|-----------------------------------------------------------------------------|
/// | pooled       | one after another, on the host                                              |
/// | asynchronous | on the streams of a set; each result is an `AsyncResult` after an event     |
/// | batched      | four at once; `Readback` brings one batch down while the next is multiplied |
///
/// After a warm-up, misses are errors: the program would end if it still allocated buffers. It also
/// counts what the pool asks the system for.
///
///     pooled_matmul [PRODUCTS]
#include <allot/core/readable_bytes.hpp>
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/stream/async_result.hpp>
#include <allot/stream/readback.hpp>
#include <allot/stream/stream_set.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <random>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

/// What this thread asked the system for. The program is linked with --wrap=_Znwm.
thread_local std::uint64_t allocations = 0;

}  // namespace

// `operator new(std::size_t)`, as the linker knows it.
extern "C" void* __real__Znwm(std::size_t bytes);  // NOLINT(bugprone-reserved-identifier)
extern "C" void* __wrap__Znwm(std::size_t bytes);  // NOLINT(bugprone-reserved-identifier)
extern "C" void* __wrap__Znwm(std::size_t bytes) {
  ++allocations;
  return __real__Znwm(bytes);
}

namespace {

using namespace allot;

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

/// Throws unless a matrix is the product of those of two seeds, by the definition.
void require_product(const float* c, std::uint32_t seed_a, std::uint32_t seed_b) {
  static thread_local std::array<float, n * n> a;
  static thread_local std::array<float, n * n> b;
  fill(a.data(), seed_a);
  fill(b.data(), seed_b);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      float sum = 0;
      for (std::size_t k = 0; k < n; ++k) sum += a[i * n + k] * b[k * n + j];
      if (sum != c[i * n + j])
        throw std::runtime_error{"a product of pooled matrices differs from the plain one"};
    }
  }
}

float* numbers(const auto& buffer) { return static_cast<float*>(buffer.address()); }

/// Allocations of the system by this thread, while one of these lives.
class Counting {
 public:
  explicit Counting(std::uint64_t& sum) : sum_{sum}, before_{allocations} {}
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;
  ~Counting() { sum_ += allocations - before_; }

 private:
  std::uint64_t& sum_;
  std::uint64_t before_;
};

/// The operands and the product of `Count` matrices each.
template <std::size_t Count, class Device>
struct Buffers {
  Buffers(BufferPool<Device>& pool, typename Device::stream_type& stream, std::uint64_t& counted)
      : Buffers{pool, stream, Counting{counted}} {}

  PooledBuffer<Device> a;
  PooledBuffer<Device> b;
  PooledBuffer<Device> c;

 private:
  Buffers(BufferPool<Device>& pool, typename Device::stream_type& stream, const Counting&)
      : a{pool.acquire(Count * matrix_bytes, stream)},
        b{pool.acquire(Count * matrix_bytes, stream)},
        c{pool.acquire(Count * matrix_bytes, stream)} {}
};

/// One after another. Returns what the loop asked the system for; so do the others.
std::uint64_t pooled(BufferPool<HostDevice>& pool, std::uint32_t products) {
  std::uint64_t counted = 0;
  HostDevice::stream_type stream{};
  const Counting all{counted};
  for (std::uint32_t i = 0; i < products; ++i) {
    std::uint64_t ignored = 0;
    const Buffers<1, HostDevice> matrices{pool, stream, ignored};
    fill(numbers(matrices.a), i);
    fill(numbers(matrices.b), i + 1);
    multiply(numbers(matrices.a), numbers(matrices.b), numbers(matrices.c));
    require_product(numbers(matrices.c), i, i + 1);
  }
  return counted;
}

/// Makes a stream multiply `Count` pairs of matrices.
template <std::size_t Count>
void push_products(const Buffers<Count, StagedHostDevice>& of,
                   StagedHostDevice::stream_type& stream) {
  stream->push([a = numbers(of.a), b = numbers(of.b), c = numbers(of.c)] {
    for (std::size_t i = 0; i < Count * n * n; i += n * n) multiply(a + i, b + i, c + i);
  });
}

constexpr std::uint32_t in_flight = 4;
constexpr std::uint32_t batch = 4;

/// Each product on a stream of the set, up and down through its own staging memory. The host does
/// not wait; buffers are returned as soon as their last work is submitted to the stream, and their
/// next user waits for that work on the device.
std::uint64_t asynchronous(BufferPool<StagedHostDevice>& pool, StagedHostDevice& device,
                           StreamSet<StagedHostDevice>& streams, std::span<float> staging,
                           std::uint32_t products) {
  struct Pending {
    std::uint32_t seed;
    AsyncResult<const float*> product;
  };
  std::uint64_t counted = 0;
  std::deque<Pending> pending;
  const auto finish_first = [&] {
    const Pending& first = pending.front();
    require_product(first.product.wait(), first.seed, first.seed + 1);
    pending.pop_front();
  };
  for (std::uint32_t i = 0; i < products; ++i) {
    if (pending.size() == in_flight) finish_first();
    float* const a = staging.data() + i % in_flight * 3 * n * n;
    float* const b = a + n * n;
    float* const c = b + n * n;
    fill(a, i);
    fill(b, i + 1);
    streams.submit(0, [&](auto&, auto& stream) {
      const Buffers<1, StagedHostDevice> matrices{pool, stream, counted};
      device.copy_to_device(matrices.a.address(), a, matrix_bytes, stream);
      device.copy_to_device(matrices.b.address(), b, matrix_bytes, stream);
      push_products(matrices, stream);
      device.copy_to_host(c, matrices.c.address(), matrix_bytes, stream);
      auto done = device.make_event();
      device.record(done, stream);
      pending.push_back(
          {i, when_done(device, std::move(done), [c]() -> const float* { return c; })});
    });
  }
  while (!pending.empty()) finish_first();
  return counted;
}

/// Batches on two streams in turn. The readback keeps a batch's products out of the pool until they
/// have arrived.
std::uint64_t batched(BufferPool<StagedHostDevice>& pool, StagedHostDevice& device,
                      StreamSet<StagedHostDevice>& streams, std::span<float> staging,
                      std::uint32_t products) {
  std::uint64_t counted = 0;
  Readback<float, StagedHostDevice> readback{device, batch * n * n};
  const auto check = [&](std::uint32_t first) {
    const std::span<const float> there = readback.wait();
    for (std::uint32_t i = 0; i < batch; ++i)
      require_product(there.data() + i * n * n, first + i, first + i + 1);
  };
  for (std::uint32_t first = 0; first < products; first += batch) {
    const std::size_t turn = first / batch % 2;
    float* const host = staging.data() + turn * 2 * batch * n * n;
    for (std::uint32_t i = 0; i < batch; ++i) {
      fill(host + i * n * n, first + i);
      fill(host + (batch + i) * n * n, first + i + 1);
    }
    streams.submit_to(turn, 0, [&](auto&, auto& stream) {
      const Buffers<batch, StagedHostDevice> matrices{pool, stream, counted};
      device.copy_to_device(matrices.a.address(), host, batch * matrix_bytes, stream);
      device.copy_to_device(matrices.b.address(), host + batch * n * n, batch * matrix_bytes,
                            stream);
      push_products(matrices, stream);
      readback.start(matrices.c.slice(), stream);
    });
    if (first != 0) check(first - batch);
  }
  check(products - batch);
  return counted;
}

/// Runs `work`, which returns the allocations it counted, and prints how its pool did.
template <class Pool, class Work>
void tell(const char* name, Pool& pool, std::uint32_t products, Work&& work) {
  const auto before = pool.stats();
  const auto start = std::chrono::steady_clock::now();
  const std::uint64_t counted = work();
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
  const auto after = pool.stats();
  const std::uint64_t hits = after.hits - before.hits;
  const std::uint64_t misses = after.misses - before.misses;
  std::printf("%-13s %6u products %9.1f ms   hit rate %5.1f %%   %llu misses   %llu allocations\n",
              name, products, taken.count(),
              100 * static_cast<double>(hits) / static_cast<double>(hits + misses),
              static_cast<unsigned long long>(misses), static_cast<unsigned long long>(counted));
}

/// Makes the buffers, and prints what the system was asked for: this shows that the counter works.
template <class Pool>
void warm_up(Pool& pool, const std::vector<std::uint64_t>& sizes) {
  std::uint64_t counted = 0;
  {
    const Counting all{counted};
    pool.warm_up(sizes);
  }
  std::printf("%-13s %6zu buffers, %llu allocations\n", "warm-up", sizes.size(),
              static_cast<unsigned long long>(counted));
}

void tell_capacity(const PoolStats& stats) {
  std::printf("%llu buffers in one allocation of %s served %llu acquisitions\n",
              static_cast<unsigned long long>(stats.cached_buffers),
              ReadableBytes{stats.capacity}.c_str(),
              static_cast<unsigned long long>(stats.hits + stats.misses));
}

void run(std::uint32_t products) {
  std::printf("products of %zu x %zu, each equal to the plain product; buffers of %s\n", n, n,
              ReadableBytes{matrix_bytes}.c_str());
  {
    BufferPool pool{HostDevice{}, 1 * MiB};
    warm_up(pool, std::vector<std::uint64_t>(3, matrix_bytes));
    pool.on_miss(Misses::are_errors);
    tell("pooled", pool, products, [&] { return pooled(pool, products); });
    tell_capacity(pool.stats());
  }
  StagedHostDevice device;
  std::vector<float> staging(4 * batch * n * n);  // outlives the streams
  StreamSet streams{device, 2};
  BufferPool pool{device, 4 * MiB};
  // Three of each size for each stream. With fewer, one stream would wait for the other's; a batch
  // that is read back keeps its products out of the pool, so there is one more of them for each.
  std::vector<std::uint64_t> sizes(2 * 3, matrix_bytes);
  sizes.insert(sizes.end(), 2 * 4, batch * matrix_bytes);
  warm_up(pool, sizes);
  static_cast<void>(
      asynchronous(pool, device, streams, staging, 4));  // the pool knows the streams now
  pool.on_miss(Misses::are_errors);
  tell("asynchronous", pool, products,
       [&] { return asynchronous(pool, device, streams, staging, products); });
  const std::uint32_t in_batches = (products + batch - 1) / batch * batch;
  tell("batched", pool, in_batches,
       [&] { return batched(pool, device, streams, staging, in_batches); });
  tell_capacity(pool.stats());
}

}  // namespace

int main(int argc, char** argv) {
  char* end = nullptr;
  const long products = argc > 1 ? std::strtol(argv[1], &end, 10) : 200;
  if (argc > 2 || (argc == 2 && (*end != '\0' || products < 1 || products > 1'000'000))) {
    std::fprintf(stderr, "usage: pooled_matmul [PRODUCTS]   (1 to 1,000,000; default 200)\n");
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
