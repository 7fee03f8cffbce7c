// SPDX-License-Identifier: MIT
/// \file
/// `PrometheusText`: usage and statistics in the text format that Prometheus reads.
#pragma once

#include <allot/core/block.hpp>
#include <allot/pool/buffers/stats.hpp>
#include <allot/pool/kv/stats.hpp>
#include <allot/pool/named/stats.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace allot::report {

namespace detail {

/// A member of some statistics, as a metric.
template <class Stats>
struct Metric {
  const char* name;
  bool is_counter;  // it never falls; else a gauge
  const char* help;
  std::uint64_t Stats::*value;
};

inline constexpr Metric<Usage> usage_metrics[] = {
    {"allot_arena_capacity_bytes", false, "Bytes in the arena.", &Usage::capacity},
    {"allot_arena_used_bytes", false, "Bytes in live blocks, as granted.", &Usage::used},
    {"allot_arena_requested_bytes", false, "Bytes in live blocks, as requested.",
     &Usage::requested},
    {"allot_arena_free_bytes", false, "Bytes that are in no live block.", &Usage::free},
    {"allot_arena_largest_free_bytes", false, "The largest block that can be allocated.",
     &Usage::largest_free},
    {"allot_arena_free_blocks", false, "Free blocks.", &Usage::free_blocks},
    {"allot_arena_live_blocks", false, "Live blocks.", &Usage::live_blocks},
    {"allot_arena_peak_used_bytes", false, "The most bytes that were in use.", &Usage::peak_used},
};

inline constexpr Metric<PoolStats> pool_metrics[] = {
    {"allot_pool_hits_total", true, "Acquisitions served by a cached buffer.", &PoolStats::hits},
    {"allot_pool_misses_total", true, "Other acquisitions.", &PoolStats::misses},
    {"allot_pool_waits_total", true, "Hits for which a stream had to wait for another.",
     &PoolStats::waits},
    {"allot_pool_frees_total", true, "Cached buffers that went back to the arena.",
     &PoolStats::frees},
    {"allot_pool_requested_bytes", false, "Sizes asked for, of the buffers in use.",
     &PoolStats::requested},
    {"allot_pool_in_use_bytes", false, "Capacities of the buffers in use.", &PoolStats::in_use},
    {"allot_pool_cached_bytes", false, "Capacities of the cached buffers.", &PoolStats::cached},
    {"allot_pool_capacity_bytes", false, "Bytes of the arena and its further chunks.",
     &PoolStats::capacity},
    {"allot_pool_in_use_buffers", false, "Buffers in use.", &PoolStats::in_use_buffers},
    {"allot_pool_cached_buffers", false, "Cached buffers.", &PoolStats::cached_buffers},
    {"allot_pool_chunks", false, "Allocations from the system that are held.", &PoolStats::chunks},
    {"allot_pool_peak_in_use_bytes", false, "The most bytes that were in use.",
     &PoolStats::peak_in_use},
    {"allot_pool_peak_held_bytes", false, "The most bytes that were in use or cached.",
     &PoolStats::peak_held},
};

inline constexpr Metric<NamedBuffersStats> named_metrics[] = {
    {"allot_named_buffers_bytes", false, "Bytes of all capacities, and external ones.",
     &NamedBuffersStats::total_bytes},
    {"allot_named_buffers_external_bytes", false, "Bytes of external memory.",
     &NamedBuffersStats::external_bytes},
    {"allot_named_buffers_peak_bytes", false, "The most bytes that there were.",
     &NamedBuffersStats::peak_bytes},
    {"allot_named_buffers_limit_bytes", false, "The most bytes that there may be.",
     &NamedBuffersStats::limit_bytes},
    {"allot_named_buffers_held_bytes", false, "Bytes of all blocks in the arena.",
     &NamedBuffersStats::held_bytes},
    {"allot_named_buffers_waiting_bytes", false, "Bytes of blocks that only copies still hold.",
     &NamedBuffersStats::waiting_bytes},
    {"allot_named_buffers_allocations_total", true, "Buffers that were added.",
     &NamedBuffersStats::allocations},
    {"allot_named_buffers_frees_total", true, "Buffers that were freed.",
     &NamedBuffersStats::frees},
    {"allot_named_buffers_resizes_total", true, "Resizes that changed a capacity.",
     &NamedBuffersStats::resizes},
    {"allot_named_buffers_resizes_in_place_total", true, "Of these, without a copy.",
     &NamedBuffersStats::resizes_in_place},
    {"allot_named_buffers_transfers_total", true, "Copies into, out of and between buffers.",
     &NamedBuffersStats::transfers},
    {"allot_named_buffers_transferred_bytes_total", true, "Bytes of these copies.",
     &NamedBuffersStats::transferred_bytes},
};

inline constexpr Metric<KvCacheStats> kv_metrics[] = {
    {"allot_kv_capacity_blocks", false, "All blocks.", &KvCacheStats::capacity},
    {"allot_kv_free_blocks", false, "Blocks that are neither in use nor cached.",
     &KvCacheStats::free},
    {"allot_kv_in_use_blocks", false, "Blocks in use by sequences.", &KvCacheStats::in_use},
    {"allot_kv_cached_blocks", false, "Blocks kept for prefixes only.", &KvCacheStats::cached},
    {"allot_kv_peak_used_blocks", false, "The most blocks that were in use or cached.",
     &KvCacheStats::peak_used},
    {"allot_kv_sequences", false, "Sequences that exist.", &KvCacheStats::sequences},
    {"allot_kv_slots", false, "Tokens that blocks of sequences and prefixes have room for.",
     &KvCacheStats::slots},
    {"allot_kv_filled_slots", false, "Of these, written.", &KvCacheStats::filled},
    {"allot_kv_hits_total", true, "Blocks taken from a prefix instead of computed.",
     &KvCacheStats::hits},
    {"allot_kv_misses_total", true, "Full blocks of prompts that had to be computed.",
     &KvCacheStats::misses},
    {"allot_kv_shared_total", true, "Blocks shared with a fork instead of copied.",
     &KvCacheStats::shared},
    {"allot_kv_copied_total", true, "Blocks copied on write.", &KvCacheStats::copied},
    {"allot_kv_evicted_total", true, "Cached blocks that made room.", &KvCacheStats::evicted},
    {"allot_kv_moved_total", true, "Blocks moved by compaction.", &KvCacheStats::moved},
};

}  // namespace detail

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
