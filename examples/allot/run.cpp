// SPDX-License-Identifier: MIT
#include <string>

#include "commands.hpp"
#include "launch.hpp"

void run(const RunOptions& options) {
  Launch what{options.program, options.library, {}};
  if (options.budget != 0)
    what.environment.emplace_back("ALLOT_RUN_BUDGET", std::to_string(options.budget));
  if (options.direct_above != 0)
    what.environment.emplace_back("ALLOT_RUN_DIRECT_ABOVE", std::to_string(options.direct_above));
  if (!options.json.empty()) {
    require_place_for(options.json, options.force);
    what.environment.emplace_back("ALLOT_RUN_JSON", absolute(options.json));
  }
  launch(what, "liballot_run.so");
}
