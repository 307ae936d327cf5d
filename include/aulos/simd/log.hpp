// Natural logarithm and log(1 + x), for a batch or a plain number, with the same bits in every lane.
#pragma once

#include <limits>

#include "aulos/simd/batch.hpp"
#include "aulos/simd/exp.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

template <class T>
struct LogConstants;

template <>
struct LogConstants<float> {
  static constexpr int mantissa_bits = 23;
  static constexpr std::uint32_t one = 0x3F800000u, sqrt_half = 0x3F3504F3u, mantissa_mask = 0x007FFFFFu;
  static constexpr std::uint32_t integer_bits = 0x4B000000u;  // 2^23: or-ing n < 2^23 in gives 2^23 + n
  static constexpr float exponent_bias = 8388608.0f + 127.0f;
  static constexpr float subnormal_scale = 8388608.0f, subnormal_log2 = 23.0f;  // 2^23
  static constexpr float ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;
  // (log(1 + f) - f + f^2 / 2) / f^3 for 1 + f within [sqrt(1/2), sqrt(2)]; error of the logarithm 5.8e-9.
  static constexpr float p[] = {0.333333317f,  -0.25000821f,   0.2000122739f, -0.1662335853f,
                                0.1420174714f, -0.1316016346f, 0.1276164331f, -0.076346203f};
};

template <>
struct LogConstants<double> {
  static constexpr int mantissa_bits = 52;
  static constexpr std::uint64_t one = 0x3FF0000000000000u, sqrt_half = 0x3FE6A09E667F3BCDu,
                                 mantissa_mask = 0x000FFFFFFFFFFFFFu;
  static constexpr std::uint64_t integer_bits = 0x4330000000000000u;
  static constexpr double exponent_bias = 4503599627370496.0 + 1023.0;
  static constexpr double subnormal_scale = 4503599627370496.0, subnormal_log2 = 52.0;
  static constexpr double ln2_hi = 6.93147180369123816490e-01, ln2_lo = 1.90821492927058770002e-10;
  // (2 atanh(s) - 2 s) / s^3 in s^2, s = f / (2 + f); error of the logarithm 1.2e-18.
  static constexpr double r[] = {0.666666666666673441, 0.399999999994146801, 0.285714287423873348, 0.222221985732070296,
                                 0.181835643252262421, 0.153140505695672505, 0.147959495681546806};
};

}  // namespace detail

// log(x) to 2 ULP; -inf at 0, NaN below, +inf at +inf.
template <Vec V>
inline V log(V x) noexcept {
  using T = Lane<V>;
  using Constants = detail::LogConstants<T>;
  const Mask<V> tiny = x < V((std::numeric_limits<T>::min)());
  const V scaled = select(tiny, x * V(Constants::subnormal_scale), x);
  // x = m 2^e with m within [sqrt(1/2), sqrt(2)].
  const Bits<V> shifted = to_bits(scaled) + Bits<V>(Constants::one - Constants::sqrt_half);
  const V m = from_bits<V>((shifted & Bits<V>(Constants::mantissa_mask)) + Bits<V>(Constants::sqrt_half));
  const V biased = from_bits<V>((shifted >> Constants::mantissa_bits) | Bits<V>(Constants::integer_bits));
  const V e =
      biased - select(tiny, V(Constants::exponent_bias + Constants::subnormal_log2), V(Constants::exponent_bias));

  const V f = m - V(T(1));
  const V half = V(T(0.5)) * f;
  V tail;  // log(1 + f) - (f - f^2 / 2)
  if constexpr (sizeof(T) == 4) {
    tail = horner(f, Constants::p) * (f * f * f);
  } else {
    const V s = f / (V(T(2)) + f);
    const V z = s * s;
    tail = s * fma(z, horner(z, Constants::r), half * f);
  }
  const V y = fma(e, V(Constants::ln2_hi), f - fma(half, f, -fma(e, V(Constants::ln2_lo), tail)));

  constexpr T infinity = std::numeric_limits<T>::infinity();
  const V below = select(x == V(T(0)), V(-infinity), V(std::numeric_limits<T>::quiet_NaN()));
  const V special = select(x > V(T(0)), x, select(is_nan(x), x, below));
  const Mask<V> ordinary = (x > V(T(0))) & (x <= V((std::numeric_limits<T>::max)()));
  return select(ordinary, y, special);
}

// c + log(1 + x) for 0 <= x <= 1; without c to 2 ULP in float.
template <Vec V>
inline V log1p_unit(V x, V c = V(Lane<V>(0))) noexcept {
  if constexpr (sizeof(Lane<V>) == 4) {
    // log(1 + x) / x in x - 1/2, error 0.5 * 2^-24.
    constexpr float p[] = {0.8109302f,    -0.28852707f, 0.1326105f,    -0.067689665f, 0.036613684f,
                           -0.020542646f, 0.011693277f, -0.006895542f, 0.005043911f,  -0.002987093f};
    return fma(x, horner(x - V(0.5f), p), c);
  } else {
    const V one(Lane<V>(1));
    const V u = in_order(one + x);
    return (simd::log(u) + (x - in_order(u - one)) / u) + c;
  }
}

}  // namespace aulos::inline AULOS_ISA::simd
