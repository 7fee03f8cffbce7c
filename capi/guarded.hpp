// SPDX-License-Identifier: MIT
/// \file
/// How exceptions become statuses.
#pragma once

#include <allot.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>

namespace allot::capi {

/// A failure that has no exception type of its own.
struct Failure {
  allot_status status;
  std::string text;
};

/// Keeps the text of the exception that is being handled, and returns its status.
[[nodiscard]] allot_status status_of_exception() noexcept;

/// Calls `function()`. No exception leaves it.
template <class Function>
[[nodiscard]] allot_status guarded(Function&& function) noexcept {
  try {
    std::forward<Function>(function)();
    return ALLOT_OK;
  } catch (...) {
    return status_of_exception();
  }
}

/// Throws: `Failure` if a pointer that must point to something is null.
inline void require(const void* pointer, const char* text) {
  if (pointer == nullptr) throw Failure{ALLOT_INVALID_ARGUMENT, text};
}

/// Throws: `Failure` if words that later versions may use are not zero.
template <std::size_t count>
void require_zeros(const std::uint64_t (&reserved)[count]) {
  for (const std::uint64_t word : reserved) {
    if (word != 0)
      throw Failure{ALLOT_INVALID_ARGUMENT,
                    "the options' reserved words are not zero; start from all zeros"};
  }
}

/// Returns a copy that `allot_string_free` frees. Throws: `std::bad_alloc`.
[[nodiscard]] inline char* copy_of(const std::string& text) {
  char* const copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc{};
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

/// Returns what a handle stands for. Throws: `Failure`.
template <class Handles, class Handle>
[[nodiscard]] auto object_of(const Handles& handles, const Handle* handle) {
  auto object = handles.find(handle);
  if (!object) {
    throw Failure{
        ALLOT_INVALID_HANDLE,
        "the handle is null, was destroyed, or is not of this kind; use one that a create, "
        "open or load function has given"};
  }
  return object;
}

}  // namespace allot::capi
