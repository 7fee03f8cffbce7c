// SPDX-License-Identifier: MIT
#include <allot/gguf/file.hpp>
#include <allot/load/plan.hpp>

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "commands.hpp"
#include "output.hpp"

namespace {

using Json = nlohmann::ordered_json;

void print_json(const MemoryOptions& options, const allot::load::Plan& plan) {
  Json arenas = Json::array();
  for (const allot::load::PlannedArena& arena : plan.arenas) {
    arenas.push_back({{"device", arena.device},
                      {"capacity", arena.capacity},
                      {"used", arena.used},
                      {"padding", arena.padding}});
  }
  const Json out = {{"file", printable(options.file)},     {"tensors", plan.items.size()},
                    {"tensor_bytes", plan.tensor_bytes()}, {"alignment", options.alignment},
                    {"arenas", std::move(arenas)},         {"total_bytes", plan.total_bytes()}};
  fmt::print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_text(const MemoryOptions& options, const allot::load::Plan& plan) {
  fmt::print("Plan for {}\n", printable(options.file));
  fmt::print("  tensors      {:>6}  {}\n", plan.items.size(), size_text(plan.tensor_bytes()));
  for (const allot::load::PlannedArena& arena : plan.arenas) {
    fmt::print("  arena on {:<10} {}\n", arena.device, size_text(arena.capacity));
    fmt::print("    alignment        {} bytes\n", arena.alignment);
    fmt::print("    padding          {}\n", size_text(arena.padding));
  }
  if (plan.arenas.empty()) fmt::print("  no tensor data: nothing to reserve\n");
  fmt::print("  total to reserve   {}, read in {} extent{}\n", size_text(plan.total_bytes()),
             plan.steps.size(), plan.steps.size() == 1 ? "" : "s");
}

}  // namespace

void plan(const MemoryOptions& options) {
  const allot::gguf::File file{options.file};
  const allot::load::Plan made = with_alignment(options.alignment, [&]<class Policy>() {
    return allot::load::make_plan<Policy>(file, {.device = options.device});
  });
  options.json ? print_json(options, made) : print_text(options, made);
}
