// SPDX-License-Identifier: MIT
/// \file
/// `AsyncResult<Value>`: a value that becomes available later, or an error.
///
/// | made by                          | becomes ready                                           |
/// |----------------------------------|---------------------------------------------------------|
/// | `AsyncPromise<Value>::result`    | when a thread sets the promise's value or error         |
/// | `when_done(device, event, make)` | once the event has completed; the first caller to ask   |
/// |                                  | computes the value                                      |
/// | `result.then(f)`                 | when `result` is ready and `f` has been called with it  |
#pragma once

#include <allot/core/callback.hpp>
#include <allot/core/checked.hpp>
#include <allot/core/deferred.hpp>
#include <allot/device/device.hpp>
#include <allot/os/chrono.hpp>
#include <allot/os/monitor.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/os/wait_until.hpp>

#include <concepts>
#include <exception>
#include <list>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace allot {

/// Thrown if a promise was destroyed before it had a value.
class BrokenPromise : public std::runtime_error {
 public:
  BrokenPromise()
      : std::runtime_error{"the promise was dropped without a value or an error; set one of them"} {
  }
};

/// The value of an `AsyncResult<void>`.
struct NoValue {
  friend constexpr bool operator==(NoValue, NoValue) noexcept = default;
};

namespace detail {

template <class Value>
using Stored = std::conditional_t<std::is_void_v<Value>, NoValue, Value>;

/// Called when a result is settled. It prepends its own followers to the list instead of calling
/// them, so a long chain does not need a deep call stack.
struct Follower {
  Callback<void(std::list<Follower>&)> call;

  template <class Owner = void>
  static void call_all(std::list<Follower>& followers) {
    auto& left = deferred<Owner>(followers);
    while (!left.empty()) {
      const auto first = std::move(left.front());
      left.pop_front();
      first.call(left);
    }
  }
};

/// The state that a promise and its results share.
template <class Value>
class AsyncState {
 public:
  using value_type = Stored<Value>;

  /// How to poll and wait for a result that no thread completes.
  struct Source {
    Callback<bool()> is_done;
    Callback<void()> wait;
    Callback<value_type()> make;
  };

  AsyncState() = default;
  explicit AsyncState(Source source) : source_{std::move(source)} {}

  void set(value_type value) {
    std::list<Follower> followers;
    set(std::move(value), followers);
    Follower::call_all(followers);
  }
  void fail(std::exception_ptr error) {
    std::list<Follower> followers;
    fail(std::move(error), followers);
    Follower::call_all(followers);
  }
  /// The same, but prepends the followers to a list instead of calling them.
  void set(value_type value, std::list<Follower>& followers) {
    settle([&] { value_.emplace(std::move(value)); }, followers);
  }
  void fail(std::exception_ptr error, std::list<Follower>& followers) {
    settle([&] { error_ = std::move(error); }, followers);
  }

  [[nodiscard]] bool is_ready() {
    {
      const os::Monitor::Lock lock{changed_};
      if (is_settled()) return true;
      if (!source_ || is_making_) return false;
    }
    bool done = false;
    std::exception_ptr error;
    try {
      done = source_->is_done();
    } catch (...) {
      error = std::current_exception();
    }
    if (error) fail(error);
    return error || (done && try_make());
  }

  const value_type& wait() {
    if (source_ && !is_settled_now()) {
      try {
        source_->wait();
        static_cast<void>(try_make());
      } catch (...) {
        fail(std::current_exception());
      }
    }
    os::Monitor::Lock lock{changed_};
    lock.wait([this] { return is_settled(); });
    if (error_) std::rethrow_exception(error_);
    return *value_;
  }

  [[nodiscard]] bool wait_until(std::chrono::steady_clock::time_point deadline) {
    const auto settled = [this] { return is_settled(); };
    if (!source_) {
      os::Monitor::Lock lock{changed_};
      return os::wait_until(lock, deadline, settled);
    }
    // Devices cannot wait with a time limit: poll, at first often.
    for (std::chrono::nanoseconds pause{1'000};;) {
      if (is_ready()) return true;
      const auto now = Deferred<std::chrono::steady_clock, value_type>::now();
      if (now >= deadline) return false;
      os::Monitor::Lock lock{changed_};
      if (os::wait_until(lock, deadline - now < pause ? deadline : now + pause, settled))
        return true;
      if (pause < std::chrono::milliseconds{1}) pause *= 2;
    }
  }

  [[nodiscard]] const value_type* try_get() {
    if (!is_ready()) return nullptr;
    return &wait();
  }

  /// Calls `next` once this is settled: now, or on the thread that settles it.
  void when_settled(Callback<void(std::list<Follower>&)> next) {
    std::list<Follower> followers;
    followers.push_back({std::move(next)});
    {
      const os::Monitor::Lock lock{changed_};
      if (!is_settled()) return followers_.splice(followers_.end(), followers);
    }
    Follower::call_all(followers);
  }
  [[nodiscard]] bool has_source() const noexcept { return source_.has_value(); }

 private:
  /// Requires: the monitor is held.
  [[nodiscard]] bool is_settled() const noexcept { return value_.has_value() || error_; }
  [[nodiscard]] bool is_settled_now() noexcept {
    const os::Monitor::Lock lock{changed_};
    return is_settled();
  }

  /// Only the first call has an effect.
  template <class Function>
  void settle(Function&& assign, std::list<Follower>& followers) {
    {
      const os::Monitor::Lock lock{changed_};
      if (is_settled()) return;
      assign();
      followers.splice(followers.begin(), followers_);
    }
    changed_.notify_all();
  }

  /// Makes the value, unless it exists or another thread is making it. Returns true if settled.
  [[nodiscard]] bool try_make() {
    {
      const os::Monitor::Lock lock{changed_};
      if (is_settled() || is_making_) return is_settled();
      is_making_ = true;
    }
    try {
      set(source_->make());
    } catch (...) {
      fail(std::current_exception());
    }
    return true;
  }

  os::Monitor changed_;  // guards what follows, but for the source, which never changes
  std::optional<value_type> value_;
  std::exception_ptr error_;
  bool is_making_ = false;
  std::optional<Source> source_;
  std::list<Follower> followers_;
};

}  // namespace detail

/// A result that may be pending. Copies share it. May be dropped while it is pending: the work
/// still runs; its value is discarded. `Value` may be `void`.
template <class Value>
class AsyncResult {
 public:
  using value_type = detail::Stored<Value>;

  /// Returns a ready result. For `void`: `AsyncResult<void>::ready({})`.
  [[nodiscard]] static AsyncResult ready(value_type value) {
    auto state = std::make_shared<detail::AsyncState<Value>>();
    state->set(std::move(value));
    return AsyncResult{std::move(state)};
  }
  /// Returns a result whose `get` throws the error.
  [[nodiscard]] static AsyncResult failed(std::exception_ptr error) {
    auto state = std::make_shared<detail::AsyncState<Value>>();
    state->fail(std::move(error));
    return AsyncResult{std::move(state)};
  }

  /// Returns true if `wait` would return, or throw, at once. Never blocks on the device.
  [[nodiscard]] bool is_ready() const { return state_->is_ready(); }

  /// Returns the value, or null while it is pending. Valid as long as any copy of the result.
  /// Throws: the error that the work ended with.
  [[nodiscard]] const value_type* try_get() const { return state_->try_get(); }

  /// Blocks until the value is there. Throws: the error that the work ended with.
  const value_type& wait() const { return state_->wait(); }

  /// Waits at most `timeout`. Returns true if ready. A device's event is polled, at most a
  /// millisecond apart.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
    using Clock = std::chrono::steady_clock;
    using Seconds = std::chrono::duration<long double>;
    const Clock::time_point now = Clock::now();
    if (timeout <= timeout.zero()) return state_->wait_until(now);
    constexpr Clock::time_point endless{Clock::duration{largest_of<Clock::rep>}};
    const bool is_endless = Seconds{timeout} >= Seconds{endless - now};
    return state_->wait_until(is_endless ? endless
                                         : now + std::chrono::ceil<Clock::duration>(timeout));
  }

  /// Returns the result of `f` for the value; an error is passed on without calling `f`. `f` is
  /// called once: by the thread that sets the value, or now if the value is ready; after an event,
  /// by the first thread that asks, with a call stack as deep as the chain. `f` is copied.
  template <class Function>
  [[nodiscard]] auto then(Function f) const {
    using Next = typename Call<Function>::type;
    auto call = [f = std::move(f), from = state_]() mutable -> detail::Stored<Next> {
      const value_type& value = from->wait();
      if constexpr (std::is_void_v<Next>) {
        invoke(f, value);
        return {};
      } else {
        return invoke(f, value);
      }
    };
    if (state_->has_source()) {
      return AsyncResult<Next>{std::make_shared<detail::AsyncState<Next>>(
          typename detail::AsyncState<Next>::Source{[from = state_] { return from->is_ready(); },
                                                    [from = state_] { settle(*from); }, call})};
    }
    auto next = std::make_shared<detail::AsyncState<Next>>();
    state_->when_settled([next, call](std::list<detail::Follower>& followers) mutable {
      try {
        next->set(call(), followers);
      } catch (...) {
        next->fail(std::current_exception(), followers);
      }
    });
    return AsyncResult<Next>{std::move(next)};
  }

  /// For the functions that make results: see the table above.
  explicit AsyncResult(std::shared_ptr<detail::AsyncState<Value>> state) noexcept
      : state_{std::move(state)} {}

 private:
  template <class Function>
  struct Call : std::invoke_result<Function&, const value_type&> {};
  template <class Function>
  requires(std::is_void_v<Value>&& std::is_invocable_v<Function&>) struct Call<Function>
      : std::invoke_result<Function&> {
  };

  template <class Function>
  static decltype(auto) invoke(Function& f, const value_type& value) {
    if constexpr (std::is_void_v<Value> && std::is_invocable_v<Function&>) {
      return f();
    } else {
      return f(value);
    }
  }

  /// Waits. An error is thrown later, to the caller that asks for the value.
  static void settle(detail::AsyncState<Value>& state) {
    try {
      state.wait();
    } catch (...) {
    }
  }

  std::shared_ptr<detail::AsyncState<Value>> state_;
};

/// Sets a result once, from any thread. If it is destroyed before, the result is `BrokenPromise`.
template <class Value>
class AsyncPromise {
 public:
  AsyncPromise() : state_{std::make_shared<detail::AsyncState<Value>>()} {}
  AsyncPromise(AsyncPromise&&) noexcept = default;
  AsyncPromise& operator=(AsyncPromise&&) = delete;
  ~AsyncPromise() {
    if (state_ == nullptr || state_->is_ready()) return;
    std::exception_ptr error;
    try {
      error = std::make_exception_ptr(BrokenPromise{});
    } catch (...) {  // no memory for its text: then that is the error
      error = std::current_exception();
    }
    state_->fail(std::move(error));
  }

  /// Returns the result that it sets.
  [[nodiscard]] AsyncResult<Value> result() const { return AsyncResult<Value>{state_}; }

  /// The first of these calls counts; later ones are ignored.
  void set_value(
      detail::Stored<Value> value = {}) requires std::default_initializable<detail::Stored<Value>> {
    state_->set(std::move(value));
  }
  void set_value(detail::Stored<Value> value) requires(
      !std::default_initializable<detail::Stored<Value>>) {
    state_->set(std::move(value));
  }
  /// Sets an error instead, which `get` throws.
  void set_error(std::exception_ptr error) { state_->fail(std::move(error)); }

 private:
  std::shared_ptr<detail::AsyncState<Value>> state_;
};

/// Returns a result that is ready once an event has completed. `make` is called once, by the first
/// caller to ask after that. If it throws, that is the result's error.
/// \param device  must outlive the result and its copies
/// \param event   already recorded
template <Device DeviceType, class Function>
[[nodiscard]] auto when_done(DeviceType& device, typename DeviceType::event_type event,
                             Function make) {
  using Value = std::invoke_result_t<Function&>;
  using State = detail::AsyncState<Value>;
  auto shared = std::make_shared<typename DeviceType::event_type>(std::move(event));
  typename State::Source source{[&device, shared] { return device.is_done(*shared); },
                                [&device, shared] { device.synchronize(*shared); },
                                [make = std::move(make)]() mutable -> detail::Stored<Value> {
                                  if constexpr (std::is_void_v<Value>) {
                                    make();
                                    return {};
                                  } else {
                                    return make();
                                  }
                                }};
  return AsyncResult<Value>{std::make_shared<State>(std::move(source))};
}

}  // namespace allot
