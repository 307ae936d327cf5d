// The readable twin of activation.hpp: the formulas in double, one element at a time.
#pragma once

#include <cmath>

#include "aulos/kernels/rows.hpp"
#include "aulos/simd/activations.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

inline double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
inline double normal_cdf(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }
inline double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979323846); }
inline double gelu_argument(double x) { return std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x); }

inline double value(simd::Identity, double x) { return x; }
inline double value(simd::Relu, double x) { return x < 0 ? 0 : x; }
inline double value(simd::Sigmoid, double x) { return sigmoid(x); }
inline double value(simd::Tanh, double x) { return std::tanh(x); }
inline double value(simd::Silu, double x) { return x * sigmoid(x); }
inline double value(simd::Gelu, double x) { return x * normal_cdf(x); }
inline double value(simd::GeluTanh, double x) { return x * (1 + std::tanh(gelu_argument(x))) / 2; }
inline double value(simd::Softplus, double x) { return x > 20 ? x : std::log1p(std::exp(x)); }
inline double value(simd::Exp, double x) { return std::exp(x); }
inline double value(simd::Log, double x) { return std::log(x); }
inline double value(simd::Sqrt, double x) { return std::sqrt(x); }
inline double value(simd::EluPlusOne, double x) { return x > 0 ? x + 1 : std::exp(x); }
inline double value(simd::Rsqrt, double x) { return 1 / std::sqrt(x); }
inline double value(simd::Square, double x) { return x * x; }
inline double value(simd::Abs, double x) { return std::fabs(x); }

inline double derivative(simd::Identity, double) { return 1; }
inline double derivative(simd::Relu, double x) { return x > 0 ? 1 : 0; }
inline double derivative(simd::Sigmoid, double x) { return sigmoid(x) * sigmoid(-x); }
inline double derivative(simd::Tanh, double x) { return 1 - std::tanh(x) * std::tanh(x); }
inline double derivative(simd::Silu, double x) { return sigmoid(x) * (1 + x * sigmoid(-x)); }
inline double derivative(simd::Gelu, double x) { return normal_cdf(x) + x * normal_density(x); }
inline double derivative(simd::GeluTanh, double x) {
  const double t = std::tanh(gelu_argument(x));
  const double slope = std::sqrt(2 / 3.14159265358979323846) * (1 + 0.134145 * x * x);
  return (1 + t) / 2 + x * (1 - t * t) * slope / 2;
}
inline double derivative(simd::Softplus, double x) { return x > 20 ? 1 : sigmoid(x); }
inline double derivative(simd::Exp, double x) { return std::exp(x); }
inline double derivative(simd::Log, double x) { return 1 / x; }
inline double derivative(simd::Sqrt, double x) { return 1 / (2 * std::sqrt(x)); }
inline double derivative(simd::EluPlusOne, double x) { return x > 0 ? 1 : std::exp(x); }
inline double derivative(simd::Rsqrt, double x) { return -1 / (2 * x * std::sqrt(x)); }
inline double derivative(simd::Square, double x) { return 2 * x; }
inline double derivative(simd::Abs, double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

template <class T, class F>
void activate(Index rows, Index columns, Rows<const T> x, Rows<T> y, F f) {
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) y[r][c] = static_cast<T>(value(f, static_cast<double>(x[r][c])));
  }
}

template <class T, class F>
void activate_backward(Index rows, Index columns, Rows<const T> x, Rows<const T> gy, Rows<T> gx, F f) {
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) {
      gx[r][c] = static_cast<T>(static_cast<double>(gy[r][c]) * derivative(f, static_cast<double>(x[r][c])));
    }
  }
}

template <class T, class F>
void gated_activation(Index rows, Index columns, Rows<const T> a, Rows<const T> b, Rows<T> y, F f) {
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) {
      y[r][c] = static_cast<T>(value(f, static_cast<double>(a[r][c])) * static_cast<double>(b[r][c]));
    }
  }
}

template <class T, class F>
void gated_activation_backward(Index rows, Index columns, Rows<const T> a, Rows<const T> b, Rows<const T> gy,
                               Rows<T> ga, Rows<T> gb, F f) {
  for (Index r = 0; r < rows; ++r) {
    for (Index c = 0; c < columns; ++c) {
      const double va = static_cast<double>(a[r][c]), vb = static_cast<double>(b[r][c]);
      const double g = static_cast<double>(gy[r][c]);
      ga[r][c] = static_cast<T>(g * vb * derivative(f, va));
      gb[r][c] = static_cast<T>(g * value(f, va));
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
