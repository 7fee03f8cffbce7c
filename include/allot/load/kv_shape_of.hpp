// SPDX-License-Identifier: MIT
/// \file
/// `load::kv_shape_of`: the shape of a paged KV cache for the model to load; `load::kv_groups_of`: its
/// groups of layers.
#pragma once

#include <allot/pool/kv/kv_shape_of.hpp>

namespace allot::load {

using allot::kv_groups_of;
using allot::kv_shape_of;

}  // namespace allot::load
