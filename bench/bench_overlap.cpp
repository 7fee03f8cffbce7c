// SPDX-License-Identifier: MIT
// What reading back beside the computation gains, on the host as a device, with a link of a given
// speed and work that takes as long as a download: a model, which says what the pipeline loses, not
// what a GPU gains (that is bench_overlap_hip).
#include <allot/device/staged_host_device.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "overlap.hpp"

int main() {
  constexpr double bytes_per_second = 2e9;
  std::printf("modelled link of 2 GB/s, work as long as a download; ");
  const auto work_of = [](std::uint64_t bytes) {
    const std::chrono::duration<double> time{static_cast<double>(bytes) / bytes_per_second};
    return [time](auto&, auto& stream) {
      stream->push([time] { std::this_thread::sleep_for(time); });
    };
  };
  using Model = allot::bench::Overlap<allot::StagedHostDevice, decltype(work_of(0))>;
  Model::print_head();
  for (const std::uint64_t bytes : {1U << 20, 4U << 20, 16U << 20}) {
    allot::StagedHostDevice device{bytes_per_second};
    if (!Model{device, bytes, work_of(bytes)}.compare()) return EXIT_FAILURE;
  }
}
