// SPDX-License-Identifier: MIT
/// \file
/// Includes everything that needs HIP. `allot/allot.hpp` includes the rest.
#pragma once

#include <allot/device/hip_device.hpp>
#include <allot/hip/current_device.hpp>
#include <allot/hip/error.hpp>
#include <allot/hip/ipc.hpp>
#include <allot/hip/properties.hpp>
#include <allot/hip/stream.hpp>
#include <allot/memory/hip.hpp>
