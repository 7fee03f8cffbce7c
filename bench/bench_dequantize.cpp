// SPDX-License-Identifier: MIT
// Elements dequantized a second, for each tensor type, on one thread: `dequantize` to float, the
// same by `plain` loops instead of the processor's vectors, and down to 16 bits. The number in a
// name is of elements: 8,192 are 32 KiB of floats, which a core's caches hold; 16 Mi are 64 MiB.
// Usage: bench_dequantize [--benchmark_filter=Q4_K/8192] [Google Benchmark options]
#include <allot/gguf/dequantize.hpp>

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace {

namespace gguf = allot::gguf;
using gguf::detail::Simd;

/// Any levels; scales are ordinary numbers, for subnormal ones take other paths in a processor.
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

}  // namespace

int main(int argc, char** argv) {
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
