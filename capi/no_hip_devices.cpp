// SPDX-License-Identifier: MIT
// What there is instead of GPUs in a library that is built without HIP.
#include "devices.hpp"
#include "guarded.hpp"

namespace allot::capi {
namespace {

[[noreturn]] void refuse() {
  throw Failure{ALLOT_UNSUPPORTED,
                "this liballot was built without HIP and knows only the host; build it where ROCm "
                "is, with -Dcapi=enabled -Dhip=enabled"};
}

}  // namespace

std::shared_ptr<AnyDevice> make_hip_device(int) { refuse(); }

std::unique_ptr<AnyRegion> take_hip_memory(allot_memory, int, std::uint64_t, std::uint64_t) {
  refuse();
}

}  // namespace allot::capi
