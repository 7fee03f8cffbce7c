// SPDX-License-Identifier: MIT
/// \file
/// Whether a plan fits a device, with a margin to spare.
///
/// | margin          | keeps free                                            |
/// |-----------------|-------------------------------------------------------|
/// | `NoMargin`      | nothing                                               |
/// | `PercentMargin` | a percentage of the plan                              |
/// | `UsualMargin`   | the larger of 10 % of the plan and 100 MiB (default)  |
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/units.hpp>
#include <allot/device/device.hpp>
#include <allot/load/plan.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace allot {

/// A plan and its margin do not fit what the device has free. All figures in bytes.
class InsufficientMemory : public std::runtime_error {
 public:
  InsufficientMemory(const std::string& device, std::uint64_t planned, std::uint64_t margin,
                     std::uint64_t available, std::string to_cut)
      : std::runtime_error{"not enough memory on " + device + ": required " +
                           text(required(planned, margin)) + " (" + text(planned) +
                           " for the model, " + text(margin) + " to keep free), available " +
                           text(available) + ", short of " +
                           text(required(planned, margin) - available) + "; " + to_cut},
        required_{required(planned, margin)},
        available_{available},
        advice_{std::move(to_cut)} {}

  [[nodiscard]] std::uint64_t required() const noexcept { return required_; }
  [[nodiscard]] std::uint64_t available() const noexcept { return available_; }
  [[nodiscard]] std::uint64_t deficit() const noexcept { return required_ - available_; }
  /// What to cut.
  [[nodiscard]] const std::string& advice() const noexcept { return advice_; }

 private:
  [[nodiscard]] static std::uint64_t required(std::uint64_t planned,
                                              std::uint64_t margin) noexcept {
    return checked_add(planned, margin).value_or(std::numeric_limits<std::uint64_t>::max());
  }
  [[nodiscard]] static std::string text(std::uint64_t bytes) {
    return ReadableBytes{bytes}.c_str();
  }

  std::uint64_t required_;
  std::uint64_t available_;
  std::string advice_;
};

}  // namespace allot

namespace allot::load {

/// Bytes to keep free beside a plan of `planned` bytes.
template <class M>
concept Margin = requires(const M margin, std::uint64_t planned) {
  { margin(planned) } -> std::same_as<std::uint64_t>;
};

struct NoMargin {
  [[nodiscard]] constexpr std::uint64_t operator()(std::uint64_t) const noexcept { return 0; }
};

struct PercentMargin {
  std::uint64_t percent;

  [[nodiscard]] constexpr std::uint64_t operator()(std::uint64_t planned) const noexcept {
    return checked_multiply(planned / 100, percent)
        .value_or(std::numeric_limits<std::uint64_t>::max());
  }
};

struct UsualMargin {
  [[nodiscard]] constexpr std::uint64_t operator()(std::uint64_t planned) const noexcept {
    return std::max(planned / 10, 100 * MiB);
  }
};

static_assert(Margin<NoMargin> && Margin<PercentMargin> && Margin<UsualMargin>);

namespace detail {

/// Names what makes most of the difference.
[[nodiscard]] inline std::string what_to_cut(const Plan& plan) {
  std::vector<const Item*> items;
  for (const Item& item : plan.items) items.push_back(&item);
  const std::size_t shown = std::min<std::size_t>(3, items.size());
  std::partial_sort(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(shown), items.end(),
                    [](const Item* a, const Item* b) { return a->bytes > b->bytes; });
  std::string text = "free memory, use a smaller quantisation, or lower the margin; largest items:";
  for (std::size_t i = 0; i < shown; ++i) {
    text += (i == 0 ? " " : ", ") + items[i]->name + " " + ReadableBytes{items[i]->bytes}.c_str();
  }
  return text;
}

}  // namespace detail

/// Refuses a plan that does not fit, margin included, what the device has free now.
/// Throws: `InsufficientMemory`.
template <Device D, Margin M = UsualMargin>
void check(const Plan& plan, const D& device, const M& margin = {}) {
  const std::uint64_t planned = plan.total_bytes();
  if (planned == 0) return;
  const std::uint64_t kept = margin(planned);
  const std::uint64_t available = device.memory_info().free;
  const auto required = checked_add(planned, kept);
  if (required && *required <= available) return;
  throw InsufficientMemory{device.name(), planned, kept, available, detail::what_to_cut(plan)};
}

}  // namespace allot::load
