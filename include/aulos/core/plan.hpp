// What a computation costs, before any of it is done.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"

namespace aulos::inline AULOS_ISA {

// Runs f(Context&) in a Context that has shapes but no elements: operations, bytes and memory are counted as the same
// calls in a fresh Context would need them, and `peak_bytes` is exactly what that Context's memory().peak will say.
//     Plan plan = aulos::plan([&](Context& dry) { model(dry, dry.empty<float>(Shape<4>{1, 16, 128, 128}), ...); });
// f must not look at elements; what it decides by their values it has to decide otherwise in a plan (dry.dry()).
template <class F>
Plan plan(F&& f) {
  Context dry(Context::Dry{});
  std::forward<F>(f)(dry);
  return dry.planned();
}

}  // namespace aulos::inline AULOS_ISA
