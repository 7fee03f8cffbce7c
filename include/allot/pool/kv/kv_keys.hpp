// SPDX-License-Identifier: MIT
/// \file
/// Keys: what decides keys and values besides the tokens. Sequences with other keys share no
/// blocks, though their tokens are the same.
///
/// | key                    | of                                                              |
/// |------------------------|-----------------------------------------------------------------|
/// | `KvAdapter`            | an adapter of the weights, such as a LoRA                       |
/// | `KvTenant`             | a user, to be kept from learning what others have asked         |
/// | `KvContent`            | what placeholders stand for: an image, a sound                  |
/// | `KvKey<struct MyKind>` | a kind of your own                                              |
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot {

/// A key of some kind: an identity that the caller chooses, a number or bytes of any length, such
/// as a name or a digest. Equal keys mean: with equal tokens, equal keys and values. Kinds are
/// types: equal values of two kinds are different keys, and so are a number and bytes.
template <class Kind>
class KvKey {
 public:
  /// Takes a number.
  explicit KvKey(std::uint64_t number) : value_(1, 'n') {
    for (int shift = 0; shift < 64; shift += 8)
      value_.push_back(static_cast<char>(number >> shift));
  }
  /// Takes bytes, of any length.
  explicit KvKey(std::string_view bytes) : value_(1, 'b') { value_.append(bytes); }
  /// Takes bytes, of any length.
  explicit KvKey(std::span<const std::byte> bytes)
      : KvKey{std::string_view{reinterpret_cast<const char*>(bytes.data()), bytes.size()}} {}

 private:
  friend class AnyKvKey;
  inline static char kind = 0;  // its address: not constant, since a linker may merge constants

  std::string value_;
};

using KvAdapter =
    KvKey<struct KvAdapterKind>;  ///< of an adapter: other weights, other keys and values
using KvTenant =
    KvKey<struct KvTenantKind>;  ///< of a tenant: its prefixes are not shared with others
using KvContent =
    KvKey<struct KvContentKind>;  ///< of what a placeholder stands for, such as an image

/// A key of any kind.
class AnyKvKey {
 public:
  /// Takes a key of some kind.
  template <class Kind>
  AnyKvKey(const KvKey<Kind>& key) : kind_{&KvKey<Kind>::kind}, value_{key.value_} {}

  /// The kind's identity and the value, within this process.
  [[nodiscard]] const void* kind() const noexcept { return kind_; }
  /// Returns the value, in a form in which numbers differ from bytes.
  [[nodiscard]] std::string_view value() const noexcept { return value_; }

 private:
  const void* kind_;
  std::string value_;
};

/// A key for some of the tokens that it comes with: the placeholders of an image, or all from which
/// an adapter is used. Tokens may have several.
struct KvPositions {
  std::uint64_t first;       ///< counted from the first of the tokens in that call
  std::uint64_t count;       ///< tokens
  AnyKvKey key;              ///< that they have
  std::uint64_t offset = 0;  ///< of `first` in what the key names: not 0 if it comes in parts
};

/// The keys of a prompt.
struct KvPromptKeys {
  std::vector<AnyKvKey> keys{};          ///< of the sequence, in any order
  std::vector<KvPositions> positions{};  ///< of some of the prompt's tokens
};

/// A prompt that waits to be started.
struct KvWaiting {
  std::span<const std::uint32_t> prompt;  ///< its tokens
  KvPromptKeys keys{};                    ///< as `start` will be given
};

/// A snapshot of what has a key, be it a sequence's or its positions'. A block with several keys
/// counts for each. The figures begin when a sequence brings the key, and end with the last
/// sequence and published block that have it.
struct KvKeyStats {
  std::uint64_t sequences = 0;  ///< that are alive
  std::uint64_t published = 0;  ///< blocks that can be found
  std::uint64_t cached = 0;     ///< of these, used by no sequence
  std::uint64_t hits = 0;       ///< blocks of prompts taken from a prefix
  std::uint64_t misses = 0;     ///< full blocks of prompts that had to be computed
  std::uint64_t evicted = 0;    ///< cached blocks that made room
};

}  // namespace allot
