// SPDX-License-Identifier: MIT
/// \file
/// Plans, checks, loads and verifies on devices of one type.
#pragma once

#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/load/verify.hpp>

#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "devices.hpp"
#include "output.hpp"
#include "planning.hpp"

template <class SharedArena>
allot::Usage usage_of(std::span<const SharedArena> arenas) {
  allot::Usage all{};
  for (const SharedArena& arena : arenas) all += arena.usage();
  return all;
}

template <class Policy, class D>
Result load_with(const MemoryOptions& options, const allot::gguf::File& file,
                 std::vector<D>& devices) {
  std::vector<allot::load::PlannedDevice> planned;
  for (const D& device : devices) planned.push_back(allot::load::planned_device(device));
  const allot::load::Plan plan = make_plan(options, file, plan_options(options, planned));
  allot::load::check(plan, std::span<const D>{devices}, ChosenMargin{options.margin});

  const auto model = [&] {
    ProgressBar bar;
    return allot::load::load<Policy>(
        file, plan, std::span{devices}, [&](const allot::Progress& at) { bar.draw(at); },
        options.load);
  }();

  Result result{.plan = model.plan(),
                .report = model.report(),
                .usage = usage_of(model.arenas()),
                .verified = std::nullopt};
  if (options.verify) {
    if (const auto difference = allot::load::verify(file, model, std::span{devices})) {
      throw std::runtime_error{"tensor " + printable(difference->tensor) +
                               " differs from the file at byte " +
                               std::to_string(difference->byte) + "; load it again"};
    }
    result.verified = true;
  }
  return result;
}

template <class D>
Result load_on(const MemoryOptions& options, const allot::gguf::File& file,
               std::vector<D> devices) {
  return with_alignment(options.alignment,
                        [&]<class Policy>() { return load_with<Policy>(options, file, devices); });
}
