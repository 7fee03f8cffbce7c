// SPDX-License-Identifier: MIT
/// \file
/// What the benchmarks compare: arenas of bare offsets, and yardsticks that every machine has or
/// can install. Each is made for a trace, and has `allocate`, `free` and `bookkeeping_bytes`.
///
/// | allocator         | what it is                                                              |
/// |-------------------|-------------------------------------------------------------------------|
/// | `ArenaClient<>`   | an `Arena` over bare offsets                                            |
/// | `WritesOnly`      | not an allocator: the cost of writing 24 bytes for a block              |
/// | `ListBestFit`     | the textbook's: a list of free blocks by offset, the smallest is taken  |
/// | `MultimapBestFit` | the textbook's: a multimap by size, a map by offset                     |
/// | `Interprocess<A>` | Boost.Interprocess in memory of the trace's capacity, headers in band   |
/// | `Malloc`          | the C library; with memory to find, and never refused                   |
/// | `PoolResource`    | `std::pmr::unsynchronized_pool_resource` over the C library             |
/// | `Mimalloc` `Jemalloc` | if their libraries are found                                        |
#pragma once

#include <allot/arena.hpp>

#include <dlfcn.h>
#include <sys/mman.h>
#include <boost/interprocess/indexes/iset_index.hpp>
#include <boost/interprocess/managed_external_buffer.hpp>
#include <boost/interprocess/mem_algo/rbtree_best_fit.hpp>
#include <boost/interprocess/mem_algo/simple_seq_fit.hpp>
#include <boost/interprocess/sync/mutex_family.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <list>
#include <map>
#include <memory_resource>
#include <new>
#include <optional>

#include "trace.hpp"

namespace allot::bench {

/// An arena of bare offsets.
template <class S, class A = AlignTo<alignment>, class L = Unsynchronized>
class ArenaClient {
 public:
  explicit ArenaClient(const Trace& trace) : arena_{trace.capacity} {}

  std::optional<Block> allocate(std::uint64_t bytes) { return arena_.try_allocate(bytes); }
  void free(const Block& block) { arena_.deallocate(block); }
  [[nodiscard]] std::uint64_t bookkeeping_bytes() const { return arena_.bookkeeping_bytes(); }

 private:
  Arena<S, A, L> arena_;
};

class WritesOnly {
 public:
  explicit WritesOnly(const Trace&) {}

  std::optional<Block> allocate(std::uint64_t bytes) { return Block{sum_, bytes, {}}; }
  void free(const Block& block) { sum_ ^= block.offset & 1; }

 private:
  std::uint64_t sum_ = 0;
};

[[nodiscard]] constexpr std::uint64_t whole(std::uint64_t bytes) {
  return (bytes + alignment - 1) / alignment * alignment;
}

class ListBestFit {
 public:
  explicit ListBestFit(const Trace& trace) : free_{{0, trace.capacity / alignment * alignment}} {}

  std::optional<Block> allocate(std::uint64_t bytes) {
    const std::uint64_t size = whole(bytes);
    auto best = free_.end();
    for (auto block = free_.begin(); block != free_.end(); ++block) {
      if (block->size >= size && (best == free_.end() || block->size < best->size)) best = block;
    }
    if (best == free_.end()) return std::nullopt;
    const Block taken{best->offset, size, {}};
    best->offset += size;
    best->size -= size;
    if (best->size == 0) free_.erase(best);
    return taken;
  }

  void free(const Block& block) {
    auto next = free_.begin();
    while (next != free_.end() && next->offset < block.offset) ++next;
    auto merged = free_.insert(next, {block.offset, block.size});
    if (next != free_.end() && merged->offset + merged->size == next->offset) {
      merged->size += next->size;
      free_.erase(next);
    }
    if (merged == free_.begin()) return;
    const auto before = std::prev(merged);
    if (before->offset + before->size != merged->offset) return;
    before->size += merged->size;
    free_.erase(merged);
  }

 private:
  struct Free {
    std::uint64_t offset;
    std::uint64_t size;
  };
  std::list<Free> free_;
};

class MultimapBestFit {
 public:
  explicit MultimapBestFit(const Trace& trace) {
    insert(0, trace.capacity / alignment * alignment);
  }

  std::optional<Block> allocate(std::uint64_t bytes) {
    const std::uint64_t size = whole(bytes);
    const auto found = by_size_.lower_bound(size);
    if (found == by_size_.end()) return std::nullopt;
    const std::uint64_t offset = found->second;
    const std::uint64_t rest = found->first - size;
    by_offset_.erase(offset);
    by_size_.erase(found);
    if (rest != 0) insert(offset + size, rest);
    return Block{offset, size, {}};
  }

  void free(const Block& block) {
    std::uint64_t offset = block.offset;
    std::uint64_t size = block.size;
    auto after = by_offset_.lower_bound(offset);
    if (after != by_offset_.end() && after->first == offset + size) {
      size += after->second->first;
      by_size_.erase(after->second);
      after = by_offset_.erase(after);
    }
    if (after != by_offset_.begin()) {
      const auto before = std::prev(after);
      if (before->first + before->second->first == offset) {
        offset = before->first;
        size += before->second->first;
        by_size_.erase(before->second);
        by_offset_.erase(before);
      }
    }
    insert(offset, size);
  }

 private:
  using BySize = std::multimap<std::uint64_t, std::uint64_t>;

  void insert(std::uint64_t offset, std::uint64_t size) {
    by_offset_.emplace(offset, by_size_.emplace(size, offset));
  }

  BySize by_size_;
  std::map<std::uint64_t, BySize::iterator> by_offset_;
};

/// \tparam Algorithm  `rbtree_best_fit` or `simple_seq_fit`
template <template <class Mutex, class Pointer> class Algorithm>
class Interprocess {
 public:
  explicit Interprocess(const Trace& trace) : bytes_{trace.capacity} {
    memory_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) throw std::bad_alloc{};
    segment_.emplace(boost::interprocess::create_only, memory_, bytes_);
  }
  Interprocess(const Interprocess&) = delete;
  Interprocess& operator=(const Interprocess&) = delete;
  ~Interprocess() {
    segment_.reset();
    ::munmap(memory_, bytes_);
  }

  std::optional<Block> allocate(std::uint64_t bytes) {
    void* const memory = segment_->allocate(bytes, std::nothrow);
    if (memory == nullptr) return std::nullopt;
    const auto offset = static_cast<std::byte*>(memory) - static_cast<std::byte*>(memory_);
    return Block{static_cast<std::uint64_t>(offset), bytes, {}};
  }
  void free(const Block& block) {
    segment_->deallocate(static_cast<std::byte*>(memory_) + block.offset);
  }

 private:
  using Family = boost::interprocess::null_mutex_family;
  using Segment = boost::interprocess::basic_managed_external_buffer<
      char, Algorithm<Family, boost::interprocess::offset_ptr<void>>,
      boost::interprocess::iset_index>;

  std::uint64_t bytes_;
  void* memory_ = nullptr;
  std::optional<Segment> segment_;
};

template <class Mutex, class Pointer>
using RbtreeBestFit = boost::interprocess::rbtree_best_fit<Mutex, Pointer>;
template <class Mutex, class Pointer>
using SimpleSeqFit = boost::interprocess::simple_seq_fit<Mutex, Pointer>;

/// An allocator that hands out addresses of its own memory.
template <class Functions>
class Addresses {
 public:
  explicit Addresses(const Trace&) {}

  std::optional<Block> allocate(std::uint64_t bytes) {
    void* const memory = functions_.allocate(bytes);
    if (memory == nullptr) return std::nullopt;
    return Block{reinterpret_cast<std::uintptr_t>(memory), bytes, {}};
  }
  void free(const Block& block) {
    functions_.free(reinterpret_cast<void*>(block.offset), block.size);
  }

 private:
  Functions functions_;
};

struct MallocFunctions {
  static void* allocate(std::uint64_t bytes) { return std::malloc(bytes); }
  static void free(void* memory, std::uint64_t) { std::free(memory); }
};
using Malloc = Addresses<MallocFunctions>;

class PoolFunctions {
 public:
  void* allocate(std::uint64_t bytes) { return pool_.allocate(bytes, alignment); }
  void free(void* memory, std::uint64_t bytes) { pool_.deallocate(memory, bytes, alignment); }

 private:
  std::pmr::unsynchronized_pool_resource pool_;
};
using PoolResource = Addresses<PoolFunctions>;

/// Two functions of a shared library, looked up while the program runs: linked in, mimalloc and
/// jemalloc would take the place of the C library's malloc.
class LoadedFunctions {
 public:
  LoadedFunctions(const char* library, const char* allocate, const char* free) noexcept {
    void* const handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) return;
    allocate_ = reinterpret_cast<Allocate*>(::dlsym(handle, allocate));
    free_ = reinterpret_cast<Free*>(::dlsym(handle, free));
  }

  [[nodiscard]] bool are_found() const noexcept { return allocate_ != nullptr && free_ != nullptr; }
  [[nodiscard]] void* allocate(std::uint64_t bytes) const { return allocate_(bytes); }
  void free(void* memory) const { free_(memory); }

 private:
  using Allocate = void*(std::size_t);
  using Free = void(void*);

  Allocate* allocate_ = nullptr;
  Free* free_ = nullptr;
};

struct MimallocFunctions {
  static const LoadedFunctions& functions() {
    static const LoadedFunctions loaded{"libmimalloc.so.2", "mi_malloc", "mi_free"};
    return loaded;
  }
  static void* allocate(std::uint64_t bytes) { return functions().allocate(bytes); }
  static void free(void* memory, std::uint64_t) { functions().free(memory); }
};
using Mimalloc = Addresses<MimallocFunctions>;

struct JemallocFunctions {
  static const LoadedFunctions& functions() {
    static const LoadedFunctions loaded{"libjemalloc.so.2", "malloc", "free"};
    return loaded;
  }
  static void* allocate(std::uint64_t bytes) { return functions().allocate(bytes); }
  static void free(void* memory, std::uint64_t) { functions().free(memory); }
};
using Jemalloc = Addresses<JemallocFunctions>;

}  // namespace allot::bench
