// SPDX-License-Identifier: MIT
#include <allot/device/host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan.hpp>

#include <fmt/core.h>

#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "commands.hpp"
#include "output.hpp"

namespace {

using Json = nlohmann::ordered_json;

struct Result {
  std::uint64_t tensors = 0;
  allot::Usage usage{};
  double fragmentation = 0;
  std::size_t allocations = 0;
  double seconds = 0;
  std::optional<bool> verified;
};

void check_margin(const MemoryOptions& options, const allot::load::Plan& plan,
                  const allot::HostDevice& device) {
  if (options.margin == "usual") return allot::load::check(plan, device);
  if (options.margin == "none") return allot::load::check(plan, device, allot::load::NoMargin{});
  std::uint64_t percent = 0;
  std::from_chars(options.margin.data(), options.margin.data() + options.margin.size(), percent);
  allot::load::check(plan, device, allot::load::PercentMargin{percent});
}

template <class Policy>
Result load_with(const MemoryOptions& options) {
  const allot::gguf::File file{options.file};
  const allot::load::Plan plan = allot::load::make_plan<Policy>(file, {.device = options.device});
  allot::HostDevice device;
  check_margin(options, plan, device);

  const auto start = std::chrono::steady_clock::now();
  const auto model = [&] {
    ProgressBar bar;
    return allot::load::load<Policy>(file, plan, device,
                                     [&](const allot::load::Progress& progress) {
                                       bar.draw(progress);
                                       return true;
                                     });
  }();
  const auto end = std::chrono::steady_clock::now();

  Result result;
  result.seconds = std::chrono::duration<double>(end - start).count();
  result.tensors = plan.items.size();
  result.allocations = model.arenas().size();
  if (!model.arenas().empty()) {
    result.usage = model.arenas().front().usage();
    result.fragmentation = model.arenas().front().fragmentation();
  }
  if (options.verify) {
    if (const auto difference = allot::load::verify(file, model)) {
      throw std::runtime_error{"tensor " + printable(difference->tensor) +
                               " differs from the file at byte " +
                               std::to_string(difference->byte) + "; load it again"};
    }
    result.verified = true;
  }
  result.usage.requested = plan.tensor_bytes();
  return result;
}

void print_json(const MemoryOptions& options, const Result& result) {
  const allot::Usage& usage = result.usage;
  const double gib = static_cast<double>(usage.requested) / static_cast<double>(allot::GiB);
  const Json out = {{"file", printable(options.file)},
                    {"tensors", result.tensors},
                    {"tensor_bytes", usage.requested},
                    {"device", options.device},
                    {"device_allocations", result.allocations},
                    {"arena",
                     {{"capacity", usage.capacity},
                      {"used", usage.used},
                      {"padding", usage.padding},
                      {"free", usage.free},
                      {"largest_free", usage.largest_free},
                      {"free_blocks", usage.free_blocks},
                      {"fragmentation", result.fragmentation}}},
                    {"seconds", result.seconds},
                    {"gib_per_s", result.seconds > 0 ? gib / result.seconds : 0},
                    {"verified", result.verified ? Json(*result.verified) : Json(nullptr)}};
  fmt::print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_text(const MemoryOptions& options, const Result& result) {
  const allot::Usage& usage = result.usage;
  const double gib = static_cast<double>(usage.requested) / static_cast<double>(allot::GiB);
  fmt::print("Loaded {}\n", printable(options.file));
  fmt::print("  tensors            {} on {}, {}\n", result.tensors, options.device,
             size_text(usage.requested));
  fmt::print("  device allocations {}\n", result.allocations);
  fmt::print("  arena              {}\n", size_text(usage.capacity));
  fmt::print("    padding          {}\n", size_text(usage.padding));
  fmt::print("    free             {} in {} blocks, fragmentation {:.1f} %\n",
             size_text(usage.free), usage.free_blocks, result.fragmentation * 100);
  fmt::print("  time               {:.3f} s, {:.2f} GiB/s\n", result.seconds,
             result.seconds > 0 ? gib / result.seconds : 0);
  fmt::print("  peak memory        {}\n", size_text(peak_resident_bytes()));
  fmt::print("  verified           {}\n", result.verified ? "every byte" : "no (--verify)");
}

}  // namespace

void load(const MemoryOptions& options) {
  if (options.device != "host") {
    throw std::runtime_error{"device " + options.device +
                             " is not there: this build has no HIP; use --device host"};
  }
  const Result result =
      with_alignment(options.alignment, [&]<class Policy>() { return load_with<Policy>(options); });
  options.json ? print_json(options, result) : print_text(options, result);
}
