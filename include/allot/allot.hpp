// SPDX-License-Identifier: MIT
/// \file
/// Everything that needs no GPU runtime. Never includes HIP, and never looks for it.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/core/block.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/memory_info.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan.hpp>
#include <allot/load/verify.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/memory/memory.hpp>
#include <allot/memory/reclaimer.hpp>
#include <allot/observer/ledger.hpp>
#include <allot/observer/observer.hpp>
#include <allot/observer/observers.hpp>
#include <allot/sharded_arena.hpp>
#include <allot/slice.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/strategy/strategy.hpp>
#include <allot/synchronization/locked.hpp>
#include <allot/synchronization/synchronization.hpp>
