// SPDX-License-Identifier: MIT
#include <allot/strategy/detail/tree_pool.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <random>

#include "../support/random.hpp"

namespace {

using namespace allot::detail;

/// A map of a pool beside a `std::map`, with a record for each entry.
template <class Key, bool IsSized>
class Pair {
 public:
  struct Entry {
    std::uint32_t record;
    Key size;
  };

  explicit Pair(std::uint64_t entries) {
    records_.ensure(entries + 1);
    pool_.ensure(Pool::nodes_for(entries, 1));
  }

  void insert(Key key, Key size) {
    const std::uint32_t record = records_.acquire();
    model_[key] = {record, size};
    pool_.insert(records_, root_, map, key, record, size);
  }

  /// The lowest entry from `key` on is the model's, in both ways to find it.
  [[nodiscard]] bool finds(Key key, TreeCursor& cursor) const {
    const auto expected = model_.lower_bound(key);
    const std::uint32_t found = pool_.find(root_, key, cursor);
    if (expected == model_.end()) return found == no_record;
    return found == expected->second.record && cursor.key == expected->first;
  }

  void erase_from(Key key, bool by_cursor) {
    const auto erased = model_.lower_bound(key);
    if (erased == model_.end()) return;
    const std::uint32_t record = erased->second.record;
    if (by_cursor || IsSized) {
      TreeCursor cursor;
      REQUIRE(finds(key, cursor));
      pool_.erase_at(records_, root_, map, cursor);
    } else if constexpr (!IsSized) {
      const std::uint32_t location = records_[record].state;
      if (location < Pool::in_leaf) {
        CHECK(Pool::map_of(location) == map);
        pool_.erase_short(records_, root_, location);
      } else if (pool_.erase_tall(records_, location)) {
        pool_.balance_at(records_, root_, map, erased->first);
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
    TreeCursor cursor;
    pool_.seek(root_, moved->first, cursor);
    const std::uint32_t record = moved->second.record;
    pool_.rekey_at(root_, cursor, to, record, size);
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
    TreeCursor cursor;
    return pool_.find_sized(root_, size, cursor, accepts) == expected;
  }

  [[nodiscard]] bool is_valid() const {
    std::size_t count = 0;
    const bool valid =
        pool_.is_valid(records_, root_, map, [&](Key key, std::uint32_t record, Key size) {
          ++count;
          const auto entry = model_.find(key);
          return entry != model_.end() && entry->second.record == record &&
                 (!IsSized || entry->second.size == size);
        });
    const bool ends = model_.empty() ? root_.is_empty()
                                     : pool_.last(root_) == std::prev(model_.end())->second.record;
    return valid && ends && count == model_.size();
  }

  [[nodiscard]] bool contains(Key key) const { return model_.count(key) != 0; }
  [[nodiscard]] std::uint32_t height() const { return root_.height; }

 private:
  using Pool = TreePool<Key, IsSized>;

  static constexpr std::uint32_t map = 3;

  RecordSlab records_;
  Pool pool_;
  typename Pool::Root root_;
  std::map<Key, Entry> model_;
};

template <class Key, bool IsSized>
struct Kind {
  using Compared = Pair<Key, IsSized>;
  static constexpr bool is_sized = IsSized;
};

}  // namespace

TEST_CASE_TEMPLATE("a map of a tree pool does what a std::map does", K, Kind<std::uint32_t, false>,
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
      TreeCursor cursor;
      REQUIRE(compared.finds(static_cast<std::uint32_t>(random() % range), cursor));
      if (step % 8 == 0) REQUIRE(compared.is_valid());
      highest = std::max(highest, compared.height());
    }
  }
  CHECK(highest >= 3);
}

namespace {

/// Tells how many nodes are taken.
template <class Key, bool IsSized>
class CountedPool : public TreePool<Key, IsSized> {
  using Shape = TreeShape<Key, IsSized>;

 public:
  [[nodiscard]] std::uint64_t nodes_in_use() const {
    std::uint64_t vacant = 0;
    for (std::uint32_t i = this->Shape::first_vacant_; i != no_record;
         i = this->Shape::nodes_[i].value[0])
      ++vacant;
    return this->Shape::touched_ - vacant;
  }

  /// For one map of so many entries, exactly: the bound for many maps is their sum.
  [[nodiscard]] static bool holds_bound(std::uint64_t nodes, std::uint64_t entries) {
    const std::uint64_t leaf = Shape::fewest - 1;
    const std::uint64_t alone = Shape::fewest_alone;
    return nodes == 0 || nodes * leaf <= entries + leaf - alone;
  }
};

}  // namespace

TEST_CASE_TEMPLATE("no map takes more nodes than the bound allows for it", P,
                   CountedPool<std::uint32_t, false>, CountedPool<std::uint32_t, true>,
                   CountedPool<std::uint64_t, false>, CountedPool<std::uint64_t, true>) {
  using Key = typename P::Key;
  for (const std::uint32_t range : {30U, 60U, 120U, 1000U}) {
    INFO("ALLOT_SEED=" << allot::test::first_seed() << ", keys below " << range);
    std::mt19937_64 random{allot::test::first_seed() + range};
    RecordSlab records;
    records.ensure(range + 1);
    P pool;
    pool.ensure(range);
    typename P::Root root;
    std::map<Key, std::uint32_t> live;
    for (std::uint64_t step = 0; step < allot::test::operations(40'000); ++step) {
      const auto key = static_cast<Key>(random() % range);
      const bool grows = step / (4 * range) % 2 == 0;
      if (live.count(key) == 0 && grows) {
        live[key] = records.acquire();
        pool.insert(records, root, 0, key, live[key], 1);
      } else if (!live.empty() && !grows) {
        const auto lowest =
            live.lower_bound(key) == live.end() ? live.begin() : live.lower_bound(key);
        TreeCursor cursor;
        if constexpr (requires { pool.seek(root, key, cursor); }) {
          pool.seek(root, lowest->first, cursor);
        } else {
          REQUIRE(pool.find(root, lowest->first, cursor) == lowest->second);
        }
        pool.erase_at(records, root, 0, cursor);
        records.release(lowest->second, records[lowest->second]);
        live.erase(lowest);
      }
      REQUIRE(P::holds_bound(pool.nodes_in_use(), live.size()));
    }
  }
}
