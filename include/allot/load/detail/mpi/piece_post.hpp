// SPDX-License-Identifier: MIT
/// \file
/// `PiecePost`: sends pieces of a file from rank to rank, many at once, and can end in the middle.
#pragma once

#include <allot/load/detail/mpi/ranks.hpp>
#include <allot/load/plan/shared_pieces.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace allot::load::detail {

/// Messages between two ranks arrive in the order in which they were sent. Calls MPI on the thread
/// that calls it only.
class PiecePost {
 public:
  /// \param most_bytes  the most in a message: at most 1 GiB. Throws: `std::bad_alloc`.
  PiecePost(const Ranks& ranks, std::uint64_t most_bytes)
      : ranks_{ranks},
        most_bytes_{most_bytes},
        unwanted_{
            new std::byte[static_cast<std::size_t>(most_bytes)]},  // untouched, if all is well
        sent_(static_cast<std::size_t>(ranks.size())),
        expected_(static_cast<std::size_t>(ranks.size())) {}
  PiecePost(const PiecePost&) = delete;
  PiecePost& operator=(const PiecePost&) = delete;

  /// Begins to send some bytes of a piece, which must stay as they are until `test` says so.
  /// \param first  the piece's first byte
  /// \param from   its offset in the file, as `runs` count
  template <class Runs>
  void send(std::size_t slot, const std::byte* first, std::uint64_t from, const Runs& runs,
            int rank) {
    const Bytes bytes{from, runs};
    std::uint64_t& number = sent_[static_cast<std::size_t>(rank)];
    MPI_Request& request = add({slot, rank, number, true});
    require_mpi(MPI_Isend(first, 1, bytes.type, rank, tag, ranks_.comm(), &request), "MPI_Isend");
    ++number;
    bytes_sent_ += bytes.count;
  }

  /// Begins to receive what the other rank sends next, likewise.
  template <class Runs>
  void receive(std::size_t slot, std::byte* first, std::uint64_t from, const Runs& runs, int rank) {
    const Bytes bytes{from, runs};
    std::uint64_t& number = expected_[static_cast<std::size_t>(rank)];
    MPI_Request& request = add({slot, rank, number, false});
    require_mpi(MPI_Irecv(first, 1, bytes.type, rank, tag, ranks_.comm(), &request), "MPI_Irecv");
    ++number;
  }

  /// Calls `ended(slot, is_sent)` for each message that has been sent or has come. Returns whether
  /// there was one.
  template <class Ended>
  bool test(Ended&& ended) {
    if (requests_.empty()) return false;
    int count = 0;
    require_mpi(MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count,
                             indices_.data(), MPI_STATUSES_IGNORE),
                "MPI_Testsome");
    if (count <= 0) return false;
    for (std::size_t i = 0, kept = 0, all = requests_.size(); i < all; ++i) {
      const Message message = messages_[i];
      if (requests_[i] == MPI_REQUEST_NULL) {
        ended(message.slot, message.is_sent);
      } else {
        requests_[kept] = requests_[i];
        messages_[kept++] = message;
      }
      if (i + 1 < all) continue;
      requests_.resize(kept);
      messages_.resize(kept);
    }
    return true;
  }

  /// Ends what is under way, if loads did not go well: takes what was sent to this rank, and waits for
  /// no other message. Collective.
  void settle() {
    std::vector<std::uint64_t> coming(sent_.size());
    require_mpi(
        MPI_Alltoall(sent_.data(), 1, MPI_UINT64_T, coming.data(), 1, MPI_UINT64_T, ranks_.comm()),
        "MPI_Alltoall");
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      const Message& message = messages_[i];
      if (message.is_sent || requests_[i] == MPI_REQUEST_NULL) continue;
      if (message.number >= coming[static_cast<std::size_t>(message.rank)])
        require_mpi(MPI_Cancel(&requests_[i]), "MPI_Cancel");
      require_mpi(MPI_Wait(&requests_[i], MPI_STATUS_IGNORE), "MPI_Wait");
    }
    for (std::size_t rank = 0; rank < coming.size(); ++rank) {
      for (std::uint64_t i = expected_[rank]; i < coming[rank]; ++i) {
        require_mpi(MPI_Recv(unwanted_.get(), static_cast<int>(most_bytes_), MPI_BYTE,
                             static_cast<int>(rank), tag, ranks_.comm(), MPI_STATUS_IGNORE),
                    "MPI_Recv");
      }
    }
    require_mpi(
        MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE),
        "MPI_Waitall");
  }

  [[nodiscard]] std::uint64_t bytes_sent() const noexcept { return bytes_sent_; }

 private:
  static constexpr int tag = 4;  // `SharedLoad` has those before

  /// The bytes of a message as MPI's type: they lie in memory as in the file.
  struct Bytes {
    template <class Runs>
    Bytes(std::uint64_t from, const Runs& runs) {
      std::vector<int> lengths;
      std::vector<MPI_Aint> places;
      for (const auto& run : runs) {
        lengths.push_back(static_cast<int>(run.bytes));
        places.push_back(static_cast<MPI_Aint>(run.offset - from));
        count += run.bytes;
      }
      require_mpi(MPI_Type_create_hindexed(static_cast<int>(lengths.size()), lengths.data(),
                                           places.data(), MPI_BYTE, &type),
                  "MPI_Type_create_hindexed");
      require_mpi(MPI_Type_commit(&type), "MPI_Type_commit");
    }
    Bytes(const Bytes&) = delete;
    Bytes& operator=(const Bytes&) = delete;
    ~Bytes() { static_cast<void>(MPI_Type_free(&type)); }  // once its messages have ended

    MPI_Datatype type = MPI_DATATYPE_NULL;
    std::uint64_t count = 0;
  };

  struct Message {
    std::size_t slot;
    int rank;              // the other
    std::uint64_t number;  // of those with that rank, in that direction
    bool is_sent;
  };

  /// Returns where the message's request is to be: memory comes first, so that none is under way
  /// that `settle` does not know.
  [[nodiscard]] MPI_Request& add(const Message& message) {
    indices_.resize(requests_.size() + 1);
    messages_.push_back(message);
    return requests_.emplace_back(MPI_REQUEST_NULL);
  }

  const Ranks& ranks_;
  std::uint64_t most_bytes_;
  std::unique_ptr<std::byte[]> unwanted_;
  std::vector<MPI_Request> requests_;
  std::vector<Message> messages_;
  std::vector<int> indices_;
  std::vector<std::uint64_t> sent_;      // messages, by rank
  std::vector<std::uint64_t> expected_;  // likewise
  std::uint64_t bytes_sent_ = 0;
};

}  // namespace allot::load::detail
