// SPDX-License-Identifier: MIT
/// \file
/// An engine of a kind, for tests of `KvCache`: the keys and values that it computes depend on
/// every token up to theirs, as a model's do, so a block that is shared or copied wrongly is found.
#pragma once

#include <allot/device/device.hpp>
#include <allot/pool/kv/kv_cache.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace allot::test {

using Tokens = std::vector<std::uint32_t>;

/// Two layers, asymmetric heads, blocks of 4 tokens.
[[nodiscard]] inline KvCacheConfig small_cache(std::uint64_t blocks, std::size_t lanes = 1) {
  KvCacheConfig config{
      .shape = {.layers = 2, .kv_heads = 2, .key_dimension = 4, .value_dimension = 8},
      .block_tokens = 4,
      .lanes = lanes};
  config.budget_bytes = blocks * KvLayout{config.shape, config.block_tokens}.block_bytes();
  return config;
}

template <class Cache>
class KvEngine {
 public:
  using Sequence = typename Cache::Sequence;

  explicit KvEngine(Cache& cache, std::size_t lanes = 1)
      : cache_{cache},
        lanes_{lanes},
        staging_{cache.device().staging_memory().acquire(staging_bytes, 256)} {}
  KvEngine(const KvEngine&) = delete;
  KvEngine& operator=(const KvEngine&) = delete;
  ~KvEngine() {
    for (std::size_t lane = 0; lane < lanes_; ++lane)
      detail::wait_noexcept(cache_.device(), cache_.stream(lane));
  }

  /// Gives the sequence's lane the work that writes the keys and values of tokens from `from` on.
  void write(Sequence& sequence, const Tokens& tokens, std::size_t from) {
    each_row(sequence, tokens, from, [&](void* row, std::uint64_t bytes, std::uint64_t value) {
      std::byte* const staged = stage(bytes);
      fill(staged, bytes, value);
      cache_.device().copy_to_device(row, staged, bytes, cache_.stream(sequence.lane()));
    });
  }

  /// Requires all keys and values of a sequence to be those of its tokens.
  void check(Sequence& sequence, const Tokens& tokens) {
    REQUIRE(sequence.tokens() == tokens.size());
    each_row(sequence, tokens, 0, [&](void* row, std::uint64_t bytes, std::uint64_t value) {
      std::byte* const staged = stage(2 * bytes);
      cache_.device().copy_to_host(staged, row, bytes, cache_.stream(sequence.lane()));
      cache_.device().synchronize(cache_.stream(sequence.lane()));
      fill(staged + bytes, bytes, value);
      REQUIRE(std::memcmp(staged, staged + bytes, bytes) == 0);
    });
  }

  void synchronize() {
    for (std::size_t lane = 0; lane < lanes_; ++lane)
      cache_.device().synchronize(cache_.stream(lane));
    staged_ = 0;
  }

 private:
  static constexpr std::uint64_t staging_bytes = 1 << 20;

  template <class F>
  void each_row(Sequence& sequence, const Tokens& tokens, std::size_t from, F&& f) {
    std::uint64_t hash = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      hash = (hash + tokens[i] + 1) * 0x9E3779B97F4A7C15;
      if (i < from) continue;
      const KvSlot slot = sequence.slot(i);
      for (std::uint64_t layer = 0; layer < cache_.layout().layers(); ++layer) {
        f(cache_.key(slot, KvLayer{layer}), cache_.layout().key_bytes(), hash + 2 * layer);
        f(cache_.value(slot, KvLayer{layer}), cache_.layout().value_bytes(), hash + 2 * layer + 1);
      }
    }
  }

  static void fill(std::byte* to, std::uint64_t bytes, std::uint64_t value) {
    for (std::uint64_t i = 0; i < bytes; ++i) {
      value = value * 6364136223846793005U + 1442695040888963407U;
      to[i] = std::byte(value >> 56);
    }
  }

  std::byte* stage(std::uint64_t bytes) {
    if (staged_ + bytes > staging_bytes) synchronize();
    staged_ += bytes;
    return static_cast<std::byte*>(staging_.address()) + staged_ - bytes;
  }

  Cache& cache_;
  std::size_t lanes_;
  using Region = decltype(std::declval<Cache&>().device().staging_memory().acquire(1, 1));
  Region staging_;
  std::uint64_t staged_ = 0;
};

}  // namespace allot::test
