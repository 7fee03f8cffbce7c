// SPDX-License-Identifier: MIT
// A program of its own: the linker's --wrap (meson.build beside) makes every call of the system
// allocator in it one of these.
#include <allot/core/units.hpp>
#include <allot/gguf/file.hpp>

#include <doctest/doctest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>

#include "support/test_data.hpp"

namespace {

std::int64_t live = 0;
std::int64_t highest = 0;

void* count(void* memory) {
  if (memory != nullptr) live += static_cast<std::int64_t>(::malloc_usable_size(memory));
  highest = std::max(highest, live);
  return memory;
}
void discount(void* memory) {
  if (memory != nullptr) live -= static_cast<std::int64_t>(::malloc_usable_size(memory));
}

}  // namespace

extern "C" {
void* __real_malloc(std::size_t bytes);
void* __wrap_malloc(std::size_t bytes) { return count(__real_malloc(bytes)); }
void* __real_realloc(void* memory, std::size_t bytes);
void* __wrap_realloc(void* memory, std::size_t bytes) {
  discount(memory);
  return count(__real_realloc(memory, bytes));
}
void __real_free(void* memory);
void __wrap_free(void* memory) {
  discount(memory);
  __real_free(memory);
}
void* __real__Znwm(std::size_t bytes);
void* __wrap__Znwm(std::size_t bytes) { return count(__real__Znwm(bytes)); }
void __real__ZdlPv(void* memory);
void __wrap__ZdlPv(void* memory) {
  discount(memory);
  __real__ZdlPv(memory);
}
void __real__ZdlPvm(void* memory, std::size_t bytes);
void __wrap__ZdlPvm(void* memory, std::size_t bytes) {
  discount(memory);
  __real__ZdlPvm(memory, bytes);
}
}

TEST_CASE("opening a real file takes its metadata section and less than a mebibyte more") {
  const auto data = allot::test::data_dir();
  if (!data) return;
  std::size_t checked = 0;
  for (const auto& entry : std::filesystem::directory_iterator{*data / "gguf" / "real"}) {
    INFO(entry.path().string());
    const std::filesystem::path path = entry.path();
    const std::int64_t before = live;
    highest = live;
    {
      const allot::gguf::File file{path};
      const auto section = static_cast<std::int64_t>(file.shards()[0].data_offset());
      CHECK(highest - before >= section - 32);
      CHECK(highest - before <= section + static_cast<std::int64_t>(allot::MiB));
      // What stays: the section, and a little for each key and tensor.
      CHECK(live - before <= section + 200'000);
    }
    CHECK(live <= before + 4096);
    ++checked;
  }
  CHECK(checked == 14);
}
