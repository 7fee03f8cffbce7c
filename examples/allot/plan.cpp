// SPDX-License-Identifier: MIT
#include <allot/core/readable_bytes.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/check.hpp>
#include <allot/load/plan/cache.hpp>
#include <allot/load/plan/fit.hpp>
#include <allot/load/plan/insufficient_memory.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/os/host_memory_info.hpp>

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cache_choice.hpp"
#include "commands.hpp"
#include "emit_llama.hpp"
#include "fitting.hpp"
#include "json_of.hpp"
#include "output.hpp"
#include "plan_shares.hpp"
#include "planning.hpp"

namespace {

using Json = nlohmann::ordered_json;
using allot::load::Plan;
using allot::load::PlannedDevice;
using allot::load::Purpose;

/// The context that was asked for or found, and the one that the model was made for.
struct Context {
  std::uint64_t tokens = 0;
  bool is_largest = false;
  std::optional<std::uint64_t> trained;
  std::optional<std::uint64_t> fitting;  // known if it was looked for; 0: none fits
  std::optional<allot::load::LimitedBy> limited_by;
};

/// What is printed of a plan besides.
struct Extras {
  const allot::load::ModelFiles& files;
  LlamaOptions llama{};
};

/// Returns how much a plan, margin included, exceeds what is free on a device; nothing if that is
/// unknown.
std::optional<std::uint64_t> deficit_of(const MemoryOptions& options, const Plan& plan,
                                        const PlannedDevice& device) {
  if (device.free_bytes == unknown_bytes) return std::nullopt;
  return allot::load::deficit_of(plan.bytes_on(device.name), device.free_bytes,
                                 ChosenMargin{options.margin});
}

/// Whether a plan fits all devices, and by how much it does not: nothing if that is unknown.
struct Verdict {
  std::optional<bool> fits;
  std::optional<std::uint64_t> short_of;
};

Verdict verdict_of(const MemoryOptions& options, const Plan& plan,
                   const std::vector<PlannedDevice>& devices) {
  std::uint64_t short_of = 0;
  bool is_known = true;
  for (const PlannedDevice& device : devices) {
    const auto deficit = deficit_of(options, plan, device);
    is_known = is_known && deficit;
    short_of += deficit.value_or(0);
  }
  if (short_of != 0) return {false, short_of};
  return is_known ? Verdict{true, 0} : Verdict{};
}

/// What was taken where the file does not say, in sentences.
Json assumed_json(const Plan& plan) {
  Json list = Json::array();
  for (const std::string& note : plan.notes) list.push_back(note);
  if (!plan.cache) return list;
  for (const std::string& sentence : plan.cache->assumed) list.push_back(sentence);
  return list;
}

/// What the free memory of each device is the least of. Staged devices also need pinned memory.
Json sources_json(const std::vector<PlannedDevice>& devices) {
  Json list = Json::array();
  const auto add = [&](const std::string& device, const allot::MemorySource& source) {
    list.push_back({{"source", source.source}, {"bytes", source.bytes}, {"device", device}});
  };
  bool is_staged = false;
  for (const PlannedDevice& device : devices) {
    for (const allot::MemorySource& source : device.sources) add(device.name, source);
    is_staged = is_staged || device.transfer == allot::load::Transfer::staged;
  }
  if (!is_staged) return list;
  for (const allot::MemorySource& source : allot::pinned_memory_sources()) add("pinned", source);
  return list;
}

void print_json(const MemoryOptions& options, const Plan& plan, const Context& context,
                const Verdict& verdict, const std::vector<PlannedDevice>& devices,
                const Extras& extras) {
  const ModelTensors tensors = tensors_of_model(plan);
  Json out = {{"file", printable(options.file)},  {"tensors", tensors.count},
              {"tensor_bytes", tensors.bytes},    {"alignment", options.alignment},
              {"arenas", arenas_json(plan)},      {"total_bytes", plan.total_bytes()},
              {"rules", rules_json(plan)},        {"extents", plan.steps.size()},
              {"files", files_json(extras.files)}};
  out["fits"] = json_of(verdict.fits);
  out["short_of"] = json_of(verdict.short_of);
  if (context.tokens != 0 || context.is_largest) {
    out["fitting_context"] = json_of(context.fitting);
    out["context"] = context.tokens;
    out["context_is_largest"] = context.is_largest;
    out["trained_context"] = json_of(context.trained);
    if (context.limited_by) out["limited_by"] = allot::load::to_text(*context.limited_by);
    if (plan.cache) add_cache_json(out, options.cache, *plan.cache);
  }
  if (const HostExperts experts = experts_on_host(plan, extras.files); experts.tensors != 0)
    out["experts_on_host"] = experts_json(experts);
  if (!options.placing.rules.empty()) out["places"] = places_json(options.placing, plan);
  if (plan.draft) add_cache_json(out["draft"], CacheChoice{}, *plan.draft);
  if (!extras.llama.arguments.empty()) {
    out["llama"] = extras.llama.arguments;
    out["notes"] = extras.llama.notes;
  }
  out["assumed"] = assumed_json(plan);
  if (!options.only.empty()) out["left_out"] = plan.left_out_count();
  out["fusions"] = fusions_json(plan);
  if (options.scratch_bytes != 0) out["scratch_bytes"] = plan.bytes_for(Purpose::scratch);
  Json list = Json::array();
  const ChosenMargin margin{options.margin};
  for (const PlannedDevice& device : devices) {
    const std::uint64_t planned = plan.bytes_on(device.name);
    const bool is_known = device.free_bytes != unknown_bytes;
    list.push_back({{"device", device.name},
                    {"planned", planned},
                    {"margin", margin(planned)},
                    {"free", is_known ? Json(device.free_bytes) : Json(nullptr)},
                    {"short_of", json_of(deficit_of(options, plan, device))},
                    {"path", allot::load::to_text(device.transfer)}});
  }
  out["devices"] = std::move(list);
  out["memory_sources"] = sources_json(devices);
  print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
}

/// The source that leaves the least memory of a device.
std::string least_source(const PlannedDevice& device) {
  for (const allot::MemorySource& source : device.sources) {
    if (source.bytes == device.free_bytes) return source.source;
  }
  return {};
}

/// What a device has to hold, in a table.
void print_device(const MemoryOptions& options, const Plan& plan, const PlannedDevice& device) {
  std::uint64_t bytes[5] = {};
  std::uint64_t items[5] = {};
  for (const allot::load::Item& item : plan.items) {
    if (!item.has_own_memory() || plan.arenas[item.arena].device != device.name) continue;
    bytes[static_cast<std::size_t>(item.purpose)] += item.bytes;
    ++items[static_cast<std::size_t>(item.purpose)];
  }
  std::uint64_t padding = 0;
  for (const auto& arena : plan.arenas) padding += arena.device == device.name ? arena.padding : 0;
  const std::uint64_t planned = plan.bytes_on(device.name);
  const auto row = [](const char* what, std::uint64_t amount, const std::string& note) {
    print("    {:<14} {:>12} {:>18}  {}\n", what, allot::ReadableBytes{amount}.c_str(),
          count_text(amount), note);
  };
  print("  {}, {}\n", device.name,
        device.transfer == allot::load::Transfer::direct ? "read straight into place"
                                                         : "staged through pinned slots");
  row("weights", bytes[0] + bytes[3],
      fmt::format("{}{}", counted(items[0] + items[3], "tensor"),
                  items[3] == 0 ? "" : fmt::format(", {} of them fused", items[3])));
  if (bytes[4] != 0) row("copies", bytes[4], "of the embedding, for the output here");
  if (bytes[1] != 0) row("KV cache", bytes[1], counted(items[1], "block"));
  if (bytes[2] != 0) row("scratch", bytes[2], "");
  row("padding", padding, "");
  row("to reserve", planned, "");
  if (device.free_bytes == unknown_bytes) return;
  const std::uint64_t kept = ChosenMargin{options.margin}(planned);
  row("to keep free", kept, "--margin " + options.margin);
  row("free", device.free_bytes, least_source(device));
  if (const auto deficit = deficit_of(options, plan, device); deficit != 0)
    row("short of", *deficit, "");
}

/// The context, how it was found, and what it could be.
std::string context_text(const Context& context) {
  const std::string made_for =
      context.trained ? fmt::format(" (the model was made for {})", count_text(*context.trained))
                      : std::string{};
  if (!context.limited_by) return context.tokens == 0 ? "" : count_text(context.tokens) + made_for;
  const std::string room =
      context.fitting ? "memory has room for " + count_text(*context.fitting) : "any length fits";
  switch (*context.limited_by) {
    case allot::load::LimitedBy::training:
      return fmt::format("up to {}, which the model was made for; {}", count_text(context.tokens),
                         room);
    case allot::load::LimitedBy::nothing:
      return "any: the model keeps no more for a longer one" + made_for;
    case allot::load::LimitedBy::memory:
      break;
  }
  if (context.tokens == 0) return "none fits beside the weights";
  return fmt::format("up to {}: {}{}", count_text(context.tokens), room, made_for);
}

void print_text(const MemoryOptions& options, const Plan& plan, const Context& context,
                const std::vector<PlannedDevice>& devices, const Extras& extras) {
  if (!extras.llama.arguments.empty()) {
    for (const std::string& note : extras.llama.notes)
      fmt::print(stderr, "allot: {}\n", printable(note));
    return print("{}\n", printable(shell_line(extras.llama.arguments)));
  }
  const ModelTensors tensors = tensors_of_model(plan);
  print("Plan for {}\n", printable(options.file));
  print("  tensors      {:>6}  {}\n", tensors.count, size_text(tensors.bytes));
  print_files(extras.files);
  if (const std::string text = context_text(context); !text.empty())
    print("  context      {}\n", text);
  if (plan.cache) print_cache(options.cache, *plan.cache);
  if (plan.draft) {
    print("  the draft model\n");
    print_cache(options.cache, *plan.draft);
  }
  for (const Json& sentence : assumed_json(plan))
    print("  note: {}\n", printable(sentence.get<std::string>()));
  if (plan.arenas.empty()) print("  no tensor data: nothing to reserve\n");
  print_rules(plan);
  print_fusions(plan);
  print_places(options.placing, plan);
  print_experts(experts_on_host(plan, extras.files));
  for (const PlannedDevice& device : devices) print_device(options, plan, device);
  print("  total to reserve   {} in {} allocation{}, aligned to {} bytes, read in {} extent{}\n",
        size_text(plan.total_bytes()), plan.arenas.size(), plan.arenas.size() == 1 ? "" : "s",
        options.alignment, plan.steps.size(), plan.steps.size() == 1 ? "" : "s");
}

/// Looks for the context, and changes the plan's to it.
void find_context(const MemoryOptions& options, const allot::gguf::File& file,
                  allot::load::PlanOptions& planned, Context& context) {
  const allot::load::FittingContext found = fitting_context(options, file, planned);
  context.tokens = found.context;
  context.limited_by = found.limited_by;
  if (found.fits_memory != allot::load::FittingContext::any) context.fitting = found.fits_memory;
  if (planned.cache && found.context != 0) planned.cache->context = found.context;
}

/// Plans also what no device has room for, so that it can be said how much is missing.
Plan make_plan_anyway(const MemoryOptions& options, const allot::gguf::File& file,
                      allot::load::PlanOptions planned) {
  try {
    return make_plan(options, file, planned);
  } catch (const allot::InsufficientMemory&) {
    for (PlannedDevice& device : planned.devices) {
      device.free_bytes = unknown_bytes;
      device.usable_bytes.reset();
    }
    return make_plan(options, file, planned);
  }
}

/// Returns one line: how much is missing where, and what would fit.
std::string misfit_text(const MemoryOptions& options, const Plan& plan, const Context& context,
                        const std::vector<PlannedDevice>& devices) {
  std::string text = "the plan does not fit: short of ";
  std::size_t named = 0;
  for (const PlannedDevice& device : devices) {
    const std::uint64_t deficit = deficit_of(options, plan, device).value_or(0);
    if (deficit == 0) continue;
    text += (named++ == 0 ? "" : ", ") +
            fmt::format("{} on {}", allot::ReadableBytes{deficit}.c_str(), device.name);
  }
  if (context.fitting && *context.fitting != 0)
    return text + fmt::format("; --context {} fits", *context.fitting);
  if (context.fitting) text += ", and not even a context of 1 fits";
  return text + "; free memory, use a smaller quantization or more devices, or lower --margin";
}

}  // namespace

void plan(const MemoryOptions& asked) {
  if (asked.shares.count() != 1) return plan_shares(asked);
  const allot::load::ModelFiles files = open_files(asked.file, asked.placing);
  const allot::gguf::File& file = files;
  MemoryOptions options = asked;
  options.draft = files.draft();
  const bool needs_free = options.fit() || device_names(options).size() > 1;
  const std::vector<PlannedDevice> devices = planned_devices(options, needs_free);
  allot::load::PlanOptions planned = plan_options(options, devices);
  Context context{.tokens = options.context,
                  .is_largest = options.fit() && options.context == 0,
                  .trained = {},
                  .fitting = {},
                  .limited_by = {}};
  planned.move_experts = options.fit() && is_beside_host(options);
  const bool looks_for_context = options.fit() && options.context == 0;
  if (looks_for_context) planned.cache = cache_options(options.cache, 1);
  std::optional<std::string> no_cache;
  if (planned.cache) no_cache = why_no_cache(file);
  if (no_cache) planned.cache.reset();
  std::optional<allot::load::PlannedCache> refused;
  std::optional<allot::load::PlannedCache> refused_draft;
  if (planned.cache) {
    context.trained = allot::load::trained_context(file);
    refused = allot::load::plan_cache(file, *planned.cache);
    if (refused->refused.empty()) refused.reset();
    if (!refused && options.draft != nullptr) {
      refused_draft =
          allot::load::plan_cache(*options.draft, allot::load::detail::draft_cache(*planned.cache));
      if (refused_draft->refused.empty()) refused_draft.reset();
    }
    if (refused_draft)
      refused = allot::load::PlannedCache{.context = planned.cache->context,
                                          .refused = "the draft model: " + refused_draft->refused};
  }
  if (refused) {
    planned.cache.reset();
  } else if (looks_for_context && !no_cache) {
    find_context(options, file, planned, context);
  }
  Plan made = make_plan_anyway(options, file, planned);
  if (no_cache) {
    made.notes.push_back(*no_cache);
    made.cache = allot::load::PlannedCache{.context = options.context};
  }
  if (refused) made.cache = refused;
  if (refused_draft) made.draft = refused_draft;
  const Verdict verdict = refused ? Verdict{} : verdict_of(options, made, devices);
  if (verdict.fits == false && !looks_for_context && made.bytes_for(Purpose::cache) != 0) {
    MemoryOptions any = options;
    any.fit_limit = "memory";
    context.fitting = fitting_context(any, file, planned).fits_memory;
  }
  Extras extras{.files = files};
  if (!options.placing.emit.empty()) extras.llama = llama_options(options, files, made);
  options.json ? print_json(options, made, context, verdict, devices, extras)
               : print_text(options, made, context, devices, extras);
  if (refused)
    throw std::runtime_error{options.cache.engine + " refuses this: " + refused->refused};
  if (verdict.fits == false) throw std::runtime_error{misfit_text(options, made, context, devices)};
}
