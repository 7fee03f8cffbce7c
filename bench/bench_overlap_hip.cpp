// SPDX-License-Identifier: MIT
// What reading back beside the computation gains on a GPU. The computation is a chain of copies
// within the device's memory, as many as take the time of a download: it needs no compiler for
// kernels. On the simulated runtime (bench_overlap_hipsim) times are those of its model.
#include <allot/device/hip_device.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>

#include "overlap.hpp"

namespace {

using namespace allot;

/// Seconds of a piece of a stream's work; the least of nine.
double seconds_of(HipDevice<>& device, hip::Stream& stream, const std::function<void()>& work) {
  double least = 1e9;
  for (int i = 0; i < 9; ++i) {
    device.synchronize(stream);
    const auto start = std::chrono::steady_clock::now();
    work();
    device.synchronize(stream);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    least = std::min(least, taken.count());
  }
  return least;
}

bool run(HipDevice<>& device, std::uint64_t bytes) {
  auto memory = device.memory();
  const auto scratch = memory.acquire(2 * bytes, 256);
  const auto pinned = device.staging_memory().acquire(bytes, 4096);
  auto* const first = static_cast<std::byte*>(scratch.address());
  auto stream = device.make_stream();
  const double download = seconds_of(
      device, stream, [&] { device.copy_to_host(pinned.address(), first, bytes, stream); });
  const double ten_copies = seconds_of(device, stream, [&] {
    for (int i = 0; i < 10; ++i) device.copy_on_device(first + bytes, first, bytes, stream);
  });
  const int copies = std::max(1, static_cast<int>(10 * download / ten_copies + 0.5));
  const auto work = [=](HipDevice<>& on, hip::Stream& with) {
    for (int i = 0; i < copies; ++i) on.copy_on_device(first + bytes, first, bytes, with);
  };
  return bench::Overlap{device, bytes, work}.compare();
}

}  // namespace

int main() {
  try {
    HipDevice<> device;
    const bool is_model = device.properties().name == "hipsim";
    std::printf("%s%s, work as long as a download; ", device.properties().name.c_str(),
                is_model ? " (simulated: a model, no GPU)" : "");
    bench::Overlap<HipDevice<>, int>::print_head();
    for (const std::uint64_t bytes : {1U << 20, 4U << 20, 16U << 20, 64U << 20}) {
      if (!run(device, bytes)) return EXIT_FAILURE;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_overlap_hip: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
