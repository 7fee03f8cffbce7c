// SPDX-License-Identifier: MIT
// The pieces in which ranks read a file for each other, and what is made of each; that all of it comes
// to its place is shown in tests/distributed.
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/detail/piece_tiles.hpp>
#include <allot/load/plan/shared_pieces.hpp>
#include <allot/load/plan/shares.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"

TEST_CASE("rows of many matrices are turned, piece by piece, each once") {
  using namespace allot;
  constexpr std::uint64_t matrices = 20'000;  // all of them for each piece would take long
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  writer.add("general.architecture", "llama");
  for (const auto& [key, value] : {std::pair{"block_count", 1U},
                                   {"context_length", 64U},
                                   {"embedding_length", 8U},
                                   {"attention.head_count", 2U},
                                   {"attention.head_count_kv", 2U}})
    writer.add(std::string{"llama."} + key, value);
  writer.add_tensor("token_embd.weight", gguf::TensorType::F16, {8, 4, matrices},
                    test::fill_with_offsets);
  writer.write(folder.path() / "m.gguf");
  const gguf::File file{folder.path() / "m.gguf"};
  load::PlanOptions options;
  options.shares = {.tensor = 2};
  options.transforms.transpose = {"token*"};
  const std::vector<load::Plan> plans = load::make_shares(file, options);
  for (const load::Plan& plan : plans) REQUIRE(plan.steps.size() == 1);

  const load::detail::SharedPieces<void> pieces{file, plans, 64 * KiB};
  CHECK(pieces.all().size() == 2 * matrices);  // half of the rows of each
  std::vector<std::uint64_t> made(plans.size());
  for (const load::detail::SharedPiece& piece : pieces.all()) {
    for (const std::uint32_t rank : pieces.ranks_of(piece)) {
      const load::Plan& plan = plans[rank];
      load::detail::each_tile_of_piece(file, plan, plan.steps[0], piece.offset,
                                       piece.offset + piece.bytes, 64 * KiB,
                                       [&](const auto& tile) { made[rank] += tile.bytes; });
    }
  }
  for (std::size_t rank = 0; rank < plans.size(); ++rank)
    CHECK(made[rank] == plans[rank].steps[0].arena_bytes);
}
