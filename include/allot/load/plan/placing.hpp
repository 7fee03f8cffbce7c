// SPDX-License-Identifier: MIT
/// \file
/// `PlaceRule`: which tensors go to which device, whatever layer they are of. `ReservedMemory`: what a
/// plan reserves besides.
#pragma once

#include <cstdint>
#include <string>

namespace allot::load {

/// Tensors that go to one device. Of several rules the first that matches a name applies. Fused
/// tensors go by the name that they have together.
struct PlaceRule {
  std::string names;   ///< a shell pattern: `blk.*.ffn_*_exps.*`
  std::string device;  ///< one of `PlanOptions::devices`, by its name
};

/// Memory that a plan reserves with the model's: `model[name]` is its slice. A `KvCache` takes it as
/// its storage.
struct ReservedMemory {
  std::string name;      ///< for the plan's report
  std::uint64_t bytes;   ///< of it
  std::string device{};  ///< by its name; empty: the first one
};

}  // namespace allot::load
