// SPDX-License-Identifier: MIT
/// \file
/// Divides a model's layers between the stages of a pipeline, as a plan divides them between
/// devices: whole layers in order, so that the fullest stage is as empty as that allows.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/core/deferred.hpp>
#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>
#include <allot/load/plan/detail/layouts.hpp>
#include <allot/load/plan/detail/model_part.hpp>
#include <allot/load/plan/detail/split.hpp>
#include <allot/load/plan/layer_name.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/plan/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace allot::load::detail {

/// The stage of every tensor, and of what every layer keeps.
///
/// \tparam Owner  any type of the caller's: this is compiled only when the caller is
template <class Owner = void>
class Stages {
 public:
  /// \param part       what one rank of each stage has; the others of the stage follow it
  /// \param alignment  of the arenas
  /// Throws: as `make_plan`; `std::invalid_argument` if there are more stages than layers.
  Stages(const gguf::File& file, const PlanOptions& options, const ModelPart& part,
         std::uint64_t alignment)
      : count_{options.shares.pipeline}, of_tensor_(file.tensors().size()) {
    if (count_ == 1) return;
    Layouts<Owner> layouts = lay_out_model<Owner>(file, options.transforms, options.only,
                                                  options.cache, true, nullptr, &part);
    auto& items = layouts.items;
    const auto devices = one_device_each(options);
    SplitOptions split{.reserved = options.scratch_bytes, .alignment = alignment};
    split.pinned = keep_needed_copies(items, devices, split);
    const auto of_stage = split_by_layers(items, devices, split);
    DeferredVector<std::uint32_t, Owner> stage_of(items.size(), 0);
    for (std::uint32_t stage = 0; stage < count_; ++stage) {
      for (const std::uint32_t item : of_stage[stage]) stage_of[item] = stage;
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (items[i].part_of) stage_of[i] = stage_of[items[i].part_of->item];
      if (i < of_tensor_.size()) of_tensor_[i] = stage_of[i];
      if (items[i].copy_of) copies_.push_back({*items[i].copy_of, stage_of[i]});
      if (items[i].purpose == Purpose::cache) note_cache(items[i].name, stage_of[i]);
    }
    require_layers(of_stage, items);
  }

  /// Returns what a stage has of a part.
  [[nodiscard]] ModelPart only(ModelPart part, std::uint32_t stage) const {
    if (count_ == 1) return part;
    for (std::size_t i = 0; i < of_tensor_.size(); ++i) {
      if (of_tensor_[i] != stage) part.tensors[i].is_there = false;
    }
    for (const auto& [tensor, at] : copies_) {
      auto& embedding = part.tensors[tensor];
      if (at == stage) embedding.is_there = true;
      if (embedding.repeated.empty() && embedding.is_there)
        embedding.repeated = "the output's weights are the embedding's";
    }
    if (part.layers.size() < of_layer_.size() && !part.runs_layers_again)
      part.layers.resize(of_layer_.size(), part.others);
    for (std::size_t i = 0; i < part.layers.size(); ++i) {
      const std::uint32_t own = i < of_layer_.size() ? of_layer_[i] : count_ - 1;
      if (own != stage) part.layers[i].kept = 0;
    }
    if (stage != count_ - 1) part.others.kept = 0;
    return part;
  }

 private:
  struct Copy {
    std::uint32_t tensor;
    std::uint32_t stage;
  };

  /// A stage as a device: with the room of all devices of a rank.
  [[nodiscard]] DeferredVector<PlannedDevice, Owner> one_device_each(
      const PlanOptions& options) const {
    std::uint64_t room = options.devices.empty() ? PlannedDevice{}.room() : 0;
    for (const auto& device : deferred<Owner>(options).devices)
      room = checked_add(room, device.room()).value_or(largest_of<std::uint64_t>);
    DeferredVector<PlannedDevice, Owner> devices;
    for (std::uint32_t stage = 0; stage < count_; ++stage)
      devices.push_back({.name = "stage " + std::to_string(stage), .free_bytes = room});
    return devices;
  }

  /// What a layer keeps is where its weights are; layers that run again keep it where they did first.
  void note_cache(const std::string& name, std::uint32_t stage) {
    const auto layer = layer_name_of<Owner>(std::string_view{name}, LayerWord::any);
    if (!layer) return;
    const auto number = static_cast<std::size_t>(layer->number);
    if (number >= of_layer_.size()) of_layer_.resize(number + 1, count_ - 1);
    of_layer_[number] = stage;
  }

  template <class Of, class Items>
  void require_layers(const Of& of_stage, const Items& items) const {
    for (std::uint32_t stage = 0; stage < count_; ++stage) {
      bool has_some = false;
      for (const std::uint32_t item : of_stage[stage])
        has_some = has_some || items[item].purpose != Purpose::copy;
      if (has_some) continue;
      throw std::invalid_argument{"a model cannot be divided into " + std::to_string(count_) +
                                  " stages: nothing is left for stage " + std::to_string(stage) +
                                  ", as layers stay whole; use fewer"};
    }
  }

  std::uint32_t count_;
  DeferredVector<std::uint32_t, Owner> of_tensor_;
  DeferredVector<std::uint32_t, Owner> of_layer_;  // that keeps something
  DeferredVector<Copy, Owner> copies_;             // of embeddings, for the outputs of other stages
};

}  // namespace allot::load::detail
