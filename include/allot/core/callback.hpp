// SPDX-License-Identifier: MIT
/// \file
/// `Callback<Result(Arguments...)>`: holds a function or function object of any type, to be called
/// later. The part of `std::function` that is needed here, without the compile time of
/// <functional>.
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace allot {

template <class Signature>
class Callback;

/// Can be moved but not copied, so what it calls need not be copyable. Empty if
/// default-constructed, made from a null pointer, or moved from. Makes one allocation.
template <class Result, class... Arguments>
class Callback<Result(Arguments...)> {
 public:
  Callback() noexcept = default;
  Callback(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)
  /// Throws: `std::bad_alloc`, and whatever moving `callable` throws.
  template <class Callable>
  requires(!std::same_as<std::remove_cvref_t<Callable>, Callback> &&
           std::is_invocable_r_v<Result, std::remove_cvref_t<Callable>&, Arguments...>)
      Callback(Callable&& callable)  // NOLINT(google-explicit-constructor)
      : target_{new std::remove_cvref_t<Callable>(std::forward<Callable>(callable))},
        operations_{&operations_of<std::remove_cvref_t<Callable>>} {}
  Callback(Callback&& other) noexcept
      : target_{std::exchange(other.target_, nullptr)}, operations_{other.operations_} {}
  Callback& operator=(Callback&& other) noexcept {
    Callback old{std::move(*this)};
    target_ = std::exchange(other.target_, nullptr);
    operations_ = other.operations_;
    return *this;
  }
  ~Callback() {
    if (target_ != nullptr) operations_->destroy(target_);
  }

  [[nodiscard]] explicit operator bool() const noexcept { return target_ != nullptr; }

  /// Requires: it is not empty. Throws: what the function throws.
  Result operator()(Arguments... arguments) const {
    return operations_->call(target_, std::forward<Arguments>(arguments)...);
  }

 private:
  struct Operations {
    Result (*call)(void*, Arguments...);
    void (*destroy)(void*) noexcept;
  };

  template <class Callable>
  static constexpr Operations operations_of{
      [](void* target, Arguments... arguments) -> Result {
        return static_cast<Result>(
            (*static_cast<Callable*>(target))(std::forward<Arguments>(arguments)...));
      },
      [](void* target) noexcept { delete static_cast<Callable*>(target); }};

  void* target_ = nullptr;
  const Operations* operations_ = nullptr;
};

}  // namespace allot
