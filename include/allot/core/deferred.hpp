// SPDX-License-Identifier: MIT
/// \file
/// `Deferred<Type, Parameter>`: a type that a template's body uses without compiling anything for it
/// until the template is instantiated. `deferred<Parameter>(object)`: an object, likewise.
/// docs/internals.md, "What a header compiles", says when to use them.
#pragma once

#include <allot/core/version.hpp>

namespace allot {

namespace detail {

template <class Type, class Parameter>
struct DeferredType {
  using type = Type;
};

}  // namespace detail

/// `Type`, but only known once `Parameter` is. `Parameter`: one of the surrounding template's.
template <class Type, class Parameter>
using Deferred = typename detail::DeferredType<Type, Parameter>::type;

/// Returns `object`, whose type is only known once `Parameter` is: `deferred<Owner>(items)` is `items`.
template <class Parameter, class Type>
[[nodiscard]] constexpr Deferred<Type, Parameter>& deferred(Type& object) noexcept {
  return object;
}

}  // namespace allot
