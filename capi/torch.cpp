// SPDX-License-Identifier: MIT
#include <allot_torch.h>

#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "torch_allocator.hpp"

namespace {

/// Never destroyed: Python frees tensors after static destructors have run.
allot::capi::TorchAllocator& allocator() {
  static auto& all = *new allot::capi::TorchAllocator{allot::capi::torch_options_of_environment()};
  return all;
}

/// Calls `function()`; prints what it throws, and returns whether it did not.
template <class Function>
bool prints_errors(Function&& function) noexcept {
  try {
    function();
    return true;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "allot: %s\n", error.what());
    return false;
  }
}

std::string json_of(const allot::PoolStats& stats) {
  std::string text;
  const auto add = [&text](const char* name, std::uint64_t number) {
    text += (text.empty() ? "{\"" : ", \"") + std::string{name} + "\": " + std::to_string(number);
  };
  add("hits", stats.hits);
  add("misses", stats.misses);
  add("waits", stats.waits);
  add("requested", stats.requested);
  add("in_use", stats.in_use);
  add("cached", stats.cached);
  add("capacity", stats.capacity);
  add("in_use_buffers", stats.in_use_buffers);
  add("cached_buffers", stats.cached_buffers);
  add("chunks", stats.chunks);
  return text + "}";
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

void* allot_torch_alloc(ssize_t bytes, int device, hipStream_t stream) {
  if (bytes < 0) throw std::bad_alloc{};
  return allocator().allocate(static_cast<std::uint64_t>(bytes), device, stream);
}

void allot_torch_free(void* address, ssize_t, int, hipStream_t) {
  static_cast<void>(prints_errors([&] { allocator().deallocate(address); }));
}

void allot_torch_record_stream(void* address, hipStream_t stream) {
  allocator().record_stream(address, stream);
}

int allot_torch_empty_cache(void) {
  return prints_errors([] { allocator().empty_cache(); }) ? 0 : 1;
}

const char* allot_torch_stats(int device) {
  thread_local std::string text;
  const bool is_known = prints_errors([&] {
    const auto stats = allocator().stats(device);
    text = stats ? json_of(*stats) : "null";
  });
  return is_known ? text.c_str() : "null";
}

const char* allot_torch_snapshot(int device) {
  thread_local std::string text;
  const bool is_known =
      prints_errors([&] { text = allocator().snapshot(device).value_or("null"); });
  return is_known ? text.c_str() : "null";
}

}  // extern "C"
#pragma GCC visibility pop
