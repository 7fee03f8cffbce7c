// SPDX-License-Identifier: MIT
/// \file
/// Figures that may be unknown, as JSON.
#pragma once

#include <allot/core/checked.hpp>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

/// The free memory of a device that could not be asked.
inline constexpr std::uint64_t unknown_bytes = allot::largest_of<std::uint64_t>;

/// Returns the value; null if there is none.
template <class Value>
nlohmann::ordered_json json_of(const std::optional<Value>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}
