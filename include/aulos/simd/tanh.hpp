// Hyperbolic tangent, for a batch or a plain number.
#pragma once

#include "aulos/simd/batch.hpp"
#include "aulos/simd/exp.hpp"
#include "aulos/simd/piecewise.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

template <class T>
struct TanhConstants;

template <>
struct TanhConstants<float> {
  static constexpr float one = 9.5f;  // tanh is 1 from here on
  // (tanh(x) - x) / x^3 in x^2 for |x| <= 0.625, error of tanh 4.4e-9.
  static constexpr float near_zero[] = {-0.3333328194f, 0.133314422f, -0.05373971513f, 0.02063908738f,
                                        -0.005704987144f};
};

template <>
struct TanhConstants<double> {
  static constexpr double one = 20.0;
  // Error 1.0e-17.
  static constexpr double near_zero[] = {-0.333333333333328553,    0.133333333332620925,     -0.0539682539312681586,
                                         0.021869487576103181,     -0.00886322100272123221,  0.00359198917439589135,
                                         -0.00145495888032066966,  0.000586316546213084411,  -0.000228564220034027853,
                                         0.0000771443739812243682, -0.0000160725721193552267};
};

}  // namespace detail

// tanh(x) to 2 ULP: by a table, or a polynomial for small x, 1 - 2 / (e^2x + 1) for the others.
template <Vec V>
inline V tanh(V x) noexcept {
  using T = Lane<V>;
  if constexpr (detail::has_lookup<V>) return detail::odd_piecewise(x, detail::tanh_table);
  using Constants = detail::TanhConstants<T>;
  const V a = raw_min(V(Constants::one), simd::abs(x));
  const V large = V(T(1)) - V(T(2)) / (exp_normal(a + a) + V(T(1)));
  const V square = a * a;
  const V near_zero = fma(a * square, horner(square, Constants::near_zero), a);
  return simd::copysign(select(a < V(T(0.625)), near_zero, large), x);
}

}  // namespace aulos::inline AULOS_ISA::simd
