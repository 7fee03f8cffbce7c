// SPDX-License-Identifier: MIT
/// \file
/// Loads a planned model: reserves its arenas, replays the plan on them, and reads the file's
/// extents into place. Any failure takes everything back.
#pragma once

#include <allot/arena.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/model.hpp>
#include <allot/load/plan.hpp>
#include <allot/load/read_steps.hpp>
#include <allot/slice.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace allot::load {

/// The arena that a model's memory is on a device.
template <WeightPolicy P, Device D>
using SharedArenaOf = Shared<Arena<typename P::Strategy, typename P::Alignment,
                                   typename P::Synchronization, typename D::memory_type>>;

namespace detail {

/// Allocates an item where the plan put it.
/// Throws: `std::logic_error` where the strategy put it elsewhere.
template <class SharedArena>
[[nodiscard]] auto allocate_as_planned(SharedArena& arena, const Item& item) {
  auto slice = arena.allocate({.bytes = item.bytes, .name = item.name});
  if (const std::uint64_t offset = arena.offset_of(slice); offset != item.offset) {
    throw std::logic_error{"tensor " + item.name + " came to offset " + std::to_string(offset) +
                           ", but the plan has it at " + std::to_string(item.offset) +
                           "; load with the policy that the plan was made with"};
  }
  return slice;
}

/// How memory of that kind is made ready to be written; null where it has no such way.
template <class M>
[[nodiscard]] constexpr Populate populate_of() noexcept {
  if constexpr (requires { Populate{&M::populate}; }) return &M::populate;
  return nullptr;
}

}  // namespace detail

/// Loads `plan` from `file` onto `device`, whose memory the host addresses: reader threads read
/// straight into place. One device allocation for each arena of the plan.
///
/// \param progress  called on this thread; returning false cancels, and what it throws goes through
/// Throws: `Cancelled`; `OutOfMemory`; `gguf::ParseError` where the file cannot be read (any more);
/// `std::logic_error` where the plan does not belong to the policy or file. Nothing stays reserved.
template <WeightPolicy P = DefaultWeights, Device D>
requires(D::memory_type::host_accessible)
    [[nodiscard]] Model<SharedArenaOf<P, D>> load(const gguf::File& file, const Plan& plan,
                                                  D& device,
                                                  const ProgressCallback& progress = {}) {
  using ArenaType = SharedArenaOf<P, D>;
  using ModelType = Model<ArenaType>;

  std::vector<ArenaType> arenas;
  std::vector<std::byte*> bases;
  for (const PlannedArena& planned : plan.arenas) {
    arenas.emplace_back(planned.capacity, device.memory());
    bases.push_back(static_cast<std::byte*>(arenas.back().base_address()));
  }
  std::vector<typename ModelType::tensor_type> tensors;
  tensors.reserve(plan.items.size());
  for (const Item& item : plan.items) {
    typename ArenaType::slice_type slice;
    if (item.bytes != 0) slice = detail::allocate_as_planned(arenas.at(item.arena), item);
    tensors.emplace_back(item, std::move(slice));
  }
  for (const Step& step : plan.steps) detail::check_step(step, file, plan);
  detail::read_steps(file, plan.steps, bases, detail::populate_of<typename D::memory_type>(),
                     progress);
  return ModelType{std::move(arenas), std::move(tensors)};
}

/// The first byte in which a tensor differs from its file.
struct Difference {
  std::string tensor;
  std::uint64_t byte;  ///< from the start of the tensor
};

/// Compares every tensor of a model with its file, read again, tensor by tensor, by another way
/// than the one it was loaded on. Throws: `gguf::ParseError` where the file cannot be read (any
/// more).
template <class SharedArena>
requires(SharedArena::memory_type::host_accessible)
    [[nodiscard]] std::optional<Difference> verify(const gguf::File& file,
                                                   const Model<SharedArena>& model) {
  std::vector<std::byte> expected(static_cast<std::size_t>(4 * MiB));
  for (const gguf::TensorInfo& info : file.tensors()) {
    const auto bytes = model[std::string{info.name}].slice().span();
    if (bytes.size() != info.bytes) return Difference{std::string{info.name}, bytes.size()};
    const gguf::Shard& shard = file.shards()[info.shard];
    for (std::size_t at = 0; at < bytes.size(); at += expected.size()) {
      const std::size_t count = std::min(expected.size(), bytes.size() - at);
      const auto piece = std::span{expected}.first(count);
      shard.read(shard.data_offset() + info.offset + at, piece);
      if (std::memcmp(piece.data(), bytes.data() + at, count) == 0) continue;
      const auto [differs, _] =
          std::mismatch(piece.begin(), piece.end(), bytes.subspan(at, count).begin());
      return Difference{std::string{info.name},
                        at + static_cast<std::uint64_t>(differs - piece.begin())};
    }
  }
  return std::nullopt;
}

}  // namespace allot::load
