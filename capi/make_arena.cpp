// SPDX-License-Identifier: MIT
// Every combination of policies that the C interface offers. One memory policy covers all memories, which keeps
// the number of arena types at strategies times alignments.
#include <allot/arena.hpp>
#include <allot/memory/host_memory.hpp>
#include <allot/observer/address_index.hpp>
#include <allot/report/dump.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/strategy/buddy.hpp>
#include <allot/strategy/first_fit.hpp>
#include <allot/strategy/good_fit.hpp>
#include <allot/strategy/linear.hpp>
#include <allot/synchronization/locked.hpp>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "arenas.hpp"
#include "devices.hpp"
#include "guarded.hpp"

namespace allot::capi {
namespace {

/// One of the memories of `allot_memory`.
class ChosenMemory {
 public:
  static constexpr bool host_accessible = true;  // if it has addresses at all
  static constexpr bool device_accessible = false;

  class Region {
   public:
    Region() noexcept = default;
    explicit Region(HostMemory::Region host) noexcept : host_{std::move(host)} {}
    explicit Region(std::unique_ptr<AnyRegion> hip) noexcept : hip_{std::move(hip)} {}

    /// Null: the arena hands out offsets.
    [[nodiscard]] void* address() const noexcept {
      if (hip_) return hip_->address();
      return host_ ? host_->address() : nullptr;
    }
    [[nodiscard]] std::uint64_t alignment() const noexcept {
      if (hip_) return hip_->alignment();
      return host_ ? host_->alignment() : OffsetsOnly::Region::alignment();
    }
    void mark_used(std::uint64_t offset, std::uint64_t size) noexcept {
      if (host_) host_->mark_used(offset, size);
    }
    void mark_free(std::uint64_t offset, std::uint64_t size) noexcept {
      if (host_) host_->mark_free(offset, size);
    }

   private:
    std::optional<HostMemory::Region> host_;
    std::unique_ptr<AnyRegion> hip_;
  };

  explicit ChosenMemory(const allot_arena_options& options)
      : kind_{options.memory}, device_{options.device} {
    if (kind_ > ALLOT_HIP_MANAGED)
      throw Failure{
          ALLOT_INVALID_ARGUMENT,
          "the memory is not one of allot_memory; use ALLOT_OFFSETS to ALLOT_HIP_MANAGED"};
    if (device_ > (kind_ >= ALLOT_HIP ? last_device : 0))
      throw Failure{ALLOT_INVALID_ARGUMENT,
                    "this memory has no device " + std::to_string(device_) +
                        "; give a GPU's number for the memories of HIP, and 0 for the others"};
  }

  [[nodiscard]] Region acquire(std::uint64_t bytes, std::uint64_t alignment) const {
    if (kind_ >= ALLOT_HIP)
      return Region{take_hip_memory(kind_, static_cast<int>(device_), bytes, alignment)};
    return kind_ == ALLOT_HOST ? Region{HostMemory{}.acquire(bytes, alignment)} : Region{};
  }

 private:
  static constexpr std::uint64_t last_device = std::numeric_limits<int>::max();

  allot_memory kind_;
  std::uint64_t device_;
};
static_assert(Addressable<ChosenMemory> && TracksUse<ChosenMemory>);

template <Strategy StrategyType, std::uint64_t unit>
class ArenaOver final : public AnyArena {
 public:
  ArenaOver(std::uint64_t capacity, const allot_arena_options& options)
      : arena_{capacity, ChosenMemory{options}, AddressIndex{}} {}

  Block allocate(std::uint64_t bytes, std::uint64_t alignment) override {
    return arena_.allocate(bytes, alignment == 0 ? unit : alignment);
  }
  void deallocate(const Block& block) override { arena_.deallocate(block); }
  std::optional<Block> resize(const Block& block, std::uint64_t bytes) override {
    if constexpr (Resizable<StrategyType>) {
      if (bytes <= block.size) return arena_.shrink(block, bytes);
      return arena_.try_expand(block, bytes);
    } else {
      throw Failure{ALLOT_UNSUPPORTED,
                    "blocks of this strategy cannot be resized; allocate another one"};
    }
  }
  void reset() override { arena_.reset(); }
  void* address(const Block& block) override {
    require_addresses();
    return arena_.address(block);
  }
  std::optional<Block> block_at(const void* address) override {
    require_addresses();
    return arena_.block_at(address);
  }
  std::optional<Block> block_at_offset(std::uint64_t offset) override {
    return arena_.block_at_offset(offset);
  }
  Usage usage() override { return arena_.usage(); }
  std::string dump() override { return report::dump(arena_); }

 private:
  void require_addresses() const {
    if (arena_.base_address() == nullptr) {
      throw Failure{
          ALLOT_UNSUPPORTED,
          "an arena of offsets has no addresses; make it with ALLOT_HOST or ALLOT_HIP, or "
          "add the block's offset to your own memory's address"};
    }
  }

  Arena<StrategyType, AlignTo<unit>, Locked<>, ChosenMemory, AddressIndex> arena_;
};

template <Strategy StrategyType>
std::shared_ptr<AnyArena> make(std::uint64_t capacity, const allot_arena_options& options) {
  switch (options.alignment) {
    case 16:
      return std::make_shared<ArenaOver<StrategyType, 16>>(capacity, options);
    case 0:
    case 256:
      return std::make_shared<ArenaOver<StrategyType, 256>>(capacity, options);
    case 4096:
      return std::make_shared<ArenaOver<StrategyType, 4096>>(capacity, options);
    case 65536:
      return std::make_shared<ArenaOver<StrategyType, 65536>>(capacity, options);
    default:
      throw Failure{
          ALLOT_INVALID_ARGUMENT,
          "an arena's alignment is 16, 256, 4096 or 65536; a block's own may be any power "
          "of two"};
  }
}

}  // namespace

std::shared_ptr<AnyArena> make_arena(std::uint64_t capacity, const allot_arena_options& options) {
  require_zeros(options.reserved);
  switch (options.strategy) {
    case ALLOT_BEST_FIT:
      return make<WideBestFit>(capacity, options);
    case ALLOT_FIRST_FIT:
      return make<WideFirstFit>(capacity, options);
    case ALLOT_GOOD_FIT:
      return make<GoodFit>(capacity, options);
    case ALLOT_BUDDY:
      return make<WideBuddy>(capacity, options);
    case ALLOT_LINEAR:
      return make<Linear>(capacity, options);
  }
  throw Failure{ALLOT_INVALID_ARGUMENT,
                "the strategy is not one of allot_strategy; use ALLOT_BEST_FIT to ALLOT_LINEAR"};
}

}  // namespace allot::capi
