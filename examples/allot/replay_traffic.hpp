// SPDX-License-Identifier: MIT
/// \file
/// `allot replay` of requests to a language model: what they ask of a KV cache of a model's shape.
#pragma once

#include <allot/report/kv_traffic.hpp>

#include <span>

#include "commands.hpp"

/// Prints the peak for several sizes of blocks, and what a limit would mean.
/// \param format    of the log
/// \param requests  in the order of arrival
/// Throws: `std::runtime_error` if no shape is given, or it cannot be read.
void replay_traffic(const ReplayCommandOptions& options, const char* format,
                    std::span<const allot::report::KvRequest> requests);
