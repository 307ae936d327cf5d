// e^x to 1 ULP, for a batch or a plain number, with the same bits in every lane.
#pragma once

#include <cstddef>

#include "aulos/simd/batch.hpp"
#include "aulos/simd/piecewise.hpp"

namespace aulos::inline AULOS_ISA::simd {

// c[0] + c[1] x + c[2] x^2 + ...
template <Vec V, std::size_t Count>
inline V horner(V x, const Lane<V> (&c)[Count]) noexcept {
  V sum(c[Count - 1]);
  AULOS_UNROLL
  for (std::size_t i = Count - 1; i > 0; --i) sum = fma(sum, x, V(c[i - 1]));
  return sum;
}

namespace detail {

template <Vec V, std::size_t Count>
inline V estrin_terms(V x, const V (&term)[Count]) noexcept {
  if constexpr (Count == 1) {
    return term[0];
  } else {
    V pair[(Count + 1) / 2];
    AULOS_UNROLL
    for (std::size_t i = 0; i < Count / 2; ++i) pair[i] = fma(term[2 * i + 1], x, term[2 * i]);
    if constexpr (Count % 2 == 1) pair[Count / 2] = term[Count - 1];
    return estrin_terms(x * x, pair);
  }
}

}  // namespace detail

// The same polynomial by pairs, pairs of pairs, ...: half the rounding errors of Horner's rule where all terms have one
// sign, a shorter chain of operations, a few more of them.
template <Vec V, std::size_t Count>
inline V estrin(V x, const Lane<V> (&c)[Count]) noexcept {
  V term[Count];
  AULOS_UNROLL
  for (std::size_t i = 0; i < Count; ++i) term[i] = V(c[i]);
  return detail::estrin_terms(x, term);
}

// An unevaluated sum.
template <Vec V>
struct TwoTerms {
  V hi, lo;
};

// a * b as hi + lo; without a fused multiply-add by splitting each factor into halves.
template <Vec V>
inline TwoTerms<V> two_product(V a, V b) noexcept {
  const V hi = in_order(a * b);
  if constexpr (has_fma) {
    return {hi, fma(a, b, -hi)};
  } else {
    constexpr int cut = sizeof(Lane<V>) == 4 ? 12 : 27;
    const V a_hi = from_bits<V>((to_bits(a) >> cut) << cut), a_lo = in_order(a - a_hi);
    const V b_hi = from_bits<V>((to_bits(b) >> cut) << cut), b_lo = in_order(b - b_hi);
    return {hi, ((a_hi * b_hi - hi) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo};
  }
}

namespace detail {

template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float inverse_ln2 = 1.44269504f, ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;
  static constexpr float lowest = -104.5f, highest = 89.0f;  // beyond: 0 and infinity
  static constexpr float round_bias = 12582912.0f + 127.0f;  // 1.5 * 2^23: its low bits count in ones
  static constexpr int mantissa_bits = 23;
  // e^r for |r| <= ln(2) / 2, error 3.1e-9.
  static constexpr float p[] = {1.0f,           1.0f, 0.4999999345f, 0.1666652063f, 0.04166838807f, 0.008368716897f,
                                0.001381459774f};
};

template <>
struct ExpConstants<double> {
  static constexpr double inverse_ln2 = 1.4426950408889634074, ln2_hi = 6.93147180369123816490e-01,
                          ln2_lo = 1.90821492927058770002e-10;
  static constexpr double lowest = -746.0, highest = 710.0;
  static constexpr double round_bias = 6755399441055744.0 + 1023.0;
  static constexpr int mantissa_bits = 52;
  // Error 3.6e-18.
  static constexpr double p[] = {1.0,
                                 1.0,
                                 0.50000000000000106271,
                                 0.16666666666666412513,
                                 0.041666666666530158469,
                                 0.0083333333334944674437,
                                 0.0013888888943630175595,
                                 0.00019841269506566313178,
                                 2.4801493098825659712e-5,
                                 2.755758638490087114e-6,
                                 2.7630248410793835904e-7,
                                 2.5000058085622504092e-8};
};

}  // namespace detail

// 2^(n + Shift) for an integral n where the result is a normal number.
template <int Shift = 0, Vec V>
inline V pow2(V n) noexcept {
  using Constants = detail::ExpConstants<Lane<V>>;
  return from_bits<V>(to_bits(n + V(Constants::round_bias + Lane<V>(Shift))) << Constants::mantissa_bits);
}

// x 2^n for an integral n, |n| up to twice the exponent range: overflows to infinity, rounds subnormals once.
template <Vec V>
inline V scale(V x, V n) noexcept {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, Batch<float>>) return {_mm512_scalef_ps(x.native(), n.native())};
  if constexpr (std::is_same_v<V, Batch<double>>) return {_mm512_scalef_pd(x.native(), n.native())};
#endif
  const V half = round(n * V(Lane<V>(0.5)));
  return (x * pow2(half)) * pow2(n - half);
}

#if defined(__AVX512F__) && defined(__AVX512DQ__)
namespace detail {

// x - round(x), and 0 of an infinity.
template <Vec V>
inline V distance_to_integer(V x) noexcept {
  if constexpr (std::is_same_v<V, Batch<float>>) {
    return V(_mm512_reduce_ps(x.native(), _MM_FROUND_TO_NEAREST_INT));
  } else {
    return V(_mm512_reduce_pd(x.native(), _MM_FROUND_TO_NEAREST_INT));
  }
}

}  // namespace detail
#endif

// 2^x from a polynomial c for 2^r, |r| <= 1/2, without the care that large x takes: exact at integers if c[0] is 1, 0
// for -inf and wherever 2^x is no number, NaN for NaN. Between that and the normal numbers it rounds gradually with
// AVX-512, and is 0 elsewhere.
template <Vec V, std::size_t Count>
inline V exp2_by(V x, const Lane<V> (&c)[Count]) noexcept {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  if constexpr (is_batch<V>) {
    const V r = detail::distance_to_integer(x);
    return scale(horner(r, c), x - r);
  }
#endif
  constexpr Lane<V> none = sizeof(Lane<V>) == 4 ? Lane<V>(-127) : Lane<V>(-1023);  // pow2 of it is 0
  x = raw_max(V(none), x);
  const V n = round(x);
  return horner(x - n, c) * pow2(n);
}

// The same from a polynomial c for 2^r, 0 <= r <= 1: an operation fewer with AVX-512, whose scale takes the floor of n.
template <Vec V, std::size_t Count>
inline V exp2_by_floor(V x, const Lane<V> (&c)[Count]) noexcept {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  if constexpr (std::is_same_v<V, Batch<float>>) {
    return scale(horner(V(_mm512_reduce_ps(x.native(), _MM_FROUND_TO_NEG_INF)), c), x);
  } else if constexpr (is_batch<V>) {
    return scale(horner(V(_mm512_reduce_pd(x.native(), _MM_FROUND_TO_NEG_INF)), c), x);
  }
#endif
  constexpr Lane<V> half = Lane<V>(0.5), none = sizeof(Lane<V>) == 4 ? Lane<V>(-127) : Lane<V>(-1023);
  x = raw_max(V(none + half), x);
  const V n = round(x - V(half));  // of an odd integer, what is below it, and r is 1
  return horner(x - n, c) * pow2(n);
}

// exp2_by of each x, step by step for all of them: one's latency passes with the work on the others.
template <Vec V, std::size_t Size, std::size_t Count>
inline void exp2_all_by(V (&x)[Size], const Lane<V> (&c)[Count]) noexcept {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  if constexpr (is_batch<V>) {
    V r[Size], sum[Size];
    AULOS_UNROLL
    for (std::size_t i = 0; i < Size; ++i) {
      r[i] = detail::distance_to_integer(x[i]);
      x[i] = x[i] - r[i];
      sum[i] = V(c[Count - 1]);
    }
    AULOS_UNROLL
    for (std::size_t k = Count - 1; k > 0; --k) {
      AULOS_UNROLL
      for (std::size_t i = 0; i < Size; ++i) sum[i] = fma(sum[i], r[i], V(c[k - 1]));
    }
    AULOS_UNROLL
    for (std::size_t i = 0; i < Size; ++i) x[i] = scale(sum[i], x[i]);
    return;
  }
#endif
  AULOS_UNROLL
  for (std::size_t i = 0; i < Size; ++i) x[i] = exp2_by(x[i], c);
}

namespace detail {

// x - n ln 2, ln 2 in two parts.
template <Vec V>
inline V less_ln2(V x, V n) noexcept {
  using Constants = ExpConstants<Lane<V>>;
  return fnma(n, V(Constants::ln2_lo), fnma(n, V(Constants::ln2_hi), x));
}

// The multiple n of 1/16 nearest to x / ln 2, and 16 n in the low bits of `index`: with the powers of 2 between looked
// up, a polynomial of three terms is left.
template <Vec V>
requires has_lookup<V>
struct Sixteenths {
  static constexpr float round_bias = 786432.0f;  // 1.5 * 2^19: the low bits of a sum count in sixteenths

  explicit Sixteenths(V x) noexcept {
    const V biased = in_order(fma(x, V(ExpConstants<float>::inverse_ln2), V(round_bias)));
    n = in_order(biased - V(round_bias));
    index = to_bits(biased);
  }

  V n;
  Bits<V> index;
};

struct PowersOfTwo {
  alignas(64) float up[16], down[16];
};
// 2^(i / 16) and 2^(-i / 16)
inline constexpr PowersOfTwo sixteenth_powers = {
    {1.0f, 1.0442737f, 1.0905077f, 1.1387886f, 1.1892071f, 1.2418578f, 1.2968396f, 1.3542556f, 1.4142135f, 1.4768262f,
     1.5422108f, 1.6104903f, 1.6817929f, 1.7562522f, 1.8340081f, 1.9152066f},
    {1.0f, 0.9576033f, 0.91700405f, 0.8781261f, 0.8408964f, 0.80524516f, 0.7711054f, 0.7384131f, 0.70710677f,
     0.6771278f, 0.6484198f, 0.6209289f, 0.59460354f, 0.5693943f, 0.5452539f, 0.52213687f}};

// x 2^floor(n), |n| up to twice the exponent range.
template <Vec V>
requires has_lookup<V>
inline V scale_by_floor(V x, V n) noexcept {
  if constexpr (std::is_same_v<V, float>) {
    return scale(x, std::floor(n));
  } else {
    return scale(x, n);  // the instruction takes the floor
  }
}

}  // namespace detail

// e^x = mantissa 2^exponent, the mantissa within [0.7, 1.42]. Meaningless where |x| is beyond a million.
template <Vec V>
struct ExpParts {
  V mantissa, exponent;
};

template <Vec V>
inline ExpParts<V> exp_parts(V x) noexcept {
  using Constants = detail::ExpConstants<Lane<V>>;
  const V n = round(x * V(Constants::inverse_ln2));
  return {horner(detail::less_ln2(x, n), Constants::p), n};
}

// Parts of e^(a (b + b_lo)), the product not rounded, b_lo much smaller than b.
template <Vec V>
inline ExpParts<V> exp_parts_of_product(V a, V b, V b_lo = V(Lane<V>(0))) noexcept {
  using Constants = detail::ExpConstants<Lane<V>>;
  const V n = round(a * b * V(Constants::inverse_ln2));
  V r;
  if constexpr (has_fma) {
    r = fma(a, b, -(n * V(Constants::ln2_hi)));  // n ln2_hi is exact
  } else {
    const TwoTerms<V> product = two_product(a, b);
    r = in_order(product.hi - n * V(Constants::ln2_hi)) + product.lo;
  }
  return {horner(fma(a, b_lo, fnma(n, V(Constants::ln2_lo), r)), Constants::p), n};
}

namespace detail {

// e^x, x no further than 1.2 times beyond where the result is a number.
template <Vec V>
requires has_lookup<V>
inline V exp_by_lookup(V x) noexcept {
  constexpr float p[] = {1.0f, 0.50001615f, 0.16666727f};  // (e^r - 1) / r, error of e^r 1.6e-9
  const Sixteenths<V> sixteenths(x);
  const V r = less_ln2(x, sixteenths.n);
  const V power = look_up<V>(sixteenth_powers.up, sixteenths.index);
  return scale_by_floor(fma(power * r, horner(r, p), power), sixteenths.n);
}

}  // namespace detail

// e^x for every x: infinity above the range, 0 below, gradual underflow, NaN for NaN.
template <Vec V>
inline V exp(V x) noexcept {
  using Constants = detail::ExpConstants<Lane<V>>;
  x = raw_max(V(Constants::lowest), raw_min(V(Constants::highest), x));
  if constexpr (detail::has_lookup<V>) return detail::exp_by_lookup(x);
  const ExpParts<V> e = exp_parts(x);
  return scale(e.mantissa, e.exponent);
}

// e^x for x in the range where the result is a normal number (float: -87.3 to 88.3, double: -708.3 to 709.4).
template <Vec V>
inline V exp_normal(V x) noexcept {
  if constexpr (detail::has_lookup<V>) return detail::exp_by_lookup(x);
  const ExpParts<V> e = exp_parts(x);
  return e.mantissa * pow2(e.exponent);
}

}  // namespace aulos::inline AULOS_ISA::simd
