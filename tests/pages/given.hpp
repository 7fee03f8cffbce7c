// SPDX-License-Identifier: MIT
/// \file
/// What the pages' blocks take as given: a struct for each page that has such blocks, `docs_gguf` for
/// docs/gguf.md. A block is the body of a member function of a struct derived from it. It runs in a folder
/// of its own, where `model.gguf` is a small model.
#pragma once

#include <allot/allot.hpp>
#if ALLOT_HAS_HIP
#include <allot/hip.hpp>
#include <allot/rdna3.hpp>
#endif

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"

namespace given {

/// The present folder is a new one while this lives.
class InNewFolder {
 public:
  InNewFolder() { std::filesystem::current_path(folder_.path()); }
  InNewFolder(const InNewFolder&) = delete;
  InNewFolder& operator=(const InNewFolder&) = delete;
  ~InNewFolder() { std::filesystem::current_path(former_); }

 private:
  allot::test::TemporaryFolder folder_;
  std::filesystem::path former_ = std::filesystem::current_path();
};

struct Folder {
  InNewFolder folder;
  std::filesystem::path written = write();

  /// A small llama with a vocabulary.
  static std::filesystem::path write() {
    const allot::test::LlamaShape shape{.layers = 2, .embedding = 64, .vocabulary = 100};
    allot::test::write_llama("llama.gguf", shape);
    const allot::gguf::File llama{"llama.gguf"};
    allot::gguf::Writer writer = allot::gguf::copy_of(llama);
    const std::vector<float> scores(shape.vocabulary, 0.5F);
    const std::vector<std::string_view> tokens(shape.vocabulary, "a");
    const std::array rows{allot::gguf::NestedArray{std::span{std::as_const(scores)}}};
    writer.add_array<float>("tokenizer.ggml.scores", scores);
    writer.add_array<std::string_view>("tokenizer.ggml.tokens", tokens);
    writer.add_array("some.table",
                     allot::gguf::NestedArray{std::span<const allot::gguf::NestedArray>{rows}});
    writer.add("general.name", "a small model");
    writer.write("model.gguf");
    return "model.gguf";
  }
};

struct Layer {
  std::uint64_t score_bytes = 4096;
};

#if ALLOT_HAS_HIP
using Device = allot::HipDevice<>;
#else
using Device = allot::StagedHostDevice;
#endif

struct README : Folder {
  allot::gguf::File file{"model.gguf"};
  Device device{};
  Device::stream_type stream = device.make_stream();
  std::vector<std::uint64_t> sizes{4096};
  using Layer = given::Layer;
  std::vector<Layer> layers{3};

  template <class... Arguments>
  void launch(Arguments&&...) {}
};

struct docs_gguf : Folder {
  allot::gguf::File file{"model.gguf"};
  const allot::gguf::Shard& shard = file.shards().front();
  const allot::gguf::TensorInfo& tensor = *file.find("blk.0.attn_q.weight");
  std::vector<float> scores = std::vector<float>(100, 0.5F);
  std::vector<std::byte> bytes = std::vector<std::byte>(std::size_t{64} * 512 * sizeof(float));

  template <class... Arguments>
  void use(Arguments&&...) {}
  void fill(std::span<std::byte> piece, std::uint64_t) { std::ranges::fill(piece, std::byte{1}); }
};

struct docs_placement : Folder {
  allot::HostDevice device{};
  std::filesystem::path projector = write_projector();

  /// Also a draft model beside the model, and a projector.
  static std::filesystem::path write_projector() {
    std::filesystem::copy_file("model.gguf", "small.gguf");
    allot::gguf::Writer writer;
    writer.add("general.type", "mmproj");
    writer.add_tensor("mm.0.weight", allot::gguf::TensorType::F32, {64, 4},
                      allot::test::fill_with_offsets);
    writer.write("mmproj.gguf");
    return "mmproj.gguf";
  }
};

struct docs_errors {
  template <class... Arguments>
  void log(Arguments&&...) {}
  template <class... Arguments>
  void use(Arguments&&...) {}
};

struct docs_buffers {
  Device device{};
  Device& gpu = device;
  Device::stream_type stream = device.make_stream();
  Device::event_type event = [this] {
    Device::event_type made = device.make_event();
    device.record(made, stream);
    return made;
  }();
  allot::BufferPool<Device> pool{device, 64 * allot::MiB};
  std::vector<std::uint64_t> sizes{4096};
  using Layer = given::Layer;
  std::vector<Layer> layers{3};
  std::uint64_t tokens = 64;
  std::uint64_t elements = 1024;
  std::uint64_t bytes = 4096;
  std::uint64_t score_bytes = 4096;
  std::size_t i = 1;

  Device::staging_memory_type::Region staging = device.staging_memory().acquire(bytes, 256);
  float* pinned = static_cast<float*>(staging.address());
  std::span<const float> staged{pinned, bytes / sizeof(float)};
  allot::PooledBuffer<Device> logits_of_this_step = pool.acquire(elements * sizeof(float), stream);
  std::byte* to = static_cast<std::byte*>(logits_of_this_step.address());
  std::byte* from = static_cast<std::byte*>(staging.address());

  std::vector<allot::Lifetime> lifetimes{{4096, 0, 1}, {8192, 1, 2}, {4096, 2, 3}};
  allot::Shared<
      allot::Arena<allot::BestFit, allot::AlignTo<256>, allot::Locked<>, allot::HostMemory>>
      memory{1 * allot::MiB};
  std::vector<std::uint32_t> prompt{1, 2, 3};
  std::uint32_t token = 4;

  template <class... Arguments>
  void launch(Arguments&&...) {}
  template <class... Arguments>
  void enqueue(Arguments&&...) {}
  template <class... Arguments>
  void enqueue_prefill(Arguments&&...) {}
  template <class... Arguments>
  void log(Arguments&&...) {}
  void work_on_the_next_step() {}
};

#if ALLOT_HAS_HIP
struct docs_hip : Folder {};

struct docs_traces : InNewFolder {};

struct docs_weights : Folder {
  allot::gguf::File file{"model.gguf"};
  allot::HipDevice<> device{};
  allot::HipDevice<>& gpu = device;
  allot::SharedStream<allot::HipDevice<>> stream{device};
  struct {
    allot::load::ModelOn<allot::HipDevice<>> weights;
  } engine{load(device)};
  std::uint64_t bytes = 4096;
  allot::KvCacheConfig config{
      .shape = {.layers = 2, .kv_heads = 2, .key_dimension = 32, .value_dimension = 32},
      .budget_bytes = 1 * allot::MiB};
  allot::Readback<float, allot::HipDevice<>> readback{device, 1024};

  template <class... Arguments>
  void use(Arguments&&...) {}
  static allot::load::ModelOn<allot::HipDevice<>> load(allot::HipDevice<>& device) {
    allot::gguf::File file{"model.gguf"};
    return allot::load::load(
        file, allot::load::make_plan(file, {.devices = {allot::load::planned_device(device)}}),
        device);
  }
};
#endif

}  // namespace given
