// SPDX-License-Identifier: MIT
/// \file
/// Rounds of work on a device, each followed by the download of its result: waiting for each, or
/// with `Readback`, one round late.
#pragma once

#include <allot/arena.hpp>
#include <allot/device/device.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/stream/readback.hpp>
#include <allot/stream/stream_set.hpp>
#include <allot/synchronization/locked.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <utility>
#include <vector>

namespace allot::bench {

/// \tparam Work  gives a stream a round's work: `work(device, stream)`
template <Device D, class Work>
class Overlap {
 public:
  struct Run {
    double seconds;
    double sum;  // so that the compiler keeps the reading
  };

  Overlap(D& device, std::uint64_t bytes, Work work)
      : device_{device},
        bytes_{bytes},
        work_{std::move(work)},
        memory_{2 * bytes, device.memory()},
        results_{memory_.allocate(bytes), memory_.allocate(bytes)} {}

  Run blocking() {
    Readback<float, D> readback{device_, bytes_ / sizeof(float)};
    StreamSet streams{device_, 1};
    Run run{0, 0};
    const auto start = Clock::now();
    for (int i = 0; i < rounds; ++i) {
      streams.submit_to(0, 0, work_);
      readback.start(results_[0], streams[0]);
      run.sum += static_cast<double>(readback.wait()[0]);
    }
    run.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return run;
  }

  /// The device works on round i + 1, into the other result, while that of round i comes down.
  Run overlapped() {
    Readback<float, D> readback{device_, bytes_ / sizeof(float)};
    StreamSet streams{device_, {"compute", "readback"}};
    const std::size_t compute_on = streams.role("compute");
    const std::size_t read_on = streams.role("readback");
    Run run{0, 0};
    const auto start = Clock::now();
    for (int i = 0; i < rounds; ++i) {
      streams.submit_to(compute_on, 0, work_);
      streams.wait(compute_on, read_on);  // the next round writes over the result before this one
      streams.wait(read_on, compute_on);
      readback.start(results_[static_cast<std::size_t>(i % 2)], streams[read_on]);
      if (i != 0) run.sum += static_cast<double>(readback.wait()[0]);
    }
    run.sum += static_cast<double>(readback.wait()[0]);
    run.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return run;
  }

  /// Prints the least of several turns of each. Returns true if both read the same.
  bool compare() {
    Run one = blocking();
    Run two = overlapped();
    for (int turn = 1; turn < turns; ++turn) {
      one.seconds = std::min(one.seconds, blocking().seconds);
      two.seconds = std::min(two.seconds, overlapped().seconds);
    }
    std::printf("%10llu %12.2f %12.2f %8.2f\n", static_cast<unsigned long long>(bytes_),
                one.seconds * 1e3, two.seconds * 1e3, one.seconds / two.seconds);
    return one.sum == two.sum;
  }

  static void print_head() {
    std::printf("%d rounds, the least of %d turns\n", rounds, turns);
    std::printf("%10s %12s %12s %8s\n", "bytes", "blocking ms", "overlap ms", "ratio");
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Memory = Shared<Arena<BestFit, AlignTo<256>, Locked<>, typename D::memory_type>>;

  static constexpr int rounds = 20;
  static constexpr int turns = 9;

  D& device_;
  std::uint64_t bytes_;
  Work work_;
  Memory memory_;
  std::vector<typename Memory::slice_type> results_;
};

}  // namespace allot::bench
