// SPDX-License-Identifier: MIT
/// \file
/// Compares a loaded model with its file, independently of how it was loaded: reads every tensor
/// back and the file again. Transformed tensors are compared as a whole with a plain reference
/// (`reference.hpp`).
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/detail/device_of.hpp>
#include <allot/load/detail/reference.hpp>
#include <allot/load/model.hpp>
#include <allot/load/plan/check_plan.hpp>
#include <allot/load/plan/layout.hpp>
#include <allot/stream/readback.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

namespace allot::load {

/// The first byte in which a tensor differs from its file.
struct Difference {
  std::string tensor;  ///< its name
  std::uint64_t byte;  ///< from the start of the tensor
};

namespace detail {

/// A part of a tensor that is compared in one piece.
struct Compared {
  std::size_t tensor;  // its number in the model
  std::size_t source;  // and in the file
  std::uint64_t at;
  std::uint64_t bytes;
  const std::string* name;
};

inline constexpr std::uint64_t compared_bytes = 4 * MiB;

/// Returns true for an item that a tensor of the file is brought to.
template <class Owner = void>
[[nodiscard]] bool is_of_file(const Item& item) noexcept {
  return item.purpose == Purpose::weight || item.purpose == Purpose::copy;
}

/// Returns the parts of the tensors that lie in memory as in the file; the others are compared
/// whole.
template <class IsWanted>
[[nodiscard]] DeferredVector<Compared, IsWanted> compared_parts(const gguf::File& file,
                                                                const Plan& plan,
                                                                IsWanted&& is_wanted) {
  DeferredVector<Compared, IsWanted> parts;
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const Item& item = plan.items[i];
    if (item.bytes == 0 || !is_of_file(item) || !is_wanted(item)) continue;
    const std::size_t source = plan.source_of(static_cast<std::uint32_t>(i));
    if (!is_as_in_file(file, file.tensors()[source], item)) continue;
    for (std::uint64_t at = 0; at < item.bytes; at += compared_bytes)
      parts.push_back({i, source, at, smaller(compared_bytes, item.bytes - at), &item.name});
  }
  return parts;
}

/// Returns the bytes of the largest part.
template <class Parts>
[[nodiscard]] std::size_t most_bytes(const Parts& parts) noexcept {
  std::uint64_t most = 0;
  for (const auto& part : parts) most = larger(most, part.bytes);
  return static_cast<std::size_t>(most);
}

/// Compares transformed items, and the zeros after fused ones.
/// \param memory_of  returns the bytes of an item, by its number
template <class MemoryOf>
[[nodiscard]] DeferredOptional<Difference, MemoryOf> compare_transformed(const gguf::File& file,
                                                                         const Plan& plan,
                                                                         MemoryOf&& memory_of) {
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const Item& item = plan.items[i];
    if (item.bytes == 0) continue;
    std::optional<std::uint64_t> byte;
    if (is_of_file(item)) {
      const gguf::TensorInfo& tensor =
          file.tensors()[plan.source_of(static_cast<std::uint32_t>(i))];
      if (!is_as_in_file(file, tensor, item)) byte = compare_item(file, tensor, item, memory_of(i));
    } else if (item.purpose == Purpose::fused && item.bytes != extent_of(item)) {
      byte = compare_tail(item, memory_of(i));
    }
    if (byte) return Difference{item.name, *byte};
  }
  return std::nullopt;
}

/// Compares a part with the file's bytes, which are read into `expected`.
template <class Owner = void>
[[nodiscard]] DeferredOptional<Difference, Owner> compare(const gguf::File& file,
                                                          const Compared& part,
                                                          const std::byte* bytes,
                                                          DeferredSpan<std::byte, Owner> expected) {
  const gguf::TensorInfo& info = file.tensors()[part.source];
  const gguf::Shard& shard = file.shards()[info.shard];
  const auto piece = expected.first(static_cast<std::size_t>(part.bytes));
  shard.read(shard.data_offset() + info.offset + part.at, piece);
  if (std::memcmp(piece.data(), bytes, piece.size()) == 0) return std::nullopt;
  std::size_t differs = 0;
  while (piece[differs] == bytes[differs]) ++differs;
  return Difference{*part.name, part.at + differs};
}

/// Finds a tensor of the file that the model lacks; then nothing else can be compared.
template <class TensorType>
[[nodiscard]] DeferredOptional<Difference, TensorType> find_missing(
    const gguf::File& file, const ModelTensors<TensorType>& model) {
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const gguf::TensorInfo& info = file.tensors()[i];
    const bool is_there = i < model.tensors().size() && can_become(info, model.plan().items[i]) &&
                          model.tensors()[i].bytes() == model.plan().items[i].bytes;
    if (!is_there) return Difference{std::string{info.name}, 0};
  }
  return std::nullopt;
}

/// Reads tensors from a device in parts, each copied while the part before it is used.
template <Device DeviceType>
class TensorReader {
 public:
  explicit TensorReader(DeviceType& device)
      : device_{&device}, stream_{device.make_stream()}, readback_{device, compared_bytes} {}

  [[nodiscard]] bool is_of(const DeviceType& device) const noexcept { return &device == device_; }

  /// Requires: `into` has the tensor's size.
  void read(const typename Readback<std::byte, DeviceType>::slice_type& from,
            DeferredSpan<std::byte, DeviceType> into) {
    std::size_t begun = 0;
    const auto start = [&] {
      if (begun == into.size()) return;
      const auto bytes = smaller(static_cast<std::size_t>(compared_bytes), into.size() - begun);
      readback_.start(from.part(begun, bytes), stream_);
      begun += bytes;
    };
    start();
    for (std::size_t done = 0; done < into.size();) {
      start();
      const auto bytes = readback_.wait();
      std::memcpy(into.data() + done, bytes.data(), bytes.size());
      done += bytes.size();
    }
  }

 private:
  DeviceType* device_;
  typename DeviceType::stream_type stream_;
  Readback<std::byte, DeviceType> readback_;
};

}  // namespace detail

/// Compares every tensor of a model whose memory the host addresses.
/// Throws: `gguf::ParseError` if the file cannot be read (any more).
template <class SharedArena>
requires(SharedArena::memory_type::host_accessible)
    [[nodiscard]] std::optional<Difference> verify(const gguf::File& file,
                                                   const Model<SharedArena>& model) {
  if (const auto difference = detail::find_missing(file, model)) return difference;
  const Plan& plan = model.plan();
  const auto parts = detail::compared_parts(file, plan, [](const Item&) { return true; });
  DeferredVector<std::byte, SharedArena> expected(detail::most_bytes(parts));
  for (const detail::Compared& part : parts) {
    const auto bytes = model.planned()[part.tensor].slice().span();
    if (const auto difference = detail::compare(
            file, part, bytes.data() + part.at,
            DeferredSpan<std::byte, SharedArena>{expected.data(), expected.size()})) {
      return difference;
    }
  }
  return detail::compare_transformed(file, plan, [&](std::size_t i) {
    return DeferredSpan<const std::byte, SharedArena>{model.planned()[i].slice().span()};
  });
}

/// The same, but reads back from the devices that the model was loaded onto. Takes two buffers of
/// at most 4 MiB, and host memory for the largest transformed tensor.
/// Throws: `gguf::ParseError`; `OutOfMemory` for the buffers; what the device throws.
template <class SharedArena, Device DeviceType>
[[nodiscard]] std::optional<Difference> verify(const gguf::File& file,
                                               const Model<SharedArena>& model,
                                               std::span<DeviceType> devices) {
  if (const auto difference = detail::find_missing(file, model)) return difference;
  DeferredVector<std::byte, SharedArena> expected;
  const Plan& plan = model.plan();
  for (std::size_t number = 0; number < devices.size(); ++number) {
    const auto parts = detail::compared_parts(file, plan, [&](const Item& item) {
      return detail::device_of(plan.arenas[item.arena], devices) == number;
    });
    if (parts.empty()) continue;
    DeviceType& device = devices[number];
    auto stream = device.make_stream();
    Readback<std::byte, DeviceType> readback{device, detail::most_bytes(parts)};
    expected.resize(detail::most_bytes(parts));
    const auto start = [&](std::size_t i) {
      if (i == parts.size()) return;
      const auto& tensor = model.planned()[parts[i].tensor];
      readback.start(tensor.slice().part(parts[i].at, parts[i].bytes), stream);
    };
    start(0);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      start(i + 1);
      const auto bytes = readback.wait();
      if (const auto difference = detail::compare(
              file, parts[i], bytes.data(),
              DeferredSpan<std::byte, SharedArena>{expected.data(), expected.size()}))
        return difference;
    }
  }
  DeferredVector<std::byte, SharedArena> whole;
  std::optional<detail::TensorReader<DeviceType>> reader;
  return detail::compare_transformed(file, plan, [&](std::size_t i) {
    const auto& tensor = model.planned()[i];
    DeviceType& device = devices[detail::device_of(plan.arenas[plan.items[i].arena], devices)];
    if (!reader || !reader->is_of(device)) {
      reader.reset();
      reader.emplace(device);
    }
    whole.resize(static_cast<std::size_t>(tensor.bytes()));
    reader->read(tensor.slice(), DeferredSpan<std::byte, SharedArena>{whole.data(), whole.size()});
    return DeferredSpan<const std::byte, SharedArena>{whole};
  });
}

/// The same for one device.
template <class SharedArena, Device DeviceType>
[[nodiscard]] std::optional<Difference> verify(const gguf::File& file,
                                               const Model<SharedArena>& model,
                                               DeviceType& device) {
  return verify(file, model, std::span<DeviceType>{&device, 1});
}

}  // namespace allot::load
