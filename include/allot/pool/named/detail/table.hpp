// SPDX-License-Identifier: MIT
/// \file
/// What named buffers keep account of, and how several are resized together: all or none.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/errors.hpp>
#include <allot/core/source_location.hpp>
#include <allot/observer/leak_tracker.hpp>
#include <allot/pool/named/byte_budget.hpp>
#include <allot/pool/named/config.hpp>
#include <allot/pool/named/detail/memory.hpp>
#include <allot/pool/named/errors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace allot::detail {

/// The configuration as it is for a type.
/// Throws: `std::invalid_argument` where no whole number of these makes an element, or no element
/// fits between minimum and maximum.
[[nodiscard]] inline BufferConfig resolved(std::string_view name, const ElementType& type,
                                           const BufferConfig& given) {
  BufferConfig config = given;
  if (config.bytes_per_element == 0) config.bytes_per_element = type.bytes;
  if (config.bytes_per_element % type.bytes != 0) {
    throw std::invalid_argument{
        "buffer " + in_quotes(name) + ": elements of " + std::to_string(config.bytes_per_element) +
        " bytes are no whole number of " + std::string{type.name} + " (" +
        std::to_string(type.bytes) + " bytes); set BufferConfig::bytes_per_element to a multiple"};
  }
  if (config.minimum > config.maximum || config.largest_capacity() == 0) {
    throw std::invalid_argument{"buffer " + in_quotes(name) + ": no element of " +
                                std::to_string(config.bytes_per_element) +
                                " bytes fits between a minimum of " +
                                std::to_string(config.minimum) + " and a maximum of " +
                                std::to_string(config.maximum) + " bytes; raise the maximum"};
  }
  return config;
}

/// Throws: `std::invalid_argument` where one occurs twice.
template <class Resized>
void require_distinct(std::vector<Resized>& all) {
  std::vector<const std::string*> names;
  names.reserve(all.size());
  for (const Resized& resized : all) names.push_back(&resized.at->first);
  std::sort(names.begin(), names.end(), std::less<>{});
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return;
  throw std::invalid_argument{"buffer " + in_quotes(**twice) +
                              " is to be resized twice at once; name each once"};
}

/// All members are called, and all that is in it touched, with `memory->mutex()` held.
template <Device DeviceType, class ArenaType, class Clock>
struct BufferTable {
  using Memory = BufferMemory<DeviceType, ArenaType>;
  using Stream = typename Memory::Stream;
  using Piece = typename Memory::Piece;
  using Transfer = typename Memory::Transfer;
  using TimePoint = typename Clock::time_point;

  struct Entry {
    // What a check for leaks reads comes first, beside the name: one or two lines of the cache.
    TimePoint made{};
    SourceLocation site{};
    std::uint64_t capacity = 0;  // elements
    BufferConfig config{};       // with its bytes per element
    ElementType type{};
    std::uint64_t alignment = 1;
    std::uint64_t requested = 0;  // elements, by `add`
    std::uint64_t used = 0;
    std::uint64_t resizes = 0;
    std::uint64_t transfers = 0;
    TimePoint last_used{};
    std::shared_ptr<Piece> piece;

    [[nodiscard]] std::uint64_t bytes_of(std::uint64_t elements) const noexcept {
      return elements * config.bytes_per_element;
    }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_of(capacity); }
  };

  struct HashOfName {
    using is_transparent = void;
    [[nodiscard]] std::size_t operator()(std::string_view name) const noexcept {
      return std::hash<std::string_view>{}(name);
    }
  };
  using Entries = std::unordered_map<std::string, Entry, HashOfName, std::equal_to<>>;

  struct External {
    std::string name;
    std::uint64_t bytes;
    TimePoint made;
    SourceLocation site;
  };

  struct Counts {
    std::uint64_t allocations = 0;
    std::uint64_t frees = 0;
    std::uint64_t resizes = 0;
    std::uint64_t resizes_in_place = 0;
    std::uint64_t transfers = 0;
    std::uint64_t transferred_bytes = 0;
  };

  BufferTable(std::shared_ptr<Memory> of, std::uint64_t limit)
      : memory{std::move(of)}, budget{limit} {}

  [[nodiscard]] typename Entries::iterator find(std::string_view name) {
    const auto found = entries.find(name);
    if (found == entries.end()) throw_unknown_buffer(name, entries);
    return found;
  }
  [[nodiscard]] typename Entries::iterator find(std::string_view name, const ElementType& type) {
    const auto found = find(name);
    if (!(found->second.type == type)) throw_wrong_type(name, found->second.type, type);
    return found;
  }

  void require_left(std::string_view name, std::uint64_t bytes) const {
    if (bytes <= budget.left()) return;
    throw LimitExceeded{"buffer " + in_quotes(name), bytes, budget.used(), budget.limit(),
                        "free buffers, or raise the limit over all of them"};
  }

  static void require_below_maximum(std::string_view name, const BufferConfig& config,
                                    std::uint64_t elements) {
    if (elements <= config.largest_capacity()) return;
    const auto bytes = checked_multiply(elements, config.bytes_per_element);
    throw LimitExceeded{
        "buffer " + in_quotes(name) + " of " + std::to_string(elements) + " elements",
        bytes.value_or(OutOfMemory::unlimited), 0, config.maximum,
        "ask for fewer, or raise BufferConfig::maximum"};
  }

  /// A new entry. Requires: none has that name. Throws: as `NamedBuffers::add`.
  [[nodiscard]] Entry& add(std::string_view name, const ElementType& type, std::uint64_t alignment,
                           std::uint64_t elements, const BufferConfig& config,
                           const SourceLocation& site) {
    require_below_maximum(name, config, elements);
    const std::uint64_t capacity = config.first_capacity(elements);
    const std::uint64_t bytes = capacity * config.bytes_per_element;
    require_left(name, bytes);
    const auto at = entries.try_emplace(std::string{name}).first;
    Entry& entry = at->second;
    try {
      const CallSite here{site};
      entry.piece = memory->allocate({bytes, alignment, name});
    } catch (...) {
      entries.erase(at);
      throw;
    }
    entry.type = type;
    entry.alignment = alignment;
    entry.config = config;
    entry.requested = elements;
    entry.capacity = capacity;
    entry.made = entry.last_used = Clock::now();
    entry.site = site;
    budget.take(bytes);
    name_bytes += name.size();
    ++counts.allocations;
    return entry;
  }

  /// One of the buffers that are resized together.
  struct Resized {
    typename Entries::iterator at;
    std::uint64_t needed;               // elements
    std::uint64_t capacity = 0;         // elements, as chosen
    std::shared_ptr<Piece> piece = {};  // the new one, later the old one; none: in place
    bool is_expanded = false;           // in place

    [[nodiscard]] Entry& entry() const noexcept { return at->second; }
  };

  /// Resizes all, or none: where it throws nothing has changed. `all` must outlive the lock: the
  /// pieces that nobody wants any more are left in it.
  /// \param waits  whether the host waits for the copies
  /// Throws: `LimitExceeded`, `OutOfMemory`, what the device throws, `std::bad_alloc`.
  void resize(std::vector<Resized>& all, Stream& stream, bool waits) {
    choose_capacities(all);
    memory->poll();
    try {
      place(all);
    } catch (const OutOfMemory&) {  // no room to grow: is there for what is needed?
      const bool has_grown = std::any_of(all.begin(), all.end(), [](const Resized& resized) {
        return resized.capacity != resized.needed;
      });
      if (!has_grown) throw;
      for (Resized& resized : all) resized.capacity = resized.needed;
      place(all);
    }
    try {
      copy(all, stream, waits);
    } catch (...) {
      expand_back(all);
      throw;
    }
    commit(all);
  }

  /// Gives copies to a stream, behind the last ones that touch the pieces, and has them counted.
  /// \param pieces  `for_each(f)` calls `f(piece)` for each that is touched
  template <class ForEachPiece, class Copies>
  void transfer(Stream& stream, bool waits, ForEachPiece&& for_each_piece, Copies&& copies) {
    DeviceType& device = memory->device();
    const std::shared_ptr<Transfer> transfer = memory->prepare();
    bool has_begun = false;
    try {
      for_each_piece([&](Piece& piece) { memory->order(stream, piece); });
      has_begun = true;
      copies(device);
      device.record(*transfer->event, stream);
    } catch (...) {
      const bool is_done = !has_begun || settle(stream);
      if (!is_done) for_each_piece([&](Piece& piece) { piece.transfer = transfer; });
      memory->cancel(transfer, is_done);
      throw;
    }
    for_each_piece([&](Piece& piece) { piece.transfer = transfer; });
    if (waits) device.synchronize(stream);
  }

  std::shared_ptr<Memory> memory;
  ByteBudget budget;
  Entries entries;
  std::list<External> externals;
  std::uint64_t external_bytes = 0;
  std::uint64_t name_bytes = 0;  // of all, external ones too
  Counts counts;

 private:
  /// What is needed must fit the limit; of growth as much as is left beyond that.
  void choose_capacities(std::vector<Resized>& all) const {
    std::uint64_t more = 0;
    for (const Resized& resized : all) {
      const Entry& entry = resized.entry();
      require_below_maximum(resized.at->first, entry.config, resized.needed);
      const std::uint64_t extra = entry.bytes_of(resized.needed) - entry.bytes();
      more = checked_add(more, extra).value_or(OutOfMemory::unlimited);
      require_left(resized.at->first, more);
    }
    std::uint64_t spare = budget.left() - more;
    for (Resized& resized : all) {
      const Entry& entry = resized.entry();
      const std::uint64_t grown = entry.config.next_capacity(entry.capacity, resized.needed);
      const std::uint64_t wanted = grown - resized.needed;
      const std::uint64_t granted = smaller(wanted, spare / entry.config.bytes_per_element);
      resized.capacity = resized.needed + granted;
      spare -= entry.bytes_of(granted);
    }
  }

  /// Memory for all: in place where that is possible. Throws: as `resize`; none has changed.
  void place(std::vector<Resized>& all) {
    try {
      for (Resized& resized : all) {
        Entry& entry = resized.entry();
        const std::uint64_t bytes = entry.bytes_of(resized.capacity);
        const CallSite site{entry.site};
        if (memory->try_expand(*entry.piece, bytes)) {
          resized.is_expanded = true;
        } else {
          resized.piece = memory->allocate({bytes, entry.alignment, resized.at->first});
        }
      }
    } catch (...) {
      expand_back(all);
      for (Resized& resized : all) {
        if (resized.piece != nullptr) memory->discard(resized.piece);
      }
      throw;
    }
  }

  void expand_back(std::vector<Resized>& all) noexcept {
    for (Resized& resized : all) {
      const Entry& entry = resized.entry();
      if (std::exchange(resized.is_expanded, false)) {
        memory->undo_expand(*entry.piece, entry.bytes());
      }
    }
  }

  void copy(std::vector<Resized>& all, Stream& stream, bool waits) {
    const auto is_moved = [](const Resized& resized) { return resized.piece != nullptr; };
    if (std::none_of(all.begin(), all.end(), is_moved)) return;
    transfer(
        stream, waits,
        [&](auto&& f) {
          for (const Resized& resized : all) {
            if (!is_moved(resized)) continue;
            f(*resized.entry().piece);
            f(*resized.piece);
          }
        },
        [&](DeviceType& device) {
          for (const Resized& resized : all) {
            if (!is_moved(resized)) continue;
            const Entry& entry = resized.entry();
            device.copy_on_device(memory->address(*resized.piece), memory->address(*entry.piece),
                                  entry.bytes(), stream);
          }
        });
  }

  void commit(std::vector<Resized>& all) noexcept {
    const TimePoint now = Clock::now();
    for (Resized& resized : all) {
      Entry& entry = resized.entry();
      if (resized.piece == nullptr) {
        ++counts.resizes_in_place;
      } else {
        count_transfer(entry, entry.bytes());
        entry.piece.swap(resized.piece);
      }
      budget.take(entry.bytes_of(resized.capacity) - entry.bytes());
      entry.capacity = resized.capacity;
      entry.last_used = now;
      ++entry.resizes;
      ++counts.resizes;
    }
  }

 public:
  void count_transfer(Entry& entry, std::uint64_t bytes) noexcept {
    ++entry.transfers;
    ++counts.transfers;
    counts.transferred_bytes += bytes;
  }

 private:
  /// Waits for all that was given to a stream. Returns whether it is known to be done.
  [[nodiscard]] bool settle(Stream& stream) noexcept {
    try {
      memory->device().synchronize(stream);
      return true;
    } catch (...) {
      return false;
    }
  }
};

}  // namespace allot::detail
