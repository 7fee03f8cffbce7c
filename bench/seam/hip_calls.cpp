// SPDX-License-Identifier: MIT
// Nanoseconds of each HIP call, by a HIP that does nothing: alone, under `allot record` and `allot run`.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>

extern "C" {
int hipMalloc(void** address, std::size_t bytes);
int hipFree(void* address);
int hipMallocAsync(void** address, std::size_t bytes, void* stream);
int hipFreeAsync(void* address, void* stream);
int hipMemcpyAsync(void* to, const void* from, std::size_t bytes, int kind, void* stream);
}

namespace {

constexpr int rounds = 21;
constexpr int live = 1000;

/// The median round of calls that each have `live` blocks.
template <class Function>
double nanoseconds(Function&& round) {
  std::array<double, rounds> times{};
  for (double& time : times) {
    const auto begun = std::chrono::steady_clock::now();
    round();
    time =
        std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begun).count();
  }
  std::sort(times.begin(), times.end());
  return times[rounds / 2] / live;
}

std::array<void*, live> blocks;
void* const streams[2] = {&blocks[0], &blocks[1]};

}  // namespace

int main() {
  std::printf("hipMalloc and hipFree            %8.1f ns for both\n", nanoseconds([] {
                for (void*& block : blocks) hipMalloc(&block, 1 << 20);
                for (void* block : blocks) hipFree(block);
              }));
  std::printf("hipMallocAsync and hipFreeAsync  %8.1f ns for both, two streams\n", nanoseconds([] {
                for (std::size_t i = 0; i < live; ++i)
                  hipMallocAsync(&blocks[i], 1 << 20, streams[i % 2]);
                for (std::size_t i = 0; i < live; ++i) hipFreeAsync(blocks[i], streams[i % 2]);
              }));
  std::printf("hipMemcpyAsync                   %8.1f ns\n", nanoseconds([] {
                for (void* block : blocks) hipMemcpyAsync(block, nullptr, 4096, 1, nullptr);
              }));
}
