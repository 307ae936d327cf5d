// The error function and the tail of the normal distribution, for a batch or a plain number.
#pragma once

#include "aulos/simd/batch.hpp"
#include "aulos/simd/exp.hpp"
#include "aulos/simd/piecewise.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

template <class T>
struct ErfConstants;

template <>
struct ErfConstants<float> {
  // Where e^(-t^2 / 2) = 2^-127, which pow2 gives as 0: the normal tail is exactly 0 from here on.
  static constexpr float cut = 13.2687f;
  static constexpr float erf_one = 4.0f;  // erf is 1 from here on
  // Phi(-t) e^(t^2 / 2) = p(t) / q(t) for t >= 0: error 3.0e-8 where Phi(-t) > 2^-20, less than 2^-45 of x beyond.
  static constexpr float p[] = {0.4999999851f, 0.326308787f, 0.1001985762f, 0.01271673757f};
  static constexpr float q[] = {1.0f, 1.450500232f, 0.8577484236f, 0.2504501389f, 0.03190528765f};
  // erf(x) / x - 1 in x^2 for |x| <= 1, error 1.2e-9.
  static constexpr float near_zero[] = {0.1283791657f,   -0.3761262582f,    0.1128358515f,    -0.02685381193f,
                                        0.005188327685f, -0.0008010193615f, 0.00007853861318f};
};

template <>
struct ErfConstants<double> {
  static constexpr double cut = 37.6587;
  static constexpr double erf_one = 6.0;
  // Error 3.9e-17.
  static constexpr double p[] = {0.49999999999999998,     0.583015735483226406,    0.340500109419443236,
                                 0.122557326152657326,    0.0289301103178042162,   0.00445043381399700735,
                                 0.000413348512529918637, 0.0000179957983577524402};
  static constexpr double q[] = {1.0,
                                 1.9639160317693101,
                                 1.74797849930112021,
                                 0.923803213892418203,
                                 0.318285386082212815,
                                 0.0735520752103851153,
                                 0.0112007496662988782,
                                 0.00103610905880641816,
                                 0.0000451088109418298397};
  // Error 7.3e-18.
  static constexpr double near_zero[] = {0.128379167095512566,    -0.376126389031835195,     0.112837916709441847,
                                         -0.0268661706431114673,  0.00522397760611847446,    -0.000854832592931451954,
                                         0.000120552935769011427, -0.0000149247123020167993, 1.64471315713506184e-6,
                                         -1.62063137590070355e-7, 1.37109804001871767e-8,    -7.77946849282461209e-10};
};

// Phi(-t) e^(t^2 / 2), Phi the distribution function of the normal distribution, for 0 <= t <= cut.
template <Vec V>
inline V mills_ratio(V t) noexcept {
  using Constants = ErfConstants<Lane<V>>;
  if constexpr (has_fma && sizeof(Lane<V>) == 4) {
    return horner(t, Constants::p) / horner(t, Constants::q);
  } else {
    return estrin(t, Constants::p) / estrin(t, Constants::q);
  }
}

// e^(-t^2 / 2), the square not rounded, for 0 <= t <= cut, where it is 0.
template <Vec V>
inline V gaussian(V t) noexcept {
  const ExpParts<V> e = exp_parts_of_product(t, t * V(Lane<V>(-0.5)));
  return e.mantissa * pow2(e.exponent);
}

}  // namespace detail

// erf(x) to 3 ULP: by a table, or 1 - 2 Phi(-sqrt(2) x), and a polynomial for small x.
template <Vec V>
inline V erf(V x) noexcept {
  using T = Lane<V>;
  if constexpr (detail::has_lookup<V>) return detail::odd_piecewise(x, detail::erf_table);
  using Constants = detail::ErfConstants<T>;
  const V a = raw_min(V(Constants::erf_one), simd::abs(x));
  const ExpParts<V> e = exp_parts_of_product(a, -a);
  const V tail = detail::mills_ratio(a * V(T(1.41421356237309505))) * (e.mantissa * pow2(e.exponent));
  const V large = fnma(V(T(2)), tail, V(T(1)));
  const V near_zero = fma(a, horner(a * a, Constants::near_zero), a);
  return simd::copysign(select(a < V(T(1)), near_zero, large), x);
}

}  // namespace aulos::inline AULOS_ISA::simd
