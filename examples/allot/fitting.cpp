// SPDX-License-Identifier: MIT
#include "fitting.hpp"

#include <allot/gguf/model_shape.hpp>
#include <allot/load/plan/fit_experts.hpp>
#include <allot/load/plan/model_files.hpp>

#include "cache_choice.hpp"
#include "output.hpp"
#include "planning.hpp"

std::optional<std::string> why_no_cache(const allot::gguf::File& file) {
  const allot::load::FileKind kind = allot::load::file_kind_of(file);
  if (kind != allot::load::FileKind::model)
    return std::string{"no cache is planned: the file is "} +
           (kind == allot::load::FileKind::adapter ? "an adapter" : "a projector") +
           ", which keeps nothing between tokens";
  const allot::gguf::ModelShape shape = allot::gguf::model_shape_of(file);
  if (shape.block_count) return std::nullopt;
  return "no cache is planned: the file does not say how many layers it has (" +
         (shape.architecture.empty() ? "ARCHITECTURE" : shape.architecture) +
         ".block_count is missing)";
}

allot::load::FittingContext fitting_context(const MemoryOptions& options,
                                            const allot::gguf::File& file,
                                            const allot::load::PlanOptions& planned) {
  return with_alignment(options.alignment, [&]<class Policy>() {
    if (is_beside_host(options)) {
      return allot::load::fit_beside_host<Policy>(file, planned, options.fit_limit == "memory",
                                                  ChosenMargin{options.margin},
                                                  grouping_of(options, file));
    }
    return allot::load::fit_context<Policy>(file, planned, options.fit_limit == "memory",
                                            ChosenMargin{options.margin},
                                            grouping_of(options, file));
  });
}

void fit(const MemoryOptions& options, const allot::gguf::File& file,
         allot::load::PlanOptions& planned) {
  planned.move_experts = is_beside_host(options);
  if (options.context != 0 || why_no_cache(file)) return;
  planned.cache = cache_options(options.cache, 1);
  const allot::load::FittingContext found = fitting_context(options, file, planned);
  if (found.context != 0) planned.cache->context = found.context;
}
