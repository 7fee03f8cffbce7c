// SPDX-License-Identifier: MIT
// Compiled with -O2 whatever the rest is: `dlsym` must end in a jump to the linker's, which takes the place that
// it returns to for the library that asks (RTLD_NEXT).
#include "symbols.hpp"

#include <dlfcn.h>

#include <atomic>
#include <cstdint>
#include <string_view>

#include "hip_abi.hpp"
#include "next.hpp"

namespace allot::seam {
namespace {

using Find = void* (*)(void*, const char*) noexcept;

/// Of the C library, by the version that each machine's has: its plain name is this library's.
[[nodiscard]] Find linker_find() noexcept {
  static constinit std::atomic<Find> found{nullptr};
  if (const Find known = found.load(std::memory_order_relaxed)) [[likely]]
    return known;
  Find first = nullptr;
  for (const char* const version : {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"}) {
    first = reinterpret_cast<Find>(::dlvsym(RTLD_NEXT, "dlsym", version));
    if (first != nullptr) break;
  }
  found.store(first, std::memory_order_relaxed);
  return first;
}

/// Returns whether a function is HIP's own.
[[nodiscard]] bool is_of_runtime(const void* function) noexcept {
  Dl_info info;
  if (::dladdr(function, &info) == 0 || info.dli_fname == nullptr) return false;
  const std::string_view path{info.dli_fname};
  return path.substr(path.rfind('/') + 1).starts_with("libamdhip64.so");
}

/// Returns what this library has in front of a function of HIP's; null if it has nothing.
[[nodiscard]] void* in_front_of(const char* name) noexcept {
  static constinit std::atomic<void*> own{nullptr};
  void* self = own.load(std::memory_order_relaxed);
  if (self == nullptr) {
    Dl_info info;
    if (::dladdr(reinterpret_cast<const void*>(&linker_symbol), &info) == 0) return nullptr;
    self = ::dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (self == nullptr) return nullptr;
    own.store(self, std::memory_order_relaxed);
  }
  return linker_find()(self, name);
}

/// Puts what this library has in front of a function that HIP found in its place.
HipError put_in_front(HipError code, const char* name, void** function) noexcept {
  if (code != hip_success || name == nullptr || function == nullptr) return code;
  if (!is_of_runtime(*function)) return code;
  if (void* const in_front = in_front_of(name)) *function = in_front;
  return code;
}

}  // namespace

void* linker_symbol(void* handle, const char* name) noexcept { return linker_find()(handle, name); }

}  // namespace allot::seam

extern "C" {

[[gnu::visibility("default")]] void* dlsym(void* handle, const char* name) noexcept {
  using namespace allot::seam;
  const Find find = linker_find();
  const bool is_by_order =
      handle == RTLD_NEXT || handle == RTLD_DEFAULT;  // which finds it by itself
  if (is_by_order || name[0] != 'h' || name[1] != 'i' || name[2] != 'p') return find(handle, name);
  void* const found = find(handle, name);
  if (found == nullptr || !is_of_runtime(found)) return found;
  void* const in_front = in_front_of(name);
  return in_front == nullptr ? found : in_front;
}

// HIP's own ways to ask for a function by name (ROCm 6.2 and 7)

[[gnu::visibility("default")]] allot::seam::HipError hipGetProcAddress(const char* name,
                                                                       void** function, int version,
                                                                       std::uint64_t flags,
                                                                       void* status) {
  static constinit allot::seam::Next next{"hipGetProcAddress"};
  return allot::seam::put_in_front(next(name, function, version, flags, status), name, function);
}
[[gnu::visibility("default")]] allot::seam::HipError hipGetDriverEntryPoint(
    const char* name, void** function, unsigned long long flags, void* status) {
  static constinit allot::seam::Next next{"hipGetDriverEntryPoint"};
  return allot::seam::put_in_front(next(name, function, flags, status), name, function);
}

}  // extern "C"
