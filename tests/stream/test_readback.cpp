// SPDX-License-Identifier: MIT
#include <allot/arena.hpp>
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/stream/readback.hpp>
#include <allot/synchronization/locked.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <future>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <thread>
#include <vector>

namespace {

using namespace allot;

template <class D>
using Memory = Shared<Arena<BestFit, AlignTo<256>, Locked<>, typename D::memory_type>>;

/// A device, memory on it, and slices with known numbers.
template <class D>
struct Fixture {
  D device;
  std::optional<Memory<D>> memory{std::in_place, std::uint64_t{1} << 20, device.memory()};
  typename D::stream_type stream = device.make_stream();

  auto numbers(std::size_t count, std::uint32_t first) {
    std::vector<std::uint32_t> values(count);
    std::iota(values.begin(), values.end(), first);
    auto slice = memory->allocate(count * sizeof(std::uint32_t));
    device.copy_to_device(slice.address(), values.data(), slice.bytes(), stream);
    device.synchronize(stream);
    return slice;
  }
};

bool holds(std::span<const std::uint32_t> values, std::size_t count, std::uint32_t first) {
  if (values.size() != count) return false;
  for (std::size_t i = 0; i < count; ++i) {
    if (values[i] != first + i) return false;
  }
  return true;
}

}  // namespace

TEST_CASE_TEMPLATE("two transfers are under way at most, and come in the order they were begun", D,
                   HostDevice, StagedHostDevice) {
  Fixture<D> on;
  Readback<std::uint32_t, D> readback{on.device, 100};
  CHECK(readback.capacity() == 100);
  CHECK(!readback.ready());
  CHECK_THROWS_AS(static_cast<void>(readback.wait()), std::logic_error);
  const auto a = on.numbers(100, 0);
  const auto b = on.numbers(50, 1000);
  const auto c = on.numbers(7, 2000);
  readback.start(a, on.stream);
  readback.start(b, on.stream);
  CHECK(readback.pending() == 2);
  CHECK(!readback.try_start(c, on.stream));
  const auto first = readback.wait();
  CHECK(holds(first, 100, 0));
  CHECK(readback.pending() == 1);
  const auto second = readback.wait();
  CHECK(holds(second, 50, 1000));
  CHECK(holds(first, 100, 0));
  REQUIRE(readback.try_start(c, on.stream));
  CHECK(holds(readback.wait(), 7, 2000));
  CHECK(holds(second, 50, 1000));
}

TEST_CASE_TEMPLATE("a third start waits for the first transfer, which is lost", D, HostDevice,
                   StagedHostDevice) {
  Fixture<D> on;
  Readback<std::uint32_t, D> readback{on.device, 10};
  for (std::uint32_t i = 0; i < 5; ++i) readback.start(on.numbers(10, i * 100), on.stream);
  CHECK(readback.pending() == 2);
  CHECK(holds(readback.wait(), 10, 300));
  CHECK(holds(readback.wait(), 10, 400));
}

TEST_CASE("the source, the arena and the readback may be dropped during a transfer") {
  std::promise<void> gate;
  Fixture<StagedHostDevice> on;
  auto readback = std::make_unique<Readback<std::uint32_t, StagedHostDevice>>(on.device, 1000);
  const auto open = gate.get_future().share();
  auto slice = on.numbers(1000, 5);
  on.stream->push([open] { open.wait(); });
  readback->start(slice, on.stream);
  CHECK(!readback->ready());
  slice = {};
  on.memory.reset();
  SUBCASE("and what arrives is whole") {
    gate.set_value();
    CHECK(holds(readback->wait(), 1000, 5));
  }
  SUBCASE("the readback waits for its memory") {
    std::thread opener{[&] { gate.set_value(); }};
    readback.reset();
    opener.join();
  }
}

TEST_CASE("a source that does not fit, or is no whole number of elements, is refused") {
  Fixture<HostDevice> on;
  Readback<std::uint32_t, HostDevice> readback{on.device, 10};
  CHECK_THROWS_AS(readback.start(on.numbers(11, 0), on.stream), std::length_error);
  CHECK_THROWS_AS(readback.start(on.memory->allocate(6), on.stream), std::length_error);
  CHECK(readback.pending() == 0);
  CHECK_THROWS_AS((Readback<std::uint32_t, HostDevice>{on.device, ~std::uint64_t{0}}),
                  std::length_error);
  readback.start({}, on.stream);
  CHECK(readback.wait().empty());
}
