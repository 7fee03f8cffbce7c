// SPDX-License-Identifier: MIT
/// \file
/// `allot replay` of requests to a language model: what a cache of their prefixes would have had.
#pragma once

#include "commands.hpp"

/// Prints the hits of each eviction at several capacities, or if a model's shape is given or a log has
/// no keys of blocks, what `replay_traffic` does.
/// Throws: `std::runtime_error` naming the file, the line, and what is wrong there.
void replay_requests(const ReplayCommandOptions& options);
