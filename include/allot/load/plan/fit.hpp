// SPDX-License-Identifier: MIT
/// \file
/// `load::fit_context`: the context that memory has room for, that the model was made for, and which
/// of the two limits.
#pragma once

#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/check.hpp>
#include <allot/load/plan/make_plan.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace allot::load {

/// What keeps a context from being longer.
enum class LimitedBy {
  memory,    ///< the devices have no room for more
  training,  ///< the model was made for no more
  nothing,   ///< whatever its length, the model keeps no more
};

[[nodiscard]] constexpr const char* to_text(LimitedBy limit) noexcept {
  constexpr const char* names[] = {"memory", "training", "nothing"};
  return names[static_cast<std::size_t>(limit)];
}

/// A context that fits.
struct FittingContext {
  std::uint64_t context = 0;                 ///< tokens; 0: none fits, or none is known
  std::uint64_t fits_memory = 0;             ///< what there is room for; the most: any length
  std::optional<std::uint64_t> trained{};    ///< what the model was made for, if the file says it
  LimitedBy limited_by = LimitedBy::memory;  ///< what does not allow more

  static constexpr std::uint64_t any = largest_of<std::uint64_t>;  ///< a context of any length
};

namespace detail {

/// Returns true if a longer context takes no more memory, a draft model's cache included.
/// Requires: `options.cache`.
template <class = void>
[[nodiscard]] bool is_independent_of_context(const gguf::File& file, const PlanOptions& options) {
  const PlannedCache planned = plan_cache(file, *options.cache);
  PlannedCache draft;
  if (options.draft != nullptr) draft = plan_cache(*options.draft, draft_cache(*options.cache));
  using Groups = const std::vector<CacheGroup>*;
  for (const Groups groups :
       {Groups{&planned.groups}, Groups{&planned.prediction}, Groups{&draft.groups}}) {
    for (const CacheGroup& group : *groups) {
      if (!gguf::is_state(group.kind)) return false;
    }
  }
  return true;
}

/// Returns which context to take and what limits it.
/// \param most  the longest context that was tried
template <class = void>
[[nodiscard]] FittingContext context_of(const gguf::File& file, std::uint64_t fits_memory,
                                        std::uint64_t most, bool beyond_training) {
  FittingContext found{.trained = trained_context(file)};
  found.fits_memory = fits_memory >= most ? FittingContext::any : fits_memory;
  if (found.trained && !beyond_training && found.fits_memory >= *found.trained) {
    found.context = *found.trained;
    found.limited_by = LimitedBy::training;
  } else if (found.fits_memory == FittingContext::any) {
    found.context = found.trained.value_or(0);
    found.limited_by = LimitedBy::nothing;
  } else {
    found.context = found.fits_memory;
  }
  return found;
}

}  // namespace detail

/// Returns the largest context that fits `options.devices`, but no more than the model was made for
/// unless `beyond_training`. A model that keeps no cache fits with any.
/// Complexity: some sixty plans. Throws: as `largest_context`, except for models without a cache.
template <WeightPolicy Policy = DefaultWeights, Margin MarginType = UsualMargin,
          GroupingPolicy Grouping = OneArena>
[[nodiscard]] FittingContext fit_context(const gguf::File& file, PlanOptions options,
                                         bool beyond_training, const MarginType& margin = {},
                                         const Grouping& grouping = {}) {
  if (!options.cache) options.cache = CacheOptions{1};
  const std::uint64_t most = detail::most_tokens(*options.cache);
  if (!detail::is_independent_of_context(file, options)) {
    const std::uint64_t fitting =
        largest_context<Policy>(file, std::move(options), margin, grouping);
    return detail::context_of(file, fitting, most, beyond_training);
  }
  const bool fits = detail::fitting_plan<Policy>(file, options, margin, grouping).has_value();
  return detail::context_of(file, fits ? most : 0, most, beyond_training);
}

}  // namespace allot::load
