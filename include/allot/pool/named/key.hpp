// SPDX-License-Identifier: MIT
/// \file
/// `BufferKey<Element>`: a buffer's name together with the type of its contents, so that using it
/// as another type does not compile.
///
///     inline constexpr allot::BufferKey<float> positions{"positions", {.bytes_per_element = 12}};
///     buffers.add(positions, 1000);
///     buffers.get(positions);             // of floats
#pragma once

#include <allot/pool/named/config.hpp>

#include <cstddef>
#include <string_view>

namespace allot {

/// A buffer's name, type and configuration, in one constant.
template <class Element>
class BufferKey {
 public:
  using value_type = Element;

  /// Takes only a literal, which lives as long as the program.
  template <std::size_t Length>
  explicit consteval BufferKey(const char (&name)[Length], const BufferConfig& config = {})
      : name_{name, Length - 1}, config_{config} {}

  /// Returns the buffer's name.
  [[nodiscard]] constexpr std::string_view name() const noexcept { return name_; }
  /// Returns how to make it.
  [[nodiscard]] constexpr const BufferConfig& config() const noexcept { return config_; }

 private:
  std::string_view name_;
  BufferConfig config_;
};

}  // namespace allot
