// SPDX-License-Identifier: MIT
/// \file
/// `--fit`: looks for the context that a plan has room for.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/load/plan/fit.hpp>
#include <allot/load/plan/plan.hpp>

#include <optional>
#include <string>

#include "commands.hpp"

/// Returns why no cache is planned for a file; nothing if one is.
[[nodiscard]] std::optional<std::string> why_no_cache(const allot::gguf::File& file);

/// Returns the context that fits, and what limits it.
/// \param planned  a plan with a cache
[[nodiscard]] allot::load::FittingContext fitting_context(const MemoryOptions& options,
                                                          const allot::gguf::File& file,
                                                          const allot::load::PlanOptions& planned);

/// Changes a plan to what `--fit` finds: the context, and the experts that may go to the host.
void fit(const MemoryOptions& options, const allot::gguf::File& file,
         allot::load::PlanOptions& planned);
