// SPDX-License-Identifier: MIT
/// \file
/// `Observers<...>`: several observers in one arena.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>
#include <allot/observer/observer.hpp>

#include <cstddef>
#include <tuple>
#include <utility>

namespace allot {

/// Passes each notice to every observer, in the order of the template arguments.
template <Observer... ObserverTypes>
class Observers {
 public:
  Observers() = default;
  explicit Observers(ObserverTypes... observers) requires(sizeof...(ObserverTypes) > 0)
      : observers_{std::move(observers)...} {}

  void allocated(const Block& block, const Request& request) noexcept {
    std::apply([&](auto&... o) { (o.allocated(block, request), ...); }, observers_);
  }

  void deallocated(const Block& block) noexcept {
    std::apply([&](auto&... o) { (o.deallocated(block), ...); }, observers_);
  }

  void refused(const Request& request, RefusalReason reason) noexcept {
    std::apply([&](auto&... o) { (o.refused(request, reason), ...); }, observers_);
  }

  /// Returns the observer at an index, or of a type that occurs once.
  template <std::size_t Place>
  [[nodiscard]] auto& get() noexcept {
    return std::get<Place>(observers_);
  }
  template <std::size_t Place>
  [[nodiscard]] const auto& get() const noexcept {
    return std::get<Place>(observers_);
  }
  template <class ObserverType>
  [[nodiscard]] ObserverType& get() noexcept {
    return std::get<ObserverType>(observers_);
  }
  template <class ObserverType>
  [[nodiscard]] const ObserverType& get() const noexcept {
    return std::get<ObserverType>(observers_);
  }

 private:
  std::tuple<ObserverTypes...> observers_;
};

static_assert(Observer<Observers<>> && Observer<Observers<Unobserved>>);

}  // namespace allot
