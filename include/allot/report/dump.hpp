// SPDX-License-Identifier: MIT
/// \file
/// `dump`: an arena as JSON, by the schema docs/schema/arena.json.
#pragma once

#include <allot/core/block.hpp>
#include <allot/report/detail/block_map.hpp>
#include <allot/report/detail/json_text.hpp>

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
  const Usage usage = arena.usage();
  detail::JsonText json;
  json.begin('{').member("allot", std::string_view{"arena"}).member("version", std::uint64_t{1});
  json.member("name", name).key("usage").begin('{');
  json.member("capacity", usage.capacity).member("used", usage.used);
  json.member("requested", usage.requested).member("padding", usage.padding);
  json.member("free", usage.free).member("largest_free", usage.largest_free);
  json.member("free_blocks", usage.free_blocks).member("live_blocks", usage.live_blocks);
  json.member("peak_used", usage.peak_used).member("fragmentation", usage.fragmentation());
  json.end('}').key("blocks").begin('[');
  for (const detail::MappedBlock& block : detail::blocks_of(arena)) {
    json.begin('{').member("offset", block.offset).member("size", block.size);
    json.member("used", block.is_used).end('}');
  }
  return json.end(']').end('}').take();
}

}  // namespace allot::report
