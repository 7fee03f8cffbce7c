// SPDX-License-Identifier: MIT
#include "plan_shares.hpp"

#include <allot/core/readable_bytes.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/check.hpp>
#include <allot/load/plan/plan.hpp>
#include <allot/load/plan/shares.hpp>

#include <fmt/core.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fitting.hpp"
#include "json_of.hpp"
#include "output.hpp"
#include "planning.hpp"

namespace {

using Json = nlohmann::ordered_json;
using allot::load::Plan;
using allot::load::PlannedDevice;
using allot::load::Purpose;

/// Returns the bytes of a plan's tensors that other ranks have too.
std::uint64_t repeated_bytes(const Plan& plan) {
  std::uint64_t bytes = 0;
  for (const allot::load::RepeatedItem& repeated : plan.repeated)
    bytes += plan.items[repeated.item].bytes;
  return bytes;
}

/// Returns the bytes that are missing on a rank's devices; nothing if a device's memory is not known.
std::optional<std::uint64_t> short_of(const MemoryOptions& options, const Plan& plan,
                                      const std::vector<PlannedDevice>& devices) {
  const ChosenMargin margin{options.margin};
  std::uint64_t missing = 0;
  for (const PlannedDevice& device : devices) {
    if (device.free_bytes == unknown_bytes) return std::nullopt;
    missing += allot::load::deficit_of(plan.bytes_on(device.name), device.free_bytes, margin);
  }
  return missing;
}

/// A tensor that is not divided: why, and on how many ranks it is.
struct Undivided {
  std::string reason;
  std::uint64_t ranks = 0;
  std::uint64_t bytes = 0;  // on all of them
};

/// By the tensor's number in the file.
std::map<std::uint32_t, Undivided> undivided_of(const std::vector<Plan>& plans) {
  std::map<std::uint32_t, Undivided> found;
  for (const Plan& plan : plans) {
    for (const allot::load::RepeatedItem& repeated : plan.repeated) {
      Undivided& one = found[repeated.item];
      one.reason = repeated.reason;
      ++one.ranks;
      one.bytes += plan.items[repeated.item].bytes;
    }
  }
  return found;
}

void print_json(const MemoryOptions& options, const std::vector<Plan>& plans,
                const std::vector<PlannedDevice>& devices,
                const std::optional<std::string>& no_cache) {
  Json ranks = Json::array();
  std::uint64_t total = 0;
  std::uint64_t missing = 0;
  bool is_known = true;
  for (const Plan& plan : plans) {
    const auto own = short_of(options, plan, devices);
    total += plan.total_bytes();
    missing += own.value_or(0);
    is_known = is_known && own;
    Json rank = {{"rank", plan.share->rank},
                 {"stage", plan.share->stage},
                 {"part", plan.share->part},
                 {"tensors", plan.tensor_count()},
                 {"tensor_bytes", plan.tensor_bytes()},
                 {"repeated_bytes", repeated_bytes(plan)},
                 {"cache_bytes", plan.bytes_for(Purpose::cache)},
                 {"total_bytes", plan.total_bytes()},
                 {"extents", plan.steps.size()},
                 {"arenas", arenas_json(plan)}};
    rank["fits"] = own ? Json(*own == 0) : Json(nullptr);
    rank["short_of"] = json_of(own);
    ranks.push_back(std::move(rank));
  }
  Json undivided = Json::array();
  for (const auto& [item, one] : undivided_of(plans)) {
    undivided.push_back({{"tensor", printable(plans.front().items[item].name)},
                         {"reason", one.reason},
                         {"ranks", one.ranks},
                         {"bytes", one.bytes}});
  }
  Json out = {{"file", printable(options.file)},
              {"shares",
               {{"pipeline", options.shares.pipeline},
                {"tensor", options.shares.tensor},
                {"ranks", options.shares.count()},
                {"move_to_blocks", options.shares.move_to_blocks}}},
              {"context", options.context},
              {"alignment", options.alignment},
              {"total_bytes", total},
              {"ranks", std::move(ranks)},
              {"repeated", std::move(undivided)}};
  out["assumed"] = Json::array();
  if (no_cache) out["assumed"].push_back(*no_cache);
  out["fits"] = is_known ? Json(missing == 0) : Json(nullptr);
  out["short_of"] = is_known ? Json(missing) : Json(nullptr);
  print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_text(const MemoryOptions& options, const std::vector<Plan>& plans,
                const std::vector<PlannedDevice>& devices,
                const std::optional<std::string>& no_cache) {
  const auto size = [](std::uint64_t bytes) {
    return std::string{allot::ReadableBytes{bytes}.c_str()};
  };
  print("Plan for {}, {} rank{}: {} stage{} of {} part{}\n", printable(options.file), plans.size(),
        plans.size() == 1 ? "" : "s", options.shares.pipeline,
        options.shares.pipeline == 1 ? "" : "s", options.shares.tensor,
        options.shares.tensor == 1 ? "" : "s");
  if (no_cache) print("  note: {}\n", printable(*no_cache));
  print("  {:>5} {:>5} {:>5} {:>12} {:>12} {:>12} {:>12} {:>12}\n", "rank", "stage", "part",
        "weights", "repeated", "KV cache", "to reserve", "short of");
  std::uint64_t total = 0;
  for (const Plan& plan : plans) {
    const auto missing = short_of(options, plan, devices);
    total += plan.total_bytes();
    print("  {:>5} {:>5} {:>5} {:>12} {:>12} {:>12} {:>12} {:>12}\n", plan.share->rank,
          plan.share->stage, plan.share->part, size(plan.tensor_bytes()),
          size(repeated_bytes(plan)), size(plan.bytes_for(Purpose::cache)),
          size(plan.total_bytes()),
          !missing        ? "?"
          : *missing == 0 ? "-"
                          : size(*missing));
  }
  print("  total to reserve   {}\n", size_text(total));
  std::map<std::string, Undivided> reasons;
  for (const auto& [item, one] : undivided_of(plans)) {
    Undivided& all = reasons[one.reason];
    ++all.ranks;  // tensors, here
    all.bytes += one.bytes;
  }
  for (const auto& [reason, all] : reasons) {
    print("  on several ranks   {:>4} tensor{} {:>12} in all: {}\n", all.ranks,
          all.ranks == 1 ? ", " : "s,", size(all.bytes), reason);
  }
}

}  // namespace

void plan_shares(const MemoryOptions& options) {
  const allot::load::ModelFiles files = open_files(options.file, options.placing);
  const allot::gguf::File& file = files;
  const std::vector<PlannedDevice> devices =
      planned_devices(options, device_names(options).size() > 1);
  allot::load::PlanOptions planned = plan_options(options, devices);
  std::optional<std::string> no_cache;
  if (planned.cache) no_cache = why_no_cache(file);
  if (no_cache) planned.cache.reset();
  const std::vector<Plan> plans = make_shares(options, file, planned);
  options.json ? print_json(options, plans, devices, no_cache)
               : print_text(options, plans, devices, no_cache);
  for (const Plan& plan : plans) {
    const std::uint64_t missing = short_of(options, plan, devices).value_or(0);
    if (missing == 0) continue;
    throw std::runtime_error{
        fmt::format("the plan of rank {} does not fit: short of {}; use more shares, a smaller "
                    "quantization or a "
                    "shorter context",
                    plan.share->rank, allot::ReadableBytes{missing}.c_str())};
  }
}
