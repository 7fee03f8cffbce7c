// SPDX-License-Identifier: MIT
/// \file
/// `Callback<Result(Arguments...)>`: a function or function object of any type, to be called later.
/// The part of `std::function` that allot uses, without the time that `<functional>` takes to compile.
#pragma once

#include <allot/core/version.hpp>

#include <concepts>
#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace allot {

template <class Signature>
class Callback;

/// Moved, not copied; so what it calls need not be copyable. Empty if default-constructed, made of
/// a null pointer, or moved from. What is as small as three pointers, and moves without throwing, is
/// held in place; anything else in one allocation.
template <class Result, class... Arguments>
class Callback<Result(Arguments...)> {
 public:
  Callback() noexcept = default;
  /// Makes an empty one.
  Callback(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)
  /// Throws: `std::bad_alloc`, and what moving `callable` throws.
  template <class Callable>
  requires(!std::same_as<std::decay_t<Callable>, Callback> &&
           std::is_invocable_r_v<Result, std::decay_t<Callable>&, Arguments...>)
      Callback(Callable&& callable) {  // NOLINT(google-explicit-constructor)
    using Target = Held<std::decay_t<Callable>>;
    if constexpr (std::is_pointer_v<std::remove_reference_t<Callable>>) {
      if (callable == nullptr) return;
    }
    ::new (static_cast<void*>(memory_)) Target(std::forward<Callable>(callable));
    operations_ = &operations_of<Target>;
  }
  Callback(Callback&& other) noexcept { take(other); }
  Callback& operator=(Callback&& other) noexcept {
    const Callback old{std::move(*this)};
    take(other);
    return *this;
  }
  ~Callback() {
    if (operations_ != nullptr) operations_->destroy(memory_);
  }

  [[nodiscard]] explicit operator bool() const noexcept { return operations_ != nullptr; }

  /// Requires: it is not empty. Throws: what is called throws.
  Result operator()(Arguments... arguments) const {
    return operations_->call(memory_, std::forward<Arguments>(arguments)...);
  }

 private:
  static constexpr std::size_t most_bytes = 3 * sizeof(void*);

  struct Operations {
    Result (*call)(void*, Arguments...);
    void (*move)(void* from, void* to) noexcept;  // nothing is left at `from`
    void (*destroy)(void*) noexcept;
  };

  /// A callable that is held by a pointer.
  template <class Callable>
  class Allocated {
   public:
    template <class Source>
    requires(!std::same_as<Source, Allocated>) explicit Allocated(Source&& source)
        : callable_{new Callable(std::forward<Source>(source))} {}
    Allocated(Allocated&& other) noexcept : callable_{std::exchange(other.callable_, nullptr)} {}
    ~Allocated() { delete callable_; }

    decltype(auto) operator()(Arguments... arguments) {
      return (*callable_)(std::forward<Arguments>(arguments)...);
    }

   private:
    Callable* callable_;
  };

  template <class Callable>
  static constexpr bool fits =
      sizeof(Callable) <= most_bytes &&
      alignof(Callable) <= alignof(void*) && std::is_nothrow_move_constructible_v<Callable>;
  template <class Callable>
  using Held = std::conditional_t<fits<Callable>, Callable, Allocated<Callable>>;

  template <class Target>
  static constexpr Operations operations_of{
      [](void* target, Arguments... arguments) -> Result {
        return static_cast<Result>(
            (*static_cast<Target*>(target))(std::forward<Arguments>(arguments)...));
      },
      [](void* from, void* to) noexcept {
        Target& moved = *static_cast<Target*>(from);
        ::new (to) Target(std::move(moved));
        moved.~Target();
      },
      [](void* target) noexcept { static_cast<Target*>(target)->~Target(); }};

  /// Requires: this is empty.
  void take(Callback& other) noexcept {
    if (other.operations_ == nullptr) return;
    other.operations_->move(other.memory_, memory_);
    operations_ = std::exchange(other.operations_, nullptr);
  }

  alignas(void*) mutable std::byte memory_[most_bytes];
  const Operations* operations_ = nullptr;
};

}  // namespace allot
