// SPDX-License-Identifier: MIT
#include <allot/strategy/linear.hpp>

#include "laws.hpp"

using namespace allot;

ALLOT_TEST_LAWS(Arena<Linear, AlignTo<1>>, Arena<Linear, AlignTo<256>>,
                Arena<Linear, AlignTo<256>, Unsynchronized, HostMemory>,
                Arena<Linear, AlignTo<256>, Locked<std::mutex>, OffsetsOnly, Ledger>);

TEST_CASE("linear places every block exactly where its naive model does") {
  test::check_against_model<Linear, test::NaiveLinear>();
}

TEST_CASE("bookkeeping of linear is at most 48 bytes a used block, 72 a free one, and 64 KiB") {
  test::check_bookkeeping<Linear>(48);
}
