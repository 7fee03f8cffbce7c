// SPDX-License-Identifier: MIT
// The main program of tests on several ranks: all of them run every case, together. Rank 0 prints;
// another only what failed.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <mpi.h>
#include <unistd.h>

#include <iostream>
#include <sstream>

int main(int argc, char** argv) {
  ::alarm(240);  // a rank that has failed a case alone would leave the others waiting
  int provided = 0;
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) return 1;
  int rank = 0;
  static_cast<void>(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  doctest::Context context{argc, argv};
  std::ostringstream quiet;
  if (rank != 0) context.setCout(&quiet);
  const int status = context.run();
  if (rank != 0 && status != 0) std::cerr << "rank " << rank << ":\n" << quiet.str();
  static_cast<void>(MPI_Finalize());
  return status;
}
