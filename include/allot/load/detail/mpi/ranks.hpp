// SPDX-License-Identifier: MIT
/// \file
/// `Ranks`: the processes of an MPI communicator, and what they tell each other. Only
/// `load/distributed.hpp` includes it.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace allot::load::detail {

/// Throws: `std::runtime_error` with the library's own words if a call failed.
inline void require_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  static_cast<void>(MPI_Error_string(code, text, &length));
  throw std::runtime_error{std::string{call} + " failed: " + text};
}

/// A communicator for messages of allot's own: they never meet the caller's.
class Ranks {
 public:
  /// Collective. Throws: `std::logic_error` if MPI is not initialized; `std::runtime_error`.
  explicit Ranks(MPI_Comm comm) {
    int is_initialized = 0;
    static_cast<void>(MPI_Initialized(&is_initialized));
    if (is_initialized == 0)
      throw std::logic_error{"MPI is not initialized; call MPI_Init_thread before a load"};
    require_mpi(MPI_Comm_dup(comm, &comm_), "MPI_Comm_dup");
    static_cast<void>(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
    static_cast<void>(MPI_Comm_rank(comm_, &rank_));
    static_cast<void>(MPI_Comm_size(comm_, &size_));
  }
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  ~Ranks() { static_cast<void>(MPI_Comm_free(&comm_)); }

  [[nodiscard]] int rank() const noexcept { return rank_; }
  [[nodiscard]] int size() const noexcept { return size_; }
  [[nodiscard]] MPI_Comm comm() const noexcept { return comm_; }

  /// Returns every rank's value. Collective.
  template <class Value>
  [[nodiscard]] std::vector<Value> gather(const Value& own) const {
    static_assert(std::is_trivially_copyable_v<Value>);
    std::vector<Value> all(static_cast<std::size_t>(size_));
    const int bytes = static_cast<int>(sizeof(Value));
    require_mpi(MPI_Allgather(&own, bytes, MPI_BYTE, all.data(), bytes, MPI_BYTE, comm_),
                "MPI_Allgather");
    return all;
  }

  /// Returns every rank's text, of at most 4 KiB each: MPI counts all of them in an `int`. Collective.
  [[nodiscard]] std::vector<std::string> gather_text(const std::string& own) const {
    constexpr std::size_t most = 4 << 10;
    const std::string sent = own.substr(0, most);
    const int bytes = static_cast<int>(sent.size());
    const std::vector<int> lengths = gather(bytes);
    std::vector<int> offsets;
    int total = 0;
    for (const int length : lengths) {
      offsets.push_back(total);
      total += length;
    }
    std::string all(static_cast<std::size_t>(total), '\0');
    require_mpi(MPI_Allgatherv(sent.data(), bytes, MPI_CHAR, all.data(), lengths.data(),
                               offsets.data(), MPI_CHAR, comm_),
                "MPI_Allgatherv");
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      texts.push_back(
          all.substr(static_cast<std::size_t>(offsets[i]), static_cast<std::size_t>(lengths[i])));
    }
    return texts;
  }

  /// Returns the lowest rank that runs on the same machine. Collective.
  [[nodiscard]] int node() const {
    MPI_Comm node = MPI_COMM_NULL;
    require_mpi(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node),
                "MPI_Comm_split_type");
    int first = rank_;
    const int code = MPI_Allreduce(&rank_, &first, 1, MPI_INT, MPI_MIN, node);
    static_cast<void>(MPI_Comm_free(&node));
    require_mpi(code, "MPI_Allreduce");
    return first;
  }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace allot::load::detail
