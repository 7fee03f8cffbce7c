// SPDX-License-Identifier: MIT
// A forked child has none of its parent's threads: what needs them says so, instead of waiting.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/pool/buffers/buffer_pool.hpp>
#include <allot/pool/workspace/workspace.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/in_child.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace allot;
using test::in_child;

template <class Function>
bool refuses(Function&& f) {
  try {
    f();
  } catch (const std::runtime_error& error) {
    return std::string{error.what()}.find("fork()") != std::string::npos;
  }
  return false;
}

}  // namespace

TEST_CASE("a stream of the parent refuses work in a forked child, and is dropped there") {
  if (test::has_thread_sanitizer) return;  // it ends a child that starts threads
  StagedHostDevice device;
  std::optional stream{device.make_stream()};
  auto event = device.make_event();
  std::vector<char> bytes(64);
  std::promise<void> gate;
  (*stream)->push([opened = gate.get_future().share()] { opened.wait(); });
  device.record(event, *stream);
  CHECK(in_child([&] {
    const bool all =
        refuses([&] { device.copy_to_device(bytes.data(), bytes.data(), 1, *stream); }) &&
        refuses([&] { device.synchronize(*stream); }) &&
        refuses([&] { device.synchronize(event); }) &&
        refuses([&] { static_cast<void>(device.is_done(event)); }) &&
        refuses([&] { device.record(event, *stream); });
    event.reset();
    stream.reset();  // waits for no thread
    // What the child makes itself works.
    auto own = device.make_stream();
    auto own_event = device.make_event();
    device.copy_to_device(bytes.data(), "x", 1, own);
    device.record(own_event, own);
    device.synchronize(own_event);
    return all && bytes[0] == 'x' && device.is_done(own_event);
  }));
  gate.set_value();
  device.synchronize(*stream);
}

TEST_CASE("a pool of the parent refuses in a forked child, and goes there with its buffers") {
  if (test::has_thread_sanitizer) return;  // it ends a child that starts threads
  StagedHostDevice device;
  using StagedPool = BufferPool<StagedHostDevice>;
  std::optional<StagedPool> pool{std::in_place, device, 1 * MiB};
  std::optional<SharedStream<StagedHostDevice>> stream{device};
  auto used = pool->acquire(4096, *stream);
  pool->acquire(8192, *stream).release();
  CHECK(in_child([&] {
    const bool all = refuses([&] { static_cast<void>(pool->acquire(1, *stream)); }) &&
                     refuses([&] { pool->trim(); }) && refuses([&] { pool->warm_up({1}); }) &&
                     refuses([&] { static_cast<void>(pool->stats()); }) &&
                     reclaim_memory(device.name(), 1) == 0;
    used.release();
    pool.reset();
    stream.reset();
    StagedPool own{device, 1 * MiB};
    const SharedStream own_stream{device};
    return all && own.acquire(4096, own_stream).size() == 4096;
  }));
  CHECK(pool->acquire(8192, *stream).size() == 8192);  // the parent's is as it was
  CHECK(pool->validate());
}

TEST_CASE("pools and scratch of a device without threads work in a forked child") {
  BufferPool pool{HostDevice{}, 1 * MiB};
  Workspace<HostDevice> workspace{HostDevice{}};
  auto used = pool.acquire(4096);
  std::memset(used.address(), 1, 4096);
  CHECK(in_child([&] {
    std::memset(used.address(), 2, 4096);
    used.release();
    auto scope = workspace.scope();
    return pool.acquire(4096).size() == 4096 && scope.allocate(100).bytes() >= 100 &&
           pool.validate();
  }));
  CHECK(used.span()[0] == std::byte{1});
}

TEST_CASE("a workspace of the parent refuses in a forked child what needs its stream's thread") {
  StagedHostDevice device;
  std::optional<Workspace<StagedHostDevice>> workspace{std::in_place, device};
  std::vector<char> bytes(64);
  {
    auto scope = workspace->scope();
    static_cast<void>(scope.allocate(4096));
  }
  CHECK(in_child([&] {
    const bool is_refused =
        refuses([&] { device.copy_to_device(bytes.data(), bytes.data(), 1, workspace->stream()); });
    workspace.reset();
    return is_refused;
  }));
}
