// SPDX-License-Identifier: MIT
/// \file
/// `PlaceRule`: which tensors go to which device, whatever layer they are of.
#pragma once

#include <string>

namespace allot::load {

/// Tensors that go to one device. Of several rules the first that matches a name applies. Fused
/// tensors go by the name that they have together.
struct PlaceRule {
  std::string names;   ///< a shell pattern: `blk.*.ffn_*_exps.*`
  std::string device;  ///< one of `PlanOptions::devices`, by its name
};

}  // namespace allot::load
