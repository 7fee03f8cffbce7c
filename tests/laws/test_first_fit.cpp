// SPDX-License-Identifier: MIT
#include <allot/strategy/first_fit.hpp>

#include "laws.hpp"

using namespace allot;

ALLOT_TEST_LAWS(Arena<FirstFit, AlignTo<1>>, Arena<FirstFit, AlignTo<256>>,
                Arena<FirstFit, AlignTo<4096>>, Arena<WideFirstFit, AlignTo<1>>,
                Arena<WideFirstFit, AlignTo<256>>);

TEST_CASE("first fit places every block exactly where its naive model does") {
  test::check_against_model<FirstFit, test::NaiveFirstFit>();
}

TEST_CASE("wide first fit places every block exactly where its naive model does") {
  test::check_against_model<WideFirstFit, test::NaiveFirstFit>();
}

TEST_CASE("bookkeeping of first fit is at most 48 bytes a used block, 72 a free one, and 64 KiB") {
  test::check_bookkeeping<FirstFit>(48);
}

TEST_CASE(
    "bookkeeping of wide first fit is at most 56 bytes a used block, 80 a free one, and 64 KiB") {
  test::check_bookkeeping<WideFirstFit>(56);
}
