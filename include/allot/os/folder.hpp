// SPDX-License-Identifier: MIT
/// \file
/// The names in a folder.
#pragma once

#if defined(_WIN32)
#include <allot/os/detail/windows.hpp>
#endif

#include <dirent.h>

#include <string>
#include <string_view>

namespace allot::os {

/// Calls `visit` with each name in a folder, in no order; not at all if it cannot be read.
/// \param folder  with its slash, as from `folder_of`; empty: the current one
template <class Visit>
void for_each_name(std::string_view folder, const Visit& visit) {
#if defined(_WIN32)
  _WDIR* const opened = ::_wopendir(folder.empty() ? L"." : detail::widened(folder).c_str());
  if (opened == nullptr) return;
  struct Closer {
    _WDIR* folder;
    ~Closer() { ::_wclosedir(folder); }
  } const closer{opened};
  while (const _wdirent* const entry = ::_wreaddir(opened)) {
    const std::string name = detail::narrowed(entry->d_name);
    visit(std::string_view{name});
  }
#else
  DIR* const opened = ::opendir(folder.empty() ? "." : std::string{folder}.c_str());
  if (opened == nullptr) return;
  struct Closer {
    DIR* folder;
    ~Closer() { ::closedir(folder); }
  } const closer{opened};
  while (const dirent* const entry = ::readdir(opened)) visit(std::string_view{entry->d_name});
#endif
}

}  // namespace allot::os
