// SPDX-License-Identifier: MIT
/// \file
/// `allot plan --shares`: what each of several processes has of a model.
#pragma once

#include "commands.hpp"

/// Prints the plan of every rank. Throws if one of them does not fit.
void plan_shares(const MemoryOptions& options);
