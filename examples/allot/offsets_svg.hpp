// SPDX-License-Identifier: MIT
/// \file
/// A plan of offsets as a picture.
#pragma once

#include <allot/offsets/offset_plan.hpp>

#include <string>

#include "lifetimes_csv.hpp"

/// Time to the right, bytes upwards; a box for each buffer with what it is on hover, the bytes alive
/// as a line, the lower bound dashed. One memory above another. A file of its own: nothing else is
/// needed to show it.
[[nodiscard]] std::string offsets_svg(const NamedLifetimes& buffers, const allot::OffsetPlan& plan,
                                      const std::string& title);
