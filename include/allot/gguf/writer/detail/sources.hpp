// SPDX-License-Identifier: MIT
/// \file
/// The files that a writer reads from, none of which it may replace.
#pragma once

#include <allot/os/path.hpp>

#include <stdexcept>
#include <string>
#include <vector>

namespace allot::gguf::detail {

/// A template, as `BasicWriter` is.
template <class = void>
class BasicSources {
 public:
  void add(const os::FileId& file, const std::string& path) {
    for (const Source& source : sources_) {
      if (source.file == file) return;
    }
    sources_.push_back({file, path});
  }

  /// Throws: `std::runtime_error` if the path leads to one of them.
  void check_target(const std::string& path) const {
    for (const Source& source : sources_) {
      if (!os::leads_to(path, source.file)) continue;
      const std::string what =
          path == source.path ? "a file" : "the same file as " + source.path + ",";
      throw std::runtime_error{"cannot write " + path + ": it is " + what +
                               " that is being copied; write to another name"};
    }
  }

 private:
  struct Source {
    os::FileId file;
    std::string path;  // for messages
  };

  std::vector<Source> sources_;
};

using Sources = BasicSources<>;

}  // namespace allot::gguf::detail
