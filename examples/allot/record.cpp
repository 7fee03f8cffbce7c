// SPDX-License-Identifier: MIT
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "commands.hpp"
#include "launch.hpp"
#include "output.hpp"
#include "printable.hpp"

void record(const RecordOptions& options) {
  if (!options.force) refuse_to_overwrite({options.out});
  // The library makes it: the first process that calls HIP. Whether it can is seen before the program runs.
  const bool is_other =
      std::filesystem::exists(options.out) && !std::filesystem::is_regular_file(options.out);
  if (is_other || !std::ofstream{options.out})
    throw std::runtime_error{printable(options.out) + ": no trace can be written there"};
  std::filesystem::remove(options.out);
  launch({options.program, options.library, {{"ALLOT_RECORD_FILE", absolute(options.out)}}},
         "liballot_record.so");
}
