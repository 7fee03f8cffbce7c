// SPDX-License-Identifier: MIT
/// \file
/// What a leak check reports, for arenas and for layers over them.
///
/// | type       | what it is                                                                  |
/// |------------|-----------------------------------------------------------------------------|
/// | `Leak`     | something that was not freed: name, bytes, age, where it was made           |
/// | `CallSite` | for a scope, the place where this thread's blocks count as made             |
#pragma once

#include <allot/core/readable_bytes.hpp>
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

/// Something that was not freed. How long the name is valid depends on what returned the `Leak`.
struct Leak {
  std::string_view name;               ///< empty if the request had none
  std::uint64_t bytes = 0;             ///< its current size, after all resizes
  std::chrono::nanoseconds age{};      ///< since it was made; a resize does not reset it
  std::optional<SourceLocation> site;  ///< where it was made, if that is known
};

/// Returns one line: `"positions": 4 KiB (4096 bytes), 1.25 s old, made at sim.cpp:12`.
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

/// While one exists, blocks that this thread allocates count as made at its call site. For layers
/// over an arena, whose callers are of more interest. The innermost one counts.
class CallSite {
 public:
  /// Names the site until it is destroyed.
  explicit CallSite(const SourceLocation& site) noexcept
      : site_{site}, outer_{std::exchange(innermost(), this)} {}
  CallSite(const CallSite&) = delete;
  CallSite& operator=(const CallSite&) = delete;
  ~CallSite() { innermost() = outer_; }

  /// Returns this thread's innermost site, if there is one.
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

/// Passes leaks to the leak trackers among an arena's observers.
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
