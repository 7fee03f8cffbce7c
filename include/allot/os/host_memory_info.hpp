// SPDX-License-Identifier: MIT
/// \file
/// The host's memory. Free is the smaller of what the system has available and what the control
/// groups of the process leave.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/memory_info.hpp>
#include <allot/os/descriptor.hpp>
#include <allot/os/path.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace allot {

/// Reads from the host's files how much memory is free. Each function takes the text or folder as
/// an argument, for tests.
namespace host_memory_info {

/// Returns the first number in a text, or nothing (`max`, an empty text).
[[nodiscard]] inline std::optional<std::uint64_t> number(std::string_view text) {
  const std::size_t start = text.find_first_not_of(" \t\n");
  if (start == std::string_view::npos || text[start] < '0' || text[start] > '9')
    return std::nullopt;
  std::optional<std::uint64_t> value = 0;
  for (const char digit : text.substr(start)) {
    if (digit < '0' || digit > '9') break;
    value = checked_multiply(*value, 10);
    if (value) value = checked_add(*value, static_cast<std::uint64_t>(digit - '0'));
    if (!value) break;
  }
  return value;
}

/// Returns the text of a file, as much as can be read.
[[nodiscard]] inline std::string read(const os::Path& path) {
  std::string text;
  const os::Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file.is_open()) return text;
  char part[4096];
  for (;;) {
    const ::ssize_t got = ::read(file.number(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(part, static_cast<std::size_t>(got));
  }
  return text;
}

/// Returns a field of /proc/meminfo, in bytes.
[[nodiscard]] inline std::optional<std::uint64_t> field(std::string_view meminfo,
                                                        std::string_view name) {
  const std::size_t at = meminfo.find(std::string{name} + ":");
  if (at == std::string_view::npos) return std::nullopt;
  const auto kib = number(meminfo.substr(at + name.size() + 1));
  return kib ? checked_multiply(*kib, 1024) : std::nullopt;
}

/// Returns what one control group leaves of its limit, or nothing if it has none.
[[nodiscard]] inline std::optional<std::uint64_t> left_in(const os::Path& group,
                                                          const char* limit_file,
                                                          const char* usage_file) {
  const auto limit = number(read(group.text() + "/" + limit_file));
  const auto usage = number(read(group.text() + "/" + usage_file));
  if (!limit || !usage) return std::nullopt;
  return *limit > *usage ? *limit - *usage : 0;
}

/// Returns the parent folder of a group; empty at the root of the hierarchy.
[[nodiscard]] inline std::string_view group_above(std::string_view group) noexcept {
  const std::size_t slash = group.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : group.substr(0, slash);
}

/// Returns the least that the groups of a process leave, from its own up to the root.
/// \param membership  the text of /proc/self/cgroup
/// \param mount       the folder of the control groups, /sys/fs/cgroup
[[nodiscard]] inline std::uint64_t left_by_groups(std::string_view membership,
                                                  const os::Path& mount) {
  std::uint64_t left = ~std::uint64_t{0};
  while (!membership.empty()) {  // a line: NUMBER:CONTROLLERS:GROUP
    const std::string_view line = membership.substr(0, membership.find('\n'));
    membership.remove_prefix(smaller(line.size() + 1, membership.size()));
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    const std::string listed = "," + std::string{controllers} + ",";
    if (!unified && listed.find(",memory,") == std::string::npos) continue;
    const std::string root = mount.text() + (unified ? "/" : "/memory/");
    std::string_view group = line.substr(second + 1);
    group.remove_prefix(smaller(group.find_first_not_of('/'), group.size()));
    for (;; group = group_above(group)) {
      const std::string folder = root + std::string{group};
      const auto here = unified ? left_in(folder, "memory.max", "memory.current")
                                : left_in(folder, "memory.limit_in_bytes", "memory.usage_in_bytes");
      if (here) left = smaller(left, *here);
      if (group.empty()) break;
    }
  }
  return left;
}

}  // namespace host_memory_info

/// Returns the bytes of the host's memory: free is what the system has available, but at most what
/// the control groups of this process leave.
[[nodiscard]] inline MemoryInfo host_memory() {
  const std::string meminfo = host_memory_info::read("/proc/meminfo");
  const std::uint64_t available =
      host_memory_info::field(meminfo, "MemAvailable").value_or(~std::uint64_t{0});
  const std::uint64_t left = host_memory_info::left_by_groups(
      host_memory_info::read("/proc/self/cgroup"), "/sys/fs/cgroup");
  return {.free = smaller(available, left),
          .total = host_memory_info::field(meminfo, "MemTotal").value_or(available)};
}

}  // namespace allot
