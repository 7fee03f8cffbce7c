// SPDX-License-Identifier: MIT
// Files that shrink or change while they are open: an error or other bytes, never a crash.
#include <allot/device/host_device.hpp>
#include <allot/device/staged_host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/writer/writer.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/verify.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"

namespace {

using namespace allot;
namespace fs = std::filesystem;

constexpr std::uint64_t model_bytes = 20'000'000;

/// Several pieces to read, of one tensor and of many.
fs::path write_model(const fs::path& folder) {
  std::vector<std::uint64_t> sizes(100, 50'000);
  sizes.push_back(model_bytes - 100 * 50'000);
  return test::write_model(folder / "m.gguf", sizes);
}

struct Straight {
  using Device = HostDevice;
  static load::LoadOptions options() { return {.readers = 1}; }
};
struct Staged {
  using Device = StagedHostDevice;
  static load::LoadOptions options() { return {.slot_bytes = 256 * KiB, .slots = 2, .readers = 1}; }
};
struct Direct {
  using Device = StagedHostDevice;
  static load::LoadOptions options() {
    return {.slot_bytes = 256 * KiB, .slots = 2, .readers = 1, .direct_io = true};
  }
};

/// A model that is open, and a device of the kind.
template <class Kind>
struct Opened {
  test::TemporaryFolder folder{};
  fs::path path = write_model(folder.path());
  gguf::File file{path};
  typename Kind::Device device{};
  load::Plan plan = load::make_plan(file, {.devices = {load::planned_device(device)}});

  auto load(const load::ProgressCallback& progress = {}) {
    return load::load(file, plan, device, progress, Kind::options());
  }
  void cut_to(std::uint64_t bytes) const { fs::resize_file(path, bytes); }
  /// Other bytes in the tensor data, of the same length.
  void overwrite(std::uint64_t at) const {
    std::fstream out{path, std::ios::binary | std::ios::in | std::ios::out};
    out.seekp(static_cast<std::streamoff>(file.shards()[0].data_offset() + at));
    for (int i = 0; i < 4096; ++i) out.put('\x55');
  }
};

/// The error that says so: with the file's name, and what happened.
void check_refused(const fs::path& path, const std::function<void()>& call) {
  try {
    call();
    FAIL("nothing was thrown");
  } catch (const gguf::ParseError& error) {
    CHECK(error.path() == path);
    CHECK(error.rule().find("cut off or changed while open") != std::string::npos);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("a file that is cut off before it is loaded is a read error", Kind, Straight,
                   Staged, Direct) {
  Opened<Kind> model;
  for (const std::uint64_t bytes : {model_bytes, model_bytes / 2, std::uint64_t{100}}) {
    model.cut_to(bytes);
    check_refused(model.path, [&] { static_cast<void>(model.load()); });
  }
  model.cut_to(0);
  check_refused(model.path, [&] { static_cast<void>(model.load()); });
}

TEST_CASE_TEMPLATE("a file that is cut off while it is loaded is a read error", Kind, Straight,
                   Staged, Direct) {
  for (const std::uint64_t after : {0U, 1U}) {
    Opened<Kind> model;
    check_refused(model.path, [&] {
      static_cast<void>(model.load([&](const load::Progress& progress) {
        if (progress.done >= after) model.cut_to(1'000'000);
        return true;
      }));
    });
  }
}

TEST_CASE_TEMPLATE("a file that is cut off before it is verified is a read error", Kind, Straight,
                   Staged) {
  Opened<Kind> model;
  const auto loaded = model.load();
  CHECK(!load::verify(model.file, loaded, model.device));
  for (const std::uint64_t bytes : {model_bytes, model_bytes / 2, std::uint64_t{0}}) {
    model.cut_to(bytes);
    check_refused(model.path,
                  [&] { static_cast<void>(load::verify(model.file, loaded, model.device)); });
  }
}

TEST_CASE_TEMPLATE("a file whose data change after it was loaded differs, with tensor and byte",
                   Kind, Straight, Staged) {
  Opened<Kind> model;
  const auto loaded = model.load();
  const gguf::TensorInfo& last = model.file.tensors().back();
  model.overwrite(last.offset + 1'000'000);
  const auto difference = load::verify(model.file, loaded, model.device);
  REQUIRE(difference);
  CHECK(difference->tensor == last.name);
  CHECK(difference->byte / 4096 == 1'000'000 / 4096);
}

TEST_CASE_TEMPLATE("what is behind the last tensor may change", Kind, Straight, Staged, Direct) {
  Opened<Kind> model;
  model.cut_to(fs::file_size(model.path) + 12'345);
  const auto loaded = model.load();
  CHECK(!load::verify(model.file, loaded, model.device));
}

TEST_CASE("metadata are one copy: they stay as they were read, whatever becomes of the file") {
  const test::TemporaryFolder folder;
  const fs::path path = test::write_llama(folder.path() / "m.gguf");
  const gguf::File file{path};
  const load::Plan before = load::make_plan(file);
  const auto check = [&] {
    CHECK(file.metadata()["general.architecture"].as<std::string_view>() == "llama");
    CHECK(file.metadata()["llama.block_count"].as<std::uint32_t>() == 4);
    CHECK(file.find("blk.3.attn_q.weight") != nullptr);
    CHECK(file.tensors().back().name == "output.weight");
    const load::Plan after = load::make_plan(file);
    CHECK(after.total_bytes() == before.total_bytes());
    CHECK(after.steps.size() == before.steps.size());
  };
  std::fstream{path, std::ios::binary | std::ios::in | std::ios::out} << std::string(4096, '\xff');
  check();
  fs::resize_file(path, 0);
  check();
  fs::remove(path);
  check();
}
