// SPDX-License-Identifier: MIT
#include <allot/offsets/plan_offsets.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "offsets/check_plan.hpp"
#include "offsets/packing_boxes.hpp"
#include "support/sanitizers.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;

/// A file of `id,lower,upper,size`, alive in [lower, upper).
std::vector<Lifetime> read_instance(const std::filesystem::path& path) {
  std::ifstream file{path};
  std::string line;
  std::getline(file, line);
  REQUIRE(line == "id,lower,upper,size");
  std::vector<Lifetime> lifetimes;
  while (std::getline(file, line)) {
    std::uint64_t numbers[4] = {};
    const char* at = line.c_str();
    for (std::uint64_t& number : numbers) {
      char* end = nullptr;
      number = std::strtoull(at, &end, 10);
      at = end + 1;
    }
    lifetimes.push_back({numbers[3], numbers[1], numbers[2] - 1, 1});
  }
  return lifetimes;
}

}  // namespace

TEST_CASE("MiniMalloc's challenging instances fit what they are known to fit, or less") {
  const auto data = test::data_dir();
  if (!data) return;
  for (const char name : std::string{"ABCDEFGHIJK"}) {
    CAPTURE(name);
    const std::vector<Lifetime> lifetimes =
        read_instance(*data / "packing" / "challenging" / (std::string{name} + ".1048576.csv"));
    const OffsetPlan plan = plan_offsets(lifetimes, {.work = 160'000'000});
    test::require_right(lifetimes, plan);
    CHECK(plan.bytes <= (name == 'C' ? 1'039'360 : 1'048'576));
    const OffsetFit fit = fit_offsets(lifetimes, 1'048'576, {.work = 30'000'000});
    REQUIRE(fit.verdict == OffsetFit::Verdict::fits);
    test::require_right(lifetimes, fit.plan);
    CHECK(fit.plan.bytes <= 1'048'576);
  }
}

TEST_CASE("graphs of tens of thousands of buffers are planned within 0.3 % of the lower bound") {
  const auto data = test::data_dir();
  if (!data || test::is_sanitized) return;
  for (const char* const name : {"G_1", "resnet50", "pangu_2.6B", "S_1", "Y_1"}) {
    CAPTURE(name);
    const std::vector<Lifetime> lifetimes =
        read_instance(*data / "packing" / "idealloc" / (std::string{name} + ".csv"));
    const OffsetPlan plan = plan_offsets(lifetimes, {.work = 200'000'000});
    test::require_right_by_step(lifetimes, plan);
    CHECK(plan.bytes - plan.lower_bound <= plan.lower_bound / 1000 * 3);
  }
}

TEST_CASE("a rectangle that was cut into fifty boxes is put together again") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    const std::vector<Lifetime> lifetimes = test::packing_boxes(50, seed);
    const OffsetPlan plan = plan_offsets(lifetimes, {.work = 30'000'000});
    test::require_right(lifetimes, plan);
    CHECK(plan.bytes == test::packing_bytes);
    CHECK(!plan.is_cut_short);
  }
}
