// SPDX-License-Identifier: MIT
// Programs that know HIP and nothing of allot, as other people write them: hip_program MODE [ARGUMENT]. Prints
// what HIP answered; its exit status is 0 where all went as it should.
#include <hip/hip_runtime_api.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kib = 1 << 10;
constexpr std::size_t mib = 1 << 20;

bool went_wrong = false;

/// Prints a call that failed, once for each place.
bool succeeded(hipError_t code, const char* call) {
  if (code == hipSuccess) return true;
  std::printf("%s: %s (%d)\n", call, hipGetErrorName(code), static_cast<int>(code));
  went_wrong = true;
  return false;
}
#define CALL(...) succeeded((__VA_ARGS__), #__VA_ARGS__)

int ended() { return went_wrong ? 3 : 0; }

/// As llama.cpp's HIP back end does: one large buffer for the weights, one for the cache, pinned staging memory,
/// and temporaries of a pool that maps physical memory behind one range of addresses as it grows.
int llama() {
  int devices = 0;
  if (!CALL(hipGetDeviceCount(&devices)) || !CALL(hipSetDevice(0))) return ended();
  std::size_t free = 0;
  std::size_t total = 0;
  CALL(hipMemGetInfo(&free, &total));
  hipStream_t stream = nullptr;
  CALL(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
  void* weights = nullptr;
  void* cache = nullptr;
  void* compute = nullptr;
  CALL(hipMalloc(&weights, 300 * mib));
  CALL(hipMalloc(&cache, 64 * mib));
  CALL(hipMalloc(&compute, 17 * mib + 5));
  void* staging = nullptr;
  CALL(hipHostMalloc(&staging, 4 * mib, hipHostMallocDefault));
  for (std::size_t at = 0; at < 16 * mib; at += 4 * mib) {
    CALL(hipMemcpyAsync(static_cast<char*>(weights) + at, staging, 4 * mib, hipMemcpyHostToDevice,
                        stream));
    CALL(hipStreamSynchronize(stream));
  }

  hipMemAllocationProp wanted{};
  wanted.type = hipMemAllocationTypePinned;
  wanted.location.type = hipMemLocationTypeDevice;
  wanted.location.id = 0;
  std::size_t granularity = 0;
  CALL(hipMemGetAllocationGranularity(&granularity, &wanted,
                                      hipMemAllocationGranularityRecommended));
  void* pool = nullptr;
  CALL(hipMemAddressReserve(&pool, 256 * mib, 0, nullptr, 0));
  std::size_t size = 0;
  for (const std::size_t more : {2 * mib, 6 * mib}) {
    hipMemGenericAllocationHandle_t handle{};
    CALL(hipMemCreate(&handle, more, &wanted, 0));
    CALL(hipMemMap(static_cast<char*>(pool) + size, more, 0, handle, 0));
    hipMemAccessDesc access{};
    access.location = wanted.location;
    access.flags = hipMemAccessFlagsProtReadWrite;
    CALL(hipMemSetAccess(static_cast<char*>(pool) + size, more, &access, 1));
    CALL(hipMemcpyAsync(static_cast<char*>(pool) + size, weights, more, hipMemcpyDeviceToDevice,
                        stream));
    CALL(hipStreamSynchronize(stream));
    CALL(hipMemUnmap(static_cast<char*>(pool) + size, more));
    CALL(hipMemRelease(handle));
    size += more;
  }
  CALL(hipMemAddressFree(pool, 256 * mib));

  std::memset(staging, 0, mib);
  CALL(hipMemcpyAsync(staging, weights, mib, hipMemcpyDeviceToHost, stream));
  CALL(hipStreamSynchronize(stream));
  CALL(hipFree(compute));
  CALL(hipFree(cache));
  CALL(hipFree(weights));
  CALL(hipHostFree(staging));
  CALL(hipStreamDestroy(stream));
  return ended();
}

/// As in rocm-systems #10943: temporaries of several streams, allocated and freed in their order, whose bytes
/// are written and read back. \param rounds  of each thread
int streams(int rounds) {
  constexpr std::size_t most = 64 * kib;
  if (!CALL(hipSetDevice(0))) return ended();
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < 2; ++number) {
    threads.emplace_back([number, rounds] {
      hipStream_t on[2] = {};
      for (hipStream_t& stream : on) CALL(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
      void* pinned = nullptr;
      CALL(hipHostMalloc(&pinned, 2 * most, hipHostMallocDefault));
      auto* const sent = static_cast<unsigned char*>(pinned);
      unsigned char* const back = sent + most;
      std::uint32_t random = 2463534242U + number;
      for (int round = 0; round < rounds; ++round) {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        hipStream_t const stream = on[random % 2];
        const std::size_t bytes = 1 + random % most;
        void* buffer = nullptr;
        if (!CALL(hipMallocAsync(&buffer, bytes, stream))) return;
        // Each 64th round looks at the bytes, the others only pass memory on.
        if (round % 64 == 0) {
          std::memset(sent, static_cast<int>(random >> 8 & 255), bytes);
          CALL(hipMemcpyAsync(buffer, sent, bytes, hipMemcpyHostToDevice, stream));
          CALL(hipMemcpyAsync(back, buffer, bytes, hipMemcpyDeviceToHost, stream));
          CALL(hipFreeAsync(buffer, stream));
          CALL(hipStreamSynchronize(stream));
          if (std::memcmp(sent, back, bytes) != 0) {
            std::printf("wrong bytes in round %d\n", round);
            went_wrong = true;
          }
        } else {
          CALL(hipFreeAsync(buffer, stream));
        }
      }
      for (hipStream_t stream : on) CALL(hipStreamDestroy(stream));
      CALL(hipHostFree(pinned));
    });
  }
  for (std::thread& thread : threads) thread.join();
  return ended();
}

/// Memory that is allocated before main and freed after it.
struct Static {
  explicit Static(bool is_wanted) {
    if (is_wanted) CALL(hipMalloc(&address, 3 * mib));
  }
  ~Static() {
    if (address == nullptr) return;
    std::printf("static destructor: %d\n", static_cast<int>(hipFree(address)));
    std::fflush(stdout);
  }
  void* address = nullptr;
};
Static made_before_main{std::getenv("HIP_PROGRAM_STATIC") != nullptr};

/// What is wrong with each of these calls is for HIP to say.
int hostile() {
  void* address = nullptr;
  void* other = nullptr;
  std::printf("malloc into null: %d\n", static_cast<int>(hipMalloc(nullptr, 100)));
  std::printf("free of null: %d\n", static_cast<int>(hipFree(nullptr)));
  other = &address;
  const int of_nothing = hipMalloc(&other, 0);
  std::printf("malloc of nothing: %d, null %d\n", of_nothing, other == nullptr ? 1 : 0);
  std::printf("malloc: %d\n", static_cast<int>(hipMalloc(&address, 100)));
  std::printf("free of a foreign address: %d\n", static_cast<int>(hipFree(&other)));
  if (address != nullptr) {
    std::printf("free of what begins before it: %d\n",
                static_cast<int>(hipFree(static_cast<char*>(address) + 64)));
  }
  std::printf("free: %d\n", static_cast<int>(hipFree(address)));
  if (address != nullptr) std::printf("free once more: %d\n", static_cast<int>(hipFree(address)));
  std::printf("too much: %d\n", static_cast<int>(hipMalloc(&address, std::size_t{1} << 50)));
  return 5;
}

/// What programs ask of an address, and of the memory.
int ask() {
  char* first = nullptr;
  char* second = nullptr;
  CALL(hipMalloc(reinterpret_cast<void**>(&first), 1000));
  CALL(hipMalloc(reinterpret_cast<void**>(&second), 2 * mib));
  hipDeviceptr_t base = nullptr;
  std::size_t bytes = 0;
  CALL(hipMemGetAddressRange(&base, &bytes, first + 10));
  std::printf("range: %d, %zu bytes\n", base == first ? 1 : 0, bytes);
  CALL(hipMemPtrGetInfo(second, &bytes));
  std::printf("size: %zu bytes\n", bytes);
  hipPointerAttribute_t attributes{};
  CALL(hipPointerGetAttributes(&attributes, first + 10));
  std::printf("device %d, %d\n", attributes.device, attributes.devicePointer == first + 10 ? 1 : 0);
  CALL(hipFree(second));
  const int of_freed = hipPointerGetAttributes(&attributes, second);
  std::printf("of what was freed: %d, last error %d\n", of_freed,
              static_cast<int>(hipGetLastError()));
  std::printf("last error now: %d\n", static_cast<int>(hipGetLastError()));
  std::size_t free = 0;
  std::size_t total = 0;
  CALL(hipMemGetInfo(&free, &total));
  std::printf("memory: %zu of %zu\n", free, total);
  CALL(hipFree(first));
  return ended();
}

/// Takes all there is, gives it back, and takes the half at once.
int fill() {
  hipStream_t stream = nullptr;
  CALL(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
  void* temporary = nullptr;
  CALL(hipMallocAsync(&temporary, mib, stream));
  CALL(hipFreeAsync(temporary, stream));
  std::vector<void*> blocks;
  void* address = nullptr;
  while (blocks.size() < 200 && hipMalloc(&address, 4 * mib) == hipSuccess)
    blocks.push_back(address);
  std::printf("%zu MiB, then %d\n", blocks.size() * 4, static_cast<int>(hipGetLastError()));
  for (void* block : blocks) CALL(hipFree(block));
  if (CALL(hipMalloc(&address, blocks.size() * 2 * mib))) CALL(hipFree(address));
  CALL(hipStreamDestroy(stream));
  return ended();
}

/// Memory that goes from call to call and from stream to stream, with work under way everywhere.
int mixed() {
  constexpr std::size_t bytes = 256 * kib;
  void* pinned = nullptr;
  CALL(hipHostMalloc(&pinned, bytes, hipHostMallocDefault));
  hipEvent_t event = nullptr;
  CALL(hipEventCreateWithFlags(&event, hipEventDisableTiming));
  hipStream_t last = nullptr;
  CALL(hipStreamCreateWithFlags(&last, hipStreamNonBlocking));
  for (int round = 0; round < 20; ++round) {
    hipStream_t stream = nullptr;
    CALL(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    void* buffer = nullptr;
    void* block = nullptr;
    CALL(hipMallocAsync(&buffer, bytes, stream));
    CALL(hipMalloc(&block, bytes));
    CALL(hipMemcpyAsync(buffer, pinned, bytes, hipMemcpyHostToDevice, stream));
    CALL(hipMemcpyAsync(block, buffer, bytes, hipMemcpyDeviceToDevice, stream));
    switch (round % 4) {
      case 0:  // freed on another stream, which waits
        CALL(hipEventRecord(event, stream));
        CALL(hipStreamWaitEvent(last, event, 0));
        CALL(hipFreeAsync(buffer, last));
        CALL(hipFree(block));
        break;
      case 1:  // freed with the work under way
        CALL(hipFree(buffer));
        CALL(hipFree(block));
        break;
      case 2:  // each as if it were the other
        CALL(hipFreeAsync(block, stream));
        CALL(hipFreeAsync(buffer, stream));
        break;
      default:  // the default stream, and nothing waited for
        CALL(hipStreamSynchronize(stream));
        CALL(hipFreeAsync(buffer, nullptr));
        CALL(hipFree(block));
    }
    CALL(hipStreamDestroy(stream));
    CALL(hipMallocAsync(&buffer, bytes, last));
    CALL(hipMemcpyAsync(buffer, pinned, bytes, hipMemcpyHostToDevice, last));
    CALL(hipFreeAsync(buffer, last));
  }
  hipMemPoolProps wanted{};
  wanted.allocType = hipMemAllocationTypePinned;
  wanted.handleTypes = hipMemHandleTypePosixFileDescriptor;
  wanted.location.type = hipMemLocationTypeDevice;
  hipMemPool_t pool = nullptr;
  void* shared = nullptr;
  CALL(hipMemPoolCreate(&pool, &wanted));
  CALL(hipMallocFromPoolAsync(&shared, bytes, pool, last));
  CALL(hipFreeAsync(shared, last));
  CALL(hipMemPoolDestroy(pool));
  void* managed = nullptr;
  CALL(hipMallocManaged(&managed, bytes, hipMemAttachGlobal));
  CALL(hipFree(managed));
  CALL(hipStreamSynchronize(last));
  CALL(hipStreamDestroy(last));
  CALL(hipEventDestroy(event));
  CALL(hipHostFree(pinned));
  return ended();
}

/// Two devices; the first is reset. Then allocations that become parts of a graph.
int devices() {
  void* blocks[2] = {};
  for (int device = 0; device < 2; ++device) {
    CALL(hipSetDevice(device));
    CALL(hipMalloc(&blocks[device], mib));
    std::size_t free = 0;
    std::size_t total = 0;
    CALL(hipMemGetInfo(&free, &total));
    std::printf("hip:%d: %zu of %zu\n", device, free / kib, total / kib);
  }
  CALL(hipFree(blocks[0]));  // with the other one current
  int current = 0;
  CALL(hipGetDevice(&current));
  std::printf("current: %d\n", current);
  CALL(hipSetDevice(0));
  CALL(hipMalloc(&blocks[0], mib));
  CALL(hipDeviceReset());
  std::printf("after the reset: %d\n", static_cast<int>(hipFree(blocks[0]) != hipSuccess));
  CALL(hipMalloc(&blocks[0], mib));
  CALL(hipFree(blocks[0]));

  hipStream_t stream = nullptr;
  hipGraph_t graph = nullptr;
  void* buffers[2] = {};
  CALL(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
  CALL(hipMallocAsync(&buffers[0], mib, stream));
  CALL(hipStreamBeginCapture(stream, hipStreamCaptureModeGlobal));
  CALL(hipMallocAsync(&buffers[1], mib, stream));
  CALL(hipFreeAsync(buffers[1], stream));
  CALL(hipStreamEndCapture(stream, &graph));
  CALL(hipFreeAsync(buffers[0], stream));
  CALL(hipStreamDestroy(stream));
  CALL(hipFree(blocks[1]));
  return ended();
}

/// A stream that was destroyed.
int stale() {
  void* block = nullptr;
  void* other = nullptr;
  hipStream_t stream = nullptr;
  CALL(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
  CALL(hipMallocAsync(&block, mib, stream));
  CALL(hipStreamDestroy(stream));
  std::printf("malloc on it: %d\n", static_cast<int>(hipMallocAsync(&other, mib, stream)));
  std::printf("free on it: %d\n", static_cast<int>(hipFreeAsync(block, stream)));
  CALL(hipFree(block));
  return ended();
}

int child_of(const std::function<int()>& run) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    const int status = run();
    std::fflush(stdout);
    std::exit(status);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

int one_block(std::size_t bytes) {
  void* address = nullptr;
  if (CALL(hipMalloc(&address, bytes))) CALL(hipFree(address));
  return ended();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "none") return 7;
  if (mode == "llama") return llama();
  if (mode == "streams") return streams(argc > 2 ? std::atoi(argv[2]) : 1000);
  if (mode == "hostile") return hostile();
  if (mode == "ask") return ask();
  if (mode == "fill") return fill();
  if (mode == "devices") return devices();
  if (mode == "stale") return stale();
  if (mode == "mixed") return mixed();
  if (mode == "one") return one_block(mib);
  if (mode == "fork-before") {  // each process its own HIP
    const int child = child_of([] { return one_block(2 * mib); });
    return one_block(mib) + child;
  }
  if (mode == "fork-after") {  // the child has what its parent had
    void* address = nullptr;
    CALL(hipMalloc(&address, mib));
    const int child = child_of([] { return 0; });
    CALL(hipFree(address));
    return ended() + child;
  }
  if (mode == "live" || mode == "killed") {
    void* address = nullptr;
    for (int i = 0; i < 3; ++i) CALL(hipMalloc(&address, mib));
    CALL(hipFree(address));
    if (mode == "killed") {
      std::fflush(stdout);
      std::raise(SIGKILL);
    }
    ::_exit(9);
  }
  if (mode == "children") {  // another program's processes, which are this one's
    std::fflush(stdout);
    const std::string line = std::string{argv[0]} + " one; " + argv[0] + " one";
    return std::system(line.c_str()) == 0 ? one_block(mib) : 4;
  }
  if (mode == "export") {  // to another process
    void* address = nullptr;
    hipIpcMemHandle_t handle;
    if (CALL(hipMalloc(&address, mib)) && CALL(hipIpcGetMemHandle(&handle, address))) {
      const int child = child_of([&] {
        void* imported = nullptr;
        if (CALL(hipIpcOpenMemHandle(&imported, handle, hipIpcMemLazyEnablePeerAccess)))
          CALL(hipIpcCloseMemHandle(imported));
        return ended();
      });
      if (child != 0) went_wrong = true;
    }
    CALL(hipFree(address));
    return ended();
  }
  if (mode == "static") return made_before_main.address == nullptr ? 6 : 0;
  std::fprintf(stderr, "hip_program: no such mode\n");
  return 2;
}
