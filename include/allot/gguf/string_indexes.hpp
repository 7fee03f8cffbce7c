// SPDX-License-Identifier: MIT
/// \file
/// `gguf::StringIndexes`: the positions of the strings in a file's arrays.
#pragma once

#include <allot/gguf/name_index.hpp>
#include <allot/gguf/value_type.hpp>
#include <allot/os/monitor.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::gguf {

/// The positions of the strings in arrays, determined when one is first accessed by number. One for
/// a whole file; several threads may use it at once.
class StringIndexes {
 public:
  /// Returns the positions of an array's strings, relative to the first; valid as long as this
  /// object.
  /// Requires: `count` is not 0. Complexity: constant; the first time, linear in the array.
  /// A template, so that readers of numbers do not pay for its instantiation.
  template <std::integral Count>
  [[nodiscard]] const std::uint64_t* of(const std::byte* first, Count count, bool wide) {
    const os::Monitor::Lock lock{monitor_};
    if (const auto found = places_.find(bytes_as_name(first), FirstAt{this}))
      return arrays_[*found].positions.data();
    std::vector<std::uint64_t> built(static_cast<std::size_t>(count));
    std::uint64_t at = 0;
    for (std::uint64_t& position : built) {
      position = at;
      at += (wide ? 8 : 4) + detail::load_length(first + at, wide);
    }
    arrays_.push_back({first, std::move(built)});  // moving a list does not move its elements
    static_cast<void>(places_.add(bytes_as_name(first), arrays_.size() - 1, FirstAt{this}));
    return arrays_.back().positions.data();
  }

 private:
  struct Indexed {
    const std::byte* first;
    std::vector<std::uint64_t> positions;
  };
  struct FirstAt {
    const StringIndexes* self;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      return bytes_as_name(self->arrays_[place].first);
    }
  };

  os::Monitor monitor_;
  std::vector<Indexed> arrays_;
  NameIndex places_;
};

}  // namespace allot::gguf
