// SPDX-License-Identifier: MIT
/// \file
/// The progress of a load, and how to cancel it.
#pragma once

#include <allot/core/units.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace allot::load {

/// The progress of a load, in bytes.
struct Progress {
  std::uint64_t done;
  std::uint64_t total;
};

/// Holds a function that takes a `Progress` and returns true to go on, false to cancel; may be
/// empty. Copies the function, as `std::function` does, whose header takes longer to compile than a
/// loader.
class ProgressCallback {
  template <class Function>
  static constexpr bool is_callback =
      !std::same_as<std::remove_cvref_t<Function>, ProgressCallback> &&
      requires(std::decay_t<Function> & function, const Progress& progress) {
    { function(progress) } -> std::convertible_to<bool>;
  };

 public:
  ProgressCallback() noexcept = default;
  ProgressCallback(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)
  /// Empty if `function` is a null pointer, or an empty `std::function`.
  template <class Function>
  requires is_callback<Function> ProgressCallback(
      Function&& function) {  // NOLINT(google-explicit-constructor)
    using Stored = std::decay_t<Function>;
    constexpr bool may_be_empty = std::is_pointer_v<Stored> || requires {
      typename Stored::result_type;
      { function == nullptr } -> std::convertible_to<bool>;
    };
    if constexpr (may_be_empty) {
      if (function == nullptr) return;
    }
    target_ = new Target<Stored>{std::forward<Function>(function)};
  }
  ProgressCallback(const ProgressCallback& other)
      : target_{other.target_ == nullptr ? nullptr : other.target_->copy()} {}
  ProgressCallback(ProgressCallback&& other) noexcept
      : target_{std::exchange(other.target_, nullptr)} {}
  ProgressCallback& operator=(ProgressCallback other) noexcept {
    std::swap(target_, other.target_);
    return *this;
  }
  ~ProgressCallback() { delete target_; }

  /// Returns true if there is a function to call.
  [[nodiscard]] explicit operator bool() const noexcept { return target_ != nullptr; }
  /// Requires: it is not empty. Throws: what the function throws.
  bool operator()(const Progress& progress) const { return target_->call(progress); }

 private:
  struct Callable {
    Callable() = default;
    Callable(const Callable&) = delete;
    Callable& operator=(const Callable&) = delete;
    virtual ~Callable() = default;
    virtual bool call(const Progress& progress) = 0;
    [[nodiscard]] virtual Callable* copy() const = 0;
  };

  template <class Function>
  struct Target final : Callable {
    template <class From>
    explicit Target(From&& from) : function(std::forward<From>(from)) {}
    bool call(const Progress& progress) override { return static_cast<bool>(function(progress)); }
    [[nodiscard]] Callable* copy() const override { return new Target{function}; }
    Function function;
  };

  Callable* target_ = nullptr;
};

/// Thrown if the progress callback returned false; nothing stays reserved.
class Cancelled : public std::runtime_error {
 public:
  template <class = void>
  explicit Cancelled(const Progress& at)
      : std::runtime_error{"cancelled after " + std::string{ReadableBytes{at.done}.c_str()} +
                           " of " + ReadableBytes{at.total}.c_str()} {}
};

namespace detail {

/// Calls the callback, if any, on this thread. Throws: `Cancelled`, what the callback throws.
template <class = void>
void notify(const ProgressCallback& callback, const Progress& progress) {
  if (callback && !callback(progress)) throw Cancelled{progress};
}

}  // namespace detail

}  // namespace allot::load
