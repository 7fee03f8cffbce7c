// SPDX-License-Identifier: MIT
#include "run_counts.hpp"

#include <allot/core/readable_bytes.hpp>

#include <unistd.h>

#include <cstdio>

#include "own_file.hpp"
#include "server.hpp"

namespace allot::seam {
namespace {

[[nodiscard]] std::uint64_t sum_of(const std::map<std::string, std::uint64_t>& counts) {
  std::uint64_t sum = 0;
  for (const auto& [name, count] : counts) sum += count;
  return sum;
}

[[nodiscard]] std::string json_of(const std::map<std::string, std::uint64_t>& counts) {
  std::string text = "{";
  for (const auto& [name, count] : counts)
    text += (text.size() == 1 ? "\"" : ", \"") + name + "\": " + std::to_string(count);
  return text + "}";
}

}  // namespace

RunCounts& RunCounts::get() {
  static RunCounts& counts = *new RunCounts;
  return counts;
}

bool RunCounts::is_used() noexcept {
  const std::scoped_lock lock{mutex_};
  return process_ != 0;
}

void RunCounts::note_process() noexcept {
  if (process_ == 0) process_ = ::getpid();
}

void RunCounts::served(const char* call) noexcept try {
  const std::scoped_lock lock{mutex_};
  note_process();
  ++served_[call];
} catch (...) {
}

void RunCounts::driver_call(const char* call) noexcept try {
  const std::scoped_lock lock{mutex_};
  ++driver_[call];
} catch (...) {
}

void RunCounts::not_served(const char* call, const char* why, std::uint64_t bytes) noexcept try {
  const std::scoped_lock lock{mutex_};
  note_process();
  Count& count = not_served_[{call, why}];
  ++count.calls;
  count.bytes += bytes;
} catch (...) {
}

void RunCounts::waited() noexcept {
  const std::scoped_lock lock{mutex_};
  ++waits_;
}

void RunCounts::before_fork() noexcept { mutex_.lock(); }

void RunCounts::after_fork(bool is_child) noexcept {
  if (is_child) forget();
  mutex_.unlock();
}

void RunCounts::forget() noexcept {
  process_ = 0;
  served_.clear();
  driver_.clear();
  not_served_.clear();
  waits_ = 0;
}

void RunCounts::report() noexcept try {
  // Before the lock: the server counts while it holds its own.
  const auto devices = is_used() ? Server::get().devices() : std::map<int, ServedDevice>{};
  const std::scoped_lock lock{mutex_};
  // A child of vfork has its parent's memory until it is another program, or ends.
  if (process_ != ::getpid()) return;
  const std::uint64_t before = sum_of(served_);
  const std::uint64_t after = sum_of(driver_);
  std::string text = "allot run: " + std::to_string(before) +
                     " calls for device memory were served with " + std::to_string(after) +
                     " of the driver's; " + std::to_string(waits_) + " waits for a device\n";
  std::string json = "{\"process\": " + std::to_string(::getpid()) +
                     ", \"calls_served\": " + std::to_string(before) +
                     ", \"driver_calls\": " + std::to_string(after) +
                     ", \"waits\": " + std::to_string(waits_) +
                     ", \"served\": " + json_of(served_) + ", \"driver\": " + json_of(driver_) +
                     ", \"devices\": [";
  bool is_first = true;
  for (const auto& [number, device] : devices) {
    const auto readable = [](std::uint64_t bytes) {
      return std::string{ReadableBytes{bytes}.c_str()};
    };
    text += "  hip:" + std::to_string(number) + ": " + readable(device.peak_bytes) +
            " asked for at the peak, " + readable(device.peak_held) + " taken of " +
            readable(device.budget);
    if (device.live_blocks != 0) {
      text += "; " + std::to_string(device.live_blocks) + " blocks, " +
              readable(device.live_bytes) + ", live at the end";
    }
    text += "\n";
    json += std::string{is_first ? "" : ", "} + "{\"device\": " + std::to_string(number) +
            ", \"budget\": " + std::to_string(device.budget) +
            ", \"peak_bytes\": " + std::to_string(device.peak_bytes) +
            ", \"peak_held\": " + std::to_string(device.peak_held) +
            ", \"live_blocks\": " + std::to_string(device.live_blocks) +
            ", \"live_bytes\": " + std::to_string(device.live_bytes) + "}";
    is_first = false;
  }
  json += "], \"not_served\": [";
  is_first = true;
  for (const auto& [what, count] : not_served_) {
    const auto& [call, why] = what;
    text += "  not served: " + call + ", " + why + ": " + std::to_string(count.calls) +
            (count.calls == 1 ? " call" : " calls");
    if (count.bytes != 0) text += std::string{", "} + ReadableBytes{count.bytes}.c_str();
    text += "\n";
    json += std::string{is_first ? "" : ", "} + "{\"call\": \"" + call + "\", \"why\": \"" + why +
            "\", \"calls\": " + std::to_string(count.calls) +
            ", \"bytes\": " + std::to_string(count.bytes) + "}";
    is_first = false;
  }
  json += "]}\n";
  std::fputs(text.c_str(), stderr);
  const std::string path = make_own_file(variable("ALLOT_RUN_JSON"));
  if (path.empty()) return;
  if (std::FILE* const file = std::fopen(path.c_str(), "we")) {
    std::fputs(json.c_str(), file);
    std::fclose(file);
  }
} catch (...) {
}

}  // namespace allot::seam
