// SPDX-License-Identifier: MIT
/// \file
/// The members of every statistics, with their names in dumps and for Prometheus. The names stay.
#pragma once

#include <allot/core/block.hpp>
#include <allot/pool/buffers/stats.hpp>
#include <allot/pool/kv/kv_keys.hpp>
#include <allot/pool/kv/stats.hpp>
#include <allot/pool/named/stats.hpp>
#include <allot/pool/workspace/workspace_options.hpp>

#include <cstdint>

namespace allot::report::detail {

/// A member of some statistics: its name in dumps is the member's own, that of a metric says of what
/// it is and in which unit.
template <class Stats>
struct Metric {
  const char* key;
  const char* name;
  bool is_counter;  // it never falls; else a gauge
  const char* help;
  std::uint64_t Stats::*value;
};

inline constexpr Metric<Usage> usage_metrics[] = {
    {"capacity", "allot_arena_capacity_bytes", false, "Bytes in the arena.", &Usage::capacity},
    {"used", "allot_arena_used_bytes", false, "Bytes in live blocks, as granted.", &Usage::used},
    {"requested", "allot_arena_requested_bytes", false, "Bytes in live blocks, as requested.",
     &Usage::requested},
    {"free", "allot_arena_free_bytes", false, "Bytes that are in no live block.", &Usage::free},
    {"largest_free", "allot_arena_largest_free_bytes", false,
     "The largest block that can be allocated.", &Usage::largest_free},
    {"free_blocks", "allot_arena_free_blocks", false, "Free blocks.", &Usage::free_blocks},
    {"live_blocks", "allot_arena_live_blocks", false, "Live blocks.", &Usage::live_blocks},
    {"peak_used", "allot_arena_peak_used_bytes", false, "The most bytes that were in use.",
     &Usage::peak_used},
};

inline constexpr Metric<PoolStats> pool_metrics[] = {
    {"hits", "allot_pool_hits_total", true, "Acquisitions served by a cached buffer.",
     &PoolStats::hits},
    {"misses", "allot_pool_misses_total", true, "Other acquisitions.", &PoolStats::misses},
    {"waits", "allot_pool_waits_total", true, "Hits for which a stream had to wait for another.",
     &PoolStats::waits},
    {"frees", "allot_pool_frees_total", true, "Cached buffers that went back to the arena.",
     &PoolStats::frees},
    {"requested", "allot_pool_requested_bytes", false, "Sizes asked for, of the buffers in use.",
     &PoolStats::requested},
    {"in_use", "allot_pool_in_use_bytes", false, "Capacities of the buffers in use.",
     &PoolStats::in_use},
    {"cached", "allot_pool_cached_bytes", false, "Capacities of the cached buffers.",
     &PoolStats::cached},
    {"capacity", "allot_pool_capacity_bytes", false, "Bytes of the arena and its further chunks.",
     &PoolStats::capacity},
    {"in_use_buffers", "allot_pool_in_use_buffers", false, "Buffers in use.",
     &PoolStats::in_use_buffers},
    {"cached_buffers", "allot_pool_cached_buffers", false, "Cached buffers.",
     &PoolStats::cached_buffers},
    {"chunks", "allot_pool_chunks", false, "Allocations from the system that are held.",
     &PoolStats::chunks},
    {"peak_in_use", "allot_pool_peak_in_use_bytes", false, "The most bytes that were in use.",
     &PoolStats::peak_in_use},
    {"peak_held", "allot_pool_peak_held_bytes", false, "The most bytes that were in use or cached.",
     &PoolStats::peak_held},
};

inline constexpr Metric<NamedBuffersStats> named_metrics[] = {
    {"total_bytes", "allot_named_buffers_bytes", false,
     "Bytes of all capacities, and external ones.", &NamedBuffersStats::total_bytes},
    {"external_bytes", "allot_named_buffers_external_bytes", false, "Bytes of external memory.",
     &NamedBuffersStats::external_bytes},
    {"peak_bytes", "allot_named_buffers_peak_bytes", false, "The most bytes that there were.",
     &NamedBuffersStats::peak_bytes},
    {"limit_bytes", "allot_named_buffers_limit_bytes", false, "The most bytes that there may be.",
     &NamedBuffersStats::limit_bytes},
    {"held_bytes", "allot_named_buffers_held_bytes", false, "Bytes of all blocks in the arena.",
     &NamedBuffersStats::held_bytes},
    {"waiting_bytes", "allot_named_buffers_waiting_bytes", false,
     "Bytes of blocks that only copies still hold.", &NamedBuffersStats::waiting_bytes},
    {"allocations", "allot_named_buffers_allocations_total", true, "Buffers that were added.",
     &NamedBuffersStats::allocations},
    {"frees", "allot_named_buffers_frees_total", true, "Buffers that were freed.",
     &NamedBuffersStats::frees},
    {"resizes", "allot_named_buffers_resizes_total", true, "Resizes that changed a capacity.",
     &NamedBuffersStats::resizes},
    {"resizes_in_place", "allot_named_buffers_resizes_in_place_total", true,
     "Of these, without a copy.", &NamedBuffersStats::resizes_in_place},
    {"transfers", "allot_named_buffers_transfers_total", true,
     "Copies into, out of and between buffers.", &NamedBuffersStats::transfers},
    {"transferred_bytes", "allot_named_buffers_transferred_bytes_total", true,
     "Bytes of these copies.", &NamedBuffersStats::transferred_bytes},
};

inline constexpr Metric<KvCacheStats> kv_metrics[] = {
    {"capacity", "allot_kv_capacity_blocks", false, "All blocks.", &KvCacheStats::capacity},
    {"free", "allot_kv_free_blocks", false, "Blocks that are neither in use nor cached.",
     &KvCacheStats::free},
    {"in_use", "allot_kv_in_use_blocks", false, "Blocks in use by sequences.",
     &KvCacheStats::in_use},
    {"cached", "allot_kv_cached_blocks", false, "Blocks kept for prefixes only.",
     &KvCacheStats::cached},
    {"peak_used", "allot_kv_peak_used_blocks", false, "The most blocks that were in use or cached.",
     &KvCacheStats::peak_used},
    {"sequences", "allot_kv_sequences", false, "Sequences that exist.", &KvCacheStats::sequences},
    {"slots", "allot_kv_slots", false,
     "Tokens that blocks of sequences and prefixes have room for.", &KvCacheStats::slots},
    {"filled", "allot_kv_filled_slots", false, "Of these, written.", &KvCacheStats::filled},
    {"hits", "allot_kv_hits_total", true, "Blocks taken from a prefix instead of computed.",
     &KvCacheStats::hits},
    {"misses", "allot_kv_misses_total", true, "Full blocks of prompts that had to be computed.",
     &KvCacheStats::misses},
    {"shared", "allot_kv_shared_total", true, "Blocks shared with a fork instead of copied.",
     &KvCacheStats::shared},
    {"copied", "allot_kv_copied_total", true, "Blocks copied on write.", &KvCacheStats::copied},
    {"evicted", "allot_kv_evicted_total", true, "Cached blocks that made room.",
     &KvCacheStats::evicted},
    {"moved", "allot_kv_moved_total", true, "Blocks moved by compaction.", &KvCacheStats::moved},
};

inline constexpr Metric<KvKeyStats> kv_key_metrics[] = {
    {"sequences", "allot_kv_key_sequences", false, "Sequences that have the key.",
     &KvKeyStats::sequences},
    {"published", "allot_kv_key_published_blocks", false, "Blocks with the key that can be found.",
     &KvKeyStats::published},
    {"cached", "allot_kv_key_cached_blocks", false, "Of these, used by no sequence.",
     &KvKeyStats::cached},
    {"hits", "allot_kv_key_hits_total", true, "Blocks of prompts taken from a prefix.",
     &KvKeyStats::hits},
    {"misses", "allot_kv_key_misses_total", true, "Full blocks of prompts that had to be computed.",
     &KvKeyStats::misses},
    {"evicted", "allot_kv_key_evicted_total", true, "Cached blocks that made room.",
     &KvKeyStats::evicted},
};

inline constexpr Metric<WorkspaceStats> workspace_metrics[] = {
    {"capacity", "allot_workspace_capacity_bytes", false, "Bytes taken from the device.",
     &WorkspaceStats::capacity},
    {"used", "allot_workspace_used_bytes", false, "Bytes that open scopes use.",
     &WorkspaceStats::used},
    {"high_water", "allot_workspace_high_water_bytes", false, "The most bytes that were in use.",
     &WorkspaceStats::high_water},
    {"retired", "allot_workspace_retired_bytes", false,
     "Bytes given back once the stream's work is done.", &WorkspaceStats::retired},
    {"pieces", "allot_workspace_pieces", false, "Allocations of the device that are held.",
     &WorkspaceStats::pieces},
    {"scopes", "allot_workspace_scopes", false, "Open scopes.", &WorkspaceStats::scopes},
    {"grown", "allot_workspace_grown_total", true, "Times that addresses may have changed.",
     &WorkspaceStats::grown},
};

}  // namespace allot::report::detail
