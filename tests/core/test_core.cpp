// SPDX-License-Identifier: MIT
#include <allot/alignment/alignment.hpp>
#include <allot/core/block.hpp>
#include <allot/core/callback.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/core/version.hpp>

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <string>
#include <utility>

namespace {

using namespace allot;

struct NotAPolicy {};
struct NotAPowerOfTwo {
  static constexpr std::uint64_t value = 48;
};
struct ValueIsNoConstant {
  std::uint64_t value = 64;
};
struct ValueIsAnInt {
  static constexpr int value = 64;
};

static_assert(!Alignment<NotAPolicy>);
static_assert(!Alignment<int>);
static_assert(!Alignment<NotAPowerOfTwo>);
static_assert(!Alignment<ValueIsNoConstant>);
static_assert(!Alignment<ValueIsAnInt>);

constexpr std::uint64_t highest = ~std::uint64_t{0};

static_assert(checked_add(highest - 1, 1) == highest);
static_assert(!checked_add(highest, 1));
static_assert(checked_multiply(highest, 1) == highest);
static_assert(checked_multiply(highest, 0) == 0);
static_assert(!checked_multiply(highest / 2 + 1, 2));
static_assert(checked_align_up(1, 256) == 256);
static_assert(checked_align_up(256, 256) == 256);
static_assert(checked_align_up(0, 256) == 0);
static_assert(!checked_align_up(highest - 1, 256));
static_assert(align_down(511, 256) == 256);
static_assert(is_power_of_two(1) && !is_power_of_two(0) && !is_power_of_two(6));
static_assert(version() == ALLOT_VERSION && ALLOT_VERSION >= 100);
static_assert(largest_of<std::uint64_t> == highest);
static_assert(largest_of<std::uint16_t> == 0xFFFF);
static_assert(largest_of<std::int64_t> == 0x7FFF'FFFF'FFFF'FFFF);

std::string text(std::uint64_t bytes) { return ReadableBytes{bytes}.c_str(); }

}  // namespace

TEST_CASE("sizes read as people write them") {
  CHECK(text(0) == "0 B");
  CHECK(text(1023) == "1023 B");
  CHECK(text(1024) == "1 KiB");
  CHECK(text(1536) == "1.5 KiB");
  CHECK(text(MiB - 1) == "1023.99 KiB");
  CHECK(text(MiB + 11 * KiB) == "1.01 MiB");
  CHECK(text(485'452'288) == "462.96 MiB");
  CHECK(text(GiB) == "1 GiB");
  CHECK(text(404'424'884'224) == "376.64 GiB");
  CHECK(text(highest) == "15.99 EiB");
}

TEST_CASE("a text that outgrows its buffer is cut off, not written beyond it") {
  FixedText<8> small;
  small << "abc" << 1234567;
  CHECK(std::string{small.c_str()} == "abc1234");
}

TEST_CASE("the longest out-of-memory message is whole") {
  const OutOfMemory error{RefusalReason::fragmented, highest, highest, highest, highest, highest};
  const std::string message = error.what();
  CHECK(message.ends_with("ask for smaller pieces"));
}

/// Adds to what it holds.
/// \tparam Bytes  by which it is larger
template <std::size_t Bytes>
struct Adder {
  std::unique_ptr<int> value;
  std::array<char, Bytes> more{};
  int operator()(int other) { return *value += other; }
};

struct ThrowsWhenMoved {
  ThrowsWhenMoved() = default;
  ThrowsWhenMoved(ThrowsWhenMoved&&) noexcept(false) {}
  int operator()(int other) const { return other; }
};

int twice(int value) { return 2 * value; }

template <class Callable>
void check_callback(Callable callable) {
  Callback<int(int)> first{std::move(callable)};
  CHECK(first(1) == 2);
  Callback<int(int)> second{std::move(first)};
  CHECK(!first);
  CHECK(second(1) == 3);
  first = std::move(second);
  CHECK(!second);
  CHECK(first(1) == 4);
  first = nullptr;
  CHECK(!first);
}

TEST_CASE("a callback keeps its target when it is moved, whatever the size") {
  check_callback(Adder<1>{std::make_unique<int>(1)});
  check_callback(Adder<100>{std::make_unique<int>(1)});
}

TEST_CASE("the error for a block that was looked up by its address names the address") {
  const InvalidBlock error{reinterpret_cast<const void*>(std::uintptr_t{0xab0})};
  const std::string message = error.what();
  CHECK(error.defect() == BlockDefect::foreign);
  CHECK(message.find("address 0x") != std::string::npos);
  CHECK(message.find("ab0; free each block once, in the arena that made it") != std::string::npos);
}

TEST_CASE("a callback destroys its target once") {
  const auto watched = std::make_shared<int>();
  const auto small = [watched] {};
  const auto large = [watched, more = std::array<char, 100>{}] { static_cast<void>(more); };
  {
    Callback<void()> one{small};
    Callback<void()> other{large};
    std::swap(one, other);
    one = std::move(other);
    other = large;
    CHECK(watched.use_count() == 5);
  }
  CHECK(watched.use_count() == 3);
}

TEST_CASE("a callback made of a null pointer to a function is empty") {
  int (*none)(int) = nullptr;
  CHECK(!Callback<int(int)>{none});
  none = twice;
  const Callback<int(int)> callback{none};
  REQUIRE(callback);
  CHECK(callback(4) == 8);
}

TEST_CASE("a callback calls a function, and what throws when it is moved") {
  Callback<int(int)> callback{twice};
  CHECK(callback(4) == 8);
  callback = ThrowsWhenMoved{};
  Callback<int(int)> moved{std::move(callback)};
  CHECK(moved(4) == 4);
}

TEST_CASE("usages add, and the sum keeps both identities") {
  const Usage one{.capacity = 1024,
                  .used = 768,
                  .requested = 700,
                  .padding = 68,
                  .free = 256,
                  .largest_free = 256,
                  .free_blocks = 1,
                  .live_blocks = 3,
                  .peak_used = 1024};
  const Usage other{.capacity = 4096,
                    .used = 1024,
                    .requested = 1000,
                    .padding = 24,
                    .free = 3072,
                    .largest_free = 1536,
                    .free_blocks = 2,
                    .live_blocks = 1,
                    .peak_used = 2048};
  Usage sum = one;
  sum += other;
  CHECK(sum == Usage{.capacity = 5120,
                     .used = 1792,
                     .requested = 1700,
                     .padding = 92,
                     .free = 3328,
                     .largest_free = 1536,
                     .free_blocks = 3,
                     .live_blocks = 4,
                     .peak_used = 3072});
  CHECK(sum.used + sum.free == sum.capacity);
  CHECK(sum.requested + sum.padding == sum.used);
}

TEST_CASE("fragmentation is the part of the free bytes that no one block can have") {
  CHECK(Usage{}.fragmentation() == 0);
  Usage usage{};
  usage.free = 1024;
  usage.largest_free = 1024;
  CHECK(usage.fragmentation() == 0);
  usage.largest_free = 256;
  CHECK(usage.fragmentation() == 0.75);
}
