// The forward of each family, twice: a translation unit for each keeps compilation short.
#pragma once

#include <initializer_list>

#include "aulos/core/context.hpp"
#include "aulos/core/random.hpp"
#include "aulos/nn/initialise.hpp"
#include "tests/special/allocations/hook.hpp"

namespace aulos_tests {

// Whether the forward allocates nothing after its first call.
bool quiet_flux();
bool quiet_dit();
bool quiet_vit();
bool quiet_sepformer();
bool quiet_dprnn();

template <class M>
M random_model(const typename M::Config& config) {
  M model(config);
  aulos::Random random(1);
  aulos::nn::initialise_normal(model, random, 0.1);
  if constexpr (requires { model.derive_buffers(); }) model.derive_buffers();
  return model;
}

// run(context, size): a forward of that many samples, patches or tokens on 1 and on 2 threads.
template <class F>
bool quiet_forward(const char* what, std::initializer_list<aulos::Index> sizes, F&& run) {
  bool right = true;
  for (const int threads : {1, 2}) {
    for (const aulos::Index size : sizes) {
      aulos::Context context({.threads = threads});
      right = quiet(what, threads, 1, [&] { run(context, size); }) && right;
    }
  }
  return right;
}

// The forward of a model that separates mixtures.
template <class M>
bool quiet_separator(const char* what, const M& model) {
  return quiet_forward(what, {900, 8000}, [&](aulos::Context& context, aulos::Index samples) {
    model(context, context.normal<float>(aulos::Shape<2>{2, samples}));
  });
}

}  // namespace aulos_tests
