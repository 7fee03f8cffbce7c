// SPDX-License-Identifier: MIT
// Each crime is committed, and seen.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "hipsim/hipsim.hpp"

namespace {

using hipsim::Crime;

constexpr std::size_t bytes = 1 << 16;

void must(hipError_t code) { REQUIRE(code == hipSuccess); }

/// One of each, on device 0, released as it should be.
struct Fixture {
  explicit Fixture(hipsim::Options options = {}) {
    hipsim::reset(options);
    must(hipMalloc(&device, bytes));
    must(hipHostMalloc(&pinned, bytes, 0));
    must(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    must(hipStreamCreateWithFlags(&other, hipStreamNonBlocking));
    must(hipEventCreateWithFlags(&event, hipEventDisableTiming));
  }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;
  ~Fixture() { hipsim::reset(); }

  [[nodiscard]] std::byte* host(std::size_t offset = 0) const {
    return static_cast<std::byte*>(pinned) + offset;
  }
  [[nodiscard]] std::byte* on_device(std::size_t offset = 0) const {
    return static_cast<std::byte*>(device) + offset;
  }
  hipError_t up(std::size_t count = bytes, hipStream_t on = nullptr) {
    return hipMemcpyAsync(device, pinned, count, hipMemcpyHostToDevice,
                          on == nullptr ? stream : on);
  }

  void* device = nullptr;
  void* pinned = nullptr;
  hipStream_t stream = nullptr;
  hipStream_t other = nullptr;
  hipEvent_t event = nullptr;
};

/// Whether there are crimes, and all of one kind.
bool only(Crime crime) {
  const auto crimes = hipsim::crimes();
  for (const auto& record : crimes)
    CHECK_MESSAGE(record.crime == crime, (std::string{to_text(record.crime)} + ": " + record.text));
  return hipsim::count(crime) == crimes.size() && !crimes.empty();
}

}  // namespace

TEST_CASE("bytes go up and come back, from the inside of allocations too") {
  for (const auto schedule : {hipsim::Schedule::eager, hipsim::Schedule::late}) {
    Fixture f{{.schedule = schedule}};
    for (std::size_t i = 0; i < bytes; ++i) f.host()[i] = static_cast<std::byte>(i % 251);
    must(f.up());
    must(hipMemcpyAsync(f.host(), f.on_device(1001), 5000, hipMemcpyDeviceToHost, f.stream));
    must(hipStreamSynchronize(f.stream));
    for (std::size_t i = 0; i < 5000; ++i)
      REQUIRE(f.host()[i] == static_cast<std::byte>((i + 1001) % 251));
    CHECK(hipsim::crimes().empty());
  }
}

TEST_CASE("a late stream does nothing before someone waits for it") {
  Fixture f{{.schedule = hipsim::Schedule::late}};
  std::memset(f.pinned, 7, bytes);
  must(f.up());
  must(hipEventRecord(f.event, f.stream));
  CHECK(hipsim::view_of(f.device)[0] == std::byte{0});
  CHECK(hipEventQuery(f.event) == hipErrorNotReady);
  must(hipEventSynchronize(f.event));
  CHECK(hipsim::view_of(f.device)[0] == std::byte{7});
  CHECK(hipEventQuery(f.event) == hipSuccess);
}

TEST_CASE("the host cannot touch device memory") {
  Fixture f;
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);
    std::signal(SIGSEGV, SIG_DFL);
    static_cast<volatile char*>(f.device)[0] = 1;
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

TEST_CASE("memory used after it was freed") {
  Fixture f;
  must(hipFree(f.device));
  CHECK(f.up() == hipErrorInvalidValue);
  CHECK(only(Crime::use_after_free));
}

TEST_CASE("memory freed twice, and freed from its inside") {
  Fixture f;
  CHECK(hipFree(f.on_device(256)) == hipErrorInvalidValue);
  must(hipFree(f.device));
  CHECK(hipFree(f.device) == hipErrorInvalidValue);
  CHECK(hipHostFree(f.device) == hipErrorInvalidValue);
  CHECK(hipsim::crimes().size() == 3);
  CHECK(only(Crime::double_free));
}

TEST_CASE("a copy beyond its allocation") {
  Fixture f;
  CHECK(hipMemcpyAsync(f.on_device(1), f.pinned, bytes, hipMemcpyHostToDevice, f.stream) ==
        hipErrorInvalidValue);
  CHECK(hipMemcpyAsync(f.device, f.host(1), bytes, hipMemcpyHostToDevice, f.stream) ==
        hipErrorInvalidValue);
  CHECK(hipsim::crimes().size() == 2);
  CHECK(only(Crime::out_of_bounds));
}

TEST_CASE("a copy that is refused leaves nothing behind that would be waited for") {
  Fixture f;
  CHECK(hipMemcpyAsync(f.on_device(1), f.pinned, bytes, hipMemcpyHostToDevice, f.stream) ==
        hipErrorInvalidValue);
  must(hipStreamSynchronize(f.stream));
  must(hipHostFree(f.pinned));
  CHECK(only(Crime::out_of_bounds));
}

TEST_CASE("two streams that touch the same bytes, and nothing orders them") {
  Fixture f;
  must(f.up());
  must(f.up(bytes, f.other));
  CHECK(only(Crime::race));
}

TEST_CASE("what an event orders is no race, nor what the host waited for, nor disjoint bytes") {
  Fixture f;
  must(f.up());
  must(hipEventRecord(f.event, f.stream));
  must(hipStreamWaitEvent(f.other, f.event, 0));
  must(f.up(bytes, f.other));
  must(hipStreamSynchronize(f.other));
  must(f.up());
  must(hipEventRecord(f.event, f.stream));
  must(hipEventSynchronize(f.event));
  must(f.up(bytes, f.other));
  must(hipDeviceSynchronize());
  must(f.up(bytes / 2));
  must(hipMemcpyAsync(f.on_device(bytes / 2), f.host(bytes / 2), bytes / 2, hipMemcpyHostToDevice,
                      f.other));
  CHECK(hipsim::crimes().empty());
}

TEST_CASE("an event that was recorded before the copy orders nothing") {
  Fixture f;
  must(hipEventRecord(f.event, f.stream));
  must(f.up());
  must(hipStreamWaitEvent(f.other, f.event, 0));
  must(f.up(bytes, f.other));
  CHECK(only(Crime::race));
}

TEST_CASE("device memory freed while a copy may touch it") {
  Fixture f;
  must(f.up());
  must(hipFree(f.device));
  CHECK(only(Crime::freed_in_flight));
}

TEST_CASE("pinned memory freed while a copy may touch it") {
  Fixture f;
  must(f.up());
  must(hipHostFree(f.pinned));
  CHECK(only(Crime::host_freed_in_flight));
}

TEST_CASE("a block of an arena: freed in flight, used when it is free") {
  Fixture f;
  hipsim::block_used(f.on_device(0), 4096);
  hipsim::block_used(f.on_device(8192), 4096);
  must(f.up(4096));
  must(hipStreamSynchronize(f.stream));
  hipsim::block_freed(f.on_device(0), 4096);
  CHECK(hipsim::crimes().empty());
  must(f.up(100));
  CHECK(hipsim::count(Crime::use_after_free) == 1);
  must(hipMemcpyAsync(f.on_device(8192), f.pinned, 100, hipMemcpyHostToDevice, f.other));
  hipsim::block_freed(f.on_device(8192), 4096);
  CHECK(hipsim::count(Crime::freed_in_flight) == 1);
}

TEST_CASE("a copy that runs over the end of a used block into a free one") {
  Fixture f;
  hipsim::block_used(f.on_device(0), 256);
  hipsim::block_used(f.on_device(256), 256);
  must(f.up(512));
  CHECK(hipsim::crimes().empty());
  must(f.up(513));
  CHECK(only(Crime::use_after_free));
}

TEST_CASE("memory of one device on a stream of another") {
  Fixture f{{.devices = {{}, {}}}};
  must(hipSetDevice(1));
  void* second = nullptr;
  must(hipMalloc(&second, bytes));
  must(hipSetDevice(0));
  must(hipMemcpyAsync(second, f.pinned, 100, hipMemcpyHostToDevice, f.stream));
  CHECK(only(Crime::wrong_device));
}

TEST_CASE("copies out of pageable memory and out of a file's mapping") {
  Fixture f;
  std::vector<std::byte> pageable(4096);
  must(hipMemcpyAsync(f.device, pageable.data(), 4096, hipMemcpyHostToDevice, f.stream));
  must(hipStreamSynchronize(f.stream));
  const int file = ::open("/proc/self/exe", O_RDONLY);
  void* const mapping = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file, 0);
  ::close(file);
  must(hipMemcpyAsync(f.device, mapping, 4096, hipMemcpyHostToDevice, f.stream));
  must(hipStreamSynchronize(f.stream));
  ::munmap(mapping, 4096);
  REQUIRE(only(Crime::pageable));
  const auto crimes = hipsim::crimes();
  REQUIRE(crimes.size() == 2);
  CHECK(crimes[0].text.find("pageable memory") != std::string::npos);
  CHECK(crimes[1].text.find("the mapping of /") != std::string::npos);
}

TEST_CASE("a stream used while another device is current, and an event of another device") {
  Fixture f{{.devices = {{}, {}}}};
  must(hipSetDevice(1));
  must(f.up());
  CHECK(hipsim::count(Crime::wrong_device) == 1);
  hipStream_t second = nullptr;
  must(hipStreamCreateWithFlags(&second, hipStreamNonBlocking));
  CHECK(hipEventRecord(f.event, second) == hipErrorInvalidHandle);
  CHECK(hipsim::count(Crime::wrong_device) == 2);
  must(hipSetDevice(0));
}

TEST_CASE("the current device is each thread's own") {
  Fixture f{{.devices = {{}, {}}}};
  must(hipSetDevice(1));
  std::thread{[] {
    int device = -1;
    CHECK(hipGetDevice(&device) == hipSuccess);
    CHECK(device == 0);
  }}.join();
  must(hipSetDevice(0));
}

TEST_CASE("streams and events that were destroyed") {
  Fixture f;
  must(hipStreamDestroy(f.other));
  CHECK(f.up(bytes, f.other) == hipErrorInvalidHandle);
  must(hipEventDestroy(f.event));
  CHECK(hipEventRecord(f.event, f.stream) == hipErrorInvalidHandle);
  CHECK(only(Crime::stale_handle));
}

TEST_CASE("memory is finite, and free again when it is freed") {
  Fixture f{{.devices = {{.memory = 1 << 20, .largest_allocation = 1 << 19}}}};
  void* more = nullptr;
  CHECK(hipMalloc(&more, (1 << 19) + 1) == hipErrorOutOfMemory);
  must(hipMalloc(&more, 1 << 19));
  void* rest = nullptr;
  CHECK(hipMalloc(&rest, 1 << 19) == hipErrorOutOfMemory);
  std::size_t free = 0;
  std::size_t total = 0;
  must(hipMemGetInfo(&free, &total));
  CHECK(free == (1 << 20) - (1 << 19) - bytes);
  CHECK(total == 1 << 20);
  must(hipFree(more));
  must(hipMalloc(&rest, 1 << 19));
  CHECK(hipsim::live() ==
        hipsim::Live{.device_allocations = 2, .pinned_allocations = 1, .streams = 2, .events = 1});
}

TEST_CASE("a pool gives memory on the default stream too, and takes it back there") {
  Fixture f;
  hipMemPoolProps properties{};
  properties.allocType = hipMemAllocationTypePinned;
  properties.location = {hipMemLocationTypeDevice, 0};
  hipMemPool_t pool = nullptr;
  must(hipMemPoolCreate(&pool, &properties));
  void* memory = nullptr;
  must(hipMallocFromPoolAsync(&memory, bytes, pool, nullptr));
  must(hipMemcpyAsync(memory, f.pinned, bytes, hipMemcpyHostToDevice, nullptr));
  must(hipStreamSynchronize(nullptr));
  must(hipFreeAsync(memory, nullptr));
  must(hipMemPoolDestroy(pool));
  CHECK(hipsim::crimes().empty());
}

TEST_CASE("calls are counted, and fail on demand") {
  Fixture f;
  const std::uint64_t before = hipsim::calls("hipMemcpyAsync");
  hipsim::fail_call("hipMemcpyAsync", 1, hipErrorUnknown);
  must(f.up());
  CHECK(f.up() == hipErrorUnknown);
  CHECK(hipGetLastError() == hipErrorUnknown);
  CHECK(hipGetLastError() == hipSuccess);
  must(f.up());
  CHECK(hipsim::calls("hipMemcpyAsync") == before + 3);
  hipsim::fail_call(0, hipErrorOutOfMemory);
  void* none = nullptr;
  CHECK(hipMalloc(&none, 1) == hipErrorOutOfMemory);
}

TEST_CASE("no device at all") {
  hipsim::reset({.devices = {}});
  int count = -1;
  CHECK(hipGetDeviceCount(&count) == hipErrorNoDevice);
  CHECK(count == 0);
  int device = 0;
  CHECK(hipGetDevice(&device) == hipErrorInvalidDevice);
  hipsim::reset();
}

TEST_CASE("a byte is flipped on its way") {
  Fixture f;
  std::memset(f.pinned, 0, bytes);
  hipsim::flip_bit(1, 77);
  must(f.up());
  must(hipStreamSynchronize(f.stream));
  CHECK(hipsim::view_of(f.device)[77] == std::byte{0});
  must(f.up());
  must(hipStreamSynchronize(f.stream));
  CHECK(hipsim::view_of(f.device)[77] == std::byte{1});
}

TEST_CASE("a modelled link has its speed, however many streams share it") {
  Fixture f{{.devices = {{.pinned_gib_per_s = 0.01}}}};
  const auto start = std::chrono::steady_clock::now();
  must(f.up(bytes / 2));
  must(hipMemcpyAsync(f.on_device(bytes / 2), f.host(bytes / 2), bytes / 2, hipMemcpyHostToDevice,
                      f.other));
  must(hipDeviceSynchronize());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  CHECK(took.count() >= static_cast<double>(bytes) / (0.01 * (1 << 30)));
}
