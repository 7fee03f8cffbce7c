// SPDX-License-Identifier: MIT
#include <allot/gguf/file.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/plan/planned_cache.hpp>
#include <allot/os/peak_memory.hpp>

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "commands.hpp"
#include "device_names.hpp"
#include "devices.hpp"
#include "load_shares.hpp"
#include "output.hpp"
#include "planning.hpp"

namespace {

using Json = nlohmann::ordered_json;
using allot::load::LoadReport;

double gib_per_second(const LoadReport& report) {
  if (report.seconds <= 0) return 0;
  return static_cast<double>(report.bytes) / static_cast<double>(allot::GiB) / report.seconds;
}

void print_json(const MemoryOptions& options, const allot::load::ModelFiles& files,
                const Result& result) {
  const allot::Usage& usage = result.usage;
  const LoadReport& report = result.report;
  allot::load::CacheBytes kept;
  if (result.plan.cache) kept = allot::load::bytes_of(result.plan.cache->groups);
  Json fallbacks = Json::array();
  for (const std::string& text : report.fallbacks) fallbacks.push_back(printable(text));
  const Json out = {{"file", printable(options.file)},
                    {"tensors", tensors_of_model(result.plan).count},
                    {"tensor_bytes", tensors_of_model(result.plan).bytes},
                    {"device", options.device},
                    {"device_allocations", report.device_allocations},
                    {"arena",
                     {{"capacity", usage.capacity},
                      {"used", usage.used},
                      {"padding", usage.padding},
                      {"free", usage.free},
                      {"largest_free", usage.largest_free},
                      {"free_blocks", usage.free_blocks},
                      {"fragmentation", usage.fragmentation()}}},
                    {"arenas", arenas_json(result.plan)},
                    {"rules", rules_json(result.plan)},
                    {"fusions", fusions_json(result.plan)},
                    {"context", result.plan.cache ? result.plan.cache->context : 0},
                    {"cache_bytes", kept.cache},
                    {"state_bytes", kept.state},
                    {"files", files_json(files)},
                    {"scratch_bytes", result.plan.bytes_for(allot::load::Purpose::scratch)},
                    {"staging_bytes", report.staging_bytes},
                    {"direct_io", report.direct_io},
                    {"fallbacks", std::move(fallbacks)},
                    {"seconds", report.seconds},
                    {"gib_per_s", gib_per_second(report)},
                    {"verified", result.verified ? Json(*result.verified) : Json(nullptr)}};
  print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_text(const MemoryOptions& options, const allot::load::ModelFiles& files,
                const Result& result) {
  const allot::Usage& usage = result.usage;
  const LoadReport& report = result.report;
  print("Loaded {}\n", printable(options.file));
  print("  tensors            {} on {}, {}\n", tensors_of_model(result.plan).count, options.device,
        size_text(tensors_of_model(result.plan).bytes));
  print_files(files);
  if (const auto bytes = result.plan.bytes_for(allot::load::Purpose::cache); bytes != 0)
    print("  KV cache           {} for a context of {}\n", size_text(bytes),
          result.plan.cache->context);
  if (const auto bytes = result.plan.bytes_for(allot::load::Purpose::scratch); bytes != 0)
    print("  scratch            {}\n", size_text(bytes));
  print("  device allocations {}\n", report.device_allocations);
  print_rules(result.plan);
  print_fusions(result.plan);
  print("  arena{}             {}\n", report.device_allocations == 1 ? " " : "s",
        size_text(usage.capacity));
  print("    used             {} in {}\n", size_text(usage.used),
        counted(usage.live_blocks, "block"));
  print("    padding          {}\n", size_text(usage.padding));
  print("    free             {} in {}, fragmentation {:.1f} %\n", size_text(usage.free),
        counted(usage.free_blocks, "block"), usage.fragmentation() * 100);
  if (report.staging_bytes == 0) {
    print("  path               read straight into place\n");
  } else {
    print("  path               through {} of staging memory, {}{}\n",
          size_text(report.staging_bytes), counted(options.load.streams, "stream"),
          report.direct_io ? ", past the page cache" : "");
  }
  for (const std::string& text : report.fallbacks)
    print("  instead            {}\n", printable(text));
  print("  time               {:.3f} s, {:.2f} GiB/s\n", report.seconds, gib_per_second(report));
  print("  peak memory        {}\n", size_text(allot::os::peak_resident_bytes()));
  print("  verified           {}\n", result.verified ? "every byte" : "no (--verify)");
}

}  // namespace

void load(const MemoryOptions& asked) {
  if (asked.shares.count() != 1) return load_shares(asked);
  const allot::load::ModelFiles files = open_files(asked.file, asked.placing);
  const allot::gguf::File& file = files;
  MemoryOptions options = asked;
  options.draft = files.draft();
  DeviceKind kind = DeviceKind::host;  // if there is no other beside it
  for (const DeviceName& device : read_devices(options.device)) {
    if (device.kind != DeviceKind::host) kind = device.kind;
  }
  const Result result = kind == DeviceKind::host          ? load_on_host(options, file)
                        : kind == DeviceKind::staged_host ? load_on_staged_host(options, file)
                                                          : load_on_hip(options, file);
  options.json ? print_json(options, files, result) : print_text(options, files, result);
}
