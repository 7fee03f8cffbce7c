// SPDX-License-Identifier: MIT
#include <allot/report/prometheus.hpp>

#include <doctest/doctest.h>

#include <map>
#include <regex>
#include <sstream>
#include <string>

using namespace allot;

TEST_CASE("Prometheus' text has each metric's type once, and a sample for each object") {
  report::PrometheusText metrics;
  Usage usage{};
  usage.used = 512;
  PoolStats pool;
  pool.hits = 7;
  metrics.add("a \"quoted\" \\ name\n", usage);
  metrics.add("scratch", usage);
  metrics.add("pool", pool);
  metrics.add("named", NamedBuffersStats{});
  metrics.add("kv", KvCacheStats{});
  metrics.add("tenant", KvKeyStats{});
  metrics.add("workspace", WorkspaceStats{});
  const std::string text = metrics.text();
  CHECK(text.find("# HELP allot_arena_used_bytes Bytes in live blocks, as granted.\n"
                  "# TYPE allot_arena_used_bytes gauge\n"
                  "allot_arena_used_bytes{name=\"a \\\"quoted\\\" \\\\ name\\n\"} 512\n"
                  "allot_arena_used_bytes{name=\"scratch\"} 512\n") != std::string::npos);
  CHECK(
      text.find("# TYPE allot_pool_hits_total counter\nallot_pool_hits_total{name=\"pool\"} 7\n") !=
      std::string::npos);
  const std::regex line_form{
      R"(# HELP [a-z_]+ [A-Z].*\.|# TYPE [a-z_]+ (gauge|counter)|[a-z_]+\{name="[^\n]*"\} [0-9]+)"};
  std::map<std::string, int> types;
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);) {
    CHECK_MESSAGE(std::regex_match(line, line_form), line);
    if (line.starts_with("# TYPE")) ++types[line];
  }
  CHECK(types.size() == 8 + 13 + 12 + 14 + 6 + 7);
  for (const auto& each : types) CHECK_MESSAGE(each.second == 1, each.first);
}
