// SPDX-License-Identifier: MIT
/// \file
/// What the tool's commands share: sizes as text, a progress bar, and the choice of an
/// alignment at run time.
#pragma once

#include <allot/alignment/alignment.hpp>
#include <allot/load/load.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/offsets/offset_plan.hpp>
#include <allot/strategy/best_fit.hpp>
#include <allot/synchronization/locked.hpp>

#include <fmt/core.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Writes to standard output or standard error. Throws: `std::runtime_error` if that cannot be written.
void write_to(std::FILE* stream, std::string_view text);
void write_out(std::string_view text);

/// Writes what is still in memory of standard output. Throws: as `write_out`.
void finish_output();

/// Prints to standard output. Throws: as `write_out`.
template <class... Values>
void print(fmt::format_string<Values...> form, Values&&... values) {
  write_out(fmt::format(form, std::forward<Values>(values)...));
}
#include "printable.hpp"

/// `1.5 GiB (1610612736 bytes)`
std::string size_text(std::uint64_t bytes);

/// "1 tensor", "2 tensors".
std::string counted(std::uint64_t count, std::string_view noun);

/// A metadata value's or tensor's count with thousands separated.
std::string count_text(std::uint64_t count);

/// The arenas of a plan, and what each rule of its placement took.
nlohmann::ordered_json arenas_json(const allot::load::Plan& plan);
nlohmann::ordered_json rules_json(const allot::load::Plan& plan);
/// What fusing did in each layer.
[[nodiscard]] nlohmann::ordered_json fusions_json(const allot::load::Plan& plan);
/// Prints what was fused in how many layers, and why not in others; nothing if fusing was not asked
/// for.
void print_fusions(const allot::load::Plan& plan);

/// Prints what each rule of the placement took, if there is more than one.
void print_rules(const allot::load::Plan& plan);

/// Returns whether a path of the command line is standard output: `-`, `/dev/stdout`.
[[nodiscard]] bool is_standard_output(std::string_view path);

/// Throws: `std::runtime_error` naming the files that exist already.
void refuse_to_overwrite(const std::vector<std::string>& paths);

/// Draws a progress bar on standard error, if that is a terminal.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void draw(const allot::load::Progress& progress);
  /// Of a search: the share of the work, and what it has found.
  void draw(const allot::OffsetProgress& progress);

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool is_due(std::uint64_t done, std::uint64_t total);
  void show(double share, std::span<const std::string> figures);

  bool is_terminal_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_{};
};

/// The default policies at another granularity, for models of any size.
template <std::uint64_t Bytes>
struct WeightsAlignedTo {
  using Strategy = allot::WideBestFit;
  using Alignment = allot::AlignTo<Bytes>;
  using Synchronization = allot::Locked<>;
};

inline constexpr const char* alignments_text = "32, 64, 128, 256, 512, 4096, 65536 or 2097152";

/// Calls `f.template operator()<Policy>()` with the policy of an alignment.
template <class F>
auto with_alignment(std::uint64_t bytes, F&& f) {
  switch (bytes) {
    case 32:
      return f.template operator()<WeightsAlignedTo<32>>();
    case 64:
      return f.template operator()<WeightsAlignedTo<64>>();
    case 128:
      return f.template operator()<WeightsAlignedTo<128>>();
    case 256:
      return f.template operator()<WeightsAlignedTo<256>>();
    case 512:
      return f.template operator()<WeightsAlignedTo<512>>();
    case 4096:
      return f.template operator()<WeightsAlignedTo<4096>>();
    case 65536:
      return f.template operator()<WeightsAlignedTo<65536>>();
    case 2097152:
      return f.template operator()<WeightsAlignedTo<2097152>>();
    default:
      throw std::invalid_argument{"invalid alignment: " + std::to_string(bytes) + " bytes; use " +
                                  alignments_text};
  }
}
