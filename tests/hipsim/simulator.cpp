// SPDX-License-Identifier: MIT
#include "hipsim/simulator.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>

namespace hipsim {

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t large_page = 2 << 20;

[[nodiscard]] std::uint64_t round_up(std::uint64_t bytes, std::uint64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

[[nodiscard]] std::string hex(const void* address) {
  std::ostringstream text;
  text << address;
  return text.str();
}

/// What a host address is: the line of /proc/self/maps that it lies in.
[[nodiscard]] std::string describe_host(const void* address) {
  std::ifstream maps{"/proc/self/maps"};
  const auto value = reinterpret_cast<std::uintptr_t>(address);
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields{line};
    std::uintptr_t first = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    std::string access, offset, device, inode, path;
    fields >> std::hex >> first >> dash >> end >> access >> offset >> device >> inode >> path;
    if (value < first || value >= end) continue;
    return path.empty() || path[0] == '[' ? "pageable memory" : "the mapping of " + path;
  }
  return "memory that is not mapped";
}

[[nodiscard]] double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// What an exported handle says; fits HIP's 64 bytes.
struct Exported {
  char magic[8];
  std::int32_t process;
  std::int32_t file;
  std::uint64_t file_offset;
  std::uint64_t bytes;
};
static_assert(sizeof(Exported) <= sizeof(hipIpcMemHandle_t));
constexpr char export_magic[8] = {'h', 'i', 'p', 's', 'i', 'm', '1', 0};

}  // namespace

std::byte* reserve_addresses(std::uint64_t bytes) {
  void* const start = ::mmap(nullptr, bytes + large_page, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  auto* const first = static_cast<std::byte*>(start);
  return first + ((0 - reinterpret_cast<std::uintptr_t>(first)) & (large_page - 1));
}

// Streams

void StreamState::start() {
  thread = std::thread{[this] {
    std::unique_lock lock{mutex};
    for (;;) {
      changed.wait(
          lock, [&] { return (!work.empty() && executed < demanded) || (ends && work.empty()); });
      if (work.empty()) return;
      const std::function<void()> task = std::move(work.front());
      work.pop_front();
      lock.unlock();
      task();
      lock.lock();
      ++executed;
      changed.notify_all();
    }
  }};
}

void StreamState::push(std::function<void()> task) {
  {
    const std::scoped_lock lock{mutex};
    work.push_back(std::move(task));
  }
  changed.notify_all();
}

void StreamState::demand(std::uint64_t step) {
  {
    const std::scoped_lock lock{mutex};
    demanded = std::max(demanded, step);
  }
  changed.notify_all();
}

void StreamState::wait_for(std::uint64_t step) {
  demand(step);
  std::unique_lock lock{mutex};
  changed.wait(lock, [&] { return executed >= step; });
}

void StreamState::finish() {
  {
    const std::scoped_lock lock{mutex};
    demanded = std::numeric_limits<std::uint64_t>::max();
    ends = true;
  }
  changed.notify_all();
  if (thread.joinable()) thread.join();
}

Simulator& Simulator::get() {
  static auto* const simulator = [] {
    auto* const made = new Simulator;  // never destroyed: streams may outlive main
    made->reset(options_of_environment());
    made->obey_environment();
    return made;
  }();
  return *simulator;
}

void Simulator::reset(const Options& wanted) {
  std::map<std::uint32_t, std::shared_ptr<StreamState>> ending;
  {
    const std::scoped_lock lock{mutex};
    ending = std::move(states_);
    states_.clear();
  }
  for (const auto& [number, state] : ending) state->finish();
  const std::scoped_lock lock{mutex};
  for (const auto& [address, allocation] : allocations) {
    if (!allocation.is_live) continue;
    ::munmap(allocation.view, round_up(allocation.bytes, page));
    if (allocation.view != allocation.address)
      ::munmap(allocation.address, round_up(allocation.bytes, page));
  }
  for (const SimulatedDevice& device : devices) ::close(device.memory_file);
  for (hipStream_t stream : streams) delete stream;
  for (const auto& [device, stream] : default_streams_) delete stream;
  for (hipEvent_t event : events) delete event;
  for (hipMemPool_t pool : pools) delete pool;
  allocations.clear();
  streams.clear();
  events.clear();
  pools.clear();
  records.clear();
  names.clear();
  counts.clear();
  failures.clear();
  always.clear();
  flip.reset();
  pinned_bytes = 0;
  peak_pinned_bytes = 0;
  host_.clear();
  next_stream_ = 1;  // so that clocks stay short
  default_streams_.clear();
  options = wanted;
  devices.clear();
  for (const DeviceModel& model : wanted.devices) {
    SimulatedDevice device;
    device.model = model;
    device.memory_file = ::memfd_create("hipsim", MFD_CLOEXEC);
    devices.push_back(device);
  }
}

std::optional<hipError_t> Simulator::enter(const char* name) {
  const std::scoped_lock lock{mutex};
  names.emplace_back(name);
  ++counts[name];
  std::optional<hipError_t> error;
  if (const auto found = always.find(name); found != always.end()) error = found->second;
  for (auto failure = failures.begin(); failure != failures.end();) {
    if (!failure->name.empty() && failure->name != name) {
      ++failure;
    } else if (failure->skipped != 0) {
      --failure->skipped;
      ++failure;
    } else {
      error = failure->error;
      failure = failures.erase(failure);
    }
  }
  return error;
}

void Simulator::commit(Crime crime, const std::string& text) { records.push_back({crime, text}); }

// Memory

hipError_t Simulator::allocate(void** address, std::uint64_t bytes, int device, Kind kind) {
  const std::scoped_lock lock{mutex};
  SimulatedDevice& on = devices[static_cast<std::size_t>(device)];
  if (on.model.allocation_us > 0)
    std::this_thread::sleep_for(std::chrono::duration<double, std::micro>(on.model.allocation_us));
  const std::uint64_t rounded = round_up(bytes, page);
  const bool is_of_device = kind != Kind::pinned;
  if (is_of_device &&
      (rounded > on.model.memory - on.used || bytes > on.model.largest_allocation)) {
    return hipErrorOutOfMemory;
  }
  std::byte* const first = reserve_addresses(rounded);
  if (first == nullptr) return hipErrorOutOfMemory;
  Allocation made{.kind = kind,
                  .device = device,
                  .address = first,
                  .bytes = bytes,
                  .view = first,
                  .file_offset = on.file_end,
                  .charged_bytes = is_of_device ? rounded : 0,
                  .accesses = {},
                  .blocks = {}};
  on.file_end += rounded;
  if (::ftruncate(on.memory_file, static_cast<::off_t>(on.file_end)) != 0)
    return hipErrorOutOfMemory;
  // The host cannot touch device memory: it is mapped a second time for the streams.
  void* const wanted = kind == Kind::device ? nullptr : first;
  void* const view = ::mmap(wanted, rounded, PROT_READ | PROT_WRITE,
                            MAP_SHARED | (wanted == nullptr ? 0 : MAP_FIXED), on.memory_file,
                            static_cast<::off_t>(made.file_offset));
  if (view == MAP_FAILED) return hipErrorOutOfMemory;
  made.view = static_cast<std::byte*>(view);
  on.used += made.charged_bytes;
  if (kind == Kind::pinned) {
    pinned_bytes += bytes;
    peak_pinned_bytes = std::max(peak_pinned_bytes, pinned_bytes);
  }
  allocations.emplace(first, std::move(made));
  *address = first;
  return hipSuccess;
}

Allocation* Simulator::find(const void* address) {
  const auto* const at = static_cast<const std::byte*>(address);
  auto after = allocations.upper_bound(at);
  if (after == allocations.begin()) return nullptr;
  Allocation& before = (--after)->second;
  return at < before.address + before.bytes ? &before : nullptr;
}

void Simulator::forget_done(Allocation& allocation) {
  allocation.accesses.remove_if(
      [&](const Access& access) { return knows(host_, access.stream, access.step); });
}

bool Simulator::is_in_flight(Allocation& allocation, std::uint64_t first, std::uint64_t end) {
  forget_done(allocation);
  return std::any_of(
      allocation.accesses.begin(), allocation.accesses.end(),
      [&](const Access& access) { return access.first < end && first < access.end; });
}

/// Waits until nothing touches the allocation any more, as real runtimes do before they free it.
void Simulator::drain(Allocation& allocation, std::unique_lock<std::mutex>& lock) {
  const std::list<Access> pending = allocation.accesses;
  for (const Access& access : pending) {
    const auto found = states_.find(access.stream);
    if (found == states_.end()) continue;
    const std::shared_ptr<StreamState> state = found->second;
    lock.unlock();
    state->wait_for(access.step);
    lock.lock();
  }
}

hipError_t Simulator::release(void* address, bool is_pinned) {
  std::unique_lock lock{mutex};
  Allocation* const found = find(address);
  if (found == nullptr || found->address != address || !found->is_live ||
      (found->kind == Kind::pinned) != is_pinned || found->kind == Kind::imported) {
    commit(Crime::double_free, hex(address) + " is not the begin of a live allocation");
    return hipErrorInvalidValue;
  }
  if (is_in_flight(*found, 0, found->bytes)) {
    commit(is_pinned ? Crime::host_freed_in_flight : Crime::freed_in_flight,
           std::to_string(found->bytes) + " bytes at " + hex(address) +
               " were freed while a copy may touch them");
    drain(*found, lock);
  }
  found->is_live = false;
  SimulatedDevice& on = devices[static_cast<std::size_t>(found->device)];
  on.used -= found->charged_bytes;
  if (is_pinned) pinned_bytes -= found->bytes;
  const std::uint64_t rounded = round_up(found->bytes, page);
  if (found->view != found->address) {
    ::munmap(found->view, rounded);
  } else {
    // The addresses stay reserved, and nobody may touch them.
    ::mmap(found->address, rounded, PROT_NONE,
           MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  ::fallocate(on.memory_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              static_cast<::off_t>(found->file_offset), static_cast<::off_t>(rounded));
  return hipSuccess;
}

hipError_t Simulator::export_handle(void* address, hipIpcMemHandle_t* handle) {
  const std::scoped_lock lock{mutex};
  const Allocation* const found = find(address);
  if (found == nullptr || !found->is_live || found->kind != Kind::device)
    return hipErrorInvalidValue;
  // As the real one: of the allocation, wherever in it the address lies.
  Exported exported{{},
                    ::getpid(),
                    devices[static_cast<std::size_t>(found->device)].memory_file,
                    found->file_offset,
                    found->bytes};
  std::memcpy(exported.magic, export_magic, sizeof exported.magic);
  std::memset(handle, 0, sizeof *handle);
  std::memcpy(handle, &exported, sizeof exported);
  return hipSuccess;
}

hipError_t Simulator::import_handle(void** address, const hipIpcMemHandle_t& handle, int device) {
  Exported exported{};
  std::memcpy(&exported, &handle, sizeof exported);
  if (std::memcmp(exported.magic, export_magic, sizeof export_magic) != 0)
    return hipErrorInvalidValue;
  if (exported.process == ::getpid()) return hipErrorInvalidContext;
  const std::string path =
      "/proc/" + std::to_string(exported.process) + "/fd/" + std::to_string(exported.file);
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return hipErrorInvalidValue;
  const std::uint64_t rounded = round_up(exported.bytes, page);
  void* const view = ::mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_SHARED, file,
                            static_cast<::off_t>(exported.file_offset));
  ::close(file);
  std::byte* const first = reserve_addresses(rounded);
  if (view == MAP_FAILED || first == nullptr) return hipErrorOutOfMemory;
  const std::scoped_lock lock{mutex};
  allocations.emplace(first, Allocation{.kind = Kind::imported,
                                        .device = device,
                                        .address = first,
                                        .bytes = exported.bytes,
                                        .view = static_cast<std::byte*>(view),
                                        .file_offset = 0,
                                        .charged_bytes = 0,
                                        .accesses = {},
                                        .blocks = {}});
  *address = first;
  return hipSuccess;
}

hipError_t Simulator::close_import(void* address) {
  std::unique_lock lock{mutex};
  Allocation* const found = find(address);
  if (found == nullptr || found->address != address || !found->is_live ||
      found->kind != Kind::imported) {
    commit(Crime::double_free, hex(address) + " is not the begin of an imported allocation");
    return hipErrorInvalidValue;
  }
  if (is_in_flight(*found, 0, found->bytes)) {
    commit(Crime::freed_in_flight, "imported memory was closed while a copy may touch it");
    drain(*found, lock);
  }
  found->is_live = false;
  ::munmap(found->view, round_up(found->bytes, page));
  return hipSuccess;
}

void Simulator::tell_block(const void* address, std::uint64_t bytes, bool is_used) {
  const std::scoped_lock lock{mutex};
  Allocation* const found = find(address);
  if (found == nullptr) return;
  const auto first =
      static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - found->address);
  if (!found->blocks) found->blocks.emplace();
  if (is_used) {
    (*found->blocks)[first] = first + bytes;
    return;
  }
  found->blocks->erase(first);
  if (is_in_flight(*found, first, first + bytes)) {
    commit(Crime::freed_in_flight, "a block of " + std::to_string(bytes) + " bytes at " +
                                       hex(address) + " was freed while a copy may touch it");
  }
}

/// Checks a range that a copy is to touch, and notes the access. Nothing where it must not run.
std::optional<Simulator::Touched> Simulator::touch(const void* address, std::uint64_t bytes,
                                                   bool writes, bool must_be_device,
                                                   const StreamState& stream, Steps& racing) {
  Allocation* const found = find(address);
  if (found != nullptr && !must_be_device && found->kind == Kind::device) {
    commit(Crime::out_of_bounds, hex(address) + " is a device's, not the host's");
    return std::nullopt;
  }
  if (found == nullptr) {
    if (must_be_device) {
      commit(Crime::out_of_bounds, hex(address) + " is in no device allocation");
      return std::nullopt;
    }
    if (options.pageable_copies_are_crimes) {
      commit(Crime::pageable, std::string{writes ? "a copy into " : "a copy out of "} +
                                  describe_host(address) + " at " + hex(address));
    }
    return Touched{nullptr, const_cast<std::byte*>(static_cast<const std::byte*>(address))};
  }
  const auto first =
      static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - found->address);
  const std::uint64_t end = first + bytes;
  const std::string range = std::to_string(bytes) + " bytes at " + hex(address) + ", " +
                            std::to_string(first) + " bytes into an allocation of " +
                            std::to_string(found->bytes);
  if (!found->is_live) {
    commit(Crime::use_after_free, range + " that was freed");
    return std::nullopt;
  }
  if (end > found->bytes) {
    commit(Crime::out_of_bounds, range);
    return std::nullopt;
  }
  if (found->kind == Kind::pinned && must_be_device) {
    commit(Crime::out_of_bounds, range + ", which is the host's");
    return std::nullopt;
  }
  if (found->kind != Kind::pinned && found->device != stream.device) {
    commit(Crime::wrong_device, range + ", which is of device " + std::to_string(found->device) +
                                    ", on a stream of device " + std::to_string(stream.device));
  }
  if (found->blocks) {
    // Every byte is to be in a used block; blocks may follow each other.
    std::uint64_t covered = first;
    auto block = found->blocks->upper_bound(first);
    if (block != found->blocks->begin()) --block;
    for (; block != found->blocks->end() && block->first <= covered && covered < end; ++block)
      covered = std::max(covered, block->second);
    if (covered < end) commit(Crime::use_after_free, range + ": not all of it in used blocks");
  }
  forget_done(*found);
  for (const Access& access : found->accesses) {
    const bool overlaps = access.first < end && first < access.end;
    if (!overlaps || (!writes && !access.writes)) continue;
    if (access.stream == stream.number || knows(stream.clock, access.stream, access.step)) continue;
    commit(Crime::race, range + ": touched by two streams that nothing orders");
    // The crime is noted; the bytes themselves are spared it.
    if (const auto other = states_.find(access.stream); other != states_.end())
      racing.emplace_back(other->second, access.step);
    break;
  }
  found->accesses.push_back({first, end, writes, stream.number, stream.issued + 1});
  return Touched{found, found->view + first};
}

// Streams and events

hipStream_t Simulator::make_stream(int device) {
  const std::scoped_lock lock{mutex};
  auto state = std::make_shared<StreamState>();
  state->number = next_stream_++;
  state->device = device;
  if (options.schedule == Schedule::eager)
    state->demanded = std::numeric_limits<std::uint64_t>::max();
  state->start();
  states_[state->number] = state;
  return *streams.insert(new ihipStream_t{state}).first;
}

hipStream_t Simulator::default_stream(int device) {
  {
    const std::scoped_lock lock{mutex};
    if (const auto found = default_streams_.find(device); found != default_streams_.end())
      return found->second;
  }
  hipStream_t const made = make_stream(device);
  {
    const std::scoped_lock lock{mutex};
    if (default_streams_.emplace(device, made).second) {
      streams.erase(made);  // the runtime's own: not counted as live
      return made;
    }
  }
  static_cast<void>(destroy_stream(made));  // another thread was first
  return default_stream(device);
}

hipError_t Simulator::check_stream(hipStream_t stream, const char* what) {
  const std::scoped_lock lock{mutex};
  const bool is_default = std::any_of(default_streams_.begin(), default_streams_.end(),
                                      [&](const auto& one) { return one.second == stream; });
  if (!is_default && streams.count(stream) == 0) {
    commit(Crime::stale_handle, std::string{what} + " with a stream that is not there");
    return hipErrorInvalidHandle;
  }
  if (stream->state->device != current_device) {
    commit(Crime::wrong_device, std::string{what} + " with a stream of device " +
                                    std::to_string(stream->state->device) + " while device " +
                                    std::to_string(current_device) + " is current");
  }
  return hipSuccess;
}

hipError_t Simulator::destroy_stream(hipStream_t stream) {
  std::shared_ptr<StreamState> state;
  {
    const std::scoped_lock lock{mutex};
    streams.erase(stream);
    state = stream->state;
  }
  state->finish();
  const std::scoped_lock lock{mutex};
  states_.erase(state->number);
  delete stream;
  return hipSuccess;
}

std::uint64_t Simulator::issue(StreamState& stream) {
  merge(stream.clock, host_);
  if (stream.clock.size() <= stream.number) stream.clock.resize(stream.number + std::size_t{1});
  stream.clock[stream.number] = ++stream.issued;
  return stream.issued;
}

/// The host waits for a step, and from then on knows all that was ordered before it.
void Simulator::wait_as_host(StreamState& stream, std::uint64_t step, const Clock& clock,
                             std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  stream.wait_for(step);
  lock.lock();
  merge(host_, clock);
}

hipError_t Simulator::synchronize(hipStream_t stream) {
  std::unique_lock lock{mutex};
  const std::shared_ptr<StreamState> state = stream->state;
  const Clock clock = state->clock;
  wait_as_host(*state, state->issued, clock, lock);
  return hipSuccess;
}

hipError_t Simulator::synchronize_device(int device) {
  std::unique_lock lock{mutex};
  const auto states = states_;
  for (const auto& [number, state] : states) {
    if (state->device != device) continue;
    const Clock clock = state->clock;
    wait_as_host(*state, state->issued, clock, lock);
  }
  return hipSuccess;
}

/// Moves the bytes, at the speed of the device's model.
void Simulator::move(std::byte* to, const std::byte* from, std::uint64_t bytes, int device,
                     bool is_pinned, std::optional<std::uint64_t> flipped) {
  double until = 0;
  {
    const std::scoped_lock lock{mutex};
    SimulatedDevice& on = devices[static_cast<std::size_t>(device)];
    const double rate = is_pinned ? on.model.pinned_gib_per_s : on.model.pageable_gib_per_s;
    if (rate > 0) {
      const double start = std::max(now(), on.link_busy_until);
      until = start + on.model.copy_latency_us * 1e-6 +
              static_cast<double>(bytes) / (rate * 1024 * 1024 * 1024);
      on.link_busy_until = until;
    }
  }
  std::memmove(to, from, bytes);
  if (flipped) to[std::min(*flipped, bytes - 1)] ^= std::byte{1};
  if (const double left = until - now(); left > 0)
    std::this_thread::sleep_for(std::chrono::duration<double>(left));
}

hipError_t Simulator::copy(void* to, const void* from, std::uint64_t bytes, hipMemcpyKind kind,
                           hipStream_t stream) {
  const std::scoped_lock lock{mutex};
  StreamState& on = *stream->state;
  merge(on.clock, host_);
  if (kind != hipMemcpyHostToDevice && kind != hipMemcpyDeviceToHost &&
      kind != hipMemcpyDeviceToDevice) {
    return hipErrorInvalidMemcpyDirection;
  }
  if (bytes == 0) return hipSuccess;
  Steps racing;
  const auto source = touch(from, bytes, false, kind != hipMemcpyHostToDevice, on, racing);
  const auto target = touch(to, bytes, true, kind != hipMemcpyDeviceToHost, on, racing);
  if (!source || !target) {
    // Nothing will run: what was noted of it is taken back.
    for (const auto& touched : {source, target}) {
      if (!touched || touched->allocation == nullptr) continue;
      touched->allocation->accesses.remove_if([&](const Access& access) {
        return access.stream == on.number && access.step == on.issued + 1;
      });
    }
    return hipErrorInvalidValue;
  }
  static_cast<void>(issue(on));
  std::optional<std::uint64_t> flipped;
  if (flip && kind == hipMemcpyHostToDevice) {
    if (flip->skipped == 0) {
      flipped = flip->byte;
      flip.reset();
    } else {
      --flip->skipped;
    }
  }
  const bool is_pinned = source->allocation != nullptr && target->allocation != nullptr;
  on.push([this, to = target->view, from = source->view, bytes, device = on.device, is_pinned,
           flipped, racing] {
    for (const auto& [other, step] : racing) other->wait_for(step);
    move(to, from, bytes, device, is_pinned, flipped);
  });
  return hipSuccess;
}

hipEvent_t Simulator::make_event(int device) {
  const std::scoped_lock lock{mutex};
  auto* const event = new ihipEvent_t{};
  event->device = device;
  events.insert(event);
  return event;
}

hipError_t Simulator::check_event(hipEvent_t event, const char* what) {
  const std::scoped_lock lock{mutex};
  if (events.count(event) == 0) {
    commit(Crime::stale_handle, std::string{what} + " with an event that is not there");
    return hipErrorInvalidHandle;
  }
  return hipSuccess;
}

hipError_t Simulator::destroy_event(hipEvent_t event) {
  const std::scoped_lock lock{mutex};
  events.erase(event);
  delete event;
  return hipSuccess;
}

hipError_t Simulator::record(hipEvent_t event, hipStream_t stream) {
  const std::scoped_lock lock{mutex};
  if (event->device != stream->state->device) {
    commit(Crime::wrong_device, "an event of device " + std::to_string(event->device) +
                                    " recorded on a stream of device " +
                                    std::to_string(stream->state->device));
    return hipErrorInvalidHandle;
  }
  event->stream = stream->state;
  event->step = issue(*stream->state);
  event->clock = stream->state->clock;
  event->queries = 0;
  stream->state->push([] {});
  return hipSuccess;
}

hipError_t Simulator::wait(hipStream_t stream, hipEvent_t event) {
  const std::scoped_lock lock{mutex};
  StreamState& on = *stream->state;
  static_cast<void>(issue(on));
  if (event->stream == nullptr) {
    on.push([] {});
    return hipSuccess;
  }
  merge(on.clock, event->clock);
  on.push([other = event->stream, step = event->step] { other->wait_for(step); });
  return hipSuccess;
}

hipError_t Simulator::synchronize(hipEvent_t event) {
  std::unique_lock lock{mutex};
  if (event->stream == nullptr) return hipSuccess;
  const std::shared_ptr<StreamState> state = event->stream;
  const Clock clock = event->clock;
  wait_as_host(*state, event->step, clock, lock);
  return hipSuccess;
}

hipError_t Simulator::query(hipEvent_t event) {
  std::unique_lock lock{mutex};
  if (event->stream == nullptr) return hipSuccess;
  const std::shared_ptr<StreamState> state = event->stream;
  bool is_done = false;
  {
    const std::scoped_lock queue{state->mutex};
    is_done = state->executed >= event->step;
  }
  if (is_done) {
    merge(host_, event->clock);
    return hipSuccess;
  }
  // A late stream gets going when it was asked a few times.
  if (++event->queries > 3) state->demand(event->step);
  return hipErrorNotReady;
}

}  // namespace hipsim
