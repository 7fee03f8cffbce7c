// SPDX-License-Identifier: MIT
// How fast a model gets onto a GPU: the pipeline, beside what the link can do (one pinned copy) and
// what a plain loop does (for each tensor: hipMalloc, read into pageable memory, hipMemcpy). Each
// round runs all of them in turn; the figures are medians, the ratios of those.
//
// Usage: bench_upload [FILE.gguf] [--rounds N] [--sweep]
// --sweep: what pinning and reading alone take, then loads with rings of several shapes.
// Without FILE it writes a model of 1 GiB into the temporary folder, in the form of a llama.
#include <allot/core/readable_bytes.hpp>
#include <allot/device/hip_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/check.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/verify.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace allot;
namespace fs = std::filesystem;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double gib_per_second(std::uint64_t bytes, double seconds) {
  return static_cast<double>(bytes) / static_cast<double>(GiB) / seconds;
}

/// 32 layers of matrices and small vectors, 1 GiB in all.
fs::path write_model() {
  const fs::path path =
      fs::temp_directory_path() / ("allot-upload-" + std::to_string(::getpid()) + ".gguf");
  gguf::Writer writer;
  std::uint64_t state = 1;
  const auto fill = [&state](std::uint64_t, std::span<std::byte> piece) {
    for (std::size_t i = 0; i + 8 <= piece.size(); i += 8) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      std::memcpy(piece.data() + i, &state, 8);
    }
  };
  const auto add = [&](const std::string& name, std::uint64_t columns, std::uint64_t rows) {
    writer.add_tensor(name, gguf::TensorType::I8, {columns, rows}, fill);
  };
  add("token_embd.weight", 2048, 32'000);
  for (int i = 0; i < 32; ++i) {
    const std::string layer = "blk." + std::to_string(i) + ".";
    add(layer + "attn_norm.weight", 8192, 1);
    add(layer + "attn_q.weight", 2048, 2048);
    add(layer + "attn_k.weight", 2048, 256);
    add(layer + "attn_v.weight", 2048, 256);
    add(layer + "attn_output.weight", 2048, 2048);
    add(layer + "ffn_norm.weight", 8192, 1);
    add(layer + "ffn_up.weight", 2048, 5400);
    add(layer + "ffn_down.weight", 5400, 2048);
  }
  add("output.weight", 2048, 32'000);
  writer.write(path);
  return path;
}

/// What the link can do: 1 GiB in copies of 64 MiB out of one pinned buffer, on one stream.
class PinnedCopy {
 public:
  explicit PinnedCopy(HipDevice<>& device)
      : device_{device},
        from_{device.staging_memory().acquire(piece_bytes, 4096)},
        to_{device.memory().acquire(piece_bytes, 4096)},
        stream_{device.make_stream()} {
    std::memset(from_.address(), 1, piece_bytes);
  }

  void run() {
    for (std::uint64_t at = 0; at < bytes; at += piece_bytes)
      device_.copy_to_device(to_.address(), from_.address(), piece_bytes, stream_);
    device_.synchronize(stream_);
  }

  static constexpr std::uint64_t piece_bytes = 64 * MiB;
  static constexpr std::uint64_t bytes = 1 * GiB;

 private:
  HipDevice<>& device_;
  hip::PinnedMemory::Region from_;
  hip::DeviceMemory::Region to_;
  hip::Stream stream_;
};

/// Seconds of a plain loop, its frees left out as they are for the pipeline.
double naive_loop(const gguf::File& file) {
  std::vector<std::byte> bytes;
  for (const gguf::TensorInfo& tensor : file.tensors())
    bytes.resize(std::max<std::size_t>(bytes.size(), tensor.bytes));
  std::vector<void*> taken;
  const double seconds = seconds_of([&] {
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      if (tensor.bytes == 0) continue;
      const gguf::Shard& shard = file.shards()[tensor.shard];
      shard.read(shard.data_offset() + tensor.offset, std::span{bytes}.first(tensor.bytes));
      void* address = nullptr;
      hip::check(hipMalloc(&address, tensor.bytes), "hipMalloc", "loading plainly");
      taken.push_back(address);
      hip::check(hipMemcpy(address, bytes.data(), tensor.bytes, hipMemcpyHostToDevice), "hipMemcpy",
                 "loading plainly");
    }
  });
  for (void* address : taken) hip::check(hipFree(address), "hipFree", "releasing plainly");
  return seconds;
}

void compare(const gguf::File& file, const load::Plan& plan, HipDevice<>& device, int rounds) {
  PinnedCopy pinned{device};
  pinned.run();
  std::vector<double> link, naive, pipeline, direct;
  for (int round = 0; round < rounds; ++round) {
    link.push_back(seconds_of([&] { pinned.run(); }));
    naive.push_back(naive_loop(file));
    pipeline.push_back(load::load(file, plan, device).report().seconds);
    direct.push_back(load::load(file, plan, device, {}, {.direct_io = true}).report().seconds);
  }
  const double of_link = gib_per_second(PinnedCopy::bytes, median(link));
  const auto row = [&](const char* name, std::uint64_t bytes, const std::vector<double>& seconds) {
    const double rate = gib_per_second(bytes, median(seconds));
    const double best = gib_per_second(bytes, *std::min_element(seconds.begin(), seconds.end()));
    std::printf("%-34s %8.2f GiB/s (best %.2f)  %5.1f %% of the pinned copy\n", name, rate, best,
                100 * rate / of_link);
    return rate;
  };
  row("one pinned copy", PinnedCopy::bytes, link);
  const double plain = row("naive loop, pageable", plan.tensor_bytes(), naive);
  const double ours = row("pipeline", plan.tensor_bytes(), pipeline);
  row("pipeline, past the page cache", plan.tensor_bytes(), direct);
  std::printf("pipeline against the naive loop: %.1f times\n", ours / plain);
}

/// What a load is made of: pinning a ring, and reading into pinned memory by several threads.
void parts(const gguf::File& file, HipDevice<>& device) {
  for (const std::uint64_t bytes : {16 * MiB, 64 * MiB, 256 * MiB}) {
    hip::PinnedMemory::Region region;
    const double pinning =
        seconds_of([&] { region = device.staging_memory().acquire(bytes, 4096); });
    const double releasing = seconds_of([&] { region = {}; });
    std::printf("pin %4llu MiB %8.4f s, release %.4f s\n",
                static_cast<unsigned long long>(bytes / MiB), pinning, releasing);
  }
  const gguf::Shard& shard = file.shards().front();
  constexpr std::uint64_t piece_bytes = 4 * MiB;
  const std::uint64_t pieces = std::min(1 * GiB, shard.size()) / piece_bytes;
  for (const unsigned threads : {1U, 2U, 4U, 8U, 16U}) {
    const auto pinned = device.staging_memory().acquire(threads * piece_bytes, 4096);
    const double seconds = seconds_of([&] {
      std::vector<std::jthread> readers;
      for (unsigned reader = 0; reader < threads; ++reader) {
        readers.emplace_back([&, reader] {
          auto* const to = static_cast<std::byte*>(pinned.address()) + reader * piece_bytes;
          for (std::uint64_t i = reader; i < pieces; i += threads)
            shard.read(i * piece_bytes, {to, static_cast<std::size_t>(piece_bytes)});
        });
      }
    });
    std::printf("read alone, %2u threads %8.2f GiB/s\n", threads,
                gib_per_second(pieces * piece_bytes, seconds));
  }
}

void sweep(const gguf::File& file, const load::Plan& plan, HipDevice<>& device, int rounds) {
  parts(file, device);
  std::printf("%8s %6s %8s %8s %12s\n", "slot", "slots", "streams", "readers", "GiB/s");
  struct Shape {
    std::uint64_t slot;
    std::uint32_t slots, streams, readers;
  };
  constexpr Shape shapes[] = {
      {16 * MiB, 4, 4, 4},  {16 * MiB, 8, 4, 8},  {16 * MiB, 16, 4, 16}, {8 * MiB, 8, 4, 8},
      {8 * MiB, 16, 4, 16}, {4 * MiB, 8, 4, 8},   {4 * MiB, 16, 4, 8},   {4 * MiB, 16, 4, 16},
      {4 * MiB, 16, 1, 16}, {4 * MiB, 32, 4, 16}, {2 * MiB, 16, 4, 16},  {2 * MiB, 32, 4, 16},
      {1 * MiB, 16, 4, 16}, {1 * MiB, 32, 4, 16}, {1 * MiB, 64, 4, 16},  {256 * KiB, 64, 4, 16},
  };
  for (const Shape& shape : shapes) {
    std::vector<double> seconds;
    for (int round = 0; round < rounds; ++round) {
      seconds.push_back(load::load(file, plan, device, {},
                                   {.slot_bytes = shape.slot,
                                    .slots = shape.slots,
                                    .streams = shape.streams,
                                    .readers = shape.readers})
                            .report()
                            .seconds);
    }
    std::printf("%5llu KiB %5u %8u %8u %12.2f\n", static_cast<unsigned long long>(shape.slot / KiB),
                shape.slots, shape.streams, shape.readers,
                gib_per_second(plan.tensor_bytes(), median(seconds)));
    std::fflush(stdout);
  }
}

void run(const std::string& path, int rounds, bool with_sweep) {
  HipDevice<> device;
  const gguf::File file{path};
  const load::Plan plan = load::make_plan(file, {.devices = {load::planned_device(device)}});
  load::check(plan, device);
  std::printf("%s%s; %zu tensors, %s; medians of %d rounds\n", device.properties().name.c_str(),
              device.properties().name == "hipsim" ? " (simulated: a model of a link, no GPU)" : "",
              file.tensors().size(), ReadableBytes{plan.tensor_bytes()}.c_str(), rounds);
  {
    const auto model = load::load(file, plan, device);
    if (const auto difference = load::verify(file, model, device)) {
      throw std::runtime_error{"tensor " + difference->tensor + " differs at byte " +
                               std::to_string(difference->byte)};
    }
  }
  compare(file, plan, device, rounds);
  if (with_sweep) sweep(file, plan, device, std::max(3, rounds / 3));
}

}  // namespace

int main(int argc, char** argv) {
  std::string path;
  int rounds = 9;
  bool with_sweep = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--sweep") {
      with_sweep = true;
    } else if (argument == "--rounds" && i + 1 < argc) {
      rounds = std::max(1, std::atoi(argv[++i]));
    } else if (!argument.starts_with("--") && path.empty()) {
      path = argument;
    } else {
      std::fprintf(stderr, "Usage: bench_upload [FILE.gguf] [--rounds N] [--sweep]\n");
      return 2;
    }
  }
  fs::path written;
  int status = 0;
  try {
    if (path.empty()) {
      hip::require_device(0);
      written = write_model();
      path = written.string();
    }
    run(path, rounds, with_sweep);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_upload: %s\n", error.what());
    status = 1;
  }
  std::error_code ignored;
  if (!written.empty()) fs::remove(written, ignored);
  return status;
}
