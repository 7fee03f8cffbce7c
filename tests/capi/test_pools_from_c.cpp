// SPDX-License-Identifier: MIT
// Devices, streams, buffer pools and GPU memory through the C interface; GPUs are hipsim's.
#include <allot.h>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#if defined(ALLOT_C_HIP)
#include <allot/gguf/file.hpp>

#include "hip/failing_calls.hpp"
#include "hip/simulation.hpp"
#include "support/models.hpp"
#include "support/test_data.hpp"
#endif

namespace {

struct CStream {
  explicit CStream(const char* device = "host") {
    REQUIRE(allot_stream_create(device, &handle) == ALLOT_OK);
  }
  CStream(const CStream&) = delete;
  CStream& operator=(const CStream&) = delete;
  ~CStream() { allot_stream_destroy(handle); }

  allot_stream* handle = nullptr;
};

struct CPool {
  explicit CPool(std::uint64_t capacity, const char* device = "host",
                 const allot_pool_options* options = nullptr) {
    REQUIRE(allot_pool_create(device, capacity, options, &handle) == ALLOT_OK);
  }
  CPool(const CPool&) = delete;
  CPool& operator=(const CPool&) = delete;
  ~CPool() { allot_pool_destroy(handle); }

  [[nodiscard]] void* acquire(std::uint64_t bytes, const CStream& stream) const {
    void* address = nullptr;
    REQUIRE(allot_pool_acquire(handle, bytes, stream.handle, &address, nullptr) == ALLOT_OK);
    return address;
  }
  [[nodiscard]] allot_pool_stats stats() const {
    allot_pool_stats now{};
    REQUIRE(allot_pool_usage(handle, &now) == ALLOT_OK);
    return now;
  }

  allot_pool* handle = nullptr;
};

[[nodiscard]] std::string last_text() { return allot_last_error(); }

}  // namespace

TEST_CASE("a pool hands released buffers out again, and counts what it does") {
  const CStream stream;
  allot_pool_options options{};
  options.growth = 1 << 20;
  options.max_capacity = 2 << 20;
  const CPool pool{1 << 20, "host", &options};
  const std::array<std::uint64_t, 2> sizes{1000, 5000};
  CHECK(allot_pool_warm_up(pool.handle, sizes.data(), sizes.size()) == ALLOT_OK);
  void* address = nullptr;
  std::uint64_t size = 0;
  REQUIRE(allot_pool_acquire(pool.handle, 1000, stream.handle, &address, &size) == ALLOT_OK);
  CHECK(size == 1024);
  CHECK(reinterpret_cast<std::uintptr_t>(address) % 256 == 0);
  std::memset(address, 7, size);
  CHECK(pool.stats().in_use_buffers == 1);
  CHECK(pool.stats().requested == 1000);
  CHECK(allot_pool_release(pool.handle, address, nullptr) == ALLOT_OK);
  CHECK(pool.acquire(900, stream) == address);
  CHECK(pool.stats().hits == 2);
  CHECK(pool.stats().misses == 0);
  CHECK(allot_pool_release(pool.handle, address, stream.handle) == ALLOT_OK);
  std::uint64_t freed = 0;
  CHECK(allot_pool_trim(pool.handle, 0, &freed) == ALLOT_OK);
  CHECK(freed == 1024 + 5120);
  CHECK(pool.stats().cached == 0);
  CHECK(pool.stats().peak_in_use == 1024);
  char* json = nullptr;
  REQUIRE(allot_pool_dump(pool.handle, &json) == ALLOT_OK);
  CHECK(std::string{json}.find("\"peak_in_use\":1024") != std::string::npos);
  allot_string_free(json);
  void* const large = pool.acquire(1 << 20, stream);  // there are two chunks now
  CHECK(allot_pool_acquire(pool.handle, 1 << 21, stream.handle, &address, nullptr) ==
        ALLOT_OUT_OF_MEMORY);
  CHECK(allot_pool_release(pool.handle, large, nullptr) == ALLOT_OK);
  CHECK(allot_stream_synchronize(stream.handle) == ALLOT_OK);
  std::uint64_t free = 0;
  std::uint64_t total = 0;
  CHECK(allot_device_memory("host", &free, &total) == ALLOT_OK);
  CHECK(free <= total);
}

TEST_CASE("hostile use of pools and streams is an error, and changes nothing") {
  const CStream stream;
  const CPool pool{1 << 20};
  const CPool other{1 << 20};
  void* const mine = pool.acquire(100, stream);
  void* address = nullptr;
  std::uint64_t number = 0;
  allot_pool_stats stats{};
  for (const std::uintptr_t wrong :
       {std::uintptr_t{0}, std::uintptr_t{12345}, ~std::uintptr_t{0}}) {
    auto* const no_pool = reinterpret_cast<allot_pool*>(wrong);
    auto* const no_stream = reinterpret_cast<allot_stream*>(wrong);
    CHECK(allot_pool_acquire(no_pool, 1, stream.handle, &address, nullptr) == ALLOT_INVALID_HANDLE);
    CHECK(allot_pool_acquire(pool.handle, 1, no_stream, &address, nullptr) == ALLOT_INVALID_HANDLE);
    CHECK(allot_pool_release(no_pool, mine, nullptr) == ALLOT_INVALID_HANDLE);
    CHECK(allot_pool_warm_up(no_pool, &number, 1) == ALLOT_INVALID_HANDLE);
    CHECK(allot_pool_trim(no_pool, 0, nullptr) == ALLOT_INVALID_HANDLE);
    CHECK(allot_pool_usage(no_pool, &stats) == ALLOT_INVALID_HANDLE);
    CHECK(allot_stream_synchronize(no_stream) == ALLOT_INVALID_HANDLE);
    CHECK(allot_stream_native(no_stream, &address) == ALLOT_INVALID_HANDLE);
    allot_pool_destroy(no_pool);
    allot_stream_destroy(no_stream);
  }
  CHECK(allot_pool_release(pool.handle, mine, reinterpret_cast<allot_stream*>(std::uintptr_t{7})) ==
        ALLOT_INVALID_HANDLE);
  CHECK(allot_pool_acquire(pool.handle, 1, stream.handle, nullptr, nullptr) ==
        ALLOT_INVALID_ARGUMENT);
  CHECK(allot_pool_acquire(pool.handle, 0, stream.handle, &address, nullptr) ==
        ALLOT_INVALID_ARGUMENT);
  CHECK(allot_pool_acquire(pool.handle, ~std::uint64_t{0}, stream.handle, &address, nullptr) ==
        ALLOT_INVALID_ARGUMENT);
  CHECK(allot_pool_acquire(pool.handle, 1 << 21, stream.handle, &address, nullptr) ==
        ALLOT_OUT_OF_MEMORY);
  CHECK(allot_pool_warm_up(pool.handle, nullptr, 1) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_pool_warm_up(pool.handle, nullptr, 0) == ALLOT_OK);
  CHECK(allot_pool_usage(pool.handle, nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_pool_dump(pool.handle, nullptr) == ALLOT_INVALID_ARGUMENT);
  char* json = nullptr;
  CHECK(allot_pool_dump(nullptr, &json) == ALLOT_INVALID_HANDLE);
  CHECK(address == nullptr);

  CHECK(allot_pool_release(other.handle, mine, nullptr) == ALLOT_INVALID_BLOCK);
  CHECK(allot_pool_release(pool.handle, &address, nullptr) == ALLOT_INVALID_BLOCK);
  CHECK(allot_pool_release(pool.handle, static_cast<char*>(mine) + 1, nullptr) ==
        ALLOT_INVALID_BLOCK);
  CHECK(pool.stats().in_use_buffers == 1);
  std::thread{[&] { CHECK(allot_pool_release(pool.handle, mine, nullptr) == ALLOT_OK); }}.join();
  CHECK(allot_pool_release(pool.handle, mine, nullptr) == ALLOT_INVALID_BLOCK);
  CHECK(last_text().find("no live block starts at address 0x") == 0);
  CHECK(allot_pool_release(pool.handle, nullptr, nullptr) == ALLOT_OK);

  allot_pool* none = nullptr;
  allot_stream* no_stream = nullptr;
  allot_pool_options options{};
  options.reserved[4] = 1;
  CHECK(allot_pool_create("host", 1 << 20, &options, &none) == ALLOT_INVALID_ARGUMENT);
  options = {};
  options.max_capacity = 1 << 10;
  CHECK(allot_pool_create("host", 1 << 20, &options, &none) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_pool_create("host", 0, nullptr, &none) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_pool_create("host", 1 << 20, nullptr, nullptr) == ALLOT_INVALID_ARGUMENT);
  for (const char* const name : {"", "gpu", "hip", "hip:", "hip:-1", "hip:0x", "hip:99999999999"}) {
    CHECK(allot_pool_create(name, 1 << 20, nullptr, &none) == ALLOT_INVALID_ARGUMENT);
    CHECK(last_text().find("there is no device \"" + std::string{name} + "\"; give ") == 0);
    CHECK(allot_stream_create(name, &no_stream) == ALLOT_INVALID_ARGUMENT);
    CHECK(allot_device_memory(name, &number, &number) == ALLOT_INVALID_ARGUMENT);
  }
  CHECK(allot_pool_create(nullptr, 1 << 20, nullptr, &none) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_stream_create(nullptr, &no_stream) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_stream_create("host", nullptr) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_device_memory("host", nullptr, &number) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_stream_borrow("host", nullptr, &no_stream) == ALLOT_UNSUPPORTED);
  CHECK(allot_stream_native(stream.handle, &address) == ALLOT_UNSUPPORTED);
  CHECK(none == nullptr);
  CHECK(no_stream == nullptr);
}

TEST_CASE("a handle of another kind is none, whatever its number") {
  // The first of each kind, and some more: none of them is one of the others.
  std::vector<void*> handles;
  for (int i = 0; i < 3; ++i) {
    allot_arena* arena = nullptr;
    allot_pool* pool = nullptr;
    allot_stream* stream = nullptr;
    REQUIRE(allot_arena_create(1 << 20, nullptr, &arena) == ALLOT_OK);
    REQUIRE(allot_pool_create("host", 1 << 20, nullptr, &pool) == ALLOT_OK);
    REQUIRE(allot_stream_create("host", &stream) == ALLOT_OK);
    handles.insert(handles.end(), {arena, pool, stream});
  }
  for (std::size_t i = 0; i < handles.size(); ++i) {
    void* const handle = handles[i];
    allot_usage usage{};
    CHECK((allot_arena_usage(static_cast<allot_arena*>(handle), &usage) == ALLOT_OK) ==
          (i % 3 == 0));
    allot_pool_stats stats{};
    CHECK((allot_pool_usage(static_cast<allot_pool*>(handle), &stats) == ALLOT_OK) == (i % 3 == 1));
    CHECK((allot_stream_synchronize(static_cast<allot_stream*>(handle)) == ALLOT_OK) ==
          (i % 3 == 2));
    std::uint64_t count = 0;
    CHECK(allot_gguf_tensor_count(static_cast<allot_gguf*>(handle), &count) ==
          ALLOT_INVALID_HANDLE);
  }
  for (void* const handle : handles) {
    allot_arena_destroy(static_cast<allot_arena*>(handle));
    allot_pool_destroy(static_cast<allot_pool*>(handle));
    allot_stream_destroy(static_cast<allot_stream*>(handle));
  }
}

TEST_CASE("a pool or a stream that was destroyed is invalid, and what used it goes on") {
  allot_pool* pool = nullptr;
  allot_stream* stream = nullptr;
  REQUIRE(allot_pool_create("host", 1 << 20, nullptr, &pool) == ALLOT_OK);
  REQUIRE(allot_stream_create("host", &stream) == ALLOT_OK);
  std::array<void*, 2> buffers{};
  for (void*& buffer : buffers)
    REQUIRE(allot_pool_acquire(pool, 100, stream, &buffer, nullptr) == ALLOT_OK);
  allot_stream_destroy(stream);
  CHECK(allot_stream_synchronize(stream) == ALLOT_INVALID_HANDLE);
  CHECK(allot_pool_release(pool, buffers[0], nullptr) == ALLOT_OK);
  allot_pool_destroy(pool);
  CHECK(allot_pool_release(pool, buffers[1], nullptr) == ALLOT_INVALID_HANDLE);
}

TEST_CASE("threads share a pool, and one of them destroys it") {
  const CStream stream;
  allot_pool* pool = nullptr;
  REQUIRE(allot_pool_create("host", 1 << 20, nullptr, &pool) == ALLOT_OK);
  std::atomic<int> unexpected{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&, thread] {
      for (int step = 0; step < 200; ++step) {
        void* address = nullptr;
        allot_status status = allot_pool_acquire(pool, 100, stream.handle, &address, nullptr);
        if (status == ALLOT_OK) status = allot_pool_release(pool, address, nullptr);
        if (status != ALLOT_OK && status != ALLOT_INVALID_HANDLE) ++unexpected;
        if (thread == 0 && step == 100) allot_pool_destroy(pool);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(unexpected == 0);
}

#if defined(ALLOT_C_HIP)

namespace {

constexpr std::size_t copied = 4096;

/// Pinned memory that copies come from; it outlives them.
struct PinnedBytes {
  PinnedBytes() {
    allot_arena_options options{};
    options.memory = ALLOT_HIP_PINNED;
    REQUIRE(allot_arena_create(1 << 16, &options, &arena) == ALLOT_OK);
    address = allot_malloc(arena, copied, 0);
    REQUIRE(address != nullptr);
    std::memset(address, 5, copied);
  }
  PinnedBytes(const PinnedBytes&) = delete;
  PinnedBytes& operator=(const PinnedBytes&) = delete;
  ~PinnedBytes() {
    static_cast<void>(hipDeviceSynchronize());
    allot_arena_destroy(arena);
  }

  allot_arena* arena = nullptr;
  void* address = nullptr;
};

void copy_into(void* to, const PinnedBytes& from, allot_stream* stream) {
  void* native = nullptr;
  REQUIRE(allot_stream_native(stream, &native) == ALLOT_OK);
  REQUIRE(hipMemcpyAsync(to, from.address, copied, hipMemcpyHostToDevice,
                         static_cast<hipStream_t>(native)) == hipSuccess);
}

}  // namespace

TEST_CASE("a GPU's pool orders what streams do with one buffer, with one call to the driver") {
  for (const auto schedule : allot::test::schedules) {
    const allot::test::Simulation simulation{{.schedule = schedule}};
    const PinnedBytes bytes;
    const CStream first{"hip:0"};
    const CStream second{"hip:0"};
    const CPool pool{copied, "hip:0"};  // room for one buffer
    for (int i = 0; i < 20; ++i) {
      const CStream& stream = i % 3 == 0 ? second : first;
      void* const buffer = pool.acquire(copied, stream);
      copy_into(buffer, bytes, stream.handle);
      CHECK(allot_pool_release(pool.handle, buffer, i % 2 == 0 ? nullptr : stream.handle) ==
            ALLOT_OK);
    }
    CHECK(pool.stats().waits > 0);
    CHECK(pool.stats().misses == 1);
    CHECK(hipsim::calls("hipMalloc") == 1);
  }
}

TEST_CASE("a buffer that another stream used last is free behind that one's work") {
  const allot::test::Simulation simulation{{.schedule = hipsim::Schedule::late}};
  const PinnedBytes bytes;
  const CStream first{"hip:0"};
  const CStream second{"hip:0"};
  const CPool pool{copied, "hip:0"};
  void* const buffer = pool.acquire(copied, first);
  copy_into(buffer, bytes, second.handle);
  CHECK(allot_pool_release(pool.handle, buffer, second.handle) == ALLOT_OK);
  CHECK(pool.acquire(copied, first) == buffer);
  copy_into(buffer, bytes, first.handle);
}

TEST_CASE("a borrowed stream is the program's, and may go once its buffers are released") {
  const allot::test::Simulation simulation;
  const PinnedBytes bytes;
  hipStream_t mine = nullptr;
  REQUIRE(hipStreamCreateWithFlags(&mine, hipStreamNonBlocking) == hipSuccess);
  const CPool pool{copied, "hip:0"};
  allot_stream* borrowed = nullptr;
  REQUIRE(allot_stream_borrow("hip:0", mine, &borrowed) == ALLOT_OK);
  void* buffer = nullptr;
  REQUIRE(allot_pool_acquire(pool.handle, copied, borrowed, &buffer, nullptr) == ALLOT_OK);
  copy_into(buffer, bytes, borrowed);
  CHECK(allot_pool_release(pool.handle, buffer, nullptr) == ALLOT_OK);
  allot_stream_destroy(borrowed);
  REQUIRE(hipStreamSynchronize(mine) == hipSuccess);
  REQUIRE(hipStreamDestroy(mine) == hipSuccess);
  const CStream next{"hip:0"};
  CHECK(pool.acquire(copied, next) == buffer);
}

TEST_CASE("streams and pools of different devices do not mix") {
  const allot::test::Simulation simulation{
      {.devices = {hipsim::DeviceModel{}, hipsim::DeviceModel{}}}};
  const CStream host;
  const CStream first{"hip:0"};
  const CPool pool{1 << 20, "hip:1"};
  void* address = nullptr;
  CHECK(allot_pool_acquire(pool.handle, 1, first.handle, &address, nullptr) ==
        ALLOT_INVALID_ARGUMENT);
  CHECK(last_text() == "a stream of hip:0 for a pool of hip:1; give a stream of the pool's device");
  CHECK(allot_pool_acquire(pool.handle, 1, host.handle, &address, nullptr) ==
        ALLOT_INVALID_ARGUMENT);
  const CStream own{"hip:1"};
  address = pool.acquire(1, own);
  CHECK(allot_pool_release(pool.handle, address, first.handle) == ALLOT_INVALID_ARGUMENT);
  CHECK(allot_pool_release(pool.handle, address, own.handle) == ALLOT_OK);
  allot_stream* none = nullptr;
  CHECK(allot_stream_create("hip:2", &none) == ALLOT_INVALID_ARGUMENT);
  CHECK(last_text() == "there is no device hip:2; there are hip:0 to hip:1");
  allot_arena* arena = nullptr;
  allot_arena_options options{};
  options.device = 1;
  CHECK(allot_arena_create(1 << 20, &options, &arena) == ALLOT_INVALID_ARGUMENT);
  options.memory = ALLOT_HIP;
  options.device = 2;
  CHECK(allot_arena_create(1 << 20, &options, &arena) == ALLOT_INVALID_ARGUMENT);
  options.device = std::uint64_t{1} << 33;
  CHECK(allot_arena_create(1 << 20, &options, &arena) == ALLOT_INVALID_ARGUMENT);
  CHECK(arena == nullptr);
}

TEST_CASE("an arena has any of HIP's memories, taken at once and given back") {
  for (const allot_memory memory : {ALLOT_HIP, ALLOT_HIP_PINNED, ALLOT_HIP_MANAGED}) {
    const allot::test::Simulation simulation;
    allot_arena_options options{};
    options.memory = memory;
    allot_arena* arena = nullptr;
    REQUIRE(allot_arena_create(1 << 20, &options, &arena) == ALLOT_OK);
    const auto calls = hipsim::calls();
    void* const first = allot_malloc(arena, 1000, 0);
    void* const second = allot_malloc(arena, 1000, 4096);
    CHECK(static_cast<char*>(second) - static_cast<char*>(first) == 4096);
    CHECK(allot_free(arena, first) == ALLOT_OK);
    CHECK(allot_free(arena, first) == ALLOT_INVALID_BLOCK);
    CHECK(hipsim::calls() == calls);
    char* json = nullptr;
    REQUIRE(allot_arena_dump(arena, &json) == ALLOT_OK);
    CHECK(std::string{json}.find("{\"offset\":4096,\"size\":1024,\"used\":true}") !=
          std::string::npos);
    allot_string_free(json);
    allot_arena_destroy(arena);
  }
  const allot::test::Simulation simulation{{.devices = {{.memory = 1 << 20}}}};
  allot_arena_options options{};
  options.memory = ALLOT_HIP;
  allot_arena* arena = nullptr;
  CHECK(allot_arena_create(2 << 20, &options, &arena) == ALLOT_OUT_OF_MEMORY);
  std::uint64_t free = 0;
  std::uint64_t total = 0;
  CHECK(allot_device_memory("hip:0", &free, &total) == ALLOT_OK);
  CHECK(total == 1 << 20);
}

TEST_CASE("a model is loaded onto a GPU, with progress, or refused before anything is taken") {
  const allot::test::TemporaryFolder folder;
  const auto path = allot::test::write_llama(folder.path() / "m.gguf");
  const allot::gguf::File expected{path};
  allot_gguf* file = nullptr;
  REQUIRE(allot_gguf_open(path.c_str(), &file) == ALLOT_OK);
  {
    const allot::test::Simulation simulation;
    CHECK(allot_gguf_check(file, "hip:0") == ALLOT_OK);
    allot_model* model = nullptr;
    std::uint64_t done = 0;
    const auto note = [](std::uint64_t bytes, std::uint64_t, void* user) {
      *static_cast<std::uint64_t*>(user) = bytes;
      return 0;
    };
    REQUIRE(allot_model_load(file, "hip:0", note, &done, &model) == ALLOT_OK);
    CHECK(done > 0);
    for (const allot::gguf::TensorInfo& tensor : expected.tensors()) {
      void* address = nullptr;
      std::uint64_t bytes = 0;
      REQUIRE(allot_model_tensor(model, std::string{tensor.name}.c_str(), &address, &bytes) ==
              ALLOT_OK);
      REQUIRE(bytes == tensor.bytes);
      CHECK(std::memcmp(hipsim::view_of(address), expected.data(tensor).data(), bytes) == 0);
    }
    CHECK(hipsim::calls("hipMalloc") == 1);
    allot_model_free(model);
    const auto cancel = [](std::uint64_t, std::uint64_t, void*) { return 1; };
    CHECK(allot_model_load(file, "hip:0", cancel, nullptr, &model) == ALLOT_CANCELLED);
  }
  {
    const allot::test::Simulation simulation{{.devices = {{.memory = 1 << 10}}}};
    allot_model* model = nullptr;
    CHECK(allot_gguf_check(file, "hip:0") == ALLOT_INSUFFICIENT_MEMORY);
    CHECK(allot_model_load(file, "hip:0", nullptr, nullptr, &model) == ALLOT_INSUFFICIENT_MEMORY);
    CHECK(model == nullptr);
    CHECK(hipsim::calls("hipMalloc") == 0);
  }
  allot_gguf_close(file);
}

TEST_CASE("when any call to HIP fails, a status says so, and nothing is lost") {
  const auto must = [](allot_status status) {
    if (status == ALLOT_OK) return;
    REQUIRE((status == ALLOT_SYSTEM_ERROR || status == ALLOT_OUT_OF_MEMORY));
    throw allot::hip::Error{hipErrorUnknown, "a call", allot_last_error()};
  };
  allot::test::fail_every_call(
      [&] {
        struct All {
          ~All() {
            allot_pool_destroy(pool);
            allot_stream_destroy(stream);
            allot_stream_destroy(other);
            allot_arena_destroy(arena);
          }
          allot_arena* arena = nullptr;
          allot_pool* pool = nullptr;
          allot_stream* stream = nullptr;
          allot_stream* other = nullptr;
        } all;
        allot_arena_options options{};
        options.memory = ALLOT_HIP;
        must(allot_arena_create(1 << 20, &options, &all.arena));
        must(allot_stream_create("hip:0", &all.stream));
        must(allot_stream_create("hip:0", &all.other));
        must(allot_pool_create("hip:0", 1024, nullptr, &all.pool));
        for (allot_stream* const stream : {all.stream, all.other, all.stream}) {
          void* address = nullptr;
          must(allot_pool_acquire(all.pool, 1000, stream, &address, nullptr));
          must(allot_pool_release(all.pool, address, nullptr));
        }
        must(allot_stream_synchronize(all.stream));
      },
      {"hipMalloc", "hipStreamCreateWithFlags", "hipStreamSynchronize"});
}

#else

TEST_CASE("a library without HIP says so when it is asked for a GPU") {
  allot_pool* pool = nullptr;
  allot_stream* stream = nullptr;
  allot_arena* arena = nullptr;
  std::uint64_t bytes = 0;
  CHECK(allot_pool_create("hip:0", 1 << 20, nullptr, &pool) == ALLOT_UNSUPPORTED);
  CHECK(last_text().find("built without HIP") != std::string::npos);
  CHECK(allot_stream_create("hip:0", &stream) == ALLOT_UNSUPPORTED);
  CHECK(allot_stream_borrow("hip:0", nullptr, &stream) == ALLOT_UNSUPPORTED);
  CHECK(allot_device_memory("hip:0", &bytes, &bytes) == ALLOT_UNSUPPORTED);
  allot_arena_options options{};
  for (const allot_memory memory : {ALLOT_HIP, ALLOT_HIP_PINNED, ALLOT_HIP_MANAGED}) {
    options.memory = memory;
    CHECK(allot_arena_create(1 << 20, &options, &arena) == ALLOT_UNSUPPORTED);
  }
}

#endif
