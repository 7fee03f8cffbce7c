// SPDX-License-Identifier: MIT
#include <allot/device/staged_host_device.hpp>

#include "load_on.hpp"

Result load_on_staged_host(const MemoryOptions& options, const allot::gguf::File& file) {
  return load_on(options, file, std::vector<allot::StagedHostDevice>(1));
}
