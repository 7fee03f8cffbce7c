// SPDX-License-Identifier: MIT
/// \file
/// Devices by name: the one place that knows what `--device` may say.
#pragma once

#include <string>
#include <string_view>
#include <vector>

enum class DeviceKind { host, staged_host, hip };

struct DeviceName {
  std::string text;  // `host`, `staged-host`, `hip:0`
  DeviceKind kind;
  int number = 0;  // of a GPU
};

/// Reads `host`, `staged-host`, `hip` (the first GPU), `hip:N`; several GPUs, and the host beside others,
/// separated by commas. Throws: `std::invalid_argument`.
[[nodiscard]] std::vector<DeviceName> read_devices(std::string_view text);
