// SPDX-License-Identifier: MIT
/// \file
/// `load::kv_shape_of`: the shape of a paged KV cache for the model to load.
#pragma once

#include <allot/pool/kv/kv_shape_of.hpp>

namespace allot::load {

using allot::kv_shape_of;

}  // namespace allot::load
