// SPDX-License-Identifier: MIT
/// \file
/// `DeferredVector<Type, Owner>`, `DeferredSpan<Type, Owner>`, `DeferredOptional<Type, Owner>`:
/// `std::vector<Type>`, `std::span<Type>` and `std::optional<Type>`, but not known before the template
/// with the parameter `Owner` is used. A file that includes a header then compiles none of what its
/// templates do with them (docs/internals.md, "What a header compiles").
#pragma once

#include <allot/core/deferred.hpp>
#include <allot/core/version.hpp>

#include <optional>
#include <span>
#include <vector>

namespace allot {

/// `std::vector<Type>`, but only known once `Owner` is: a parameter of the surrounding template.
template <class Type, class Owner>
using DeferredVector = Deferred<std::vector<Type>, Owner>;

/// `std::span<Type>`, but only known once `Owner` is: a parameter of the surrounding template.
template <class Type, class Owner>
using DeferredSpan = Deferred<std::span<Type>, Owner>;

/// `std::optional<Type>`, but only known once `Owner` is: a parameter of the surrounding template.
template <class Type, class Owner>
using DeferredOptional = Deferred<std::optional<Type>, Owner>;

}  // namespace allot
