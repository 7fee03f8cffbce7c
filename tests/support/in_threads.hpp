// SPDX-License-Identifier: MIT
/// \file
/// Runs a function on several threads at once.
#pragma once

#include <cstddef>
#include <thread>
#include <vector>

namespace allot::test {

/// Calls `function(i)` for every i below `threads`, each on a thread, and waits for all of them.
template <class Function>
void in_threads(std::size_t threads, Function function) {
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < threads; ++i) running.emplace_back(function, i);
  for (std::thread& thread : running) thread.join();
}

}  // namespace allot::test
