// What a model costs, before any of it is loaded or computed.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/plan.hpp"
#include "aulos/nn/module.hpp"

namespace aulos::inline AULOS_ISA::nn {

// aulos::plan with the model's parameters counted. The model needs no values: a model made from its Config alone owns
// no memory, so the largest can be planned anywhere.
template <Module M, class F>
Plan plan(const M& model, F&& f) {
  Plan plan = aulos::plan(std::forward<F>(f));
  plan.parameters = parameter_count(model);
  return plan;
}

}  // namespace aulos::inline AULOS_ISA::nn
