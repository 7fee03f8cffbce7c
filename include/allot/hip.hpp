// SPDX-License-Identifier: MIT
/// \file
/// Everything that needs HIP. `allot/allot.hpp` has all that does not.
#pragma once

#include <allot/device/hip_device.hpp>
#include <allot/hip/current_device.hpp>
#include <allot/hip/error.hpp>
#include <allot/hip/ipc.hpp>
#include <allot/hip/properties.hpp>
#include <allot/hip/stream.hpp>
#include <allot/memory/hip.hpp>
