// SPDX-License-Identifier: MIT
// Opening a file: `gguf::File` beside ggml's own reader, by turns in one process.
//
//     bench_gguf libggml-base.so FILE...
//
// ggml is built elsewhere (cmake -DBUILD_SHARED_LIBS=ON, target ggml-base) and named by its path;
// without it, as `-`, allot's figures stand alone.
#include <allot/gguf/file.hpp>

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr int rounds = 101;

/// The part of ggml's interface that is measured. Source: ggml, include/gguf.h.
class Ggml {
 public:
  explicit Ggml(const char* library) {
    if (std::strcmp(library, "-") == 0) return;
    void* const handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw std::runtime_error{::dlerror()};
    init_ = reinterpret_cast<Init>(::dlsym(handle, "gguf_init_from_file"));
    free_ = reinterpret_cast<Free>(::dlsym(handle, "gguf_free"));
    if (init_ == nullptr || free_ == nullptr) throw std::runtime_error{"the library has no gguf_*"};
  }

  [[nodiscard]] bool is_there() const { return init_ != nullptr; }

  /// Without a context for tensors: the least that the library does.
  void open(const char* path) const {
    void* const opened = init_(path, {true, nullptr});
    if (opened == nullptr) throw std::runtime_error{std::string{"ggml cannot open "} + path};
    free_(opened);
  }

 private:
  struct Parameters {
    bool no_alloc;
    void** context;
  };
  using Init = void* (*)(const char*, Parameters);
  using Free = void (*)(void*);

  Init init_ = nullptr;
  Free free_ = nullptr;
};

/// Processor time, user and system: both readers have one thread, and time spent waiting for a busy
/// machine does not count.
double processor_microseconds() {
  timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

template <class F>
double microseconds(F&& f) {
  const double start = processor_microseconds();
  f();
  return processor_microseconds() - start;
}

struct Times {
  double least;
  double median;
};

Times times_of(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return {all.front(), all[all.size() / 2]};
}

void measure(const Ggml& ggml, const char* path) {
  std::vector<double> ours;
  std::vector<double> theirs;
  for (int i = 0; i < rounds; ++i) {
    ours.push_back(microseconds([&] { const allot::gguf::File file{path}; }));
    if (ggml.is_there()) theirs.push_back(microseconds([&] { ggml.open(path); }));
  }
  const allot::gguf::File file{path};
  const Times a = times_of(ours);
  std::printf("%s: %zu pairs, %zu tensors\n", path, file.metadata().size(), file.tensors().size());
  std::printf("  allot  least %10.1f us, median %10.1f us\n", a.least, a.median);
  if (!ggml.is_there()) return;
  const Times b = times_of(theirs);
  std::printf("  ggml   least %10.1f us, median %10.1f us\n", b.least, b.median);
  std::printf("  ratio  least %10.1f   , median %10.1f\n", b.least / a.least, b.median / a.median);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("Usage: bench_gguf LIBGGML-BASE.SO|- FILE...\n", stderr);
    return 2;
  }
  try {
    const Ggml ggml{argv[1]};
    for (int i = 2; i < argc; ++i) measure(ggml, argv[i]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_gguf: %s\n", error.what());
    return 1;
  }
}
