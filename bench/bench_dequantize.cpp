// SPDX-License-Identifier: MIT
// Elements dequantized a second, for each tensor type, on one thread: `dequantize` to float, the
// same by `plain` loops instead of the processor's vectors, and down to 16 bits. The number in a
// name is of elements: 8,192 are 32 KiB of floats, which a core's caches hold; 16 Mi are 64 MiB.
// Usage: bench_dequantize [--benchmark_filter=Q4_K/8192] [Google Benchmark options]
//        bench_dequantize --ggml LIBRARY [ELEMENTS]
// The second: beside ggml's own functions out of its library (libggml-base.so), as a table. Both
// take turns on the same blocks for half a second a type; the fastest turn of each counts.
#include <allot/gguf/dequantize.hpp>

#include <benchmark/benchmark.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace gguf = allot::gguf;
using gguf::detail::Simd;

/// Any levels; scales are ordinary numbers, as subnormal ones take other paths in a processor.
std::vector<std::byte> random_blocks(const gguf::TypeInfo& info, std::size_t elements) {
  std::mt19937_64 random{1};
  std::vector<std::byte> bytes(elements / info.block_elements * info.block_bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>((random() & 0x5f) | 0x20);
  return bytes;
}

template <class Value>
void run(benchmark::State& state, const gguf::TypeInfo& info, Simd simd) {
  const auto elements = static_cast<std::size_t>(state.range(0));
  const std::vector<std::byte> blocks = random_blocks(info, elements);
  std::vector<Value> values(elements);
  for (auto _ : state) {
    gguf::detail::dequantize(info.type, blocks, std::span{values}, simd);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

template <class Value>
void add(const char* group, const gguf::TypeInfo& info, Simd simd) {
  const std::string name = std::string{group} + "/" + std::string{info.name};
  benchmark::RegisterBenchmark(name.c_str(), run<Value>, info, simd)->Arg(8192)->Arg(1 << 24);
}

/// As ggml.h declares it.
struct GgmlTypeTraits {
  const char* name;
  std::int64_t block_elements;
  std::int64_t interleaved;
  std::size_t block_bytes;
  bool is_quantized;
  void (*to_float)(const void* from, float* to, std::int64_t elements);
};

/// At a page's start, as the place in a cache line changes the figures by a tenth.
std::unique_ptr<float[], decltype(&std::free)> aligned_floats(std::size_t count) {
  void* const floats = std::aligned_alloc(4096, (count * sizeof(float) + 4095) / 4096 * 4096);
  if (floats == nullptr) throw std::bad_alloc{};
  std::memset(floats, 0, count * sizeof(float));
  return {static_cast<float*>(floats), &std::free};
}

/// Seconds of the fastest of many turns; the functions take them alternately.
template <class First, class Second>
std::pair<double, double> fastest(const First& first, const Second& second, std::size_t times) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [&](const auto& work) {
    const auto start = Clock::now();
    for (std::size_t i = 0; i < times; ++i) work();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  std::pair<double, double> best{seconds(first), seconds(second)};
  const auto end = Clock::now() + std::chrono::milliseconds{500};
  while (Clock::now() < end) {
    best.first = std::min(best.first, seconds(first));
    best.second = std::min(best.second, seconds(second));
  }
  return best;
}

int compare(const char* library, std::size_t elements) {
  void* const ggml = ::dlopen(library, RTLD_NOW);
  void* const found = ggml != nullptr ? ::dlsym(ggml, "ggml_get_type_traits") : nullptr;
  if (found == nullptr) {
    std::fprintf(stderr, "bench_dequantize: %s\n", ::dlerror());
    return EXIT_FAILURE;
  }
  const auto traits_of = reinterpret_cast<const GgmlTypeTraits* (*)(int)>(found);
  std::printf("| type | ggml, G/s | allot, G/s | ratio |\n|---|---|---|---|\n");
  for (const gguf::TypeInfo& info : gguf::tensor_types) {
    const GgmlTypeTraits* const traits = traits_of(static_cast<int>(info.type));
    if (traits == nullptr || traits->to_float == nullptr || !gguf::has_values(info.type)) continue;
    const std::vector<std::byte> blocks = random_blocks(info, elements);
    const auto ours = aligned_floats(elements);
    const auto theirs = aligned_floats(elements);
    const std::size_t times = std::max<std::size_t>(1, 65536 / elements);
    const auto [ggml_seconds, seconds] = fastest(
        [&] { traits->to_float(blocks.data(), theirs.get(), static_cast<std::int64_t>(elements)); },
        [&] {
          gguf::dequantize(info.type, blocks, std::span{ours.get(), elements});
        },
        times);
    const double giga = static_cast<double>(elements * times) / 1e9;
    std::printf("| %s | %.2f | %.2f | %.2f |\n", std::string{info.name}.c_str(),
                giga / ggml_seconds, giga / seconds, ggml_seconds / seconds);
  }
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 3 && std::strcmp(argv[1], "--ggml") == 0) {
    const unsigned long long asked = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 4096;
    return compare(argv[2], std::max<std::size_t>(256, asked / 256 * 256));
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const gguf::TypeInfo& info : gguf::tensor_types) {
    if (!gguf::has_values(info.type)) continue;
    const Simd best = gguf::detail::best_simd();
    add<float>("dequantize", info, best);
    add<float>("plain", info, Simd::none);
    add<gguf::Float16>("to_float16", info, best);
    add<gguf::BFloat16>("to_bfloat16", info, best);
  }
  benchmark::RunSpecifiedBenchmarks();
}
