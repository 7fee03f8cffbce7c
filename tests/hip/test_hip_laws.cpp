// SPDX-License-Identifier: MIT
// The laws of every arena, over HIP's memories and with the policy sets for RDNA3.
#include <allot/memory/hip.hpp>
#include <allot/rdna3.hpp>

#include "hip/simulation.hpp"
#include "laws/laws.hpp"

using namespace allot;

namespace {

template <class M>
using LawfulOn = Arena<BestFit, AlignTo<256>, Locked<>, M>;

/// A pool of the current device, as an arena makes it by default.
struct DefaultPool : hip::PooledMemory {
  DefaultPool() : hip::PooledMemory{hip::current_device()} {}
};

}  // namespace

template <>
struct test::LawFixture<hip::DeviceMemory> : test::Simulation {};
template <>
struct test::LawFixture<hip::PinnedMemory> : test::Simulation {};
template <>
struct test::LawFixture<hip::ManagedMemory> : test::Simulation {};
template <>
struct test::LawFixture<DefaultPool> : test::Simulation {};

ALLOT_TEST_LAWS(LawfulOn<hip::DeviceMemory>, LawfulOn<hip::PinnedMemory>,
                LawfulOn<hip::ManagedMemory>, LawfulOn<DefaultPool>,
                rdna3::ArenaOf<rdna3::Weights, hip::DeviceMemory>,
                rdna3::ArenaOf<rdna3::KvPages<4096>, hip::DeviceMemory>,
                rdna3::ArenaOf<rdna3::Scratch, hip::DeviceMemory>);
