// SPDX-License-Identifier: MIT
/// \file
/// `Observers<...>`: several observers in one arena.
#pragma once

#include <allot/core/block.hpp>
#include <allot/core/errors.hpp>
#include <allot/observer/noted_of_streams.hpp>
#include <allot/observer/observer.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace allot {

/// Passes each notice to every observer, in the order of the template arguments.
template <Observer... ObserverTypes>
class Observers {
 public:
  Observers() = default;
  /// Takes the observers, in the order in which they are notified.
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

  /// Notifies each of a resize, or of a free and an allocation.
  void resized(const Block& before, const Block& now, const Request& request) noexcept {
    std::apply([&](auto&... o) { (detail::notify_resized(o, before, now, request), ...); },
               observers_);
  }

  /// Notifies those that are `NotedOfThrows`.
  void refusal_thrown() noexcept {
    std::apply([](auto&... o) { (detail::notify_thrown(o), ...); }, observers_);
  }

  /// Notifies those that are `NotedOfStreams`.
  void on_stream(std::uint32_t number) noexcept {
    std::apply([&](auto&... o) { (detail::notify_stream(o, number), ...); }, observers_);
  }

  /// Like `AddressIndex`'s, if one of the observers is one.
  [[nodiscard]] std::optional<Block> block_at_offset(std::uint64_t offset) const noexcept
      requires(IndexesBlocks<ObserverTypes> || ...) {
    return index().block_at_offset(offset);
  }
  /// Returns how many blocks the index had no memory for.
  [[nodiscard]] std::size_t untracked() const noexcept
      requires(IndexesBlocks<ObserverTypes> || ...) {
    return index().untracked();
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
  /// Returns the first observer that finds blocks.
  template <std::size_t Place = 0>
  [[nodiscard]] const auto& index() const noexcept {
    const auto& observer = std::get<Place>(observers_);
    if constexpr (IndexesBlocks<std::remove_cvref_t<decltype(observer)>>) {
      return observer;
    } else {
      return index<Place + 1>();
    }
  }

  std::tuple<ObserverTypes...> observers_;
};

static_assert(Observer<Observers<>> && Observer<Observers<Unobserved>>);

}  // namespace allot
