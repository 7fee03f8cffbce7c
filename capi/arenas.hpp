// SPDX-License-Identifier: MIT
/// \file
/// `AnyArena`: an arena whose policies are chosen at run time.
#pragma once

#include <allot.h>
#include <allot/core/block.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace allot::capi {

/// An arena of any policies. All but the destructor may be called by several threads at once. Errors
/// are those of `Arena`'s members; what the policies lack throws a `Failure`.
class AnyArena {
 public:
  AnyArena() = default;
  AnyArena(const AnyArena&) = delete;
  AnyArena& operator=(const AnyArena&) = delete;
  virtual ~AnyArena() = default;

  /// \param alignment  0: the arena's own
  [[nodiscard]] virtual Block allocate(std::uint64_t bytes, std::uint64_t alignment) = 0;
  virtual void deallocate(const Block& block) = 0;
  /// Returns nothing if the block cannot grow.
  [[nodiscard]] virtual std::optional<Block> resize(const Block& block, std::uint64_t bytes) = 0;
  virtual void reset() = 0;
  [[nodiscard]] virtual void* address(const Block& block) = 0;
  [[nodiscard]] virtual std::optional<Block> block_at(const void* address) = 0;
  [[nodiscard]] virtual std::optional<Block> block_at_offset(std::uint64_t offset) = 0;
  [[nodiscard]] virtual Usage usage() = 0;
  /// Returns it as JSON.
  [[nodiscard]] virtual std::string dump() = 0;
};

/// Throws: as `Arena`'s constructor; `Failure` for a strategy, memory or alignment that there is not.
[[nodiscard]] std::shared_ptr<AnyArena> make_arena(std::uint64_t capacity,
                                                   const allot_arena_options& options);

}  // namespace allot::capi
