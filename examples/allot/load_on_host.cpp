// SPDX-License-Identifier: MIT
#include <allot/device/host_device.hpp>

#include "load_on.hpp"

Result load_on_host(const MemoryOptions& options, const allot::gguf::File& file) {
  return load_on(options, file, std::vector<allot::HostDevice>(1));
}
