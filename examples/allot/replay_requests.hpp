// SPDX-License-Identifier: MIT
/// \file
/// `allot replay` of requests to a language model: what a cache of their prefixes would have had.
#pragma once

#include <string_view>

#include "commands.hpp"

/// Returns whether a file that begins so is a log of requests: JSON lines with `hash_ids`, as
/// Mooncake publishes them.
[[nodiscard]] bool is_request_log(std::string_view begin);

/// Prints the hits of each eviction at several capacities.
/// Throws: `std::runtime_error` naming the file, the line, and what is wrong there.
void replay_requests(const ReplayCommandOptions& options);
