// SPDX-License-Identifier: MIT
/// \file
/// What a check for leaks says, for arenas and for layers over them.
///
/// | type       | what it is                                                                  |
/// |------------|-----------------------------------------------------------------------------|
/// | `Leak`     | something that was not freed: name, bytes, age, where it was made           |
/// | `CallSite` | for a scope, where blocks of this thread count as made                      |
#pragma once

#include <allot/core/fixed_text.hpp>
#include <allot/core/source_location.hpp>
#include <allot/core/units.hpp>
#include <allot/observer/observer.hpp>
#include <allot/os/chrono.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace allot {

/// What was not freed. The name is valid as long as what handed it out says.
struct Leak {
  std::string_view name;           ///< empty where the request had none
  std::uint64_t bytes = 0;         ///< as it is now, after all resizes
  std::chrono::nanoseconds age{};  ///< since it was made, whatever it was resized to
  std::optional<SourceLocation> site;
};

/// One line: `"positions": 4 KiB (4096 bytes), 1.25 s old, made at sim.cpp:12`.
[[nodiscard]] inline std::string to_text(const Leak& leak) {
  const auto hundredths = static_cast<std::uint64_t>(leak.age.count() / 10'000'000);
  FixedText<128> figures;
  figures << "\": " << ReadableBytes{leak.bytes}.c_str() << " (" << leak.bytes << " bytes), "
          << hundredths / 100 << "." << hundredths / 10 % 10 << hundredths % 10 << " s old";
  std::string text{'"'};
  text.append(leak.name).append(figures.c_str());
  if (leak.site) {
    figures = {};
    figures << ":" << leak.site->line();
    text.append(", made at ").append(leak.site->file_name()).append(figures.c_str());
  }
  return text;
}

/// While one lives, blocks that this thread allocates count as made there. For layers over an
/// arena, whose callers matter more than they do. The innermost one counts.
class CallSite {
 public:
  explicit CallSite(const SourceLocation& site) noexcept
      : site_{site}, outer_{std::exchange(innermost(), this)} {}
  CallSite(const CallSite&) = delete;
  CallSite& operator=(const CallSite&) = delete;
  ~CallSite() { innermost() = outer_; }

  [[nodiscard]] static std::optional<SourceLocation> current() noexcept {
    const CallSite* const site = innermost();
    return site == nullptr ? std::nullopt : std::optional{site->site_};
  }

 private:
  [[nodiscard]] static const CallSite*& innermost() noexcept {
    static thread_local const CallSite* site = nullptr;
    return site;
  }

  SourceLocation site_;
  const CallSite* outer_;
};

template <Observer... ObserverTypes>
class Observers;  // observers.hpp

namespace detail {

template <class ObserverType>
inline constexpr bool reports_leaks = requires(const ObserverType& observer,
                                               std::span<const Leak> leaks) {
  observer.report(leaks);
};
template <class... ObserverTypes>
inline constexpr bool reports_leaks<Observers<ObserverTypes...>> = (reports_leaks<ObserverTypes> ||
                                                                    ...);

/// Hands leaks to the leak trackers among an arena's observers.
template <class ObserverType>
void report_leaks(const ObserverType& observer, std::span<const Leak> leaks) {
  if constexpr (reports_leaks<ObserverType>) observer.report(leaks);
}
template <class... ObserverTypes>
void report_leaks(const Observers<ObserverTypes...>& observers, std::span<const Leak> leaks) {
  [&]<std::size_t... Places>(std::index_sequence<Places...>) {
    (report_leaks(observers.template get<Places>(), leaks), ...);
  }
  (std::index_sequence_for<ObserverTypes...>{});
}

}  // namespace detail

}  // namespace allot
