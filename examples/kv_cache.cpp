// SPDX-License-Identifier: MIT
/// \file
/// A serving loop over a paged KV cache: requests that share system prompts arrive, are answered
/// token by token, some as two drafts of which one is kept, and leave. No model runs: the example
/// shows where the memory goes. The same arguments print the same lines.
///
///     kv_cache [REQUESTS [MIB [FILE.gguf]]]
#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>
#include <allot/device/host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/kv_shape_of.hpp>
#include <allot/pool/kv/kv_cache.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <exception>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

using Cache = allot::KvCache<allot::HostDevice>;
using Tokens = std::vector<Cache::Token>;

constexpr std::size_t most_sequences = 32;
constexpr std::uint64_t context = 2048;  // tokens that a contiguous cache has room for

/// A request that is being answered.
struct Request {
  Tokens prompt;
  Cache::Sequence sequence;
  std::uint64_t to_answer;
};

/// What clients ask: one of four system prompts, then their own text.
class Clients {
 public:
  Tokens next_prompt() {
    Tokens prompt(300, static_cast<Cache::Token>(random_() % 4));
    const std::size_t own = 20 + random_() % 200;
    for (std::size_t i = 0; i < own; ++i)
      prompt.push_back(static_cast<Cache::Token>(random_() % 32'000));
    return prompt;
  }
  std::uint64_t next_length() { return 20 + random_() % 300; }
  bool wants_drafts() { return random_() % 8 == 0; }
  Cache::Token token() { return static_cast<Cache::Token>(random_() % 32'000); }

 private:
  std::mt19937_64 random_{1};
};

/// Answers as many requests at once as there is room for; the rest wait.
class Server {
 public:
  explicit Server(Cache& cache) : cache_{cache} {}

  void serve(std::uint64_t requests) {
    std::deque<Tokens> waiting;
    for (std::uint64_t i = 0; i < requests; ++i) waiting.push_back(clients_.next_prompt());
    while (!waiting.empty() || !running_.empty()) {
      if (!waiting.empty() && running_.size() < most_sequences && admit(waiting.front()))
        waiting.pop_front();
      peak_sequences_ = std::max(peak_sequences_, running_.size());
      for (std::size_t i = 0; i < running_.size();) {
        if (step(running_[i])) {
          ++i;
          continue;
        }
        if (running_[i].to_answer != 0) {  // no room: it waits for its turn again
          ++preempted_;
          waiting.push_back(running_[i].prompt);
        }
        std::swap(running_[i], running_.back());
        running_.pop_back();
      }
    }
  }

  [[nodiscard]] std::size_t peak_sequences() const { return peak_sequences_; }
  [[nodiscard]] std::uint64_t preempted() const { return preempted_; }

 private:
  bool admit(const Tokens& prompt) {
    try {
      auto [sequence, cached] = cache_.start(prompt);
      // Here a model computes the keys and values of the tokens from `cached` on.
      sequence.publish();
      running_.push_back({prompt, std::move(sequence), clients_.next_length()});
      return true;
    } catch (const allot::OutOfBlocks&) {
      if (running_.empty()) throw;  // it will never fit
      return false;
    }
  }

  /// Appends one token. Returns false if it was the last one, or if there is no room.
  bool step(Request& request) {
    try {
      if (clients_.wants_drafts()) {
        auto draft = request.sequence.fork();
        draft.append(clients_.token());
        draft.append(clients_.token());
        request.sequence = std::move(draft);
      } else {
        request.sequence.append(clients_.token());
      }
    } catch (const allot::OutOfBlocks&) {
      if (running_.size() == 1) throw;
      return false;
    }
    return --request.to_answer != 0;
  }

  Cache& cache_;
  Clients clients_;
  std::vector<Request> running_;
  std::size_t peak_sequences_ = 0;
  std::uint64_t preempted_ = 0;
};

void print_bytes(const char* what, std::uint64_t bytes) {
  std::printf("%-28s %s\n", what, allot::ReadableBytes{bytes}.c_str());
}

void print_count(const char* what, std::uint64_t count) {
  std::printf("%-28s %llu\n", what, static_cast<unsigned long long>(count));
}

/// Returns the shape in a model's file, or that of Qwen2.5 0.5B, which has 14 query heads, but 2 KV
/// heads. 16-bit floats.
allot::KvShape shape_of(const char* file) {
  if (file != nullptr) return allot::load::kv_shape_of(allot::gguf::File{file});
  return {.layers = 24, .kv_heads = 2, .key_dimension = 64, .value_dimension = 64};
}

void run(std::uint64_t requests, std::uint64_t mib, const char* file) {
  const allot::KvShape shape = shape_of(file);
  Cache cache{allot::HostDevice{}, {.shape = shape, .budget_bytes = mib * allot::MiB}};
  Server server{cache};
  server.serve(requests);

  const allot::KvCacheStats stats = cache.stats();
  const std::uint64_t block = cache.layout().block_bytes();
  std::printf("%-28s %llu layers, %llu KV heads, keys of %llu and values of %llu elements\n",
              "shape", static_cast<unsigned long long>(shape.layers),
              static_cast<unsigned long long>(shape.kv_heads),
              static_cast<unsigned long long>(shape.key_dimension),
              static_cast<unsigned long long>(shape.value_dimension));
  std::printf("%-28s %llu tokens, %s\n", "block",
              static_cast<unsigned long long>(cache.layout().block_tokens()),
              allot::ReadableBytes{block}.c_str());
  print_count("requests", requests);
  print_count("most sequences at once", server.peak_sequences());
  print_count("postponed for lack of room", server.preempted());
  print_count("blocks", stats.capacity);
  print_count("blocks hit in a prefix", stats.hits);
  print_count("blocks of prompts computed", stats.misses);
  print_count("blocks shared with drafts", stats.shared);
  print_count("blocks copied on write", stats.copied);
  print_count("blocks evicted", stats.evicted);
  print_count("blocks kept for prefixes", stats.cached);
  print_bytes("peak memory", stats.peak_used * block);
  print_bytes("contiguous caches",
              server.peak_sequences() * context * cache.layout().token_bytes());
  const allot::Compaction step = cache.compact(stats.capacity);
  print_count("blocks moved by compaction", step.moved);
}

std::optional<std::uint64_t> number(const char* text) {
  std::uint64_t value = 0;
  const char* const end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || stop != end || value == 0 || value > 1'000'000) return std::nullopt;
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  const auto requests = argc > 1 ? number(argv[1]) : 200;
  const auto mib = argc > 2 ? number(argv[2]) : 128;
  if (argc > 4 || !requests || !mib) {
    std::fprintf(stderr,
                 "usage: kv_cache [REQUESTS [MIB [FILE.gguf]]]\n"
                 "  REQUESTS   number to answer, from 1 to 1000000 (200)\n"
                 "  MIB        size of the cache, from 1 to 1000000 (128)\n"
                 "  FILE.gguf  a model that gives the cache's shape (Qwen2.5 0.5B)\n");
    return 2;
  }
  try {
    run(*requests, *mib, argc > 3 ? argv[3] : nullptr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kv_cache: %s\n", error.what());
    return 1;
  }
}
