// SPDX-License-Identifier: MIT
/// \file
/// Loads one model onto devices of different types, such as a GPU and the host: `check`, `load` and
/// `verify` for `devices(gpu, host)`.
#pragma once

#include <allot/core/callback.hpp>
#include <allot/device/device.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/progress.hpp>
#include <allot/load/check.hpp>
#include <allot/load/detail/bring.hpp>
#include <allot/load/detail/device_of.hpp>
#include <allot/load/detail/divided_reservation.hpp>
#include <allot/load/detail/reserve.hpp>
#include <allot/load/devices.hpp>
#include <allot/load/divided_model.hpp>
#include <allot/load/load_options.hpp>
#include <allot/load/plan/check_plan.hpp>
#include <allot/load/plan/weight_policy.hpp>
#include <allot/load/verify.hpp>
#include <allot/os/smart_pointers.hpp>
#include <allot/os/stopwatch.hpp>
#include <allot/slice.hpp>
#include <allot/stream/readback.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace allot::load {

/// Refuses a plan that, margin included, does not fit what each device has free now.
/// Throws: `InsufficientMemory`.
template <Margin MarginType = UsualMargin, Device... DeviceTypes>
void check(const Plan& plan, const Devices<DeviceTypes...>& devices,
           const MarginType& margin = {}) {
  const std::vector<PlannedDevice> now = devices.planned();
  check(plan, std::span<const PlannedDevice>{now}, margin);
}

namespace detail {

/// Reports what several loads do as what one does.
class JoinedProgress {
 public:
  JoinedProgress(const ProgressCallback& callback, std::uint64_t total)
      : callback_{callback}, total_{total} {}

  /// Returns a callback for the next part.
  [[nodiscard]] ProgressCallback part() {
    before_ = last_;
    return [this](const Progress& at) { report(before_ + at.done); };
  }
  /// Throws: as `ProgressCallback::report`.
  void report(std::uint64_t done) {
    if (has_reported_ && done == last_) return;  // where one part ends and the next begins
    has_reported_ = true;
    last_ = done;
    callback_.report({done, total_});
  }

 private:
  const ProgressCallback& callback_;
  std::uint64_t total_;
  std::uint64_t before_ = 0;
  std::uint64_t last_ = 0;
  bool has_reported_ = false;
};

/// Makes the tensors of a plan in its reserved arenas.
template <class Reserved>
[[nodiscard]] std::vector<DividedTensor> make_tensors(const Plan& plan, Reserved& reserved) {
  std::vector<DividedBytes> bytes(plan.items.size());
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const Item& item = plan.items[i];
    if (item.has_own_memory()) bytes[i] = reserved.arenas.at(item.arena)->allocate(item);
  }
  std::vector<DividedTensor> tensors;
  tensors.reserve(plan.items.size());
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const Item& item = plan.items[i];
    if (item.bytes != 0 && item.part_of) {
      const DividedBytes& whole = bytes[item.part_of->item];
      bytes[i] = part_of(whole, item.part_of->offset, item.bytes);
    }
    tensors.emplace_back(item, item.bytes != 0 ? plan.arenas[item.arena].device : std::string{},
                         bytes[i]);
  }
  return tensors;
}

}  // namespace detail

/// Loads `plan` from `file` onto devices of different types. Steps for devices whose memory the host
/// addresses are read straight into place, the others go through staging slots; one kind of device
/// after the other. Makes one device allocation for each arena of the plan.
///
/// \param devices   the devices that the plan names, by their names: `devices(gpu, host)`
/// \param progress  of all devices together; called on this thread
/// Throws: as `load` for devices of one type. Nothing stays reserved.
template <WeightPolicy Policy = DefaultWeights, Device... DeviceTypes>
[[nodiscard]] DividedModel load(const gguf::File& file, const Plan& plan,
                                const Devices<DeviceTypes...>& devices,
                                const ProgressCallback& progress = {},
                                const LoadOptions& options = {}) {
  detail::check_options(options);
  detail::check_plan(plan, file);

  const os::Stopwatch stopwatch;
  Plan followed = plan;
  LoadReport report;
  detail::DividedReservation<Policy, DeviceTypes...> reserved{devices};
  detail::reserve<Policy>(file, followed, reserved, report.fallbacks);
  std::vector<DividedTensor> tensors = detail::make_tensors(followed, reserved);

  report.bytes = detail::bytes_of(followed.steps);
  report.device_allocations = reserved.arenas.size();
  detail::JoinedProgress joined{progress, report.bytes};
  if (report.bytes == 0) joined.report(0);
  std::size_t group = 0;
  devices.for_each_group([&]<class DeviceType>(std::span<DeviceType> of_type) {
    Plan part = followed;  // its steps are those of these devices
    std::erase_if(part.steps,
                  [&](const Step& step) { return reserved.groups[step.arena] != group; });
    ++group;
    if (part.steps.empty()) return;
    LoadReport parts_report;
    detail::bring<DeviceType>(file, part, reserved.places, of_type, joined.part(), options,
                              parts_report);
    report.staging_bytes += parts_report.staging_bytes;
    report.direct_io = report.direct_io || parts_report.direct_io;
    for (std::string& text : parts_report.fallbacks) report.fallbacks.push_back(std::move(text));
  });
  report.seconds = stopwatch.seconds();
  return {std::move(followed),
          {reserved.arenas.begin(), reserved.arenas.end()},
          std::move(tensors),
          std::move(report)};
}

namespace detail {

/// Reads tensors back from one device; takes a stream and two buffers of 4 MiB with the first call.
struct DividedReader {
  std::string device;
  Callback<void(const Slice<DeviceAccessible>& from, std::span<std::byte> into)> read;
};

/// Returns a reader for each device whose memory the host may not touch.
template <Device... DeviceTypes>
[[nodiscard]] std::vector<DividedReader> readers_of(const Devices<DeviceTypes...>& devices) {
  std::vector<DividedReader> readers;
  devices.for_each_group([&]<class DeviceType>(std::span<DeviceType> of_type) {
    using SliceType = typename Readback<std::byte, DeviceType>::slice_type;
    if constexpr (std::same_as<SliceType, Slice<DeviceAccessible>>) {
      for (DeviceType& device : of_type) {
        readers.push_back(
            {device.name(), [&device, reader = std::unique_ptr<TensorReader<DeviceType>>{}](
                                const SliceType& from, std::span<std::byte> into) mutable {
               if (!reader) reader = std::make_unique<TensorReader<DeviceType>>(device);
               reader->read(from, into);
             }});
      }
    }
  });
  return readers;
}

}  // namespace detail

/// Compares every tensor of a divided model with its file: in place if the host may touch it,
/// otherwise read back from its device.
/// Throws: `gguf::ParseError`; `OutOfMemory` for buffers; what the devices throw;
/// `std::logic_error` for a device that is not among those given.
template <Device... DeviceTypes>
[[nodiscard]] std::optional<Difference> verify(const gguf::File& file, const DividedModel& model,
                                               const Devices<DeviceTypes...>& devices) {
  if (const auto difference = detail::find_missing(file, model)) return difference;
  const Plan& plan = model.plan();
  const std::vector<detail::DividedReader> readers = detail::readers_of(devices);
  std::vector<std::byte> copied;
  const auto bytes_of = [&](std::size_t i, std::uint64_t at, std::uint64_t bytes) {
    const DividedTensor& tensor = model.planned()[i];
    if (const auto slice = tensor.host_slice())
      return std::span<const std::byte>{slice->part(at, bytes).span()};
    for (const detail::DividedReader& reader : readers) {
      if (reader.device != tensor.device()) continue;
      copied.resize(static_cast<std::size_t>(bytes));
      reader.read(tensor.device_slice().value().part(at, bytes), copied);
      return std::span<const std::byte>{copied};
    }
    detail::throw_unknown_device(plan.arenas[plan.items[i].arena]);
  };
  std::vector<std::byte> expected(static_cast<std::size_t>(detail::compared_bytes));
  const auto all = [](const Item&) { return true; };
  for (const detail::Compared& part : detail::compared_parts(file, plan, all)) {
    const auto bytes = bytes_of(part.tensor, part.at, part.bytes);
    if (const auto difference = detail::compare(file, part, bytes.data(), std::span{expected}))
      return difference;
  }
  return detail::compare_transformed(
      file, plan, [&](std::size_t i) { return bytes_of(i, 0, model.planned()[i].bytes()); });
}

}  // namespace allot::load
