// SPDX-License-Identifier: MIT
/// \file
/// The host's memory. Free is the least of what the system has available, what the control groups of
/// the process leave, and what its own limits leave.
///
/// | source                                      | what it leaves                                   |
/// |---------------------------------------------|--------------------------------------------------|
/// | `/proc/meminfo` `MemAvailable`              | the kernel's own estimate                        |
/// | `memory.max`, `memory.high` (version 2)     | limit - used, from the process's group up        |
/// | `memory.limit_in_bytes` (version 1)         | the same                                         |
/// | `memory.memsw.limit_in_bytes` (version 1)   | the same for memory and swap together            |
/// | `RLIMIT_AS`, `RLIMIT_DATA`                  | limit - what the process has mapped              |
/// | `RLIMIT_MEMLOCK`, for pinned memory only    | limit - what the process has locked              |
///
/// A group's inactive file cache is not used memory: the kernel drops it before it refuses anything.
/// Swap never counts as free memory, so `memory.swap.max` limits nothing here. On Windows the one source
/// is `GlobalMemoryStatusEx`; elsewhere, where none of these is there, free memory is not known.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/memory_info.hpp>
#include <allot/os/descriptor.hpp>
#include <allot/os/path.hpp>

#if defined(_WIN32)
#include <allot/os/detail/windows.hpp>
#else
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace allot {

/// Reads from the host's files how much memory is free. Each function takes the text or folder as
/// an argument, for tests.
namespace host_memory_info {

/// Returns the first number in a text, or nothing (`max`, an empty text).
template <class = void>
[[nodiscard]] std::optional<std::uint64_t> number(std::string_view text) {
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
template <class = void>
[[nodiscard]] std::string read(const os::Path& path) {
  std::string text;
#if !defined(_WIN32)
  const os::Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file.is_open()) return text;
  char part[4096];
  for (;;) {
    const ::ssize_t got = ::read(file.number(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(part, static_cast<std::size_t>(got));
  }
#else
  static_cast<void>(path);
#endif
  return text;
}

/// Returns a field of /proc/meminfo, in bytes.
template <class = void>
[[nodiscard]] std::optional<std::uint64_t> field(std::string_view meminfo, std::string_view name) {
  const std::size_t at = meminfo.find(std::string{name} + ":");
  if (at == std::string_view::npos) return std::nullopt;
  const auto kib = number(meminfo.substr(at + name.size() + 1));
  return kib ? checked_multiply(*kib, 1024) : std::nullopt;
}

/// Returns a field of a control group's `memory.stat`: a line `NAME NUMBER`.
template <class = void>
[[nodiscard]] std::optional<std::uint64_t> stat_field(std::string_view stat,
                                                      std::string_view name) {
  const std::string key = "\n" + std::string{name} + " ";
  const std::string text = "\n" + std::string{stat};
  const std::size_t at = text.find(key);
  if (at == std::string::npos) return std::nullopt;
  return number(std::string_view{text}.substr(at + key.size()));
}

/// Adds what a control group leaves of each limit that it has. What it uses is without its inactive
/// file cache.
/// \param folder   the group's
/// \param unified  version 2
template <class = void>
void add_group(std::vector<MemorySource>& sources, const std::string& folder, bool unified) {
  constexpr std::uint64_t no_limit = std::uint64_t{1} << 62;  // version 1 has a number for none
  const std::string stat = read(folder + "/memory.stat");
  auto cache =
      unified ? stat_field(stat, "inactive_file") : stat_field(stat, "total_inactive_file");
  if (!cache) cache = stat_field(stat, "inactive_file");
  const auto add = [&](const char* limit_file, const char* usage_file) {
    const auto limit = number(read(folder + limit_file));
    const auto usage = number(read(folder + usage_file));
    if (!limit || !usage || *limit >= no_limit) return;
    const std::uint64_t used = *usage - smaller(*usage, cache.value_or(0));
    sources.push_back({folder + limit_file, *limit - smaller(*limit, used)});
  };
  if (unified) {
    add("/memory.max", "/memory.current");
    add("/memory.high", "/memory.current");
  } else {
    add("/memory.limit_in_bytes", "/memory.usage_in_bytes");
    add("/memory.memsw.limit_in_bytes", "/memory.memsw.usage_in_bytes");
  }
}

/// Returns the parent folder of a group; empty at the root of the hierarchy.
[[nodiscard]] inline std::string_view group_above(std::string_view group) noexcept {
  const std::size_t slash = group.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : group.substr(0, slash);
}

/// Adds what the groups of a process leave, from its own up to the root.
/// \param membership  the text of /proc/self/cgroup
/// \param mount       the folder of the control groups, /sys/fs/cgroup
template <class = void>
void add_groups(std::vector<MemorySource>& sources, std::string_view membership,
                const os::Path& mount) {
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
    std::string_view group = line.substr(second + 1);
    group.remove_prefix(smaller(group.find_first_not_of('/'), group.size()));
    while (group.ends_with('/')) group.remove_suffix(1);
    for (;; group = group_above(group)) {
      const std::string root = mount.text() + (unified ? "" : "/memory");
      add_group(sources, group.empty() ? root : root + "/" + std::string{group}, unified);
      if (group.empty()) break;
    }
  }
}

/// Returns the least of what the sources leave; without any, the largest number.
template <class = void>
[[nodiscard]] std::uint64_t least_of(const std::vector<MemorySource>& sources) noexcept {
  std::uint64_t least = ~std::uint64_t{0};
  for (const MemorySource& source : sources) least = smaller(least, source.bytes);
  return least;
}

/// Returns the least that the groups of a process leave.
/// \param membership  as `add_groups`
/// \param mount       likewise
template <class = void>
[[nodiscard]] std::uint64_t left_by_groups(std::string_view membership, const os::Path& mount) {
  std::vector<MemorySource> sources;
  add_groups(sources, membership, mount);
  return least_of(sources);
}

/// Adds what a limit of the process leaves, if it has one.
/// \param limit   in bytes; the largest number: none
/// \param status  the text of /proc/self/status
/// \param field_name  the field in it that is limited
template <class = void>
void add_limit(std::vector<MemorySource>& sources, const char* name, std::uint64_t limit,
               std::string_view status, std::string_view field_name) {
  if (limit == ~std::uint64_t{0}) return;
  const std::uint64_t used = field(status, field_name).value_or(0);
  sources.push_back({name, limit - smaller(limit, used)});
}

#if !defined(_WIN32)

/// Returns the soft limit of a resource, in bytes; the largest number if there is none.
[[nodiscard]] inline std::uint64_t limit_of(int resource) noexcept {
  ::rlimit limit{};
  const auto which = static_cast<decltype(RLIMIT_AS)>(resource);
  if (::getrlimit(which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return ~std::uint64_t{0};
  return limit.rlim_cur;
}

#else

/// What Windows says of its memory.
struct Status {
  std::uint32_t length = sizeof(Status);
  std::uint32_t load = 0;  // percent
  std::uint64_t physical = 0;
  std::uint64_t free_physical = 0;
  std::uint64_t page_file = 0;
  std::uint64_t free_page_file = 0;
  std::uint64_t addresses = 0;
  std::uint64_t free_addresses = 0;
  std::uint64_t reserved = 0;
};
[[nodiscard]] inline std::optional<Status> status() noexcept {
  Status status;
  if (GlobalMemoryStatusEx(reinterpret_cast<_MEMORYSTATUSEX*>(&status)) == 0) return std::nullopt;
  return status;
}

#endif

}  // namespace host_memory_info

#if !defined(_WIN32)

/// Returns everything that limits how much of the host's memory this process can get, and what each
/// leaves now. Free memory is the least of them.
template <class = void>
[[nodiscard]] std::vector<MemorySource> host_memory_sources() {
  namespace info = host_memory_info;
  std::vector<MemorySource> sources;
  const std::string meminfo = info::read("/proc/meminfo");
  if (const auto available = info::field(meminfo, "MemAvailable"))
    sources.push_back({"/proc/meminfo MemAvailable", *available});
  info::add_groups(sources, info::read("/proc/self/cgroup"), "/sys/fs/cgroup");
  const std::string status = info::read("/proc/self/status");
  info::add_limit(sources, "RLIMIT_AS", info::limit_of(RLIMIT_AS), status, "VmSize");
  info::add_limit(sources, "RLIMIT_DATA", info::limit_of(RLIMIT_DATA), status, "VmData");
  return sources;
}

/// Returns what limits how much memory this process can pin besides: nothing if it may pin all that
/// it has. Drivers that pin memory themselves may not count it.
template <class = void>
[[nodiscard]] std::vector<MemorySource> pinned_memory_sources() {
  namespace info = host_memory_info;
  std::vector<MemorySource> sources;
  info::add_limit(sources, "RLIMIT_MEMLOCK", info::limit_of(RLIMIT_MEMLOCK),
                  info::read("/proc/self/status"), "VmLck");
  return sources;
}

/// Returns the bytes of the host's memory: free is the least of what `host_memory_sources` lists.
template <class = void>
[[nodiscard]] MemoryInfo host_memory() {
  const std::uint64_t free = host_memory_info::least_of(host_memory_sources());
  const auto total = host_memory_info::field(host_memory_info::read("/proc/meminfo"), "MemTotal");
  return {.free = free, .total = total.value_or(free)};
}

#else

template <class = void>
[[nodiscard]] std::vector<MemorySource> host_memory_sources() {
  std::vector<MemorySource> sources;
  if (const auto status = host_memory_info::status()) {
    sources.push_back({"GlobalMemoryStatusEx ullAvailPhys", status->free_physical});
    sources.push_back({"GlobalMemoryStatusEx ullAvailPageFile", status->free_page_file});
  }
  return sources;
}
template <class = void>
[[nodiscard]] std::vector<MemorySource> pinned_memory_sources() {
  return {};
}
template <class = void>
[[nodiscard]] MemoryInfo host_memory() {
  const std::uint64_t free = host_memory_info::least_of(host_memory_sources());
  const auto status = host_memory_info::status();
  return {.free = free, .total = status ? status->physical : free};
}

#endif

}  // namespace allot
