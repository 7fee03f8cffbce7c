// SPDX-License-Identifier: MIT
/// \file
/// A cluster that loads a model: storage, links, host memory and devices as queues that serve one
/// piece after another, each at its own rate. Events in the order of their time; no randomness.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <queue>
#include <stdexcept>
#include <utility>
#include <vector>

#include "needs.hpp"

namespace allot::bench {

/// What a cluster has: rates in bytes a second, times in seconds.
struct Cluster {
  const char* name;
  std::uint32_t ranks_per_node;  ///< a device each
  double storage;                ///< that the file system delivers, to all nodes together
  double link;                   ///< of a node to the network, in each direction
  double copies;                 ///< within a node's host memory, all ranks together
  double device;                 ///< from host memory to one device
  double storage_latency;        ///< from a request to its first byte
  double link_latency;           ///< of a message
  std::uint32_t slots = 4;       ///< pieces that each rank has under way
};

/// How the bytes come to the ranks.
enum class Way {
  each_rank_reads,  ///< what it needs
  each_node_reads,  ///< once for its ranks, which copy from a window of host memory that they share
  read_once,        ///< each byte by one rank in all, which sends it to those that need it
};

/// What a load took.
struct Loaded {
  double seconds = 0;      ///< until the last byte is on its device
  std::uint64_t read = 0;  ///< bytes, from storage
  std::uint64_t sent = 0;  ///< bytes, in messages from rank to rank
  const char* limit = "";  ///< what was busiest
  double limit_share = 0;  ///< of the time
};

/// Serves one piece after another.
class Station {
 public:
  explicit Station(double rate) : rate_{rate} {}
  /// Returns the time at which `bytes` that come at `now` are through.
  double serve(double now, std::uint64_t bytes) {
    const double taken = static_cast<double>(bytes) / rate_;
    free_ = std::max(now, free_) + taken;
    busy_ += taken;
    return free_;
  }
  [[nodiscard]] double busy() const noexcept { return busy_; }

 private:
  double rate_;
  double free_ = 0;
  double busy_ = 0;
};

/// One load of a model by a cluster. Ranks beyond the first group are replicas of it.
class Simulation {
 public:
  /// \param needs  of a group, which has whole nodes or is a part of one
  /// Throws: `std::invalid_argument` unless the nodes are whole groups.
  Simulation(const Cluster& cluster, const Needs& needs, std::uint32_t nodes, Way way)
      : cluster_{cluster},
        needs_{needs},
        way_{way},
        ranks_{nodes * cluster.ranks_per_node},
        storage_{cluster.storage},
        in_(nodes, Station{cluster.link}),
        out_(nodes, Station{cluster.link}),
        copies_(nodes, Station{cluster.copies}),
        devices_(ranks_, Station{cluster.device}) {
    const bool fits =
        needs.group % cluster.ranks_per_node == 0 || cluster.ranks_per_node % needs.group == 0;
    if (nodes == 0 || !fits || ranks_ % needs.group != 0)
      throw std::invalid_argument{"the nodes must be whole groups of ranks that share a model"};
    readers_.resize(way == Way::each_node_reads ? nodes : ranks_);
    divide_reading();
  }

  Loaded run() {
    const std::uint32_t ranks = way_ == Way::each_node_reads ? cluster_.ranks_per_node : 1;
    for (std::uint32_t reader = 0; reader < readers_.size(); ++reader) {
      for (std::uint32_t i = 0; i < cluster_.slots * ranks; ++i) at(0, Kind::start, reader);
    }
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      switch (event.kind) {
        case Kind::start:
          start(event.time, event.number);
          break;
        case Kind::has_read:
          take_read(event.time, event.number);
          break;
        case Kind::send:
          send(event.time, event.number);
          break;
        case Kind::arrive:
          arrive(event.time, event.number, event.rank);
          break;
      }
    }
    find_limit();
    return loaded_;
  }

 private:
  enum class Kind : std::uint32_t { start, has_read, send, arrive };
  struct Event {
    double time;
    std::uint64_t order;  // of events at the same time: as they were made
    Kind kind;
    std::uint32_t number;  // of the reader, or of the piece under way
    std::uint32_t rank;    // to which it comes
    bool operator<(const Event& other) const noexcept {
      return time != other.time ? time > other.time : order > other.order;
    }
  };
  /// A rank, or a node's one reader: what it reads, in order.
  struct Reader {
    std::vector<std::uint32_t> pieces{};
    std::size_t next = 0;
  };
  struct UnderWay {
    std::uint32_t reader;
    std::uint32_t piece;
    std::size_t receivers;  // ranks
    std::size_t first;      // the reader's place among them
    std::size_t sent = 0;
    std::size_t left;
    double end = 0;
  };

  [[nodiscard]] std::uint32_t node_of(std::uint32_t rank) const noexcept {
    return rank / cluster_.ranks_per_node;
  }
  /// Returns a node's first rank, as the group counts, and how many of the group's the node has.
  [[nodiscard]] std::pair<std::uint32_t, std::uint32_t> of_group(
      std::uint32_t node) const noexcept {
    return {node * cluster_.ranks_per_node % needs_.group,
            std::min(cluster_.ranks_per_node, needs_.group)};
  }
  /// Returns the ranks that need a piece, in all groups.
  [[nodiscard]] std::size_t receivers(const NeededPiece& piece) const noexcept {
    return ranks_ / needs_.group * piece.by.size();
  }
  [[nodiscard]] std::uint32_t receiver(const NeededPiece& piece, std::size_t place) const noexcept {
    const auto group = static_cast<std::uint32_t>(place / piece.by.size());
    return group * needs_.group + piece.by[place % piece.by.size()].rank;
  }
  [[nodiscard]] std::uint64_t need_of(const NeededPiece& piece, std::uint32_t rank) const noexcept {
    for (const RankNeed& need : piece.by) {
      if (need.rank == rank % needs_.group) return need.bytes;
    }
    return 0;
  }

  void divide_reading() {
    std::vector<std::uint64_t> to_read(ranks_);  // bytes so far
    for (std::uint32_t i = 0; i < needs_.pieces.size(); ++i) {
      const NeededPiece& piece = needs_.pieces[i];
      if (way_ == Way::each_node_reads) {
        for (std::uint32_t node = 0; node < readers_.size(); ++node) {
          const auto [first, ranks] = of_group(node);
          if (piece.needed_together(first, ranks) != 0) readers_[node].pieces.push_back(i);
        }
        continue;
      }
      std::uint32_t least = receiver(piece, 0);
      for (std::size_t place = 0; place < receivers(piece); ++place) {
        const std::uint32_t rank = receiver(piece, place);
        if (way_ == Way::each_rank_reads) readers_[rank].pieces.push_back(i);
        if (to_read[rank] < to_read[least]) least = rank;
      }
      if (way_ != Way::read_once) continue;
      to_read[least] += piece.bytes;
      readers_[least].pieces.push_back(i);
    }
  }

  void at(double time, Kind kind, std::uint32_t number, std::uint32_t rank = 0) {
    events_.push({time, order_++, kind, number, rank});
  }

  /// A reader asks storage for its next piece.
  void start(double now, std::uint32_t number) {
    Reader& reader = readers_[number];
    if (reader.next == reader.pieces.size()) return;
    const std::uint32_t index = reader.pieces[reader.next++];
    const NeededPiece& piece = needs_.pieces[index];
    UnderWay under{.reader = number, .piece = index, .receivers = 1, .first = 0, .left = 1};
    if (way_ == Way::read_once) {
      under.receivers = under.left = receivers(piece);
      while (receiver(piece, under.first) % needs_.group != number % needs_.group) ++under.first;
      under.first += number / needs_.group * piece.by.size();
    }
    loaded_.read += read_by(number, piece);
    at(storage_.serve(now, read_by(number, piece)) + cluster_.storage_latency, Kind::has_read,
       take(under));
  }

  [[nodiscard]] std::uint64_t read_by(std::uint32_t reader, const NeededPiece& piece) const {
    if (way_ == Way::read_once) return piece.bytes;
    if (way_ == Way::each_rank_reads) return need_of(piece, reader);
    const auto [first, ranks] = of_group(reader);
    return piece.needed_together(first, ranks);
  }

  /// A piece has come from storage: to the reader's devices, and on to other ranks.
  void take_read(double now, std::uint32_t number) {
    const UnderWay& under = under_way_[number];
    const NeededPiece& piece = needs_.pieces[under.piece];
    const std::uint32_t node = way_ == Way::each_node_reads ? under.reader : node_of(under.reader);
    const double here = in_[node].serve(now, read_by(under.reader, piece));
    if (way_ != Way::each_node_reads) {
      if (under.receivers > 1) at(here, Kind::send, number);
      bring(here, number, under.reader);
    } else {
      double end = here;
      for (std::uint32_t i = 0; i < cluster_.ranks_per_node; ++i) {
        const std::uint32_t rank = node * cluster_.ranks_per_node + i;
        const std::uint64_t bytes = need_of(piece, rank);
        if (bytes == 0) continue;
        end = std::max(end, devices_[rank].serve(copies_[node].serve(here, bytes), bytes));
      }
      finish(end, number);
    }
  }

  /// The reader sends a piece to the next rank that needs it.
  void send(double now, std::uint32_t number) {
    UnderWay& under = under_way_[number];
    const NeededPiece& piece = needs_.pieces[under.piece];
    ++under.sent;
    const std::uint32_t to = receiver(piece, (under.first + under.sent) % under.receivers);
    const std::uint64_t bytes = need_of(piece, to);
    loaded_.sent += bytes;
    const bool is_near = node_of(to) == node_of(under.reader);
    const double gone = is_near ? now : out_[node_of(under.reader)].serve(now, bytes);
    if (under.sent + 1 < under.receivers) at(gone, Kind::send, number);
    at(gone + cluster_.link_latency, Kind::arrive, number, to);
  }

  /// A message comes to a rank.
  void arrive(double now, std::uint32_t number, std::uint32_t rank) {
    const UnderWay& under = under_way_[number];
    const bool is_near = node_of(rank) == node_of(under.reader);
    Station& through = (is_near ? copies_ : in_)[node_of(rank)];
    bring(through.serve(now, need_of(needs_.pieces[under.piece], rank)), number, rank);
  }

  /// To the rank's device.
  void bring(double now, std::uint32_t number, std::uint32_t rank) {
    const std::uint64_t bytes = need_of(needs_.pieces[under_way_[number].piece], rank);
    finish(devices_[rank].serve(now, bytes), number);
  }

  /// A piece is where it was to go; once it is everywhere, its slot is free.
  void finish(double end, std::uint32_t number) {
    UnderWay& under = under_way_[number];
    under.end = std::max(under.end, end);
    loaded_.seconds = std::max(loaded_.seconds, end);
    if (--under.left != 0) return;
    at(under.end, Kind::start, under.reader);
    free_.push_back(number);
  }

  [[nodiscard]] std::uint32_t take(const UnderWay& under) {
    if (free_.empty()) {
      under_way_.push_back(under);
      return static_cast<std::uint32_t>(under_way_.size() - 1);
    }
    const std::uint32_t place = free_.back();
    free_.pop_back();
    under_way_[place] = under;
    return place;
  }

  void find_limit() {
    const auto consider = [&](const char* name, const std::vector<Station>& stations) {
      for (const Station& station : stations) {
        if (station.busy() <= loaded_.limit_share) continue;
        loaded_.limit = name;
        loaded_.limit_share = station.busy();
      }
    };
    consider("storage", {storage_});
    consider("link in", in_);
    consider("link out", out_);
    consider("host memory", copies_);
    consider("device", devices_);
    if (loaded_.seconds > 0) loaded_.limit_share /= loaded_.seconds;
  }

  Cluster cluster_;
  const Needs& needs_;
  Way way_;
  std::uint32_t ranks_;
  Station storage_;
  std::vector<Station> in_;   // by node
  std::vector<Station> out_;  // likewise
  std::vector<Station> copies_;
  std::vector<Station> devices_;  // by rank
  std::vector<Reader> readers_;
  std::vector<UnderWay> under_way_;
  std::vector<std::uint32_t> free_;  // places of it
  std::priority_queue<Event> events_;
  std::uint64_t order_ = 0;
  Loaded loaded_;
};

}  // namespace allot::bench
