// SPDX-License-Identifier: MIT
/// \file
/// `StreamSet`: several streams of one device, chosen in turn, by load, or by what they are for.
///
///     StreamSet streams{device, {"compute", "upload", "readback"}};
///     streams.submit_to(streams.role("upload"), bytes, [&](auto& device, auto& stream) {
///       device.copy_to_device(to, from, bytes, stream);
///     });
///     streams.synchronize();
#pragma once

#include <allot/device/device.hpp>
#include <allot/os/mutex.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/stream/stream_choice.hpp>
#include <allot/stream/wait_noexcept.hpp>

#include <cstddef>
#include <cstdint>
#include <list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot {

namespace detail {

/// Makes a device current on this thread for a scope, if the device has such a notion.
template <Device DeviceType>
[[nodiscard]] auto current_on_this_thread(DeviceType& device) {
  if constexpr (requires { device.make_current(); }) {
    return device.make_current();
  } else {
    return nullptr;
  }
}

}  // namespace detail

/// Streams of a device, which must outlive the set. May be used from several threads; each stream
/// takes work from one thread at a time. The destructor waits for all streams.
///
/// If threads have a current device (HIP), work is submitted with this device current, so that what
/// it launches goes there.
template <Device DeviceType>
class StreamSet {
 public:
  using stream_type = typename DeviceType::stream_type;

  /// \param count  the number of streams, 1 to 256
  /// Throws: `std::invalid_argument`; what the device throws.
  StreamSet(DeviceType& device, std::uint32_t count,
            StreamChoice choice = StreamChoice::round_robin)
      : StreamSet{device, std::vector<std::string>(checked_count(count)), choice} {}

  /// One stream for each role.
  /// Throws: `std::invalid_argument`, also for a role that occurs twice; what the device throws.
  StreamSet(DeviceType& device, std::vector<std::string> roles,
            StreamChoice choice = StreamChoice::round_robin)
      : device_{&device}, choice_{choice}, roles_{std::move(roles)} {
    static_cast<void>(checked_count(roles_.size()));
    for (std::size_t i = 0; i < roles_.size(); ++i) {
      if (!roles_[i].empty() && role(roles_[i]) != i)
        throw std::invalid_argument{"two streams have the role " + roles_[i] +
                                    "; give each its own role, or none"};
    }
    for (std::size_t i = 0; i < roles_.size(); ++i)
      streams_.push_back(std::make_unique<Stream>(device.make_stream()));
  }

  StreamSet(const StreamSet&) = delete;
  StreamSet& operator=(const StreamSet&) = delete;
  ~StreamSet() {
    for (const auto& stream : streams_) detail::wait_noexcept(*device_, stream->stream);
  }

  [[nodiscard]] std::size_t size() const noexcept { return streams_.size(); }

  /// Returns the number of the stream with that role. Complexity: linear in the streams.
  /// Throws: `std::out_of_range` listing the existing roles.
  [[nodiscard]] std::size_t role(std::string_view name) const {
    for (std::size_t i = 0; i < roles_.size() && !name.empty(); ++i) {
      if (roles_[i] == name) return i;
    }
    std::string there;
    for (const std::string& one : roles_) {
      if (!one.empty()) there += (there.empty() ? "" : ", ") + one;
    }
    throw std::out_of_range{
        "no stream has the role " + std::string{name} +
        (there.empty() ? "; none of them has one" : "; the roles are " + there)};
  }

  /// Returns a stream, for work that the set does not count. Throws: `std::out_of_range`.
  [[nodiscard]] stream_type& operator[](std::size_t number) { return at(number).stream; }

  /// Returns the number of the stream that work should go to next. Complexity: constant for
  /// `round_robin`, else linear in the streams.
  [[nodiscard]] std::size_t next() {
    const std::lock_guard lock{choosing_};
    if (choice_ == StreamChoice::round_robin) return turn_++ % streams_.size();
    std::size_t least = 0;
    std::uint64_t fewest = outstanding(0);
    for (std::size_t i = 1; i < streams_.size() && fewest != 0; ++i) {
      if (const std::uint64_t bytes = outstanding(i); bytes < fewest) {
        least = i;
        fewest = bytes;
      }
    }
    return least;
  }

  /// Calls `work(device, stream)` with the stream that `next` chooses, and returns its number.
  /// `work` may use the set, but not submit to the same stream.
  /// \param bytes  the load that the work counts as
  /// Throws: what `work` and the device throw; nothing is counted then. If no event can be recorded
  /// for the work's end, waits for the work before throwing.
  template <class Work>
  std::size_t submit(std::uint64_t bytes, Work&& work) {
    const std::size_t number = next();
    submit_to(number, bytes, std::forward<Work>(work));
    return number;
  }
  /// The same with the stream of that number. Throws: also `std::out_of_range`.
  template <class Work>
  void submit_to(std::size_t number, std::uint64_t bytes, Work&& work) {
    Stream& chosen = at(number);
    const std::lock_guard lock{chosen.submitting};
    [[maybe_unused]] const auto current = detail::current_on_this_thread(*device_);
    if (bytes == 0) return static_cast<void>(work(*device_, chosen.stream));
    Notes note = chosen.take_note(*device_);
    chosen.count(bytes);
    try {
      work(*device_, chosen.stream);
      chosen.keep(*device_, note, bytes);
    } catch (...) {
      chosen.count(0 - bytes);
      throw;
    }
  }

  /// Returns the bytes of a stream's work that are not known to be done. Throws: what the device
  /// throws.
  [[nodiscard]] std::uint64_t outstanding(std::size_t number) {
    Stream& stream = at(number);
    const std::lock_guard lock{stream.counting};
    stream.forget_done(*device_);
    return stream.outstanding;
  }

  /// Makes all later work of one stream wait for the present work of another. The host does not
  /// wait.
  /// Throws: `std::out_of_range`; what the device throws.
  void wait(std::size_t waiting, std::size_t for_stream) {
    Stream& after = at(waiting);
    Stream& before = at(for_stream);
    if (waiting == for_stream) return;
    Notes note = before.take_note(*device_);
    device_->record(note.front().event, before.stream);
    device_->wait(after.stream, note.front().event);
    before.give_back(note);
  }

  /// Blocks until one stream has, or all have, done their work.
  void synchronize(std::size_t number) { device_->synchronize(at(number).stream); }
  void synchronize() {
    for (const auto& stream : streams_) device_->synchronize(stream->stream);
  }

 private:
  [[nodiscard]] static std::size_t checked_count(std::size_t streams) {
    if (streams != 0 && streams <= 256) return streams;
    throw std::invalid_argument{"invalid number of streams: " + std::to_string(streams) +
                                "; use 1 to 256"};
  }

  /// Work whose end an event stands for.
  struct Noted {
    typename DeviceType::event_type event;
    std::uint64_t bytes = 0;
  };
  /// Notes go from list to list: nothing is allocated once there are enough.
  using Notes = std::list<Noted>;

  struct Stream {
    explicit Stream(stream_type made) : stream{std::move(made)} {}

    /// Work on a stream is done in order: the search ends at the first that is not done.
    void forget_done(DeviceType& device) {
      while (!noted.empty() && device.is_done(noted.front().event)) {
        outstanding -= noted.front().bytes;
        spare.splice(spare.begin(), noted, noted.begin());
      }
    }

    /// Returns a list of one, for work to come.
    [[nodiscard]] Notes take_note(DeviceType& device) {
      Notes note;
      {
        const std::lock_guard lock{counting};
        forget_done(device);
        if (!spare.empty()) note.splice(note.begin(), spare, spare.begin());
      }
      if (note.empty()) note.push_back(Noted{device.make_event()});
      return note;
    }
    void give_back(Notes& note) noexcept {
      const std::lock_guard lock{counting};
      spare.splice(spare.begin(), note);
    }

    void count(std::uint64_t bytes) {
      const std::lock_guard lock{counting};
      outstanding += bytes;
    }
    /// Keeps the note of work that was submitted.
    void keep(DeviceType& device, Notes& note, std::uint64_t bytes) {
      try {
        device.record(note.front().event, stream);
      } catch (...) {
        detail::wait_noexcept(device, stream);
        throw;
      }
      note.front().bytes = bytes;
      const std::lock_guard lock{counting};
      noted.splice(noted.end(), note);
    }

    std::mutex submitting;  // held while work is given, which may take long
    std::mutex counting;    // what follows
    Notes noted;
    Notes spare;
    std::uint64_t outstanding = 0;
    stream_type stream;  // released first
  };

  [[nodiscard]] Stream& at(std::size_t number) {
    if (number < streams_.size()) return *streams_[number];
    throw std::out_of_range{"there is no stream " + std::to_string(number) + "; the set has " +
                            std::to_string(streams_.size())};
  }

  DeviceType* device_;
  StreamChoice choice_;
  std::vector<std::string> roles_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::mutex choosing_;
  std::size_t turn_ = 0;
};

}  // namespace allot
