// SPDX-License-Identifier: MIT
// Loads a GGUF file onto the first GPU with the policies for RDNA3, and allocates what an engine
// needs beside it: pages for a KV cache, and scratch memory.
//
// Usage: rdna3_weights MODEL.gguf
#include <allot/hip.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/rdna3.hpp>

#include <cstdio>
#include <exception>
#include <string>

namespace rdna3 = allot::rdna3;

namespace {

std::string readable(std::uint64_t bytes) { return allot::ReadableBytes{bytes}.c_str(); }

void run(const char* path) {
  allot::HipDevice<> device;
  const auto& gpu = device.properties();
  std::printf("%s, %s, %s free\n", gpu.name.c_str(), gpu.architecture.c_str(),
              readable(device.memory_info().free).c_str());
  if (!gpu.architecture.starts_with("gfx11"))
    std::printf("  (not an RDNA3 GPU: the policies work, their reasons do not apply)\n");

  // The weights: planned to the byte, checked, and reserved with one allocation.
  const allot::gguf::File file{path};
  const auto plan = allot::load::make_plan<rdna3::Weights>(
      file, {.devices = {allot::load::planned_device(device)}});
  allot::load::check(plan, device);
  const auto model =
      allot::load::load<rdna3::Weights>(file, plan, device, {}, rdna3::Staging::load_options());
  std::printf("weights: %zu tensors, %s", model.tensors().size(),
              readable(plan.total_bytes()).c_str());
  std::printf(" (of the device: %s)\n",
              readable(rdna3::device_bytes(plan.total_bytes()).value_or(0)).c_str());
  for (const auto& arena : model.arenas()) {
    const auto base = reinterpret_cast<std::uintptr_t>(arena.base_address());
    std::printf("  base %p, %s\n", arena.base_address(),
                base % rdna3::fragment_bytes == 0 ? "at a multiple of 2 MiB"
                                                  : "not at a multiple of 2 MiB");
  }
  std::printf("  %.2f GiB/s, through %s of pinned memory\n",
              static_cast<double>(model.report().bytes) / static_cast<double>(allot::GiB) /
                  model.report().seconds,
              readable(model.report().staging_bytes).c_str());

  // Beside them: pages of a KV cache, and scratch memory that a step marks and releases.
  rdna3::ArenaOf<rdna3::KvPages<>, allot::hip::DeviceMemory> pages{64 * allot::MiB};
  const allot::Block page = pages.allocate(64 * allot::KiB);
  std::printf("KV pages: %llu of 64 KiB\n",
              static_cast<unsigned long long>(pages.capacity() / page.size));
  pages.deallocate(page);

  rdna3::ArenaOf<rdna3::Scratch, allot::hip::DeviceMemory> scratch{16 * allot::MiB};
  const auto mark = scratch.mark();
  static_cast<void>(scratch.allocate(3'000'000));
  static_cast<void>(scratch.allocate(500'000));
  std::printf("scratch: %s in one step", readable(scratch.usage().used).c_str());
  scratch.release_to(mark);
  std::printf(", %s after it\n", readable(scratch.usage().used).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "Usage: rdna3_weights MODEL.gguf\n");
    return 2;
  }
  try {
    run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rdna3_weights: %s\n", error.what());
    return 1;
  }
}
