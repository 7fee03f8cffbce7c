// SPDX-License-Identifier: MIT
/// \file
/// `HostDevice`: the host itself as a device. What is free is the smaller of what the system has
/// available and what the process's control group leaves.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/device/device.hpp>
#include <allot/memory/host_memory.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

namespace allot {

/// How the host's files say what memory is free. Each takes the text or folder, so that tests can.
namespace host_memory_info {

/// The first number of a text, or nothing (`max`, an empty text).
[[nodiscard]] inline std::optional<std::uint64_t> number(std::string_view text) {
  const std::size_t start = text.find_first_not_of(" \t\n");
  if (start == std::string_view::npos) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data() + start, text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

[[nodiscard]] inline std::string read(const std::filesystem::path& path) {
  std::ifstream in{path};
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// A field of /proc/meminfo, in bytes.
[[nodiscard]] inline std::optional<std::uint64_t> field(std::string_view meminfo,
                                                        std::string_view name) {
  const std::size_t at = meminfo.find(std::string{name} + ":");
  if (at == std::string_view::npos) return std::nullopt;
  const auto kib = number(meminfo.substr(at + name.size() + 1));
  return kib ? checked_multiply(*kib, 1024) : std::nullopt;
}

/// What one control group leaves of its limit; nothing where it has none.
[[nodiscard]] inline std::optional<std::uint64_t> left_in(const std::filesystem::path& group,
                                                          const char* limit_file,
                                                          const char* usage_file) {
  const auto limit = number(read(group / limit_file));
  const auto usage = number(read(group / usage_file));
  if (!limit || !usage) return std::nullopt;
  return *limit > *usage ? *limit - *usage : 0;
}

/// What the groups of a process leave, from its own up to the root of the hierarchy.
/// \param membership  the text of /proc/self/cgroup
/// \param mount       where control groups are mounted, /sys/fs/cgroup
[[nodiscard]] inline std::uint64_t left_by_groups(std::string_view membership,
                                                  const std::filesystem::path& mount) {
  std::uint64_t left = std::numeric_limits<std::uint64_t>::max();
  std::istringstream lines{std::string{membership}};
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    if (!unified && ("," + controllers + ",").find(",memory,") == std::string::npos) continue;
    const std::filesystem::path root = unified ? mount : mount / "memory";
    std::filesystem::path group = std::filesystem::path{line.substr(second + 1)}.relative_path();
    for (;;) {
      const auto here =
          unified ? left_in(root / group, "memory.max", "memory.current")
                  : left_in(root / group, "memory.limit_in_bytes", "memory.usage_in_bytes");
      if (here) left = std::min(left, *here);
      if (group.empty()) break;
      group = group.parent_path();
    }
  }
  return left;
}

}  // namespace host_memory_info

/// Bytes of the host's memory: free is what the system has available, at most what the control
/// groups of this process leave.
[[nodiscard]] inline MemoryInfo host_memory() {
  const std::string meminfo = host_memory_info::read("/proc/meminfo");
  const std::uint64_t available = host_memory_info::field(meminfo, "MemAvailable")
                                      .value_or(std::numeric_limits<std::uint64_t>::max());
  const std::uint64_t left = host_memory_info::left_by_groups(
      host_memory_info::read("/proc/self/cgroup"), "/sys/fs/cgroup");
  return {.free = std::min(available, left),
          .total = host_memory_info::field(meminfo, "MemTotal").value_or(available)};
}

/// The host, with memory from one anonymous mapping. Its streams do their work at once.
class HostDevice {
 public:
  using memory_type = HostMemory;
  using staging_memory_type = HostMemory;
  struct stream_type {};
  struct event_type {};

  /// Huge pages are asked for: reading a model into fresh memory is mostly page faults.
  explicit HostDevice(HostMemory::Options options = {.huge_pages = true}) noexcept
      : options_{options} {}

  [[nodiscard]] HostMemory memory() const noexcept { return HostMemory{options_}; }

  [[nodiscard]] HostMemory staging_memory() const noexcept { return HostMemory{}; }
  [[nodiscard]] stream_type make_stream() const noexcept { return {}; }
  [[nodiscard]] event_type make_event() const noexcept { return {}; }

  void copy_to_device(void* to, const void* from, std::uint64_t bytes,
                      stream_type&) const noexcept {
    std::memmove(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, std::uint64_t bytes, stream_type&) const noexcept {
    std::memmove(to, from, bytes);
  }
  void copy_on_device(void* to, const void* from, std::uint64_t bytes,
                      stream_type&) const noexcept {
    std::memmove(to, from, bytes);
  }
  void record(event_type&, stream_type&) const noexcept {}
  void wait(stream_type&, event_type&) const noexcept {}
  void synchronize(stream_type&) const noexcept {}
  void synchronize(event_type&) const noexcept {}
  [[nodiscard]] bool is_done(const event_type&) const noexcept { return true; }

  [[nodiscard]] MemoryInfo memory_info() const { return host_memory(); }
  [[nodiscard]] bool host_addressable() const noexcept { return true; }
  [[nodiscard]] std::string name() const { return "host"; }

 private:
  HostMemory::Options options_;
};

static_assert(Device<HostDevice>);

}  // namespace allot
