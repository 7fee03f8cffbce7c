// SPDX-License-Identifier: MIT
/// \file
/// Progress of what takes long, and how to cancel it: the same for `load::load` and
/// `gguf::Writer::write`.
///
///     const auto show = [](const allot::Progress& at) { std::printf("%g\n", at.share()); };
///     allot::load::load(file, plan, device, show);
///     writer.write("model.gguf", {.progress = show});
#pragma once

#include <allot/core/readable_bytes.hpp>
#include <allot/os/function.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace allot {

/// How far a load or a write is, in bytes.
struct Progress {
  std::uint64_t done;   ///< so far
  std::uint64_t total;  ///< in the end

  /// Returns the part that is done, from 0 to 1.
  [[nodiscard]] constexpr double share() const noexcept {
    return total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
  }
};

/// Thrown if the progress callback returned false. What was begun is taken back.
class Cancelled : public std::runtime_error {
 public:
  /// Makes the message from how far the work was.
  template <class = void>
  explicit Cancelled(const Progress& at)
      : std::runtime_error{"cancelled after " + std::string{ReadableBytes{at.done}.c_str()} +
                           " of " + ReadableBytes{at.total}.c_str()} {}
};

namespace detail {

template <class Function>
[[nodiscard]] constexpr bool calls_nothing(const Function&) noexcept {
  return false;
}
template <class Function>
[[nodiscard]] constexpr bool calls_nothing(Function* const& function) noexcept {
  return function == nullptr;
}
template <class Signature>
[[nodiscard]] bool calls_nothing(const std::function<Signature>& function) noexcept {
  return !function;
}

}  // namespace detail

/// A function that is called with the progress: with a `Progress`, or with the bytes done and in
/// total. If it returns false, the work is cancelled; if true or nothing, it goes on. May be empty.
class ProgressCallback {
  template <class Function>
  static constexpr bool takes_one = std::is_invocable_v<Function&, const Progress&>;
  template <class Function>
  static constexpr bool takes_two =
      !takes_one<Function> && std::is_invocable_v<Function&, std::uint64_t, std::uint64_t>;

 public:
  ProgressCallback() = default;
  /// Makes an empty one.
  ProgressCallback(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)
  /// Empty if `function` is a null pointer or an empty `std::function`.
  template <class Function>
  requires(!std::same_as<Function, ProgressCallback> && std::copy_constructible<Function> &&
           (takes_one<Function> || takes_two<Function>))
      ProgressCallback(Function function) {  // NOLINT(google-explicit-constructor)
    if (detail::calls_nothing(function)) return;
    call_ = [function = std::move(function)](const Progress& at) mutable {
      const auto call = [&]() -> decltype(auto) {
        if constexpr (takes_one<Function>) {
          return function(at);
        } else {
          return function(at.done, at.total);
        }
      };
      if constexpr (std::is_void_v<decltype(call())>) {
        call();
        return true;
      } else {
        return static_cast<bool>(call());
      }
    };
  }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(call_); }

  /// Calls the function, if there is one, on this thread.
  /// Throws: `Cancelled` if it returned false; what it throws.
  template <class = void>
  void report(const Progress& at) const {
    if (call_ && !call_(at)) throw Cancelled{at};
  }

 private:
  std::function<bool(const Progress&)> call_;
};

}  // namespace allot
