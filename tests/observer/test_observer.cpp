// SPDX-License-Identifier: MIT
#include <allot/observer/ledger.hpp>
#include <allot/observer/observer.hpp>
#include <allot/observer/observers.hpp>

#include <doctest/doctest.h>

#include <type_traits>

namespace {

using namespace allot;

struct NotAPolicy {};
struct TellsNoRefusal {
  void allocated(const Block&, const Request&) noexcept {}
  void deallocated(const Block&) noexcept {}
};
struct MayThrow : TellsNoRefusal {
  void refused(const Request&, RefusalReason) {}
};

static_assert(!Observer<NotAPolicy>);
static_assert(!Observer<int>);
static_assert(!Observer<TellsNoRefusal>);
static_assert(!Observer<MayThrow>);
static_assert(std::is_empty_v<Unobserved>);

}  // namespace

TEST_CASE("several observers are all notified") {
  Observers<Ledger, Unobserved, Ledger> both;
  both.allocated(Block{0, 512, {}}, Request{.bytes = 300});
  both.refused(Request{.bytes = 1}, RefusalReason::too_large);
  both.deallocated(Block{0, 512, {}});
  for (const Ledger& ledger : {both.get<0>(), both.get<2>()}) {
    CHECK(ledger.allocations() == 1);
    CHECK(ledger.refusals() == 1);
    CHECK(ledger.deallocated_bytes() == 512);
  }
}
