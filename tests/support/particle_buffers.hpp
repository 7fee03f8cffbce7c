// SPDX-License-Identifier: MIT
/// \file
/// How a particle simulation on a graph configures its named buffers: what one program's presets
/// look like, as functions of its own.
///
/// | preset         | bytes per element | growth | minimum | maximum | asynchronous readback |
/// |----------------|-------------------|--------|---------|---------|-----------------------|
/// | `positions()`  | 12                | 13/10  | 4096 B  | 512 MiB | yes                   |
/// | `velocities()` | 12                | 13/10  | 4096 B  | 512 MiB | yes                   |
/// | `edges()`      | 32                | 2      | 8192 B  | 2 GiB   | no                    |
/// | `grid_cells()` | 8                 | 3/2    | 2048 B  | 256 MiB | no                    |
/// | `for_forces()` | 12                | 13/10  | 4096 B  | 512 MiB | no                    |
#pragma once

#include <allot/core/units.hpp>
#include <allot/pool/named/config.hpp>

namespace allot::test::particle_buffers {

[[nodiscard]] constexpr BufferConfig positions() noexcept {
  return {12, Growth::ratio(13, 10), 4 * KiB, 512 * MiB, true};
}
[[nodiscard]] constexpr BufferConfig velocities() noexcept { return positions(); }
[[nodiscard]] constexpr BufferConfig edges() noexcept {
  return {32, Growth::ratio(2), 8 * KiB, 2 * GiB, false};
}
[[nodiscard]] constexpr BufferConfig grid_cells() noexcept {
  return {8, Growth::ratio(3, 2), 2 * KiB, 256 * MiB, false};
}
[[nodiscard]] constexpr BufferConfig for_forces() noexcept {
  return {12, Growth::ratio(13, 10), 4 * KiB, 512 * MiB, false};
}

}  // namespace allot::test::particle_buffers
