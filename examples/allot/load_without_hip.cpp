// SPDX-License-Identifier: MIT
// Replaces load_on_hip.cpp if HIP was not found.
#include <stdexcept>

#include "devices.hpp"
#include "planning.hpp"

namespace {

[[noreturn]] void throw_no_hip(const std::string& device) {
  throw std::runtime_error{
      "device " + device +
      " is not available: this build has no HIP; use --device host, or build with "
      "-Dhip=enabled (libamdhip64-dev, or ROCm and -Dhip_root=/opt/rocm)"};
}

}  // namespace

Result load_on_hip(const MemoryOptions& options, const allot::gguf::File&) {
  throw_no_hip(options.device);
}

allot::load::PlannedDevice ask_hip_device(const DeviceName& device) { throw_no_hip(device.text); }
