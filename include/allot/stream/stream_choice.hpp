// SPDX-License-Identifier: MIT
/// \file
/// `StreamChoice`: which of several streams the next work goes to.
#pragma once

#include <allot/core/version.hpp>

namespace allot {

/// Which stream the next work goes to.
enum class StreamChoice {
  round_robin,
  least_outstanding,  ///< the one with the fewest bytes that are not known to be done
};

}  // namespace allot
