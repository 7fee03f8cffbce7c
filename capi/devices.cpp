// SPDX-License-Identifier: MIT
// Devices by name, and the one that there always is.
#include "devices.hpp"

#include <allot/device/host_device.hpp>

#include <charconv>
#include <limits>

#include "device_over.hpp"
#include "guarded.hpp"

namespace allot::capi {

std::shared_ptr<AnyDevice> device_of(const char* name) {
  require(name, "the device's name is null; give \"host\", or \"hip:0\" for the first GPU");
  constexpr std::string_view hip = "hip:";
  const std::string_view text{name};
  if (text == "host") return make_host_device();
  if (text.starts_with(hip)) {
    unsigned id = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + hip.size(), end, id);
    if (error == std::errc{} && rest == end && id <= std::numeric_limits<int>::max())
      return make_hip_device(static_cast<int>(id));
  }
  throw Failure{ALLOT_INVALID_ARGUMENT, "there is no device \"" + std::string{text} +
                                            "\"; give \"host\", or \"hip:0\" for the first GPU"};
}

std::shared_ptr<AnyDevice> make_host_device() {
  return std::make_shared<DeviceOver<HostDevice>>(HostDevice{});
}

}  // namespace allot::capi
