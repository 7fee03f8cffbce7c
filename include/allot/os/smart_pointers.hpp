// SPDX-License-Identifier: MIT
/// \file
/// `std::shared_ptr` and `std::unique_ptr`, without the parallel algorithms, ranges and atomic pointers
/// that are most of `<memory>`, if the standard library has headers for that.
#pragma once

#if __has_include(<bits/shared_ptr.h>) && __has_include(<bits/unique_ptr.h>)
#include <bits/shared_ptr.h>
#include <bits/unique_ptr.h>
#else
#include <memory>
#endif
