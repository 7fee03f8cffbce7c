// SPDX-License-Identifier: MIT
/// \file
/// The names that a file to write has: no two are the same.
#pragma once

#include <allot/gguf/name_index.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace allot::gguf::detail {

/// A set of names. A template, as `BasicWriter` is.
template <class = void>
class BasicNames {
 public:
  [[nodiscard]] bool contains(std::string_view name) const {
    return index_.find(name, name_of()).has_value();
  }

  /// Requires: it is not there. If that throws, nothing has changed.
  void add(std::string_view name) {
    names_.emplace_back(name);
    try {
      static_cast<void>(index_.add(name, names_.size() - 1, name_of()));
    } catch (...) {
      names_.pop_back();
      throw;
    }
  }

 private:
  [[nodiscard]] auto name_of() const {
    return [this](std::size_t place) -> std::string_view { return names_[place]; };
  }

  std::vector<std::string> names_;
  NameIndex index_;  // into them
};

using Names = BasicNames<>;

}  // namespace allot::gguf::detail
