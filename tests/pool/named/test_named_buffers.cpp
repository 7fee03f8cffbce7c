// SPDX-License-Identifier: MIT
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/observer/leak_tracker.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/observer/observers.hpp>
#include <allot/pool/named/named_buffers.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/linear.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/manual_clock.hpp"
#include "support/particle_buffers.hpp"
#include "support/random.hpp"

namespace {

using namespace allot;
using namespace std::chrono_literals;
using test::ManualClock;
namespace particle_buffers = test::particle_buffers;

using Int = std::uint32_t;

/// No minimum, and growth as told: sizes are what is asked for.
constexpr BufferConfig plain(Growth growth = Growth::exact()) {
  return {.bytes_per_element = 0, .growth = growth, .minimum = 0, .maximum = 1 * GiB};
}

template <class D>
using Timed =
    NamedBuffers<D, Arena<BestFit, AlignTo<256>, Locked<>, typename D::memory_type>, ManualClock>;

std::vector<Int> numbers(std::size_t count, Int first = 0) {
  std::vector<Int> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

template <class Buffers>
std::vector<Int> contents(Buffers& buffers, std::string_view name, std::size_t count) {
  std::vector<Int> values(count, 0xEEEEEEEE);
  buffers.template read<Int>(name, 0, values);
  return values;
}

template <class Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("the presets have their numbers") {
  constexpr BufferConfig presets[] = {
      BufferConfig::defaults(),  particle_buffers::positions(),  particle_buffers::velocities(),
      particle_buffers::edges(), particle_buffers::grid_cells(), particle_buffers::for_forces()};
  const BufferConfig expected[] = {{4, Growth::ratio(3, 2), 4096, 1 * GiB, false},
                                   {12, Growth::ratio(13, 10), 4096, 512 * MiB, true},
                                   {12, Growth::ratio(13, 10), 4096, 512 * MiB, true},
                                   {32, Growth::ratio(2, 1), 8192, 2 * GiB, false},
                                   {8, Growth::ratio(3, 2), 2048, 256 * MiB, false},
                                   {12, Growth::ratio(13, 10), 4096, 512 * MiB, false}};
  for (std::size_t i = 0; i < std::size(presets); ++i) CHECK(presets[i] == expected[i]);
}

TEST_CASE("growth is exact in integers, whatever the size") {
  CHECK(Growth::ratio(3, 2).next(1001, 0) == 1501);
  CHECK(Growth::ratio(13, 10).next(100, 101) == 130);
  CHECK(Growth::ratio(13, 10).next(100, 200) == 200);
  CHECK(Growth::ratio(3, 2).next(0, 7) == 7);
  constexpr std::uint64_t large = (std::uint64_t{1} << 40) + 1;  // no float holds it
  CHECK(Growth::ratio(2).next(large, 0) == 2 * large);
  CHECK(Growth::ratio(3, 2).next(large, 0) == large + large / 2);
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  CHECK(Growth::ratio(3, 2).next(most, 5) == 5);
  CHECK(Growth::ratio(1, 1).next(most, 5) == most);
  CHECK(Growth::ratio(most >> 32, most >> 32).next(most, 5) == most);
  CHECK(Growth::power_of_two().next(3, 1000) == 1024);
  CHECK(Growth::power_of_two().next(3, 1024) == 1024);
  CHECK(Growth::power_of_two().next(3, most) == most);
  CHECK(Growth::exact().next(3, 1000) == 1000);
  CHECK_THROWS_AS(static_cast<void>(Growth::ratio(9, 10)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Growth::ratio(1, 0)), std::invalid_argument);
}

TEST_CASE("a new capacity is the larger of growth and need, capped by the maximum") {
  const BufferConfig config{12, Growth::ratio(3, 2), 4096, 120'000, false};
  CHECK(config.largest_capacity() == 10'000);
  CHECK(config.smallest_capacity() == 342);  // 4104 bytes
  CHECK(config.first_capacity(1) == 342);
  CHECK(config.first_capacity(500) == 500);
  CHECK(config.next_capacity(1000, 1001) == 1500);
  CHECK(config.next_capacity(1000, 4000) == 4000);
  CHECK(config.next_capacity(9000, 9001) == 10'000);
}

TEST_CASE_TEMPLATE("a buffer is added, found and freed", D, HostDevice, StagedHostDevice) {
  NamedBuffers buffers{D{}, 16 * MiB};
  const auto added = buffers.template add<float>("weights", 3000);
  CHECK(added.size() == 3000);
  CHECK(added.data() != nullptr);
  const auto got = buffers.template get<float>("weights");
  CHECK(got.data() == added.data());
  CHECK(buffers.contains("weights"));
  CHECK(buffers.size() == 1);
  CHECK(buffers.capacity("weights") == 3000);
  CHECK(buffers.stats().total_bytes == 12'000);
  buffers.free("weights");
  CHECK(!buffers.contains("weights"));
  CHECK(buffers.stats().total_bytes == 0);
  CHECK(buffers.stats().peak_bytes == 12'000);
  CHECK(buffers.stats().held_bytes == 12'032);  // the handles hold it: 47 units of 256 bytes
}

TEST_CASE("a name that is not there is an error with the nearest ones") {
  NamedBuffers buffers{HostDevice{}, 16 * MiB};
  CHECK(message_of([&] { buffers.free("positions"); }) ==
        "no buffer is named \"positions\": there are no buffers yet; add it first");
  for (const char* name : {"positions", "velocities", "forces", "edges", "grid_cells"}) {
    buffers.add<float>(name, 10);
  }
  CHECK_THROWS_AS(static_cast<void>(buffers.get<float>("position")), std::out_of_range);
  const std::string text = message_of([&] { static_cast<void>(buffers.get<float>("position")); });
  CHECK(has(text, "no buffer is named \"position\"; the nearest of 5 buffers: \"positions\", "));
  CHECK_THROWS_AS(buffers.ensure_capacity<float>("edge", 1), std::out_of_range);
  CHECK_THROWS_AS(buffers.set_used("edge", 1), std::out_of_range);
  CHECK_THROWS_AS(static_cast<void>(buffers.capacity("edge")), std::out_of_range);
  CHECK_THROWS_AS(static_cast<void>(buffers.config("edge")), std::out_of_range);
}

TEST_CASE("a wrong type is an error with both") {
  NamedBuffers buffers{HostDevice{}, 16 * MiB};
  buffers.add<float>("positions", 10);
  const char* const expected =
      "buffer \"positions\" holds float (4 bytes), not double (8 bytes); use the type that it "
      "holds";
  CHECK_THROWS_AS(static_cast<void>(buffers.get<double>("positions")), std::invalid_argument);
  CHECK(message_of([&] { static_cast<void>(buffers.get<double>("positions")); }) == expected);
  CHECK(message_of([&] { buffers.ensure_capacity<double>("positions", 100); }) == expected);
  CHECK(message_of([&] { buffers.resize_all({resize_to<double>("positions", 100)}); }) == expected);
  CHECK_THROWS_AS(static_cast<void>(buffers.get<std::int32_t>("positions")), std::invalid_argument);
}

TEST_CASE("a duplicate is the buffer that exists, or an error with both") {
  NamedBuffers buffers{HostDevice{}, 16 * MiB};
  const auto first = buffers.add<float>("x", 1000);
  CHECK(buffers.add<float>("x", 1000).data() == first.data());
  CHECK(buffers.stats().allocations == 1);
  CHECK(message_of([&] { buffers.add<double>("x", 1000); }) ==
        "buffer \"x\" was added with 1000 elements of 4 bytes of float; it cannot be added again "
        "with 1000 elements of 8 bytes of double: free it first, or call ensure_capacity");
  CHECK(has(message_of([&] { buffers.add<float>("x", 2000); }), "with 2000 elements of 4 bytes"));
  CHECK(has(message_of([&] { buffers.add<float>("x", 1000, {.maximum = 5000}); }),
            "another growth, minimum, maximum or readback"));
  CHECK_THROWS_AS(buffers.add<float>("x", 2000), std::invalid_argument);
  // The size is that of `add`, whatever it grew to since.
  const auto grown = buffers.ensure_capacity<float>("x", 5000);
  CHECK(buffers.add<float>("x", 1000).data() == grown.data());
}

TEST_CASE("elements may be of several values, and a minimum holds") {
  NamedBuffers buffers{HostDevice{}, 16 * MiB};
  const auto positions = buffers.add<float>("positions", 100, particle_buffers::positions());
  CHECK(buffers.capacity("positions") == 342);
  CHECK(positions.size() == 3 * 342);
  CHECK(buffers.config("positions").bytes_per_element == 12);
  CHECK(has(message_of([&] { buffers.add<double>("p", 1, particle_buffers::positions()); }),
            "elements of 12 bytes are not a whole number of double (8 bytes)"));
  CHECK(has(message_of([&] { buffers.add<float>("p", 1, {.minimum = 100, .maximum = 50}); }),
            "between a minimum of 100 and a maximum of 50 bytes"));
  CHECK_THROWS_AS(buffers.add<float>("p", 0, plain()), std::invalid_argument);
  CHECK(buffers.size() == 1);
  CHECK(buffers.add<float>("p", 0).size() == 1024);
}

TEST_CASE("a maximum is an error with both numbers, sizes that overflow included") {
  NamedBuffers buffers{HostDevice{}, 16 * MiB};
  const BufferConfig config{4, Growth::ratio(3, 2), 0, 40'000, false};
  CHECK(message_of([&] { buffers.add<float>("x", 10'001, config); }) ==
        "buffer \"x\" of 10001 elements: 39.06 KiB (40004 bytes) exceed the limit of 39.06 KiB "
        "(40000 bytes); ask for fewer, or raise BufferConfig::maximum");
  buffers.add<float>("x", 8000, config);
  CHECK_THROWS_AS(buffers.ensure_capacity<float>("x", 10'001), LimitExceeded);
  CHECK(buffers.capacity("x") == 8000);
  buffers.ensure_capacity<float>("x", 8001);
  CHECK(buffers.capacity("x") == 10'000);
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  CHECK_THROWS_AS(buffers.ensure_capacity<float>("x", most), LimitExceeded);
  CHECK_THROWS_AS(buffers.add<float>("y", most), LimitExceeded);
  CHECK_THROWS_AS(buffers.add<float>("y", most / 4 + 1, {.maximum = most}), LimitExceeded);
  CHECK(buffers.size() == 1);
}

TEST_CASE_TEMPLATE("a resize keeps the data, moved or in place", D, HostDevice, StagedHostDevice) {
  NamedBuffers buffers{D{}, 16 * MiB};
  buffers.template add<Int>("x", 1000, plain());
  const auto values = numbers(1000);
  buffers.template write<Int>("x", 0, values);
  const auto before = buffers.template get<Int>("x");
  CHECK(buffers.template ensure_capacity<Int>("x", 5000).data() == before.data());  // in place
  CHECK(buffers.stats().resizes_in_place == 1);
  CHECK(contents(buffers, "x", 1000) == values);
  buffers.template add<Int>("y", 10, plain());  // in its way
  CHECK(buffers.template ensure_capacity<Int>("x", 9000).data() != before.data());
  CHECK(contents(buffers, "x", 1000) == values);
  CHECK(buffers.stats().resizes == 2);
  CHECK(buffers.stats().resizes_in_place == 1);
  const auto held = buffers.template get<Int>("x");
  CHECK(buffers.template ensure_capacity<Int>("x", 100).data() == held.data());  // never smaller
  CHECK(buffers.stats().resizes == 2);
}

TEST_CASE_TEMPLATE("an old handle keeps the old memory and its contents", D, HostDevice,
                   StagedHostDevice) {
  NamedBuffers buffers{D{}, 16 * MiB};
  std::optional old{buffers.template add<Int>("x", 1000, plain())};
  buffers.template add<Int>("y", 10, plain());
  buffers.template write<Int>("x", 0, numbers(1000));
  buffers.template ensure_capacity<Int>("x", 2000);
  buffers.template write<Int>("x", 0, numbers(2000, 7));
  CHECK(std::equal(old->data(), old->data() + 1000, numbers(1000).begin()));
  CHECK(buffers.stats().held_bytes == 4096 + 8192 + 256);
  CHECK(buffers.stats().total_bytes == 8000 + 40);
  old.reset();
  CHECK(buffers.stats().held_bytes == buffers.stats().arena.used);
  CHECK(buffers.stats().held_bytes == 8192 + 256);
}

TEST_CASE_TEMPLATE("copies on streams come after those of other streams", D, HostDevice,
                   StagedHostDevice) {
  D device;
  NamedBuffers buffers{device, 64 * MiB};
  auto one = device.make_stream();
  auto two = device.make_stream();
  const BufferConfig config{0, Growth::exact(), 0, 1 * GiB, true};
  buffers.template add<Int>("x", 1000, config);
  const auto values = numbers(100'000);
  std::vector<Int> seen(100'000);
  buffers.template write<Int>("x", 0, std::span{values}.first(1000), one);
  for (std::size_t count = 2000; count <= 100'000; count += 1000) {
    auto& stream = count % 2000 == 0 ? two : one;
    buffers.template ensure_capacity<Int>("x", count, stream);
    buffers.template add<Int>("wall " + std::to_string(count), 1, plain());
    buffers.template write<Int>("x", count - 1000, std::span{values}.subspan(count - 1000, 1000),
                                count % 3000 == 0 ? one : two);
  }
  buffers.template read<Int>("x", 0, seen, one);
  device.synchronize(one);
  CHECK(seen == values);
  CHECK(buffers.stats().waiting_bytes == 0);
}

TEST_CASE("a failed resize leaves everything as it was") {
  NamedBuffers buffers{HostDevice{}, 64 * KiB};
  buffers.add<Int>("x", 1000, plain(Growth::ratio(3, 2)));
  buffers.add<Int>("wall", 1, plain());
  buffers.write<Int>("x", 0, numbers(1000));
  const auto before = buffers.get<Int>("x");
  CHECK_THROWS_AS(buffers.ensure_capacity<Int>("x", 16'000), OutOfMemory);
  CHECK(buffers.get<Int>("x").data() == before.data());
  CHECK(buffers.capacity("x") == 1000);
  CHECK(contents(buffers, "x", 1000) == numbers(1000));
  CHECK(buffers.stats().arena.used == 4096 + 256);
  CHECK(buffers.stats().total_bytes == 4004);
  CHECK(buffers.stats().resizes == 0);
}

TEST_CASE("where there is no room to grow, what is needed is enough") {
  NamedBuffers buffers{HostDevice{}, 64 * KiB};
  buffers.add<Int>("x", 8000, plain(Growth::ratio(2)));
  buffers.ensure_capacity<Int>("x", 9000);  // 16000 would be all but 384 of the arena
  CHECK(buffers.capacity("x") == 16'000);
  NamedBuffers tight{HostDevice{}, 64 * KiB};
  tight.add<Int>("x", 4000, plain(Growth::ratio(4)));
  tight.add<Int>("wall", 1, plain());
  tight.ensure_capacity<Int>("x", 5000);
  CHECK(tight.capacity("x") == 5000);
  NamedBuffers limited{HostDevice{}, 1 * MiB, MemoryLimit::bytes(50'000)};
  limited.add<Int>("x", 5000, plain(Growth::ratio(4)));
  limited.ensure_capacity<Int>("x", 6000);
  CHECK(limited.capacity("x") == 12'500);
}

TEST_CASE("a limit holds on every path, and a resize counts once") {
  NamedBuffers buffers{HostDevice{}, 1 * MiB, MemoryLimit::bytes(100'000)};
  buffers.add<Int>("a", 10'000, plain());
  buffers.add<Int>("b", 5'000, plain());
  CHECK(message_of([&] { buffers.add<Int>("c", 10'001, plain()); }) ==
        "buffer \"c\": 39.06 KiB (40004 bytes) more, with 58.59 KiB (60000 bytes) already taken, "
        "exceed the limit of 97.65 KiB (100000 bytes); free buffers, or raise the limit over all "
        "of them");
  CHECK(!buffers.contains("c"));
  buffers.ensure_capacity<Int>("a", 20'000);  // 80 000 instead of 40 000 bytes
  CHECK(buffers.stats().total_bytes == 100'000);
  CHECK_THROWS_AS(buffers.ensure_capacity<Int>("b", 5'001), LimitExceeded);
  CHECK_THROWS_AS(static_cast<void>(buffers.track_external("other", 1)), LimitExceeded);
  CHECK_THROWS_AS(buffers.resize_all({resize_to<Int>("b", 5'001)}), LimitExceeded);
  buffers.free("b");
  {
    const ExternalMemory other = buffers.track_external("other", 20'000);
    CHECK(buffers.stats().external_bytes == 20'000);
    CHECK_THROWS_AS(buffers.add<Int>("b", 1, plain()), LimitExceeded);
    CHECK(buffers.check_leaks().size() == 2);
  }
  buffers.add<Int>("b", 5'000, plain());
  CHECK(buffers.stats().peak_bytes == 100'000);
}

TEST_CASE("an error for a buffer that its minimum raises names what was asked for, too") {
  NamedBuffers limited{HostDevice{}, 1 * MiB, MemoryLimit::bytes(3000)};
  CHECK(
      message_of([&] { limited.add<Int>("small", 250); }) ==
      "buffer \"small\" of 1000 bytes, raised by BufferConfig::minimum: 4 KiB (4096 bytes) exceed "
      "the limit of 2.92 KiB (3000 bytes); free buffers, or raise the limit over all of them");
  NamedBuffers full{HostDevice{}, 4 * KiB};
  full.add<Int>("first", 250, plain());
  try {
    full.add<Int>("small", 250);
    FAIL("4 KiB were granted");
  } catch (const OutOfMemory& error) {
    CHECK(error.requested() == 1000);
    CHECK(error.rounded() == 4 * KiB);
    CHECK(error.free() == 3 * KiB);
  }
  CHECK(!full.contains("small"));
  full.add<Int>("small", 250, plain());
}

TEST_CASE("a limit is 6 GiB, bytes, or a share of the device's memory") {
  const HostDevice device;
  CHECK(NamedBuffers{device, 1 * MiB}.stats().limit_bytes == 6 * GiB);
  const NamedBuffers shared{device, 1 * MiB, MemoryLimit::share_of_device(8, 10)};
  const std::uint64_t total = device.memory_info().total;
  CHECK(shared.stats().limit_bytes == total / 10 * 8 + total % 10 * 8 / 10);
  CHECK(MemoryLimit::share_of_device(1, 1).of({0, std::numeric_limits<std::uint64_t>::max()}) ==
        std::numeric_limits<std::uint64_t>::max());
  CHECK_THROWS_AS(static_cast<void>(MemoryLimit::share_of_device(11, 10)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(MemoryLimit::share_of_device(0, 10)), std::invalid_argument);
}

TEST_CASE_TEMPLATE("several are resized together, or none", D, HostDevice, StagedHostDevice) {
  NamedBuffers buffers{D{}, 128 * KiB};
  for (const char* name : {"a", "b", "c"}) {
    buffers.template add<Int>(name, 1000, plain(Growth::ratio(3, 2)));
    buffers.template write<Int>(name, 0, numbers(1000, static_cast<Int>(name[0])));
  }
  const auto as_it_was = [&] {
    for (const char* name : {"a", "b", "c"}) {
      CHECK(contents(buffers, name, 1000) == numbers(1000, static_cast<Int>(name[0])));
    }
  };
  const std::array<const Int*, 3> at{buffers.template get<Int>("a").data(),
                                     buffers.template get<Int>("b").data(),
                                     buffers.template get<Int>("c").data()};
  const auto used = buffers.stats().arena.used;
  const auto requested = buffers.stats().arena.requested;
  // "c" could be grown in place, "a" moved, but not "b", too.
  CHECK_THROWS_AS(buffers.resize_all({resize_to<Int>("c", 8000), resize_to<Int>("a", 8000),
                                      resize_to<Int>("b", 15'000)}),
                  OutOfMemory);
  CHECK(buffers.template get<Int>("a").data() == at[0]);
  CHECK(buffers.template get<Int>("c").data() == at[2]);
  CHECK(buffers.stats().arena.used == used);
  CHECK(buffers.stats().arena.requested == requested);
  CHECK(buffers.stats().total_bytes == 12'000);
  as_it_was();
  CHECK_THROWS_AS(buffers.resize_all({resize_to<Int>("a", 8000), resize_to<Int>("d", 1)}),
                  std::out_of_range);
  CHECK(message_of([&] {
          buffers.resize_all({resize_to<Int>("a", 8000), resize_to<Int>("a", 9000)});
        }) == "buffer \"a\" is named twice in one resize; name each buffer once");
  CHECK_THROWS_AS(buffers.resize_all({resize_to<Int>("a", 1), resize_to<Int>("a", 9000)}),
                  std::invalid_argument);  // also where one of them has room already
  CHECK(buffers.stats().resizes == 0);
  buffers.resize_all(
      {resize_to<Int>("a", 4000), resize_to<Int>("b", 500), resize_to<Int>("c", 2000)});
  CHECK(buffers.capacity("a") == 4000);
  CHECK(buffers.capacity("b") == 1000);
  CHECK(buffers.capacity("c") == 2000);
  CHECK(buffers.stats().resizes == 2);
  as_it_was();
}

TEST_CASE_TEMPLATE("statistics are measured", D, HostDevice, StagedHostDevice) {
  ManualClock::time = 0ns;
  Timed<D> buffers{D{}, 16 * MiB};
  buffers.template add<Int>("x", 1000, plain());
  ManualClock::time = 3s;
  buffers.template add<Int>("y", 10, plain());
  buffers.template write<Int>("x", 100, numbers(150));
  ManualClock::time = 10s;
  NamedBuffersStats stats = buffers.stats();
  CHECK(stats.total_bytes == 4040);
  CHECK(stats.allocations == 2);
  CHECK(stats.transfers == 1);
  CHECK(stats.transferred_bytes == 600);
  REQUIRE(stats.buffers.size() == 2);
  const BufferStats* x = stats.find("x");
  REQUIRE(x != nullptr);
  CHECK(x->capacity == 1000);
  CHECK(x->bytes == 4000);
  CHECK(x->used == 250);
  CHECK(x->utilization() == doctest::Approx(0.25));
  CHECK(x->age == 10s);
  CHECK(x->since_last_use == 7s);
  CHECK(x->type == "unsigned int");
  CHECK(stats.find("y")->used == 0);
  static_cast<void>(buffers.template get<Int>("y"));
  buffers.set_used("y", 10);
  CHECK_THROWS_AS(buffers.set_used("y", 11), std::out_of_range);
  buffers.template ensure_capacity<Int>("x", 2000);
  ManualClock::time = 11s;
  stats = buffers.stats();
  CHECK(stats.find("y")->utilization() == doctest::Approx(1));
  CHECK(stats.find("y")->since_last_use == 1s);
  x = stats.find("x");
  CHECK(x->resizes == 1);
  CHECK(x->transfers == 2);
  CHECK(x->used == 250);
  CHECK(x->utilization() == doctest::Approx(0.125));
  CHECK(stats.transferred_bytes == 600 + 4000);
  CHECK(stats.find("z") == nullptr);
}

TEST_CASE("leaks are right across resizes, and there are none once all is freed") {
  ManualClock::time = 0ns;
  Timed<HostDevice> buffers{HostDevice{}, 16 * MiB};
  CHECK(buffers.check_leaks().empty());
  const SourceLocation here = SourceLocation::current();
  buffers.add<Int>("x", 1000, plain());
  buffers.add<Int>("y", 1000, plain());
  ManualClock::time = 1s;
  for (std::uint64_t i = 1; i < 5; ++i) buffers.ensure_capacity<Int>("x", 1000 + i * 500);
  const LeakList leaks = buffers.check_leaks();
  REQUIRE(leaks.size() == 2);
  CHECK(leaks.bytes() == 16'000);
  const auto x =
      std::find_if(leaks.begin(), leaks.end(), [](const Leak& leak) { return leak.name == "x"; });
  REQUIRE(x != leaks.end());
  CHECK(x->bytes == 12'000);
  CHECK(x->age == 1s);
  CHECK(x->site->line() == here.line() + 1);
  CHECK(has(x->site->file_name(), "test_named_buffers.cpp"));
  buffers.free("x");
  CHECK(buffers.check_leaks().size() == 1);
  buffers.free("y");
  CHECK(buffers.check_leaks().empty());
  CHECK(leaks.begin()->name.size() == 1);  // its names are its own
}

TEST_CASE("what was not freed is reported at destruction, through the arena's leak tracker") {
  using Tracked =
      Arena<BestFit, AlignTo<256>, Locked<>, HostMemory, Observers<Ledger, LeakTracker>>;
  std::vector<std::string> told;
  const auto tell = [&](std::span<const Leak> leaks) {
    for (const Leak& leak : leaks) told.push_back(to_text(leak));
  };
  {
    auto arena = std::make_shared<Tracked>(
        1 * MiB, HostMemory{}, Observers<Ledger, LeakTracker>{Ledger{}, LeakTracker{tell}});
    NamedBuffers<HostDevice, Tracked> buffers{HostDevice{}, arena};
    buffers.add<Int>("freed", 1000, plain());
    buffers.add<Int>("kept", 1000, plain());
    buffers.add<Int>("wall", 1000, plain());
    buffers.ensure_capacity<Int>("kept", 3000);
    buffers.free("freed");
    buffers.with_observer([](const auto& both) {
      const auto leaks = both.template get<LeakTracker>().leaks();
      REQUIRE(leaks.size() == 2);
      CHECK(std::string{leaks[0].site->file_name()}.ends_with("test_named_buffers.cpp"));
    });
    buffers.free("wall");
  }
  REQUIRE(told.size() == 1);  // not once more by the arena: the memory itself was freed
  CHECK(told[0].starts_with("\"kept\": 11.71 KiB (12000 bytes), "));
  CHECK(has(told[0], "test_named_buffers.cpp:"));
}

TEST_CASE_TEMPLATE("memory is safe in any order of destruction", D, HostDevice, StagedHostDevice) {
  // Buffers, a handle, an old handle, external bytes and a slice of one go in every order.
  std::array<int, 5> order{0, 1, 2, 3, 4};
  do {
    D device;
    auto stream = device.make_stream();
    auto buffers = std::make_unique<NamedBuffers<D>>(device, 1 * MiB);
    std::optional old{buffers->template add<Int>("x", 1000, plain())};
    const auto values = numbers(1000);
    buffers->template write<Int>("x", 0, values, stream);
    buffers->template add<Int>("wall", 1, plain());
    std::optional handle{buffers->template ensure_capacity<Int>("x", 2000, stream)};
    std::optional part{handle->slice().part(400, 400)};
    std::optional external{buffers->track_external("other", 100)};
    device.synchronize(stream);
    for (const int step : order) {
      if (old) CHECK(old->data()[999] == 999);
      if (handle) CHECK(handle->data()[999] == 999);
      if (part) CHECK(static_cast<const Int*>(part->address())[0] == 100);
      if (step == 0) buffers.reset();
      if (step == 1) old.reset();
      if (step == 2) handle.reset();
      if (step == 3) part.reset();
      if (step == 4) external.reset();
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("buffers, a stream and handles can go while copies run, from other threads") {
  StagedHostDevice device;
  const auto values = numbers(50'000);
  for (int i = 0; i < 20; ++i) {
    auto stream = device.make_stream();
    auto buffers = std::make_unique<NamedBuffers<StagedHostDevice>>(device, 16 * MiB);
    std::optional old{buffers->add<Int>("x", 50'000, plain())};
    buffers->add<Int>("wall", 1, plain());
    buffers->write<Int>("x", 0, values, stream);
    buffers->ensure_capacity<Int>("x", 100'000, stream);
    if (i % 3 == 0) buffers->free("x");
    std::thread other{[&] { old.reset(); }};
    if (i % 2 == 0) buffers.reset();
    other.join();
  }
}

TEST_CASE("freed memory is not used again before the copies that touch it are done") {
  StagedHostDevice device;
  NamedBuffers buffers{device, 64 * KiB};
  auto gate = device.make_event();
  auto gated = device.make_stream();
  std::promise<void> opener;  // copies wait until the test opens the gate
  gated->push([opened = opener.get_future().share()] { opened.wait(); });
  buffers.add<Int>("x", 4000, plain());
  buffers.add<Int>("wall", 1, plain());
  buffers.write<Int>("x", 0, numbers(4000));
  buffers.ensure_capacity<Int>("x", 8000, gated);
  CHECK(buffers.stats().waiting_bytes == 16'128);  // the old memory, in flight
  CHECK(buffers.stats().total_bytes == 32'004);
  buffers.free("x");
  CHECK(buffers.stats().waiting_bytes == 16'128 + 32'000);
  buffers.add<Int>("y", 4000, plain());  // fits beside all that is in flight
  opener.set_value();
  buffers.add<Int>("z", 8000, plain());  // fits only once the copy is done: it is waited for
  CHECK(buffers.stats().waiting_bytes == 0);
  CHECK(buffers.stats().arena.used == 256 + 16'128 + 32'000);
}

TEST_CASE("a buffer freed on a stream lives until the stream's work is done") {
  StagedHostDevice device;
  NamedBuffers buffers{device, 64 * KiB};
  auto stream = device.make_stream();
  std::promise<void> opener;
  buffers.add<Int>("x", 1000, plain());
  stream->push([opened = opener.get_future().share()] { opened.wait(); });
  buffers.free("x", stream);
  CHECK(buffers.check_leaks().empty());
  CHECK(buffers.stats().waiting_bytes == 4096);
  opener.set_value();
  device.synchronize(stream);
  CHECK(buffers.stats().waiting_bytes == 0);
  CHECK(buffers.stats().arena.used == 0);
}

TEST_CASE("asynchronous readback is for buffers that allow it") {
  HostDevice device;
  auto stream = device.make_stream();
  NamedBuffers buffers{device, 1 * MiB};
  buffers.add<float>("positions", 10, particle_buffers::positions());
  buffers.add<float>("grid", 10);
  std::vector<float> to(30);
  buffers.read<float>("positions", 0, to, stream);
  buffers.read<float>("grid", 0, to);
  CHECK_THROWS_AS(buffers.read<float>("grid", 0, to, stream), std::invalid_argument);
  CHECK_THROWS_AS(buffers.read<float>("grid", 1000, to), std::out_of_range);
  CHECK_THROWS_AS(buffers.write<float>("grid", ~std::uint64_t{0}, to), std::out_of_range);
  buffers.write<float>("grid", 1024, {});
  CHECK(buffers.stats().transfers == 2);
}

namespace {

inline constexpr BufferKey<Int> cells{"cells", plain()};
inline constexpr BufferKey<double> masses{"masses"};

template <class Key, class T>
concept Writes = requires(NamedBuffers<HostDevice>& buffers, const Key& key,
                          std::vector<T>& values) {
  buffers.write(key, 0, values);
};
template <class Key, class T>
concept GetsA = requires(NamedBuffers<HostDevice>& buffers, const Key& key) {
  { buffers.get(key) } -> std::convertible_to<NamedBuffers<HostDevice>::Handle<T>>;
  { buffers.add(key, 1) } -> std::convertible_to<NamedBuffers<HostDevice>::Handle<T>>;
  { buffers.ensure_capacity(key, 1) } -> std::convertible_to<NamedBuffers<HostDevice>::Handle<T>>;
};
template <class Key, class T>
concept GetsAs = requires(NamedBuffers<HostDevice>& buffers, const Key& key) {
  buffers.template get<T>(key);
};

// A type that does not match a key does not compile.
static_assert(Writes<BufferKey<Int>, Int> && !Writes<BufferKey<Int>, double>);
static_assert(Writes<BufferKey<double>, double> && !Writes<BufferKey<double>, float>);
static_assert(GetsA<BufferKey<Int>, Int> && !GetsA<BufferKey<Int>, std::int32_t>);
static_assert(GetsAs<BufferKey<Int>, Int> && !GetsAs<BufferKey<Int>, double>);
static_assert(!std::is_convertible_v<BufferKey<Int>, BufferKey<double>>);
static_assert(!std::is_convertible_v<const char*, BufferKey<Int>>);

}  // namespace

TEST_CASE("a key has the name and the type") {
  NamedBuffers buffers{HostDevice{}, 1 * MiB};
  buffers.add(cells, 100);
  buffers.add(masses, 100);
  const auto values = numbers(100);
  buffers.write(cells, 0, values);
  buffers.ensure_capacity(cells, 200);
  std::vector<Int> seen(100);
  buffers.read(cells, 0, seen);
  CHECK(seen == values);
  CHECK(buffers.get(cells).data() == buffers.get<Int>("cells").data());
  buffers.resize_all({resize_to(cells, 300), resize_to(masses, 600)});
  CHECK(buffers.get(masses).size() >= 600);
  buffers.free(cells);
  buffers.free(masses);
  CHECK(buffers.size() == 0);
}

TEST_CASE_TEMPLATE("they work over any strategy", S, BestFit, Buddy, Linear, FixedBlocks<256>) {
  using Any = Arena<S, AlignTo<256>, Locked<>, HostMemory>;
  NamedBuffers<HostDevice, Any> buffers{HostDevice{}, 1 * MiB};
  buffers.template add<Int>("x", 1000, plain());
  buffers.template add<Int>("y", 1000, plain());
  buffers.template write<Int>("x", 0, numbers(1000));
  buffers.template ensure_capacity<Int>("x", 10'000);
  CHECK(contents(buffers, "x", 1000) == numbers(1000));
  buffers.free("x");
  buffers.free("y");
  CHECK(buffers.stats().arena.used == 0);
}

TEST_CASE("values are aligned for their type in any arena") {
  using Bytes = Arena<BestFit, AlignTo<1>, Locked<>, HostMemory>;
  NamedBuffers<HostDevice, Bytes> buffers{HostDevice{}, 1 * MiB};
  for (const char* name : {"a", "b", "c"}) {
    buffers.add<char>(name, 1, plain());
    const auto doubles = buffers.add<double>(std::string{name} + " doubles", 3, plain());
    CHECK(reinterpret_cast<std::uintptr_t>(doubles.data()) % alignof(double) == 0);
    const auto moved = buffers.ensure_capacity<double>(std::string{name} + " doubles", 30);
    CHECK(reinterpret_cast<std::uintptr_t>(moved.data()) % alignof(double) == 0);
  }
}

TEST_CASE_TEMPLATE("random work is that of a plain map of vectors", D, HostDevice,
                   StagedHostDevice) {
  const std::uint64_t seed = test::first_seed();
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  const auto below = [&](std::uint64_t end) { return random() % end; };
  D device;
  NamedBuffers<D> buffers{device, 512 * KiB, MemoryLimit::bytes(400'000)};
  auto streams = std::array{device.make_stream(), device.make_stream()};
  std::map<std::string, std::vector<Int>> model;  // what was written
  const Growth growths[] = {Growth::exact(), Growth::ratio(3, 2), Growth::power_of_two()};
  const auto fill = [&](const std::string& name) {
    std::vector<Int>& values = model.at(name);
    values.resize(buffers.capacity(name), 0);
    std::generate(values.begin(), values.end(), [&] { return static_cast<Int>(random()); });
    buffers.template write<Int>(name, 0, values);
  };
  for (std::uint64_t i = test::operations(3000); i != 0; --i) {
    const std::string name = "buffer " + std::to_string(below(12));
    const bool exists = model.find(name) != model.end();
    const std::uint64_t elements = 1 + below(12'000);
    auto& stream = streams[below(2)];
    try {
      switch (below(5)) {
        case 0:
          if (exists) break;
          buffers.template add<Int>(name, elements, plain(growths[below(3)]));
          model[name];
          fill(name);
          break;
        case 1:
          if (!exists) {
            CHECK_THROWS_AS(buffers.free(name), std::out_of_range);
            break;
          }
          if (below(2) == 0)
            buffers.free(name);
          else
            buffers.free(name, stream);
          model.erase(name);
          break;
        case 2:
          if (exists) fill(name);
          break;
        case 3: {
          if (!exists) break;
          if (below(2) == 0)
            buffers.template ensure_capacity<Int>(name, elements);
          else
            buffers.template ensure_capacity<Int>(name, elements, stream);
          CHECK(buffers.capacity(name) >= elements);
          break;
        }
        default: {
          std::vector<BufferResize> resizes;
          for (const auto& [other, values] : model) {
            if (below(2) == 0) resizes.push_back(resize_to<Int>(other, 1 + below(12'000)));
          }
          buffers.resize_all(resizes, stream);
          for (const BufferResize& resize : resizes) {
            CHECK(buffers.capacity(resize.name) >= resize.elements);
          }
        }
      }
    } catch (const OutOfMemory&) {
    } catch (const LimitExceeded&) {
    }
    const NamedBuffersStats stats = buffers.stats();
    REQUIRE(stats.buffers.size() == model.size());
    std::uint64_t total = 0;
    for (const auto& [known, values] : model) {
      if (known == name || i % 50 == 0) REQUIRE(contents(buffers, known, values.size()) == values);
      total += buffers.capacity(known) * sizeof(Int);
    }
    REQUIRE(stats.total_bytes == total);
    REQUIRE(stats.peak_bytes <= 400'000);
    REQUIRE(stats.held_bytes == stats.arena.used);
    REQUIRE(buffers.check_leaks().size() == model.size());
  }
  for (const auto& [name, values] : model) buffers.free(name);
  for (auto& stream : streams) device.synchronize(stream);
  CHECK(buffers.check_leaks().empty());
  CHECK(buffers.stats().total_bytes == 0);
  CHECK(buffers.stats().arena.used == 0);
  CHECK(buffers.stats().arena.largest_free == 512 * KiB);
}

TEST_CASE_TEMPLATE("threads share buffers, and the limit is not overshot", D, HostDevice,
                   StagedHostDevice) {
  constexpr std::uint64_t limit = 300'000;
  D device;
  NamedBuffers<D> buffers{device, 4 * MiB, MemoryLimit::bytes(limit)};
  buffers.template add<Int>("shared", 100, plain());
  std::atomic<std::uint64_t> refused = 0;
  std::atomic<bool> overshot = false;
  const auto work = [&](int number) {
    const auto values = numbers(1000, static_cast<Int>(number));  // outlives the stream
    auto stream = device.make_stream();
    std::mt19937_64 random{test::first_seed() + static_cast<std::uint64_t>(number)};
    const std::string own = "of thread " + std::to_string(number);
    for (int i = 0; i < 300; ++i) {
      try {
        buffers.template add<Int>(own, 1000, plain(Growth::ratio(3, 2)));
        buffers.template write<Int>(own, 0, values, stream);
        buffers.template ensure_capacity<Int>(own, 1000 + random() % 60'000, stream);
        const auto handle = buffers.template get<Int>("shared");
        const auto external = buffers.track_external(own, random() % 100'000);
        device.synchronize(stream);
        if (contents(buffers, own, 1000) != values) overshot = true;
      } catch (const LimitExceeded&) {
        ++refused;
      }
      const NamedBuffersStats stats = buffers.stats();
      if (stats.total_bytes > limit || stats.peak_bytes > limit) overshot = true;
      static_cast<void>(buffers.check_leaks());
      device.synchronize(stream);
      if (buffers.contains(own)) buffers.free(own, stream);
      device.synchronize(stream);
    }
  };
  std::thread one{work, 1};
  std::thread two{work, 2};
  one.join();
  two.join();
  CHECK(!overshot);
  CHECK(refused > 0);
  CHECK(buffers.stats().total_bytes == 400);
  CHECK(buffers.stats().arena.used == 512);
}
