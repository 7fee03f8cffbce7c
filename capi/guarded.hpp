// SPDX-License-Identifier: MIT
/// \file
/// How exceptions become statuses.
#pragma once

#include <allot.h>

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
