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
#include <string>
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
  std::uint32_t slots = 4;       ///< pieces that are under way for each rank of a reader
};

/// How the bytes come to the ranks.
enum class Way {
  each_rank_reads,  ///< what it needs
  each_node_reads,  ///< once for its ranks, which share a window of host memory
  one_node_reads,   ///< each byte in all, and sends it to the nodes that need it, also by a window
};

/// What a load took.
struct Loaded {
  double seconds = 0;
  std::uint64_t read = 0;  ///< bytes, from storage
  std::uint64_t sent = 0;  ///< bytes, between nodes
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

/// One load of a model by a cluster.
class Simulation {
 public:
  /// \param nodes  a multiple of the nodes of a group; throws `std::invalid_argument` otherwise
  Simulation(const Cluster& cluster, const Needs& needs, std::size_t nodes, Way way)
      : cluster_{cluster}, needs_{needs}, nodes_{nodes}, way_{way}, storage_{cluster.storage} {
    if (nodes == 0 || nodes % needs.size() != 0)
      throw std::invalid_argument{"the nodes must be whole groups"};
    in_.assign(nodes, Station{cluster.link});
    out_.assign(nodes, Station{cluster.link});
    copies_.assign(nodes, Station{cluster.copies});
    devices_.assign(nodes * needs.ranks_per_node(), Station{cluster.device});
    if (way == Way::one_node_reads) {
      divide_reading();
    } else {
      each_reads();
    }
  }

  Loaded run() {
    const std::uint32_t ranks = way_ == Way::each_rank_reads ? 1 : needs_.ranks_per_node();
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
        case Kind::arrive:
          arrive(event.time, event.number, event.node);
          break;
        case Kind::send:
          send(event.time, event.number);
          break;
      }
    }
    find_limit();
    return loaded_;
  }

 private:
  enum class Kind : std::uint32_t { start, arrive, send };
  struct Event {
    double time;
    std::uint64_t order;  // of events at the same time: as they were made
    Kind kind;
    std::uint32_t number;  // of the reader, or of the piece under way
    std::uint32_t node;    // where it arrives
    bool operator<(const Event& other) const noexcept {
      return time != other.time ? time > other.time : order > other.order;
    }
  };
  /// Where a piece is needed, among the nodes of a group.
  struct Needed {
    std::vector<std::pair<std::uint32_t, const NodePiece*>> by;  // node of a group, what it needs
  };
  /// Who reads, and what, in order.
  struct Reader {
    std::uint32_t node = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> pieces{};  // number, bytes
    std::size_t next = 0;
    std::uint32_t rank = 0;                       // of the node, if each rank reads
    const std::vector<NodePiece>* own = nullptr;  // unless one node reads for all
  };
  struct UnderWay {
    std::uint32_t reader;
    std::uint64_t piece;
    std::uint64_t bytes;
    std::size_t receivers;  // nodes
    std::size_t first;      // the reader's place among them
    std::size_t sent = 0;
    std::size_t left;
    double end = 0;
  };

  void each_reads() {
    const bool by_rank = way_ == Way::each_rank_reads;
    for (std::uint32_t node = 0; node < nodes_; ++node) {
      const std::vector<NodePiece>& own = needs_[node % needs_.size()];
      for (std::uint32_t rank = 0; rank < (by_rank ? needs_.ranks_per_node() : 1); ++rank) {
        Reader reader{.node = node, .rank = rank, .own = &own};
        for (std::size_t i = 0; i < own.size(); ++i) {
          if (!by_rank) reader.pieces.emplace_back(i, own[i].bytes);
          if (by_rank && bytes_for(own[i], rank) != 0)
            reader.pieces.emplace_back(i, bytes_for(own[i], rank));
        }
        readers_.push_back(std::move(reader));
      }
    }
  }

  /// Gives each piece to one of the nodes that need it, in turn.
  void divide_reading() {
    for (std::uint32_t node = 0; node < nodes_; ++node) readers_.push_back({.node = node});
    needed_.resize(needs_.pieces().size());
    for (std::uint32_t i = 0; i < needs_.size(); ++i) {
      for (const NodePiece& piece : needs_[i]) needed_[piece.piece].by.emplace_back(i, &piece);
    }
    std::size_t turn = 0;
    for (std::uint64_t piece = 0; piece < needed_.size(); ++piece) {
      const std::uint64_t bytes = needs_.pieces()[piece];
      if (bytes == 0) continue;
      readers_[receiver(piece, turn++ % receivers(piece))].pieces.emplace_back(piece, bytes);
    }
  }

  [[nodiscard]] static std::uint64_t bytes_for(const NodePiece& piece,
                                               std::uint32_t rank) noexcept {
    for (const RankPart& part : piece.parts) {
      if (part.rank == rank) return part.bytes;
    }
    return 0;
  }
  [[nodiscard]] std::size_t receivers(std::uint64_t piece) const noexcept {
    return nodes_ / needs_.size() * needed_[piece].by.size();
  }
  /// Returns the number of a node that needs the piece.
  [[nodiscard]] std::uint32_t receiver(std::uint64_t piece, std::size_t place) const noexcept {
    const auto& by = needed_[piece].by;
    return static_cast<std::uint32_t>(place / by.size() * needs_.size()) +
           by[place % by.size()].first;
  }

  /// Returns a node's place among those that need the piece.
  [[nodiscard]] std::size_t place_of(std::uint64_t piece, std::uint32_t node) const {
    const auto& by = needed_[piece].by;
    for (std::size_t i = 0; i < by.size(); ++i) {
      if (by[i].first == node % needs_.size()) return node / needs_.size() * by.size() + i;
    }
    throw std::logic_error{"a node reads a piece that it does not need"};
  }

  void at(double time, Kind kind, std::uint32_t number, std::uint32_t node = 0) {
    events_.push({time, order_++, kind, number, node});
  }

  /// A reader asks storage for its next piece.
  void start(double now, std::uint32_t number) {
    Reader& reader = readers_[number];
    if (reader.next == reader.pieces.size()) return;
    const auto [piece, bytes] = reader.pieces[reader.next++];
    UnderWay under{
        .reader = number, .piece = piece, .bytes = bytes, .receivers = 1, .first = 0, .left = 1};
    if (way_ == Way::one_node_reads) {
      under.receivers = receivers(piece);
      under.left = under.receivers;
      under.first = place_of(piece, reader.node);
    }
    const std::uint32_t place = take(under);
    loaded_.read += bytes;
    at(storage_.serve(now, bytes) + cluster_.storage_latency, Kind::arrive, place, reader.node);
  }

  /// A piece comes to a node: through its link, then to its ranks.
  void arrive(double now, std::uint32_t number, std::uint32_t node) {
    UnderWay& under = under_way_[number];
    const bool is_reader = readers_[under.reader].node == node;
    const NodePiece* const need = need_of(under, node);
    const std::uint64_t bytes = is_reader ? under.bytes : need->bytes;
    const double here = in_[node].serve(now, bytes);
    if (is_reader && under.receivers > 1) at(here, Kind::send, number);
    const std::size_t first_device = std::size_t{node} * needs_.ranks_per_node();
    for (const RankPart& part : need->parts) {
      const bool reads_itself = way_ == Way::each_rank_reads;
      if (reads_itself && part.rank != readers_[under.reader].rank) continue;
      const double copied = reads_itself ? here : copies_[node].serve(here, part.bytes);
      under.end = std::max(under.end, devices_[first_device + part.rank].serve(copied, part.bytes));
    }
    loaded_.seconds = std::max(loaded_.seconds, under.end);
    if (--under.left != 0) return;
    at(under.end, Kind::start, under.reader);
    free_.push_back(number);
  }

  /// The reader sends a piece to the next node that needs it.
  void send(double now, std::uint32_t number) {
    UnderWay& under = under_way_[number];
    ++under.sent;
    const std::uint32_t to = receiver(under.piece, (under.first + under.sent) % under.receivers);
    const std::uint64_t bytes = need_of(under, to)->bytes;
    loaded_.sent += bytes;
    const double gone = out_[readers_[under.reader].node].serve(now, bytes);
    if (under.sent + 1 < under.receivers) at(gone, Kind::send, number);
    at(gone + cluster_.link_latency, Kind::arrive, number, to);
  }

  [[nodiscard]] const NodePiece* need_of(const UnderWay& under, std::uint32_t node) const {
    if (readers_[under.reader].own != nullptr) return &(*readers_[under.reader].own)[under.piece];
    for (const auto& [of_group, need] : needed_[under.piece].by) {
      if (of_group == node % needs_.size()) return need;
    }
    throw std::logic_error{"a piece came to a node that does not need it"};
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
    loaded_.limit_share /= loaded_.seconds;
  }

  Cluster cluster_;
  const Needs& needs_;
  std::size_t nodes_;
  Way way_;
  Station storage_;
  std::vector<Station> in_;
  std::vector<Station> out_;
  std::vector<Station> copies_;
  std::vector<Station> devices_;
  std::vector<Needed> needed_;  // by piece
  std::vector<Reader> readers_;
  std::vector<UnderWay> under_way_;
  std::vector<std::uint32_t> free_;  // places of it
  std::priority_queue<Event> events_;
  std::uint64_t order_ = 0;
  Loaded loaded_;
};

}  // namespace allot::bench
