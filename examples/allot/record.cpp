// SPDX-License-Identifier: MIT
#include "commands.hpp"
#include "launch.hpp"

void record(const RecordOptions& options) {
  require_place_for(options.out, options.force);
  launch({options.program, options.library, {{"ALLOT_RECORD_FILE", absolute(options.out)}}},
         "liballot_record.so");
}
