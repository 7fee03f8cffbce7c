// SPDX-License-Identifier: MIT
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/check.hpp>
#include <allot/strategy/detail/tree/node.hpp>
#include <allot/strategy/detail/tree/sized.hpp>
#include <allot/strategy/detail/tree/tree.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>

#include "../support/random.hpp"

namespace {

using namespace allot::detail;

/// A tree of a pool beside a `std::map`, with a record for each entry.
template <class Key, bool IsSized>
class Pair {
 public:
  struct Entry {
    std::uint32_t record;
    Key size;
  };

  explicit Pair(std::uint64_t entries) {
    records_.ensure(entries + 1);
    nodes_.ensure(Nodes::nodes_for(entries, 1));
  }

  void insert(Key key, Key size) {
    const std::uint32_t record = records_.acquire();
    model_[key] = {record, size};
    tree::insert(nodes_, root_, number, key, record, size);
  }

  /// The lowest entry from `key` on is the model's.
  [[nodiscard]] bool finds(Key key) const {
    const auto expected = model_.lower_bound(key);
    const tree::Entry found = tree::find(nodes_, root_, number, key);
    if (expected == model_.end()) return found.value == no_record;
    return found.value == expected->second.record && found.key == expected->first &&
           (IsSized || records_[found.value].state == found.location) && finds_accepted(key);
  }

  void erase_from(Key key, bool by_search) {
    const auto erased = model_.lower_bound(key);
    if (erased == model_.end()) return;
    const std::uint32_t record = erased->second.record;
    if constexpr (IsSized) {
      tree::Path path;
      tree::seek(nodes_, root_, erased->first, path);
      tree::erase_at(nodes_, root_, number, path);
    } else {
      const std::uint32_t location =
          by_search ? tree::find(nodes_, root_, number, key).location : records_[record].state;
      if (location < tree::in_leaf) {
        CHECK(tree::tree_of(location) == number);
        tree::remove(nodes_, root_, location);
      } else if (tree::erase_tall(nodes_, location)) {
        tree::balance_at(nodes_, root_, number, erased->first);
      }
    }
    records_.release(record, records_[record]);
    model_.erase(erased);
  }

  /// Moves an entry to anywhere between its neighbours.
  void rekey_from(Key key, std::mt19937_64& random) requires IsSized {
    const auto moved = model_.lower_bound(key);
    if (moved == model_.end()) return;
    const Key low = moved == model_.begin() ? 0 : std::prev(moved)->first + 1;
    const Key high = std::next(moved) == model_.end() ? moved->first + 5 : std::next(moved)->first;
    const Key to = low + static_cast<Key>(random() % (high - low));
    const Key size = 1 + static_cast<Key>(random() % 1000);
    tree::Path path;
    tree::seek(nodes_, root_, moved->first, path);
    const std::uint32_t record = moved->second.record;
    tree::rekey_at(nodes_, root_, path, to, record, size);
    model_.erase(moved);
    model_[to] = {record, size};
  }

  [[nodiscard]] bool finds_sized(Key size) const requires IsSized {
    const auto accepts = [](Key key, Key) { return key % 3 != 0; };
    std::uint32_t expected = no_record;
    for (const auto& [key, entry] : model_) {
      if (entry.size < size || !accepts(key, entry.size)) continue;
      expected = entry.record;
      break;
    }
    tree::Path path;
    return tree::find_sized(nodes_, root_, size, path, accepts) == expected;
  }

  [[nodiscard]] bool is_valid() const {
    std::size_t count = 0;
    const bool valid =
        tree::is_valid(nodes_, root_, number, [&](Key key, std::uint32_t record, Key size) {
          ++count;
          const auto entry = model_.find(key);
          return entry != model_.end() && entry->second.record == record &&
                 (!IsSized || entry->second.size == size);
        });
    const bool ends = model_.empty()
                          ? root_.is_empty()
                          : tree::last(nodes_, root_) == std::prev(model_.end())->second.record;
    return valid && ends && count == model_.size();
  }

  [[nodiscard]] bool contains(Key key) const { return model_.count(key) != 0; }
  [[nodiscard]] std::uint32_t height() const { return root_.height; }

 private:
  using Nodes = tree::Nodes<Key, IsSized>;

  /// An aligned request looks at many entries that it refuses.
  [[nodiscard]] bool finds_accepted(Key key) const {
    const auto accepts = [](std::uint32_t record) { return record % 3 != 0; };
    std::uint32_t expected = no_record;
    for (auto entry = model_.lower_bound(key); entry != model_.end(); ++entry) {
      if (!accepts(entry->second.record)) continue;
      expected = entry->second.record;
      break;
    }
    return tree::find_accepted(nodes_, root_, number, key, accepts).value == expected;
  }

  static constexpr std::uint32_t number = 3;

  RecordSlab records_;
  Nodes nodes_{records_};
  typename Nodes::Root root_;
  std::map<Key, Entry> model_;
};

template <class Key, bool IsSized>
struct Kind {
  using Compared = Pair<Key, IsSized>;
  static constexpr bool is_sized = IsSized;
};

}  // namespace

TEST_CASE_TEMPLATE("a tree does what a std::map does", K, Kind<std::uint32_t, false>,
                   Kind<std::uint32_t, true>, Kind<std::uint64_t, false>,
                   Kind<std::uint64_t, true>) {
  const std::uint64_t steps = allot::test::operations(20'000);
  std::uint32_t highest = 0;
  for (const std::uint32_t range : {12U, 60U, 10'000U}) {
    const std::uint64_t seed = allot::test::first_seed() + range;
    INFO("ALLOT_SEED=" << allot::test::first_seed() << ", keys below " << range);
    std::mt19937_64 random{seed};
    typename K::Compared compared{range + 5};
    for (std::uint64_t step = 0; step < steps; ++step) {
      const auto key = static_cast<std::uint32_t>(random() % range);
      const bool grows = step / 4000 % 2 == 0;
      if (!compared.contains(key) && random() % 100 < (grows ? 70 : 30)) {
        compared.insert(key, 1 + key * 7 % 1000);
      } else if constexpr (K::is_sized) {
        if (random() % 2 == 0)
          compared.erase_from(key, true);
        else
          compared.rekey_from(key, random);
        if (step % 16 == 0)
          REQUIRE(compared.finds_sized(static_cast<std::uint32_t>(random() % 1000)));
      } else {
        compared.erase_from(key, random() % 2 == 0);
      }
      REQUIRE(compared.finds(static_cast<std::uint32_t>(random() % range)));
      if (step % 8 == 0) REQUIRE(compared.is_valid());
      highest = std::max(highest, compared.height());
    }
  }
  CHECK(highest >= 3);
}

namespace {

/// For one tree of N entries, without rounding: the bound for many trees is the sum of theirs.
template <bool IsSized>
[[nodiscard]] bool holds_bound(std::uint64_t nodes, std::uint64_t entries) {
  const std::uint64_t leaf = tree::fewest<IsSized> - 1;
  const std::uint64_t alone = tree::fewest_alone;
  const std::uint64_t more = 3 * leaf - 2 * tree::fewest<IsSized>;
  return nodes * alone <= entries && (nodes == 0 || nodes * leaf <= entries + more);
}

}  // namespace

TEST_CASE_TEMPLATE("no tree takes more nodes than the bound allows for it", Nodes,
                   tree::Nodes<std::uint32_t, false>, tree::Nodes<std::uint32_t, true>,
                   tree::Nodes<std::uint64_t, false>, tree::Nodes<std::uint64_t, true>) {
  using Key = typename Nodes::Key;
  for (const std::uint32_t range : {30U, 60U, 120U, 1000U}) {
    INFO("ALLOT_SEED=" << allot::test::first_seed() << ", keys below " << range);
    std::mt19937_64 random{allot::test::first_seed() + range};
    RecordSlab records;
    records.ensure(range + 1);
    Nodes nodes{records};
    nodes.ensure(range);
    typename Nodes::Root root;
    std::map<Key, std::uint32_t> live;
    for (std::uint64_t step = 0; step < allot::test::operations(40'000); ++step) {
      const auto key = static_cast<Key>(random() % range);
      const bool grows = step / (4 * range) % 2 == 0;
      if (live.count(key) == 0 && grows) {
        live[key] = records.acquire();
        tree::insert(nodes, root, 0, key, live[key], 1);
      } else if (!live.empty() && !grows) {
        const auto lowest =
            live.lower_bound(key) == live.end() ? live.begin() : live.lower_bound(key);
        if constexpr (Nodes::is_sized) {
          tree::Path path;
          tree::seek(nodes, root, lowest->first, path);
          tree::erase_at(nodes, root, 0, path);
        } else {
          const tree::Entry found = tree::find(nodes, root, 0, lowest->first);
          REQUIRE(found.value == lowest->second);
          if (found.location < tree::in_leaf) {
            tree::remove(nodes, root, found.location);
          } else if (tree::erase_tall(nodes, found.location)) {
            tree::balance_at(nodes, root, 0, lowest->first);
          }
        }
        records.release(lowest->second, records[lowest->second]);
        live.erase(lowest);
      }
      REQUIRE(holds_bound<Nodes::is_sized>(nodes.in_use(), live.size()));
    }
  }
}
