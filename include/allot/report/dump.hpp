// SPDX-License-Identifier: MIT
/// \file
/// `dump`: memory as JSON, by the schemas in docs/schema/: an arena, a `BufferPool`, `NamedBuffers`, a
/// `Workspace`, a `KvCache` or a loaded model. Includes none of these.
#pragma once

#include <allot/core/block.hpp>
#include <allot/report/detail/block_map.hpp>
#include <allot/report/detail/dump_parts.hpp>
#include <allot/report/detail/json_text.hpp>
#include <allot/report/detail/memory_view.hpp>
#include <allot/report/detail/views.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace allot::report {

/// Returns one JSON object: `allot`, `version`, `name`, `usage` and `blocks`, in the order of their
/// addresses. Takes the arena's guard several times: if other threads change the arena meanwhile,
/// `usage` and `blocks` may be of different moments. Complexity: linear in the blocks.
/// \param name  which arena it is, for readers
/// Throws: `std::bad_alloc`.
template <Reportable ArenaType>
[[nodiscard]] std::string dump(const ArenaType& arena, std::string_view name = {}) {
  detail::JsonText json;
  detail::begin_dump(json, "arena", name);
  json.key("usage").begin('{');
  detail::put_usage(json, arena.usage());
  json.end('}').key("blocks").begin('[');
  for (const detail::MappedBlock& block : detail::blocks_of(arena)) {
    json.begin('{').member("offset", block.offset).member("size", block.size);
    json.member("used", block.is_used).end('}');
  }
  return json.end(']').end('}').take();
}

/// The same of a pool, named buffers, a workspace, a cache or a model: `allot`, `version`, `name`,
/// `usage`, `stats`, and `arenas`, each with its `blocks`; of some kinds also a list of their own. Takes
/// the object's mutex or guard several times: if other threads change it meanwhile, its parts may be of
/// different moments. Complexity: O(n log n) in the blocks. Throws: `std::bad_alloc`.
template <detail::Viewable Type>
[[nodiscard]] std::string dump(const Type& memory, std::string_view name = {}) {
  const detail::MemoryView view = detail::view_of(memory);
  const detail::ViewedUsage usage = view.usage();
  detail::JsonText json;
  detail::begin_dump(json, view.kind, name);
  json.key("usage").begin('{');
  detail::put_usage(json, usage);
  json.member("cached", usage.cached).member("held", usage.held).end('}');
  json.key("stats").begin('{');
  for (const auto& figure : view.figures) json.member(figure.key, figure.number);
  json.end('}').key("arenas").begin('[');
  for (const detail::ViewedArena& arena : view.arenas) detail::put_arena(json, arena);
  json.end(']');
  detail::put_list(json, memory);
  return json.end('}').take();
}

}  // namespace allot::report
