// SPDX-License-Identifier: MIT
#include <allot/observer/address_index.hpp>
#include <allot/report/recorder.hpp>
#include <allot/strategy/best_fit.hpp>

#include "laws.hpp"

using namespace allot;

ALLOT_TEST_LAWS(Arena<BestFit, AlignTo<1>>, Arena<BestFit, AlignTo<256>>,
                Arena<BestFit, AlignTo<4096>>, Arena<BestFit, AlignTo<256>, Locked<std::mutex>>,
                Arena<BestFit, AlignTo<256>, Unsynchronized, HostMemory>,
                Arena<BestFit, AlignTo<256>, Unsynchronized, OffsetsOnly, Ledger>,
                Arena<BestFit, AlignTo<256>, Unsynchronized, OffsetsOnly, AddressIndex>,
                Arena<BestFit, AlignTo<256>, Unsynchronized, OffsetsOnly, report::Recorder>,
                Arena<BestFit, AlignTo<256>, Unsynchronized, OffsetsOnly,
                      Observers<Ledger, Unobserved, Ledger>>,
                Arena<WideBestFit, AlignTo<1>>, Arena<WideBestFit, AlignTo<256>>);

TEST_CASE("best fit places every block exactly where its naive model does") {
  test::check_against_model<BestFit, test::NaiveBestFit>();
}

TEST_CASE("wide best fit places every block exactly where its naive model does") {
  test::check_against_model<WideBestFit, test::NaiveBestFit>();
}

TEST_CASE("bookkeeping of best fit is at most 48 bytes a used block, 72 a free one, and 64 KiB") {
  test::check_bookkeeping<BestFit>(48);
}

TEST_CASE(
    "bookkeeping of wide best fit is at most 56 bytes a used block, 80 a free one, and 64 KiB") {
  test::check_bookkeeping<WideBestFit>(56);
}
