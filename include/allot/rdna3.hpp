// SPDX-License-Identifier: MIT
/// \file
/// The policy set for RDNA3 GPUs (gfx1100 to gfx1103): constants with their sources, and the arenas
/// that an engine needs. Does not include HIP: take a memory from `allot/hip.hpp`.
///
/// | policy set          | strategy      | alignment | threads | for                            |
/// |---------------------|---------------|-----------|---------|--------------------------------|
/// | `rdna3::Weights`    | `BestFit`     | 256 B     | shared  | a model's tensors; the loader  |
/// | `rdna3::KvPages<N>` | `FixedBlocks` | 256 B     | shared  | pages of N bytes of a KV cache |
/// | `rdna3::Scratch`    | `Linear`      | 256 B     | one     | working memory of a step       |
/// | `rdna3::Staging`    | `FixedBlocks` | 4 KiB     | shared  | pinned slots for copies        |
///
///     namespace rdna3 = allot::rdna3;
///     rdna3::ArenaOf<rdna3::KvPages<>, allot::hip::DeviceMemory> pages{4 * allot::GiB};
///
/// docs/rdna3.md explains the choices. Nothing here was measured on RDNA3.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/arena.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/weight_policy.hpp>
#include <allot/policy_set.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/fixed_blocks.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/locked.hpp>
#include <allot/synchronization/synchronization.hpp>

#include <cstdint>
#include <optional>

namespace allot::rdna3 {

/// Page size of the GPU's page tables. Source: Linux, drivers/gpu/drm/amd/amdgpu/amdgpu_gart.h,
/// AMDGPU_GPU_PAGE_SIZE.
inline constexpr std::uint64_t page_bytes = 4 * KiB;

/// What one directory entry maps if address and length are multiples of it, and the largest
/// fragment that the driver uses by default (2^9 pages). Source: Linux, amdgpu_vm_pt.c,
/// amdgpu_vm_pte_fragment and amdgpu_vm_ptes_update; gmc_v11_0.c, gmc_v11_0_sw_init.
inline constexpr std::uint64_t fragment_bytes = 2 * MiB;

/// Cache lines of the vector L0, the GL1 and the L2. Source: Linux commit 321048c4a3e3, kfd_crat.c,
/// kfd_fill_gpu_cache_info_from_gfx_config.
inline constexpr std::uint64_t cache_line_bytes = 128;

/// Cache lines of the scalar cache. Source: the same.
inline constexpr std::uint64_t scalar_cache_line_bytes = 64;

/// Interleave of the render pipes, over which images are spread. Source: Mesa,
/// src/amd/addrlib/src/gfx11/gfx11addrlib.cpp, HwlInitGlobalParams.
inline constexpr std::uint64_t pipe_interleave_bytes = 256;

/// The base alignment that AMD's own compute runtime guarantees for buffers. Source: ROCm/clr,
/// rocclr/device/rocm/rocdevice.cpp, memBaseAddrAlign_ (2,048 bits).
inline constexpr std::uint64_t buffer_alignment_bytes = 256;

/// The alignment of every block: two cache lines, a multiple of what ggml's kernels require (128),
/// and the runtime's own. A choice, not a limit of the hardware: RDNA3 loads from any address under
/// ROCm (RDNA3 ISA guide, 9.5; Linux, gfx_v11_0.c, DEFAULT_SH_MEM_CONFIG).
inline constexpr std::uint64_t granularity_bytes = 256;
static_assert(granularity_bytes % cache_line_bytes == 0);

/// Returns true if it pays that an allocation begins at a multiple of 2 MiB: from 2 MiB on, as only
/// whole fragments are mapped by one entry. For a block inside an arena it never pays: the arena is
/// mapped already.
[[nodiscard]] constexpr bool large_base_pays(std::uint64_t bytes) noexcept {
  return bytes >= fragment_bytes;
}

/// Returns the device memory that an allocation of `bytes` takes: whole fragments from 2 MiB on,
/// pages below that. Source: ROCR-Runtime, runtime/hsa-runtime/core/inc/amd_memory_region.h
/// (block_size_) and core/util/simple_heap.h. Returns nothing if it overflows.
[[nodiscard]] constexpr std::optional<std::uint64_t> device_bytes(std::uint64_t bytes) noexcept {
  return checked_align_up(bytes, large_base_pays(bytes) ? fragment_bytes : page_bytes);
}

/// A model's tensors: packed without padding beyond 256 bytes, exact to the last unit.
struct Weights {
  using Strategy = BestFit;
  using Alignment = AlignTo<granularity_bytes>;
  using Synchronization = Locked<>;
};
static_assert(load::WeightPolicy<Weights>);

/// Pages of a KV cache: constant time, no fragmentation.
/// \tparam PageBytes  a multiple of 256; 64 KiB is 16 tokens of an 8B llama's layer in f16
template <std::uint64_t PageBytes = 64 * KiB>
struct KvPages {
  static_assert(PageBytes != 0 && PageBytes % granularity_bytes == 0,
                "a page is a multiple of 256 bytes");
  using Strategy = FixedBlocks<PageBytes / granularity_bytes>;
  using Alignment = AlignTo<granularity_bytes>;
  using Synchronization = Locked<>;
};

/// Working memory of one step on one thread: bump allocation with marks.
struct Scratch {
  using Strategy = Linear;
  using Alignment = AlignTo<granularity_bytes>;
  using Synchronization = Unsynchronized;
};

/// Pinned slots for copies of files. 4 MiB is above any size at which the runtime changes how it
/// copies (1 MiB, later 64 KiB: ROCm/clr, rocclr/device/rocm/rocsettings.cpp), and slots begin at
/// pages, as direct reads require. Each reader needs a slot: sixteen let sixteen read.
struct Staging {
  static constexpr std::uint64_t slot_bytes = 4 * MiB;  ///< of each slot
  static constexpr std::uint32_t slots = 16;            ///< of the ring
  static constexpr std::uint32_t streams = 4;           ///< that copy

  using Strategy = FixedBlocks<slot_bytes / page_bytes>;
  using Alignment = AlignTo<page_bytes>;
  using Synchronization = Locked<>;

  /// Returns the same as options of `load::load`.
  [[nodiscard]] static load::LoadOptions load_options() {
    return {.slot_bytes = slot_bytes, .slots = slots, .streams = streams};
  }
};

using allot::ArenaOf;

}  // namespace allot::rdna3
