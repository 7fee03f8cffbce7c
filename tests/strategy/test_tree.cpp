// SPDX-License-Identifier: MIT
#include <allot/strategy/detail/records.hpp>
#include <allot/strategy/detail/tree/node.hpp>
#include <allot/strategy/detail/tree/sized.hpp>
#include <allot/strategy/detail/tree/tree.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <type_traits>

#include "../support/random.hpp"

namespace {

using namespace allot::detail;

template <class Key, bool IsSized>
using TreesOf = std::conditional_t<IsSized, tree::SizedTrees<Key>,
                                   tree::Trees<tree::Node<Key, sizeof(Key) == 4 ? 15 : 9>>>;

template <class Trees>
[[nodiscard]] typename Trees::Item item_of(typename Trees::Key key, std::uint32_t record,
                                           [[maybe_unused]] typename Trees::Key size) {
  if constexpr (Trees::Node::has_sizes) {
    return {key, record, size};
  } else {
    return {key, record};
  }
}

/// A tree beside a `std::map`, with a record for each entry.
template <class Key, bool IsSized>
class Pair {
 public:
  struct Entry {
    std::uint32_t record;
    Key size;
  };

  explicit Pair(std::uint64_t entries) {
    REQUIRE(records_.try_ensure(entries + 1));
    REQUIRE(trees_.try_hold(entries));
  }

  void insert(Key key, Key size) {
    const std::uint32_t record = records_.acquire();
    model_[key] = {record, size};
    trees_.insert(number, item_of<Trees>(key, record, size));
  }

  /// The lowest entry from `key` on is the model's.
  [[nodiscard]] bool finds(Key key) const {
    const auto expected = model_.lower_bound(key);
    const tree::Entry found = trees_.find(number, key);
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
      trees_.seek(number, erased->first, path);
      trees_.erase_at(number, path);
    } else {
      const std::uint32_t location =
          by_search ? trees_.find(number, key).location : records_[record].state;
      const bool is_short = trees_.remove(location);
      if (trees_.is_in_root(location))
        CHECK(location / 16 == number);
      else if (is_short)
        trees_.balance_at(number, erased->first);
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
    trees_.seek(number, moved->first, path);
    const std::uint32_t record = moved->second.record;
    trees_.rekey_at(number, path, {to, record, size});
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
    return trees_.find_sized(number, size, path, accepts) == expected;
  }

  [[nodiscard]] bool is_valid() const {
    std::size_t count = 0;
    const bool valid = trees_.is_valid(number, [&](const typename Trees::Item& item) {
      ++count;
      const auto entry = model_.find(item.key);
      if constexpr (IsSized) {
        if (entry != model_.end() && entry->second.size != item.size) return false;
      }
      return entry != model_.end() && entry->second.record == item.value;
    });
    const bool ends = model_.empty()
                          ? trees_.is_empty(number)
                          : trees_.last(number) == std::prev(model_.end())->second.record;
    return valid && ends && count == model_.size();
  }

  [[nodiscard]] bool contains(Key key) const { return model_.count(key) != 0; }
  [[nodiscard]] std::uint32_t height() const { return trees_.height(number); }

 private:
  struct Trees : TreesOf<Key, IsSized> {
    using TreesOf<Key, IsSized>::TreesOf;
    [[nodiscard]] std::uint32_t height(std::uint32_t tree) const { return this->node(tree).height; }
  };

  /// An aligned request looks at many entries that it refuses.
  [[nodiscard]] bool finds_accepted(Key key) const {
    const auto accepts = [](std::uint32_t record) { return record % 3 != 0; };
    std::uint32_t expected = no_record;
    for (auto entry = model_.lower_bound(key); entry != model_.end(); ++entry) {
      if (!accepts(entry->second.record)) continue;
      expected = entry->second.record;
      break;
    }
    return trees_.find_accepted(number, key, accepts).value == expected;
  }

  static constexpr std::uint32_t number = 3;

  RecordSlab records_;
  Trees trees_{records_, number + 1};
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
      const bool grows = step / (range < 1000 ? 4000 : 8000) % 2 == 0;
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

/// Trees that count the nodes that are part of one.
template <class KeyType, bool IsSized>
struct CountedTrees : TreesOf<KeyType, IsSized> {
  using Base = TreesOf<KeyType, IsSized>;
  using Base::Base;
  using Key = KeyType;
  static constexpr bool is_sized = IsSized;

  [[nodiscard]] std::uint64_t nodes_in_use() const {
    std::uint64_t vacant = 0;
    for (auto i = this->first_vacant_; i != no_record; i = this->node(i).value[0]) ++vacant;
    return this->touched_ - vacant - 1;  // without the root
  }
};

}  // namespace

TEST_CASE_TEMPLATE("no tree takes more nodes than the bound allows for it", Trees,
                   CountedTrees<std::uint32_t, false>, CountedTrees<std::uint32_t, true>,
                   CountedTrees<std::uint64_t, false>, CountedTrees<std::uint64_t, true>) {
  using Key = typename Trees::Key;
  for (const std::uint32_t range : {30U, 60U, 120U, 1000U}) {
    INFO("ALLOT_SEED=" << allot::test::first_seed() << ", keys below " << range);
    std::mt19937_64 random{allot::test::first_seed() + range};
    RecordSlab records;
    REQUIRE(records.try_ensure(range + 1));
    Trees trees{records, 1};
    REQUIRE(trees.try_hold(8 * range));  // more than the bound
    std::map<Key, std::uint32_t> live;
    for (std::uint64_t step = 0; step < allot::test::operations(40'000); ++step) {
      const auto key = static_cast<Key>(random() % range);
      const bool grows = step / (4 * range) % 2 == 0;
      if (live.count(key) == 0 && grows) {
        live[key] = records.acquire();
        trees.insert(0, item_of<Trees>(key, live[key], 1));
      } else if (!live.empty() && !grows) {
        const auto lowest =
            live.lower_bound(key) == live.end() ? live.begin() : live.lower_bound(key);
        if constexpr (Trees::is_sized) {
          tree::Path path;
          trees.seek(0, lowest->first, path);
          trees.erase_at(0, path);
        } else {
          const tree::Entry found = trees.find(0, lowest->first);
          REQUIRE(found.value == lowest->second);
          const bool is_short = trees.remove(found.location);
          if (is_short && !trees.is_in_root(found.location)) trees.balance_at(0, lowest->first);
        }
        records.release(lowest->second, records[lowest->second]);
        live.erase(lowest);
      }
      REQUIRE(trees.nodes_in_use() <= Trees::nodes_for(live.size()));
    }
  }
}
