// SPDX-License-Identifier: MIT
/// \file
/// Plans, checks, loads and verifies.
#pragma once

#include <allot/device/host_device.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/load/load_divided.hpp>
#include <allot/load/verify.hpp>

#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "devices.hpp"
#include "fitting.hpp"
#include "output.hpp"
#include "planning.hpp"

inline allot::Usage usage_of(const allot::load::DividedModel& model) {
  allot::Usage all{};
  for (const auto& arena : model.arenas()) all += arena->usage();
  return all;
}
template <class SharedArena>
allot::Usage usage_of(const allot::load::Model<SharedArena>& model) {
  allot::Usage all{};
  for (const SharedArena& arena : model.arenas()) all += arena.usage();
  return all;
}

/// \param devices  a device, or what `allot::load::devices` returned
template <class Policy, class D>
Result load_with(const MemoryOptions& options, const allot::gguf::File& file,
                 std::vector<allot::load::PlannedDevice> planned, D& devices) {
  leave_margins(options, planned);
  allot::load::PlanOptions wanted = plan_options(options, std::move(planned));
  if (options.fit()) fit(options, file, wanted);
  const allot::load::Plan plan = make_plan(options, file, wanted);
  allot::load::check(plan, devices, ChosenMargin{options.margin});

  const auto model = [&] {
    ProgressBar bar;
    return allot::load::load<Policy>(
        file, plan, devices, [&](const allot::Progress& at) { bar.draw(at); }, options.load);
  }();

  Result result{.plan = model.plan(),
                .report = model.report(),
                .usage = usage_of(model),
                .verified = std::nullopt};
  if (options.verify) {
    if (const auto difference = allot::load::verify(file, model, devices)) {
      throw std::runtime_error{"tensor " + printable(difference->tensor) +
                               " differs from the file at byte " +
                               std::to_string(difference->byte) + "; load it again"};
    }
    result.verified = true;
  }
  return result;
}

/// Loads onto GPUs, and onto the host beside them if the options name it.
template <class D>
Result load_on(const MemoryOptions& options, const allot::gguf::File& file,
               std::vector<D> devices) {
  std::vector<allot::HostDevice> hosts;
  for (const std::string& name : device_names(options)) {
    if (name == "host") hosts.emplace_back();
  }
  const auto all = allot::load::devices(std::span{devices}, std::span{hosts});
  return with_alignment(options.alignment, [&]<class Policy>() {
    return load_with<Policy>(options, file, all.planned(), all);
  });
}
