// SPDX-License-Identifier: MIT
#include "call_log.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <string_view>
#include <utility>

#include "own_file.hpp"

namespace allot::seam {
namespace {

using report::TraceKind;

/// Every allocation of a HIP runtime lies at a multiple of it, and is aligned to it.
constexpr std::uint64_t usual_unit = 256;
constexpr std::uint64_t refused_by_source = 3;  // as RefusalReason::source

thread_local int device_of_thread = 0;
std::atomic<bool> log_is_made{false};

[[nodiscard]] std::uint64_t thread_number() noexcept {
  static std::atomic<std::uint64_t> last{0};
  thread_local const std::uint64_t number = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return number;
}

[[nodiscard]] std::string hexadecimal(std::uint64_t number) {
  std::string text;
  for (; number != 0 || text.empty(); number >>= 4)
    text.insert(text.begin(), "0123456789abcdef"[number & 15]);
  return "0x" + text;
}

}  // namespace

void set_current_device(int device) noexcept { device_of_thread = device; }
int current_device() noexcept { return device_of_thread; }

CallLog& CallLog::get() {
  static CallLog& log = *new CallLog;
  return log;
}

bool CallLog::is_made() noexcept { return log_is_made.load(); }

void CallLog::end_if_made() noexcept {
  if (!is_made()) return;
  CallLog& log = get();
  const std::scoped_lock lock{log.mutex_};
  log.file_.end();
}

CallLog::CallLog() {
  // A child of fork writes a file of its own, if it calls HIP at all.
  ::pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); },
                   [] {
                     get().forget();
                     get().mutex_.unlock();
                   });
  log_is_made = true;
}

void CallLog::forget() noexcept {
  file_.forget();
  live_.clear();
  streams_.clear();
  sites_.clear();
  has_started_ = false;
  lost_ = 0;
  unit_ = 1;
  thread_ = 0;
  stream_ = 0;
  device_ = 0;
}

std::uint64_t CallLog::now() const noexcept {
  const auto passed = std::chrono::steady_clock::now() - begun_;
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(passed).count());
}

/// Runs what writes records, and starts the file before the first. What it throws is lost.
template <class Function>
void CallLog::guarded(Function&& write) noexcept {
  const std::scoped_lock lock{mutex_};
  try {
    if (!has_started_) {
      has_started_ = true;
      begun_ = std::chrono::steady_clock::now();
      file_.start(make_own_file(variable("ALLOT_RECORD_FILE")));
      file_.put({.kind = TraceKind::start,
                 .process = static_cast<std::uint64_t>(::getpid()),
                 .sample = 1});
    }
    if (lost_ != 0) file_.put({.kind = TraceKind::lost, .value = std::exchange(lost_, 0)});
    write();
  } catch (...) {
    ++lost_;
  }
}

const CallLog::Site& CallLog::site_of(const Call& call) {
  const auto found = sites_.find(call.site);
  if (found != sites_.end()) return found->second;
  Site site{"?", reinterpret_cast<std::uint64_t>(call.site), sites_.size() + 1};
  Dl_info info;
  std::string path = "?";
  if (::dladdr(call.site, &info) != 0 && info.dli_fname != nullptr) {
    path = info.dli_fname;
    site.binary = path.substr(path.rfind('/') + 1);
    site.offset -= reinterpret_cast<std::uint64_t>(info.dli_fbase);
  }
  std::string text = std::string{call.name} + " ";
  const std::string end = "+" + hexadecimal(site.offset);
  const std::size_t room = report::detail::most_text - text.size() - end.size();
  text += (path.size() > room ? path.substr(path.size() - room) : path) + end;
  file_.put({.kind = TraceKind::name, .value = site.name, .text = text});
  return sites_.emplace(call.site, std::move(site)).first->second;
}

void CallLog::put_thread_and_stream(const Call& call) {
  if (const std::uint64_t thread = thread_number(); thread != thread_) {
    thread_ = thread;
    file_.put({.kind = TraceKind::thread, .value = thread});
  }
  std::uint64_t stream = 0;
  if (call.stream != nullptr)
    stream = streams_.try_emplace(call.stream, streams_.size() + 1).first->second;
  if (stream == stream_) return;
  stream_ = stream;
  file_.put({.kind = TraceKind::stream, .value = stream});
}

void CallLog::put_device(std::uint64_t device) {
  if (device == Call::current) device = static_cast<std::uint64_t>(device_of_thread);
  if (device == device_) return;
  device_ = device;
  const std::string name = device == Call::host ? "host" : "hip:" + std::to_string(device);
  file_.put({.kind = TraceKind::device, .value = device, .text = name});
}

/// Offsets are counted in a unit, which every block is a multiple of; what a copy begins at may not be.
void CallLog::put_unit(std::uint64_t offset) {
  const std::uint64_t unit = offset % usual_unit == 0 ? usual_unit : 1;
  if (unit == unit_ || (unit_ == 1 && offset == 0)) return;
  unit_ = unit;
  file_.put({.kind = TraceKind::unit, .value = unit});
}

void CallLog::put_site(const Call& call) {
  const Site& site = site_of(call);
  file_.put({.kind = TraceKind::call_site, .value = site.offset, .text = site.binary});
}

void CallLog::allocated(const Call& call, std::uint64_t address, std::uint64_t bytes) noexcept {
  guarded([&] {
    const std::uint64_t name = site_of(call).name;
    const std::uint64_t device =
        call.device == Call::current ? static_cast<std::uint64_t>(device_of_thread) : call.device;
    if (bytes != 0) live_[address] = {bytes, device, name};
    put_thread_and_stream(call);
    put_device(device);
    put_unit(address);
    file_.put({.kind = TraceKind::allocate,
               .time = now(),
               .offset = address,
               .bytes = bytes,
               .name = name});
  });
}

std::optional<CallLog::Freed> CallLog::freeing(const Call& call, std::uint64_t address) noexcept {
  std::optional<Freed> block;
  guarded([&] {
    const auto found = live_.find(address);
    if (found == live_.end()) return;
    const Freed known = found->second;
    put_thread_and_stream(call);
    put_device(known.device);
    put_site(call);
    put_unit(address);
    file_.put({.kind = TraceKind::free, .time = now(), .offset = address});
    live_.erase(found);
    block = known;
  });
  return block;
}

void CallLog::freed_unknown(const Call& call, std::uint64_t address) noexcept {
  guarded([&] {
    put_thread_and_stream(call);
    put_device(call.device);
    put_site(call);
    put_unit(address);
    file_.put({.kind = TraceKind::free, .time = now(), .offset = address});
  });
}

void CallLog::still_live(const Call& call, std::uint64_t address, const Freed& block) noexcept {
  guarded([&] {
    live_[address] = block;
    put_thread_and_stream(call);
    put_device(block.device);
    put_unit(address);
    file_.put({.kind = TraceKind::allocate,
               .time = now(),
               .offset = address,
               .bytes = block.bytes,
               .name = block.name});
  });
}

void CallLog::copied(const Call& call, Direction direction, const void* address,
                     std::uint64_t bytes) noexcept {
  guarded([&] {
    const auto offset = reinterpret_cast<std::uint64_t>(address);
    put_thread_and_stream(call);
    put_device(call.device);
    put_site(call);
    put_unit(offset);
    file_.put({.kind = TraceKind::copy,
               .time = now(),
               .offset = offset,
               .bytes = bytes,
               .value = static_cast<std::uint64_t>(direction)});
  });
}

void CallLog::called(const Call& call, std::uint64_t address, std::uint64_t bytes) noexcept {
  guarded([&] {
    put_thread_and_stream(call);
    put_device(call.device);
    put_site(call);
    put_unit(address);
    file_.put({.kind = TraceKind::call,
               .time = now(),
               .offset = address,
               .bytes = bytes,
               .text = call.name});
  });
}

void CallLog::failed(const Call& call, HipError code, std::optional<std::uint64_t> bytes) noexcept {
  guarded([&] {
    put_thread_and_stream(call);
    put_device(call.device);
    if (bytes && code == hip_out_of_memory) {
      file_.put({.kind = TraceKind::refuse,
                 .time = now(),
                 .bytes = *bytes,
                 .name = site_of(call).name,
                 .value = refused_by_source});
    }
    put_site(call);
    file_.put({.kind = TraceKind::failed_call,
               .time = now(),
               .value = static_cast<std::uint64_t>(code),
               .text = call.name});
  });
}

}  // namespace allot::seam
