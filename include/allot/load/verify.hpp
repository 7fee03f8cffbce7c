// SPDX-License-Identifier: MIT
/// \file
/// Compares a loaded model with its file, by another way than the one it was loaded on: every
/// tensor is read back whole, and the file is read again.
#pragma once

#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/device_of.hpp>
#include <allot/load/model.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace allot::load {

/// The first byte in which a tensor differs from its file.
struct Difference {
  std::string tensor;
  std::uint64_t byte;  ///< from the start of the tensor
};

namespace detail {

/// A part of a tensor that is compared at once.
struct Compared {
  std::size_t tensor;  // number in file and model
  std::uint64_t at;
  std::uint64_t bytes;
};

inline constexpr std::uint64_t compared_bytes = 4 * MiB;

[[nodiscard]] inline std::vector<Compared> compared_parts(const gguf::File& file) {
  std::vector<Compared> parts;
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const std::uint64_t bytes = file.tensors()[i].bytes;
    for (std::uint64_t at = 0; at < bytes; at += compared_bytes)
      parts.push_back({i, at, std::min(compared_bytes, bytes - at)});
  }
  return parts;
}

/// Compares a part with the file's bytes, read into `expected`.
[[nodiscard]] inline std::optional<Difference> compare(const gguf::File& file, const Compared& part,
                                                       const std::byte* bytes,
                                                       std::span<std::byte> expected) {
  const gguf::TensorInfo& info = file.tensors()[part.tensor];
  const gguf::Shard& shard = file.shards()[info.shard];
  const auto piece = expected.first(static_cast<std::size_t>(part.bytes));
  shard.read(shard.data_offset() + info.offset + part.at, piece);
  if (std::memcmp(piece.data(), bytes, piece.size()) == 0) return std::nullopt;
  const auto [differs, _] = std::mismatch(piece.begin(), piece.end(), bytes);
  return Difference{std::string{info.name},
                    part.at + static_cast<std::uint64_t>(differs - piece.begin())};
}

/// A tensor of the model that has not the file's size; nothing else can be compared then.
template <class SharedArena>
[[nodiscard]] std::optional<Difference> find_other_size(const gguf::File& file,
                                                        const Model<SharedArena>& model) {
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const gguf::TensorInfo& info = file.tensors()[i];
    const bool is_there = i < model.tensors().size() && model.tensors()[i].name() == info.name;
    const std::uint64_t bytes = is_there ? model.tensors()[i].bytes() : 0;
    if (!is_there || bytes != info.bytes) return Difference{std::string{info.name}, bytes};
  }
  return std::nullopt;
}

/// Two buffers, so that one part is copied while the one before it is compared.
template <Device D>
class Readback {
 public:
  explicit Readback(D& device)
      : device_{device},
        region_{device.staging_memory().acquire(2 * compared_bytes, 4 * KiB)},
        stream_{device.make_stream()},
        events_{device.make_event(), device.make_event()} {
    if constexpr (requires { region_.mark_used(0, 0); }) region_.mark_used(0, 2 * compared_bytes);
  }

  void start(std::size_t buffer, const void* from, std::uint64_t bytes) {
    device_.copy_to_host(at(buffer), from, bytes, stream_);
    device_.record(events_[buffer], stream_);
  }
  [[nodiscard]] const std::byte* wait(std::size_t buffer) {
    device_.synchronize(events_[buffer]);
    return at(buffer);
  }

 private:
  [[nodiscard]] std::byte* at(std::size_t buffer) const noexcept {
    return static_cast<std::byte*>(region_.address()) + buffer * compared_bytes;
  }

  D& device_;
  typename D::staging_memory_type::Region region_;
  typename D::stream_type stream_;  // released first: it waits for its copies
  std::array<typename D::event_type, 2> events_;
};

}  // namespace detail

/// Compares every tensor of a model whose memory the host addresses.
/// Throws: `gguf::ParseError` where the file cannot be read (any more).
template <class SharedArena>
requires(SharedArena::memory_type::host_accessible)
    [[nodiscard]] std::optional<Difference> verify(const gguf::File& file,
                                                   const Model<SharedArena>& model) {
  if (const auto difference = detail::find_other_size(file, model)) return difference;
  std::vector<std::byte> expected(static_cast<std::size_t>(detail::compared_bytes));
  for (const detail::Compared& part : detail::compared_parts(file)) {
    const auto bytes = model.tensors()[part.tensor].slice().span();
    if (const auto difference =
            detail::compare(file, part, bytes.data() + part.at, std::span{expected})) {
      return difference;
    }
  }
  return std::nullopt;
}

/// The same, read back from the devices that the model was loaded onto.
/// Throws: `gguf::ParseError`; `OutOfMemory` for the buffers; what the device throws.
template <class SharedArena, Device D>
[[nodiscard]] std::optional<Difference> verify(const gguf::File& file,
                                               const Model<SharedArena>& model,
                                               std::span<D> devices) {
  if (const auto difference = detail::find_other_size(file, model)) return difference;
  std::vector<std::byte> expected(static_cast<std::size_t>(detail::compared_bytes));
  const Plan& plan = model.plan();
  for (std::size_t number = 0; number < devices.size(); ++number) {
    std::vector<detail::Compared> parts;
    for (const detail::Compared& part : detail::compared_parts(file)) {
      const PlannedArena& arena = plan.arenas[plan.items[part.tensor].arena];
      if (detail::device_of(arena, devices) == number) parts.push_back(part);
    }
    if (parts.empty()) continue;
    detail::Readback<D> readback{devices[number]};
    const auto start = [&](std::size_t i) {
      if (i >= parts.size()) return;
      const auto* const first =
          static_cast<const std::byte*>(model.tensors()[parts[i].tensor].address());
      readback.start(i % 2, first + parts[i].at, parts[i].bytes);
    };
    start(0);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const std::byte* const bytes = readback.wait(i % 2);
      start(i + 1);
      if (const auto difference = detail::compare(file, parts[i], bytes, std::span{expected}))
        return difference;
    }
  }
  return std::nullopt;
}

/// The same from one device.
template <class SharedArena, Device D>
[[nodiscard]] std::optional<Difference> verify(const gguf::File& file,
                                               const Model<SharedArena>& model, D& device) {
  return verify(file, model, std::span<D>{&device, 1});
}

}  // namespace allot::load
