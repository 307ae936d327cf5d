// Data whose best denoiser is a formula: N(mean, diag(variance)), and what the tests of samplers share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "aulos/core/context.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/tensor.hpp"

namespace diffusion_support {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
using Batch = Tensor<double, 2>;  // [B, 3]

constexpr double mean[3] = {0.5, -1, 2};
constexpr double variance[3] = {0.3, 1, 2.5};

// The start of every run, two samples.
inline Batch start(Context& context) {
  const double x[6] = {0.3, -0.7, 1.1, -1.2, 0.4, 0.9};
  return context.from(Shape<2>{2, 3}, x);
}

// y(element, its channel) of x.
template <class F>
Batch map(Context& context, const Batch& x, const F& f) {
  Batch y = context.empty<double, 2>(x.shape());
  for (Index i = 0; i < x.count(); ++i) y.mutable_data()[i] = f(x.data()[i], static_cast<std::size_t>(i % 3));
  return y;
}

// E[x0 | x] where x = alpha x0 + sigma noise.
inline double expected(double x, std::size_t channel, double alpha, double sigma) {
  const double v = variance[channel];
  return mean[channel] + alpha * v / (alpha * alpha * v + sigma * sigma) * (x - alpha * mean[channel]);
}

// The velocity of rectified flow at level t.
inline Batch flow_velocity(Context& context, const Batch& x, double t) {
  return map(context, x, [t](double v, std::size_t c) { return (v - expected(v, c, 1 - t, t)) / t; });
}

// The noise of step i.
inline Batch noise(Context& context, Index i) {
  Batch z = context.empty<double, 2>(Shape<2>{2, 3});
  for (Index k = 0; k < 6; ++k) z.mutable_data()[k] = std::cos(static_cast<double>(7 * i + 3 * (k / 3) + k % 3));
  return z;
}

inline std::vector<double> values(const Batch& x) { return std::vector<double>(x.data(), x.data() + x.count()); }

inline void expect_near(const Batch& x, const std::vector<double>& want, double tolerance) {
  ASSERT_EQ(x.count(), static_cast<Index>(want.size()));
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(x.data()[i], want[i], tolerance) << i;
}

inline double distance(const Batch& x, const std::vector<double>& want) {
  double sum = 0;
  for (std::size_t i = 0; i < want.size(); ++i) sum += (x.data()[i] - want[i]) * (x.data()[i] - want[i]);
  return std::sqrt(sum);
}

// The text of the ConfigError that f throws.
template <class F>
std::string config_error(const F& f) {
  try {
    f();
  } catch (const aulos::ConfigError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace diffusion_support
