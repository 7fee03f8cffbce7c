// SPDX-License-Identifier: MIT
/// \file
/// Buffers and their lifetimes as CSV, in the form of MiniMalloc: `id,lower,upper,size`, alive in
/// the steps [lower, upper).
///
/// The header names the columns, in any order: `id` (or `buffer`, `buffer_id`), `lower` (or `start`,
/// `begin`), `upper`, or `end`, which is the last step itself, `size`; and, if they are there,
/// `alignment`, `offset` (a place that is fixed; empty: none), `may_replace` (an id), `memories`
/// (numbers separated by spaces) and `stream`. Others are ignored.
#pragma once

#include <allot/offsets/lifetime.hpp>
#include <allot/offsets/offset_plan.hpp>

#include <string>
#include <string_view>
#include <vector>

struct NamedLifetimes {
  std::vector<std::string> ids;
  std::vector<allot::Lifetime> lifetimes;
  std::vector<std::string> ignored_columns;
};

/// Throws: `std::runtime_error` naming the file, the line and what is wrong there.
[[nodiscard]] NamedLifetimes parse_lifetimes(std::string_view text, const std::string& file);

/// The same buffers with the places of a plan in the column `offset`: what MiniMalloc writes.
[[nodiscard]] std::string offsets_csv(const NamedLifetimes& buffers, const allot::OffsetPlan& plan);
