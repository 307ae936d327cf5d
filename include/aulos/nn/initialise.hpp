// Random initial values.
#pragma once

#include <cmath>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/random.hpp"
#include "aulos/nn/module.hpp"

namespace aulos::inline AULOS_ISA::nn {

// Derived buffers are left alone: whoever derives them fills them.

// Every parameter N(0, std^2). Streams follow the order of the walk, so that equal seeds give equal models.
template <Module M>
void initialise_normal(M& module, Random& random, double std) {
  for_each_parameter(module, [&](const auto& p) {
    if (p.role != Role::parameter) return;
    auto* x = p.data();
    random.normal(x, p.count());
    using T = std::remove_reference_t<decltype(*x)>;
    for (Index i = 0; i < p.count(); ++i) x[i] *= static_cast<T>(std);
  });
}

// PyTorch's default of Linear and Conv: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weights of two axes and more; vectors
// (biases, norms' weights) `vector_value`.
template <Module M>
void initialise_uniform(M& module, Random& random, double vector_value = 0) {
  for_each_parameter(module, [&](const auto& p) {
    if (p.role != Role::parameter) return;
    auto* x = p.data();
    using T = std::remove_reference_t<decltype(*x)>;
    if (p.shape.size() < 2) {
      for (Index i = 0; i < p.count(); ++i) x[i] = static_cast<T>(vector_value);
      return;
    }
    const Index fan_in = p.shape[0] == 0 ? 1 : p.count() / p.shape[0];
    const double bound = 1 / std::sqrt(static_cast<double>(fan_in < 1 ? 1 : fan_in));
    random.uniform(x, p.count());
    for (Index i = 0; i < p.count(); ++i) x[i] = static_cast<T>(bound * (2 * static_cast<double>(x[i]) - 1));
  });
}

// Every parameter zero.
template <Module M>
void zero(M& module) {
  for_each_parameter(module, [&](const auto& p) {
    if (p.role != Role::parameter) return;
    auto* x = p.data();
    for (Index i = 0; i < p.count(); ++i) x[i] = 0;
  });
}

}  // namespace aulos::inline AULOS_ISA::nn
