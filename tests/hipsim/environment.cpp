// SPDX-License-Identifier: MIT
// hipsim for programs that know nothing of it, such as the allot tool: set up by the environment.
//
//   HIPSIM_MEMORY=300,100     two devices of so many MiB (default: one of 24 GiB)
//   HIPSIM_INTEGRATED=1       integrated GPUs
//   HIPSIM_LARGEST=64         no allocation above so many MiB
//   HIPSIM_FAIL=hipMalloc:0   the call of that name after so many more fails: out of memory
//   HIPSIM_FLIP=0:100         flips a bit of byte 100 of the first copy to a device
//   HIPSIM_LINK=2,0.5,10,100  a model of time: GiB/s of pinned and pageable copies, microseconds of
//                             a copy's latency and of an allocation; pageable copies are no crimes
//   HIPSIM_REPORT=file        at exit: what is live, one line; then a line for each crime
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "hipsim/simulator.hpp"

namespace hipsim {

namespace {

constexpr std::uint64_t mib = 1 << 20;

[[nodiscard]] std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void write_report() {
  std::ofstream out{variable("HIPSIM_REPORT")};
  const Live left = live();
  out << "live " << left.device_allocations << " " << left.pinned_allocations << " " << left.streams
      << " " << left.events << " pinned " << peak_pinned() << " hipMalloc " << calls("hipMalloc")
      << "\n";
  for (const Record& record : crimes()) out << to_text(record.crime) << ": " << record.text << "\n";
}

}  // namespace

Options options_of_environment() {
  Options options;
  if (const std::string sizes = variable("HIPSIM_MEMORY"); !sizes.empty()) {
    options.devices.clear();
    std::istringstream list{sizes};
    for (std::string size; std::getline(list, size, ',');)
      options.devices.push_back({.memory = std::stoull(size) * mib});
  }
  if (const std::string link = variable("HIPSIM_LINK"); !link.empty()) {
    options.pageable_copies_are_crimes = false;
    std::istringstream list{link};
    char comma = 0;
    DeviceModel model;
    list >> model.pinned_gib_per_s >> comma >> model.pageable_gib_per_s >> comma >>
        model.copy_latency_us >> comma >> model.allocation_us;
    for (DeviceModel& device : options.devices) {
      device.pinned_gib_per_s = model.pinned_gib_per_s;
      device.pageable_gib_per_s = model.pageable_gib_per_s;
      device.copy_latency_us = model.copy_latency_us;
      device.allocation_us = model.allocation_us;
    }
  }
  for (DeviceModel& device : options.devices) {
    device.is_integrated = !variable("HIPSIM_INTEGRATED").empty();
    if (const std::string largest = variable("HIPSIM_LARGEST"); !largest.empty())
      device.largest_allocation = std::stoull(largest) * mib;
  }
  return options;
}

void Simulator::obey_environment() {
  const auto pair = [](const std::string& text) {
    const std::size_t colon = text.find(':');
    return std::pair{text.substr(0, colon), std::stoull(text.substr(colon + 1))};
  };
  if (const std::string text = variable("HIPSIM_FAIL"); !text.empty()) {
    const auto [name, skipped] = pair(text);
    failures.push_back({name, skipped, hipErrorOutOfMemory});
  }
  if (const std::string text = variable("HIPSIM_FLIP"); !text.empty()) {
    const auto [skipped, byte] = pair(text);
    flip = Flip{std::stoull(skipped), byte};
  }
  if (!variable("HIPSIM_REPORT").empty()) std::atexit(write_report);
}

}  // namespace hipsim
