// SPDX-License-Identifier: MIT
#include <allot/strategy/fixed_blocks.hpp>

#include "laws.hpp"

using namespace allot;

ALLOT_TEST_LAWS(Arena<FixedBlocks<1>, AlignTo<1>>, Arena<FixedBlocks<8>, AlignTo<256>>,
                Arena<FixedBlocks<16>, AlignTo<4096>, Locked<std::mutex>>,
                Arena<FixedBlocks<4>, AlignTo<256>, Unsynchronized, HostMemory>);

TEST_CASE("fixed blocks are placed exactly where their naive model places them") {
  test::check_against_model<FixedBlocks<1>, test::NaiveFixedBlocks<1>>();
  test::check_against_model<FixedBlocks<8>, test::NaiveFixedBlocks<8>>();
  test::check_against_model<FixedBlocks<12>, test::NaiveFixedBlocks<12>>();
}
