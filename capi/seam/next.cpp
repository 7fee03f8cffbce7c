// SPDX-License-Identifier: MIT
#include "next.hpp"

#include <dlfcn.h>
#include <link.h>

#include <cstring>
#include <string_view>

#include "symbols.hpp"

namespace allot::seam {
namespace {

/// The path of libamdhip64 if it is loaded, in room that the caller has.
struct Loaded {
  char path[4096] = {};
};

int note_runtime(dl_phdr_info* info, std::size_t, void* data) {
  const std::string_view path{info->dlpi_name == nullptr ? "" : info->dlpi_name};
  const std::string_view file = path.substr(path.rfind('/') + 1);
  auto& loaded = *static_cast<Loaded*>(data);
  if (!file.starts_with("libamdhip64.so") || path.size() >= sizeof loaded.path) return 0;
  std::memcpy(loaded.path, path.data(), path.size());
  return 1;
}

}  // namespace

void* find_next(const char* name) noexcept {
  if (void* const found = linker_symbol(RTLD_NEXT, name)) return found;
  // Loaded by dlopen, as Python's extensions are: it is not in the program's own order of search.
  Loaded loaded;
  if (::dl_iterate_phdr(&note_runtime, &loaded) == 0) return nullptr;
  void* const runtime = ::dlopen(loaded.path, RTLD_LAZY | RTLD_NOLOAD);
  return runtime == nullptr ? nullptr : linker_symbol(runtime, name);
}

}  // namespace allot::seam
