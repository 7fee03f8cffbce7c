// SPDX-License-Identifier: MIT
#include <allot/core/checked.hpp>
#include <allot/offsets/plan_offsets.hpp>

#include <fmt/core.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "lifetimes_csv.hpp"
#include "offsets_svg.hpp"
#include "output.hpp"
#include "signals.hpp"
#include "text_files.hpp"

namespace {

using Json = nlohmann::ordered_json;

/// What the search came to.
struct Found {
  allot::OffsetPlan plan;
  std::optional<allot::OffsetFit> fit;  // if a capacity was given
  std::uint64_t capacity = 0;
  double seconds = 0;
};

Found search(const NamedLifetimes& buffers, const OffsetsOptions& options) {
  Found found;
  const Interruptible interruptible;
  ProgressBar bar;
  allot::OffsetPlanOptions how;
  if (options.work != 0) how.work = options.work;
  how.stream_wait_bytes = options.stream_wait_bytes;
  struct Stop {
    [[nodiscard]] bool stop_requested() const { return Interruptible::was_interrupted(); }
  };
  how.stop = Stop{};
  how.progress = [&](const allot::OffsetProgress& at) { bar.draw(at); };
  const auto start = std::chrono::steady_clock::now();
  if (options.capacities.empty()) {
    found.plan = allot::plan_offsets(buffers.lifetimes, how);
  } else {
    for (const std::uint64_t bytes : options.capacities)
      found.capacity =
          allot::checked_add(found.capacity, bytes).value_or(allot::largest_of<std::uint64_t>);
    how.capacities = options.capacities;
    found.fit = allot::fit_offsets(buffers.lifetimes, found.capacity, how);
    found.plan = std::move(found.fit->plan);
  }
  found.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return found;
}

Json ids_of(const NamedLifetimes& buffers, const std::vector<std::uint32_t>& numbers) {
  Json ids = Json::array();
  for (const std::uint32_t number : numbers) ids.push_back(printable(buffers.ids[number]));
  return ids;
}

Json to_json(const OffsetsOptions& options, const NamedLifetimes& buffers, const Found& found) {
  Json json = {{"file", printable(options.file)},
               {"buffers", buffers.lifetimes.size()},
               {"height", nullptr},
               {"lower_bound", found.plan.lower_bound},
               {"alignment", found.plan.alignment},
               {"found_by", nullptr},
               {"cut_short", found.plan.is_cut_short},
               {"interrupted", Interruptible::was_interrupted()},
               {"seconds", found.seconds}};
  const bool has_plan = found.plan.offsets.size() == buffers.lifetimes.size();
  if (has_plan) {
    json["height"] = found.plan.bytes;
    json["found_by"] = to_text(found.plan.order);
    json["offsets"] = found.plan.offsets;
    if (found.plan.memory_bytes.size() > 1) {
      json["memories"] = found.plan.memories;
      json["memory_bytes"] = found.plan.memory_bytes;
    }
    if (options.stream_wait_bytes != 0) json["stream_waits"] = found.plan.stream_waits;
  }
  if (found.fit) {
    json["capacity"] = found.capacity;
    json["verdict"] = to_text(found.fit->verdict);
    if (found.fit->verdict == allot::OffsetFit::Verdict::impossible) {
      json["step"] = found.fit->step;
      json["proof"] = ids_of(buffers, found.fit->buffers);
    }
    json["spill"] = {{"buffers", ids_of(buffers, found.fit->spill.buffers)},
                     {"bytes", found.fit->spill.bytes},
                     {"proven", found.fit->spill.is_proven}};
  }
  return json;
}

std::string list_of(const NamedLifetimes& buffers, const std::vector<std::uint32_t>& numbers) {
  constexpr std::size_t most = 8;
  std::string text;
  for (std::size_t i = 0; i < numbers.size() && i < most; ++i)
    text += (i == 0 ? "" : ", ") + printable(buffers.ids[numbers[i]]);
  if (numbers.size() > most) text += fmt::format(" and {} more", numbers.size() - most);
  return text;
}

void print_fit(const NamedLifetimes& buffers, const Found& found) {
  const allot::OffsetFit& fit = *found.fit;
  print("  capacity     {}: {}\n", size_text(found.capacity), to_text(fit.verdict));
  if (fit.verdict == allot::OffsetFit::Verdict::impossible) {
    print("  proof        {} buffer{} that cannot fit, most bytes at step {}: {}\n",
          fit.buffers.size(), fit.buffers.size() == 1 ? "" : "s", fit.step,
          list_of(buffers, fit.buffers));
  }
  if (!fit.spill.buffers.empty()) {
    print("  spill        {} in {} buffer{}, {}: {}\n", size_text(fit.spill.bytes),
          fit.spill.buffers.size(), fit.spill.buffers.size() == 1 ? "" : "s",
          fit.spill.is_proven ? "the fewest bytes there are" : "not proven to be the fewest",
          list_of(buffers, fit.spill.buffers));
  }
}

void print_table(const OffsetsOptions& options, const NamedLifetimes& buffers, const Found& found) {
  print("{}\n", printable(options.file));
  print("  buffers      {}\n", count_text(buffers.lifetimes.size()));
  if (found.plan.offsets.size() == buffers.lifetimes.size()) {
    const std::uint64_t above = found.plan.bytes - found.plan.lower_bound;
    print("  height       {}, {}\n", size_text(found.plan.bytes),
          above == 0 ? "the lower bound"
                     : fmt::format("{:.3f} % above the lower bound",
                                   100 * static_cast<double>(above) /
                                       static_cast<double>(found.plan.lower_bound)));
    print("  lower bound  {}\n", size_text(found.plan.lower_bound));
    print("  found by     {}{}\n", to_text(found.plan.order),
          Interruptible::was_interrupted() ? ", interrupted: the best so far"
          : found.plan.is_cut_short        ? "; more --work may find less"
                                           : "");
    for (std::size_t m = 0;
         found.plan.memory_bytes.size() > 1 && m < found.plan.memory_bytes.size(); ++m)
      print("  memory {}     {}\n", m, size_text(found.plan.memory_bytes[m]));
    if (options.stream_wait_bytes != 0)
      print("  waits        {} of a stream for another\n", found.plan.stream_waits);
  }
  if (found.fit) print_fit(buffers, found);
  print("  time         {:.3f} s\n", found.seconds);
}

/// Throws: `std::invalid_argument` if what is written would replace what is read, or the other output;
/// a device or a pipe may be named twice.
void refuse_to_write_twice(const std::string& input, const std::vector<std::string>& outputs) {
  std::error_code none;
  for (const std::string& output : outputs) {
    if (std::filesystem::is_regular_file(input, none) &&
        std::filesystem::equivalent(input, output, none))
      throw std::invalid_argument{printable(output) +
                                  " is the file that is read; write to another"};
  }
  const auto is_device = [&](const std::string& path) {
    return std::filesystem::exists(path, none) && !std::filesystem::is_regular_file(path, none);
  };
  const auto place_of = [&](const std::string& path) {  // also of what is not there yet
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path, none), none);
  };
  if (outputs.size() == 2 && !is_device(outputs[0]) && place_of(outputs[0]) == place_of(outputs[1]))
    throw std::invalid_argument{"--out and --svg are both " + printable(outputs[0]) +
                                "; give each a file"};
}

}  // namespace

void offsets(const OffsetsOptions& options) {
  std::vector<std::string> outputs;
  for (const std::string& path : {options.out, options.svg}) {
    if (!path.empty()) outputs.push_back(path);
  }
  refuse_to_write_twice(options.file, outputs);
  if (!options.force) refuse_to_overwrite(outputs);
  const std::string text = read_text(options.file);
  const NamedLifetimes buffers = parse_lifetimes(text, options.file);
  for (const std::string& name : buffers.ignored_columns)
    fmt::print(stderr, "allot: note: column '{}' is not used\n", printable(name));
  const Found found = search(buffers, options);
  const bool has_plan = found.plan.offsets.size() == buffers.lifetimes.size();
  const bool fits = !found.fit || found.fit->verdict == allot::OffsetFit::Verdict::fits;
  if (has_plan && fits) {
    if (!options.out.empty()) write_text(options.out, offsets_csv(buffers, found.plan));
    if (!options.svg.empty())
      write_text(options.svg, offsets_svg(buffers, found.plan, printable(options.file)));
  }
  if (options.json) {
    print("{}\n", to_json(options, buffers, found).dump(2));
  } else {
    print_table(options, buffers, found);
  }
  if (!fits) {
    throw std::runtime_error{fmt::format(
        "{} buffers {} {} bytes{}", buffers.lifetimes.size(),
        found.fit->verdict == allot::OffsetFit::Verdict::impossible ? "cannot fit"
                                                                    : "were not found to fit",
        found.capacity,
        found.fit->verdict == allot::OffsetFit::Verdict::impossible
            ? "; see spill for what to keep elsewhere"
            : "; give more --work, or keep elsewhere what spill lists")};
  }
}
