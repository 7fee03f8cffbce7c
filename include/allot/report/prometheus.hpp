// SPDX-License-Identifier: MIT
/// \file
/// `PrometheusText`: usage and statistics in the text format that Prometheus reads.
#pragma once

#include <allot/core/block.hpp>
#include <allot/pool/buffers/stats.hpp>
#include <allot/pool/kv/kv_keys.hpp>
#include <allot/pool/kv/stats.hpp>
#include <allot/pool/named/stats.hpp>
#include <allot/pool/workspace/workspace_options.hpp>
#include <allot/report/detail/metrics.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace allot::report {

/// Collects statistics of several objects, and writes each metric once with a sample for each. Every
/// `add` takes the object's name, the value of the label `name`. Throws: `std::bad_alloc`.
class PrometheusText {
 public:
  /// Adds what `arena.usage()` returned.
  void add(std::string_view name, const Usage& usage) {
    add_all(name, usage, detail::usage_metrics);
  }
  /// Adds what `pool.stats()` returned.
  void add(std::string_view name, const PoolStats& stats) {
    add_all(name, stats, detail::pool_metrics);
  }
  /// Adds what `buffers.stats()` returned.
  void add(std::string_view name, const NamedBuffersStats& stats) {
    add_all(name, stats, detail::named_metrics);
  }
  /// Adds what `cache.stats()` returned.
  void add(std::string_view name, const KvCacheStats& stats) {
    add_all(name, stats, detail::kv_metrics);
  }
  /// Adds what `cache.stats(key)` returned. \param name  of the key
  void add(std::string_view name, const KvKeyStats& stats) {
    add_all(name, stats, detail::kv_key_metrics);
  }
  /// Adds what `workspace.stats()` returned.
  void add(std::string_view name, const WorkspaceStats& stats) {
    add_all(name, stats, detail::workspace_metrics);
  }

  /// Returns the text, for the content type `text/plain; version=0.0.4`.
  [[nodiscard]] std::string text() const {
    std::string all;
    for (const Family& family : families_) all += family.head + family.samples;
    return all;
  }

 private:
  struct Family {
    const char* name;
    std::string head;     // what it is
    std::string samples;  // a line each
  };

  template <class Stats, std::size_t Count>
  void add_all(std::string_view name, const Stats& stats,
               const detail::Metric<Stats> (&metrics)[Count]) {
    std::string label = "{name=\"";
    for (const char c : name) {
      if (c == '\n') {
        label += "\\n";
        continue;
      }
      if (c == '"' || c == '\\') label += '\\';
      label += c;
    }
    label += "\"} ";
    for (const detail::Metric<Stats>& metric : metrics)
      family_of(metric.name, metric.is_counter, metric.help).samples +=
          metric.name + label + std::to_string(stats.*metric.value) + '\n';
  }

  Family& family_of(const char* name, bool is_counter, const char* help) {
    for (Family& family : families_)
      if (std::string_view{family.name} == name) return family;
    const std::string text{name};
    families_.push_back({name,
                         "# HELP " + text + ' ' + help + "\n# TYPE " + text +
                             (is_counter ? " counter\n" : " gauge\n"),
                         ""});
    return families_.back();
  }

  std::vector<Family> families_;
};

}  // namespace allot::report
