// SPDX-License-Identifier: MIT
#include <allot/device/host_device.hpp>

#include "load_on.hpp"

Result load_on_host(const MemoryOptions& options, const allot::gguf::File& file) {
  allot::HostDevice host;
  return with_alignment(options.alignment, [&]<class Policy>() {
    return load_with<Policy>(options, file, {allot::load::planned_device(host)}, host);
  });
}
