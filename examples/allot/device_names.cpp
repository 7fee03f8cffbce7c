// SPDX-License-Identifier: MIT
#include "device_names.hpp"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <stdexcept>

#include "numbers.hpp"

namespace {

DeviceName read_device(const std::string& name) {
  if (name == "host") return {name, DeviceKind::host};
  if (name == "staged-host") return {name, DeviceKind::staged_host};
  if (name == "hip") return {"hip:0", DeviceKind::hip};
  constexpr std::string_view prefix = "hip:";
  constexpr std::uint64_t highest = 99'999;
  if (name.starts_with(prefix)) {
    const std::string digits = name.substr(prefix.size());
    const bool has_leading_zero = digits.size() > 1 && digits[0] == '0';
    try {
      const std::uint64_t number = read_number(digits, 0, highest);
      if (!has_leading_zero) return {name, DeviceKind::hip, static_cast<int>(number)};
    } catch (const std::invalid_argument&) {  // said below
    }
  }
  throw std::invalid_argument{"use host, staged-host, hip or hip:N, not " + name};
}

}  // namespace

std::vector<DeviceName> read_devices(std::string_view text) {
  std::vector<DeviceName> devices;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    DeviceName device = read_device(std::string{text.substr(at, comma - at)});
    const bool is_twice = std::any_of(devices.begin(), devices.end(), [&](const DeviceName& other) {
      return other.text == device.text;
    });
    if (is_twice) throw std::invalid_argument{"device " + device.text + " is named twice"};
    devices.push_back(std::move(device));
    at = comma + 1;
  }
  const auto has = [&](DeviceKind kind) {
    return std::any_of(devices.begin(), devices.end(),
                       [kind](const DeviceName& device) { return device.kind == kind; });
  };
  if (has(DeviceKind::hip) && has(DeviceKind::staged_host)) {
    throw std::invalid_argument{
        "staged-host stands for a GPU: use it alone, or with host as in staged-host,host"};
  }
  return devices;
}
