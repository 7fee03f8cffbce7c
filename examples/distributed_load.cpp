// SPDX-License-Identifier: MIT
/// \file
/// A model loaded by several processes, each its share, and compared with the file byte for byte.
/// Every rank runs this; rank 0 prints.
///
///     mpirun -n 4 distributed_load FILE.gguf [STAGES] [--read-once]
///
/// The ranks are STAGES (1) stages of layers, and as many parts of each matrix as that leaves ranks.
/// With --read-once each byte is read from storage by one rank, and sent to the others that need it.
#include <allot/core/readable_bytes.hpp>
#include <allot/device/host_device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/distributed.hpp>
#include <allot/load/plan/shares.hpp>
#include <allot/load/verify.hpp>

#include <mpi.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace load = allot::load;

MPI_Comm const world = MPI_COMM_WORLD;

/// Returns how many stages and parts the arguments ask for. Throws: `std::invalid_argument`.
load::Shares shares_of(int ranks, std::string_view stages) {
  load::Shares shares;
  const auto [end, error] =
      std::from_chars(stages.data(), stages.data() + stages.size(), shares.pipeline);
  const bool is_number = error == std::errc{} && end == stages.data() + stages.size();
  const auto count = static_cast<std::uint32_t>(ranks);
  if (!is_number || shares.pipeline == 0 || count % shares.pipeline != 0) {
    throw std::invalid_argument{"the stages must be a number that divides the " +
                                std::to_string(ranks) + " ranks, not " + std::string{stages}};
  }
  shares.tensor = count / shares.pipeline;
  return shares;
}

void run(int rank, int ranks, const char* path, std::string_view stages, bool read_once) {
  const auto file = load::on_every_rank(world, [&] { return allot::gguf::File{path}; });
  const std::vector<load::Plan> plans = load::on_every_rank(world, [&] {
    load::PlanOptions options;
    options.shares = shares_of(ranks, stages);
    return load::make_shares(file, options);
  });
  allot::HostDevice device;
  load::check_distributed(world, file, plans, device);
  const auto show = [](const allot::Progress& at) {
    std::fprintf(stderr, "\r%3.0f %%", 100 * at.share());
  };
  const auto loaded =
      load::load_distributed(world, file, plans, device, show, {}, {.read_once = read_once});
  load::on_every_rank(world, [&] {
    const auto difference = load::verify(file, loaded.model);
    if (difference)
      throw std::runtime_error{"tensor " + difference->tensor + " differs from the file at byte " +
                               std::to_string(difference->byte)};
    return true;
  });
  if (rank != 0) return;
  std::fprintf(stderr, "\r      \r");
  std::printf("rank  stage  part      reserved          read          sent\n");
  for (std::size_t i = 0; i < plans.size(); ++i) {
    std::printf("%4zu  %5u  %4u  %12s  %12s  %12s\n", i, plans[i].share->stage,
                plans[i].share->part, allot::ReadableBytes{loaded.ranks[i].reserved}.c_str(),
                allot::ReadableBytes{loaded.ranks[i].bytes_read}.c_str(),
                allot::ReadableBytes{loaded.ranks[i].bytes_sent}.c_str());
  }
  std::printf("read %llu bytes, sent %llu, every byte verified\n",
              static_cast<unsigned long long>(loaded.bytes_read()),
              static_cast<unsigned long long>(loaded.bytes_sent()));
}

}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) return 1;
  int rank = 0;
  int ranks = 1;
  static_cast<void>(MPI_Comm_rank(world, &rank));
  static_cast<void>(MPI_Comm_size(world, &ranks));
  int status = 0;
  std::vector<std::string_view> arguments(argv + (argc < 1 ? argc : 1), argv + argc);
  const bool read_once = !arguments.empty() && arguments.back() == "--read-once";
  if (read_once) arguments.pop_back();
  if (arguments.empty() || arguments.size() > 2) {
    if (rank == 0) {
      std::fprintf(stderr, "usage: mpirun -n RANKS distributed_load FILE [STAGES] [--read-once]\n");
    }
    status = 2;
  } else {
    try {
      run(rank, ranks, argv[1], arguments.size() == 2 ? arguments[1] : "1", read_once);
    } catch (const std::exception& error) {  // on every rank alike, so one of them says it
      if (rank == 0) std::fprintf(stderr, "\ndistributed_load: %s\n", error.what());
      status = 1;
    }
  }
  static_cast<void>(MPI_Finalize());
  return status;
}
