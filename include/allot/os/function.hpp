// SPDX-License-Identifier: MIT
/// \file
/// `std::function`: without the searchers and binders that are most of `<functional>`, if the standard
/// library has a header for that.
#pragma once

#if __has_include(<bits/std_function.h>)
#include <new>  // which it needs, but only <functional> includes

#include <bits/std_function.h>
#else
#include <functional>
#endif
