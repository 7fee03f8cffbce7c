// SPDX-License-Identifier: MIT
/// \file
/// The parts of a dump in JSON.
#pragma once

#include <allot/core/block.hpp>
#include <allot/pool/buffers/stats.hpp>
#include <allot/pool/named/stats.hpp>
#include <allot/report/detail/json_text.hpp>
#include <allot/report/detail/memory_view.hpp>
#include <allot/report/detail/views.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace allot::report::detail {

inline void begin_dump(JsonText& json, std::string_view kind, std::string_view name) {
  json.begin('{').member("allot", kind).member("version", std::uint64_t{1}).member("name", name);
}

inline void put_usage(JsonText& json, const Usage& usage) {
  for (const Metric<Usage>& metric : usage_metrics) json.member(metric.key, usage.*metric.value);
  json.member("padding", usage.padding).member("fragmentation", usage.fragmentation());
}

inline void put_arena(JsonText& json, const ViewedArena& arena) {
  json.begin('{').member("name", std::string_view{arena.name});
  if (arena.planned) {
    json.member("device", std::string_view{arena.device}).member("planned", *arena.planned);
  }
  json.key("blocks").begin('[');
  for (const ViewedBlock& block : arena.blocks) {
    json.begin('{').member("offset", block.offset).member("size", block.size);
    json.member("used", block.state == BlockState::used);
    json.member("state", std::string_view{to_text(block.state)});
    if (block.requested != 0) json.member("requested", block.requested);
    if (!block.name.empty()) json.member("name", std::string_view{block.name});
    if (!block.type.empty()) json.member("type", block.type);
    if (block.stream) json.member("stream", std::uint64_t{*block.stream});
    if (block.references) json.member("references", std::uint64_t{*block.references});
    json.end('}');
  }
  json.end(']').end('}');
}

/// What only some kinds have.
template <class Type>
void put_list(JsonText& /*json*/, const Type& /*memory*/) {}

/// The size classes.
template <HasStats<PoolStats> Pool>
void put_list(JsonText& json, const Pool& pool) {
  json.key("classes").begin('[');
  for (const PoolClassStats& each : pool.stats().classes) {
    json.begin('{').member("capacity", each.capacity).member("hits", each.hits);
    json.member("misses", each.misses).member("in_use_buffers", each.in_use);
    json.member("cached_buffers", each.cached).end('}');
  }
  json.end(']');
}

/// How full the buffers are.
template <HasStats<NamedBuffersStats> Buffers>
void put_list(JsonText& json, const Buffers& buffers) {
  json.key("buffers").begin('[');
  for (const BufferStats& each : buffers.stats().buffers) {
    json.begin('{').member("name", std::string_view{each.name}).member("type", each.type);
    json.member("bytes", each.bytes).member("bytes_per_element", each.bytes_per_element);
    json.member("elements", each.capacity).member("used_elements", each.used);
    json.member("resizes", each.resizes).member("transfers", each.transfers).end('}');
  }
  json.end(']');
}

/// What was planned, and every tensor, also those that are parts of others.
template <ViewableModel Model>
void put_list(JsonText& json, const Model& model) {
  const auto& plan = model.plan();
  json.key("planned").begin('{').member("tensors", plan.tensor_count());
  json.member("tensor_bytes", plan.tensor_bytes()).member("total_bytes", plan.total_bytes());
  json.end('}').key("tensors").begin('[');
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const auto& item = plan.items[i];
    const bool is_part = item.part_of.has_value();
    const auto& whole = is_part ? plan.items[item.part_of->item] : item;
    json.begin('{').member("name", std::string_view{item.name});
    json.member("type", type_name(item.type)).key("shape").begin('[');
    for (std::size_t d = 0; d < item.shape.rank; ++d) json.value(item.shape.extent[d]);
    json.end(']').member("arena", std::uint64_t{whole.arena});
    json.member("offset", whole.offset + (is_part ? item.part_of->offset : 0));
    json.member("bytes", item.bytes).member("loaded", model.planned()[i].is_loaded()).end('}');
  }
  json.end(']');
}

}  // namespace allot::report::detail
