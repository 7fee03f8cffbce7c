// SPDX-License-Identifier: MIT
/// \file
/// Reads dumps of memory: what `report::dump` writes, and VulkanMemoryAllocator 3
/// (vmaBuildStatsString).
#pragma once

#include <string>

#include "byte_stream.hpp"
#include "picture.hpp"

/// Of an arena, a pool, a cache or a model. Throws: `std::runtime_error` naming the file, the place in
/// it, and what is wrong there; so for a file of more than 128 MiB, of which a picture would need
/// ten times as much memory.
[[nodiscard]] Picture picture_of_dump(ByteStream input, const std::string& file);

/// Of VulkanMemoryAllocator. Throws: as `picture_of_dump`.
[[nodiscard]] Picture picture_of_vma(ByteStream input, const std::string& file);
