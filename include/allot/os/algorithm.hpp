// SPDX-License-Identifier: MIT
/// \file
/// The algorithms of `<algorithm>` that take iterators, without its ranges and parallel forms, if the
/// standard library has a header that leaves them out.
#pragma once

#if __has_include(<bits/stl_algo.h>)
#include <utility>  // which it needs, but only <algorithm> includes

#include <bits/stl_algo.h>
#else
#include <algorithm>
#endif
