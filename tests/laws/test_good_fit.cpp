// SPDX-License-Identifier: MIT
#include <allot/strategy/good_fit.hpp>

#include "laws.hpp"

using namespace allot;

ALLOT_TEST_LAWS(Arena<GoodFit, AlignTo<1>>, Arena<GoodFit, AlignTo<256>>,
                Arena<GoodFit, AlignTo<4096>>);

TEST_CASE("good fit places every block exactly where its naive model does") {
  test::check_against_model<GoodFit, test::NaiveGoodFit>();
}

TEST_CASE("bookkeeping of good fit is at most 48 bytes a used block, 72 a free one, and 64 KiB") {
  test::check_bookkeeping<GoodFit>(48);
}
