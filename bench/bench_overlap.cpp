// SPDX-License-Identifier: MIT
// What reading back beside the computation gains: N rounds of work on a device, each followed by the
// download of its result; waiting for each, or with `Readback` a round behind. On the host as a
// device, with a link of a given speed and work that takes as long as a download: a model, which
// says what the pipeline loses, not what a GPU gains.
#include <allot/arena.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/pool/readback.hpp>
#include <allot/pool/stream_set.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

using namespace allot;
using Clock = std::chrono::steady_clock;
using DeviceArena = Shared<Arena<BestFit, AlignTo<256>, Locked<>, StagedHostMemory>>;

constexpr int rounds = 20;
constexpr int turns = 9;  // the least of each is told

struct Run {
  double seconds;
  double sum;  // so that nobody leaves the reading out
};

class Model {
 public:
  Model(double bytes_per_second, std::uint64_t bytes)
      : device_{bytes_per_second},
        bytes_{bytes},
        work_{static_cast<double>(bytes) / bytes_per_second} {
    for (int i = 0; i < 2; ++i) results_.push_back(memory_.allocate(bytes));
  }

  Run blocking() {
    Readback<float, StagedHostDevice> readback{device_, bytes_ / sizeof(float)};
    StreamSet streams{device_, 1};
    Run run{0, 0};
    const auto start = Clock::now();
    for (int i = 0; i < rounds; ++i) {
      streams.submit_to(0, 0, [&](auto&, auto& stream) { compute(stream); });
      readback.start(results_[0], streams[0]);
      run.sum += readback.wait()[0];
    }
    run.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return run;
  }

  /// The device works on round i + 1, into the other result, while that of round i comes down.
  Run overlapped() {
    Readback<float, StagedHostDevice> readback{device_, bytes_ / sizeof(float)};
    StreamSet streams{device_, {"compute", "readback"}};
    const std::size_t compute_on = streams.role("compute");
    const std::size_t read_on = streams.role("readback");
    Run run{0, 0};
    const auto start = Clock::now();
    for (int i = 0; i < rounds; ++i) {
      streams.submit_to(compute_on, 0, [&](auto&, auto& stream) { compute(stream); });
      streams.wait(compute_on, read_on);  // the next round writes over the result before this one
      streams.wait(read_on, compute_on);
      readback.start(results_[static_cast<std::size_t>(i % 2)], streams[read_on]);
      if (i != 0) run.sum += readback.wait()[0];
    }
    run.sum += readback.wait()[0];
    run.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return run;
  }

 private:
  void compute(StagedHostDevice::stream_type& stream) const {
    stream->push([this] { std::this_thread::sleep_for(std::chrono::duration<double>{work_}); });
  }

  StagedHostDevice device_;
  std::uint64_t bytes_;
  double work_;
  DeviceArena memory_{std::uint64_t{1} << 28, device_.memory()};
  std::vector<DeviceArena::slice_type> results_;
};

}  // namespace

int main() {
  std::printf(
      "modelled link of 2 GB/s, work as long as a download, %d rounds, the least of %d turns\n",
      rounds, turns);
  std::printf("%10s %12s %12s %8s\n", "bytes", "blocking ms", "overlap ms", "ratio");
  for (const std::uint64_t bytes : {1U << 20, 4U << 20, 16U << 20}) {
    Model model{2e9, bytes};
    Run one = model.blocking();
    Run two = model.overlapped();
    for (int turn = 1; turn < turns; ++turn) {
      one.seconds = std::min(one.seconds, model.blocking().seconds);
      two.seconds = std::min(two.seconds, model.overlapped().seconds);
    }
    std::printf("%10llu %12.1f %12.1f %8.2f\n", static_cast<unsigned long long>(bytes),
                one.seconds * 1e3, two.seconds * 1e3, one.seconds / two.seconds);
    if (one.sum != two.sum) return EXIT_FAILURE;
  }
}
