// SPDX-License-Identifier: MIT
/// \file
/// Fingerprints of files and plans, with which ranks find out that they do not mean the same.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace allot::load::detail {

/// FNV-1a of 64 bits: against mistakes, not against malice.
class Fingerprint {
 public:
  void add(std::span<const std::byte> bytes) noexcept {
    for (const std::byte byte : bytes)
      value_ = (value_ ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
  }
  void add(std::uint64_t number) noexcept {
    add(std::as_bytes(std::span<const std::uint64_t>{&number, 1}));
  }
  void add(std::string_view text) noexcept {
    add(std::uint64_t{text.size()});
    add(std::as_bytes(std::span{text}));
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

/// Of everything in a file but the tensors' data: sizes, metadata, names and shapes.
/// Throws: `gguf::ParseError` if it cannot be read (any more).
template <class = void>
[[nodiscard]] std::uint64_t fingerprint_of(const gguf::File& file) {
  Fingerprint print;
  std::vector<std::byte> piece(64 << 10);
  for (const auto& shard : file.shards()) {
    print.add(shard.size());
    for (std::uint64_t at = 0; at < shard.data_offset(); at += piece.size()) {
      const auto bytes = smaller<std::uint64_t>(piece.size(), shard.data_offset() - at);
      const auto part = std::span{piece}.first(static_cast<std::size_t>(bytes));
      shard.read(at, part);
      print.add(part);
    }
  }
  return print.value();
}

/// Of everything in plans but the names of devices, which may differ from rank to rank.
template <class Plans>
[[nodiscard]] std::uint64_t fingerprint_of(const Plans& plans) {
  Fingerprint print;
  for (const auto& plan : plans) {
    for (const auto& arena : plan.arenas)
      for (const std::uint64_t number : {arena.capacity, arena.alignment}) print.add(number);
    for (const auto& item : plan.items) {
      print.add(item.name);
      for (const std::uint64_t number :
           {static_cast<std::uint64_t>(item.type), item.bytes, item.offset,
            std::uint64_t{item.arena}, std::uint64_t{item.cut ? item.cut->dimension : 9U}})
        print.add(number);
    }
    for (const auto& step : plan.steps) {
      for (const std::uint64_t number :
           {std::uint64_t{step.shard}, step.file_offset, step.bytes, std::uint64_t{step.arena},
            step.arena_offset, step.arena_bytes})
        print.add(number);
    }
  }
  return print.value();
}

}  // namespace allot::load::detail
