// The activation functions of neural networks and their derivatives, for a batch or a plain number. Each is a function
// object: `Gelu{}(x)` is the value and `Gelu{}.derivative(x)` the derivative. Every multiply-add is written fma(), so
// that no compiler contracts a plain number's formula and not a batch's. Infinities and NaN as in PyTorch, except
// that a derivative at an infinity is its limit (PyTorch: NaN for gelu and silu).
#pragma once

#include "aulos/simd/batch.hpp"
#include "aulos/simd/erf.hpp"
#include "aulos/simd/exp.hpp"
#include "aulos/simd/log.hpp"
#include "aulos/simd/piecewise.hpp"
#include "aulos/simd/tanh.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

// What sigmoid and silu share: e^-|x| as `plain`, which is 0 from the cut on, and as a product of two parts so that
// x e^-|x| can be rounded once where e^-|x| is subnormal: factor * (what finish multiplies by).
template <Vec V>
struct Decay {
  using T = Lane<V>;
  static constexpr T cut = sizeof(T) == 4 ? T(110) : T(755);
  static constexpr int shift = sizeof(T) == 4 ? 64 : 128;
  static constexpr T unshift = sizeof(T) == 4 ? T(0x1p-64) : T(0x1p-128);
#if defined(__AVX512F__)
  static constexpr bool has_scale = is_batch<V>;  // scale() is one instruction
#else
  static constexpr bool has_scale = false;
#endif

  explicit Decay(V x) noexcept {
    const ExpParts<V> e = exp_parts(raw_max(V(-cut), -simd::abs(x)));
    factor = e.mantissa * pow2<shift>(e.exponent);
    plain = has_scale ? scale(e.mantissa, e.exponent) : factor * V(unshift);
  }

  // Where `chosen`, y e^-|x| / factor; else y.
  V finish(V y, Mask<V> chosen) const noexcept { return y * select(chosen, V(unshift), V(T(1))); }

  V factor, plain;
};

// y = k0 x + k1 x^3 = 2 sqrt(2 / pi) (x + 0.044715 x^3), and what k0 and k1 lose in T.
template <class T>
struct TanhGateConstants;

template <>
struct TanhGateConstants<float> {
  static constexpr float cut = 10.031f;  // y is ln(2^127) there: e^-y is exactly 0
  static constexpr float k0 = 1.59576912f, k0_rest = -4.53406804e-8f, k1 = 0.0713548163f, k1_rest = 2.39883240e-9f;
};

template <>
struct TanhGateConstants<double> {
  static constexpr double cut = 21.1527;
  static constexpr double k0 = 1.595769121605730711759784, k0_rest = -9.96930880911e-17,
                          k1 = 0.07135481627260024877633875, k1_rest = -6.17514991816e-19;
};

// The gate of gelu_tanh is sigmoid(y). For it to have 4 eps, y = x w needs more digits than T holds: w = w_hi + w_lo.
template <Vec V>
struct TanhGate {
  using T = Lane<V>;
  using Constants = TanhGateConstants<T>;

  // 0 <= a <= cut
  explicit TanhGate(V a) noexcept : a_(a), square_(two_product(a, a)) {
    const TwoTerms<V> product = two_product(square_.hi, V(Constants::k1));
    const V w = in_order(V(Constants::k0) + product.hi);
    const V rest = fma(square_.hi, V(Constants::k1_rest), fma(square_.lo, V(Constants::k1), V(Constants::k0_rest)));
    const V w_lo = ((product.hi - in_order(w - V(Constants::k0))) + product.lo) + rest;
    const ExpParts<V> e = exp_parts_of_product(-a, w, w_lo);
    decay = e.mantissa * pow2(e.exponent);
  }

  V slope() const noexcept { return fma(square_.hi, V(T(3) * Constants::k1), V(Constants::k0)); }  // dy / dx

  V decay;  // e^-y

 private:
  V a_;
  TwoTerms<V> square_;
};

// y / (1 + e^-x) of floats as 2^floor(n) (y / sum), which neither overflows nor rounds a subnormal twice: n is the
// multiple of 1/16 nearest to x / ln 2, f its fraction, r = x - n ln 2, and sum = 2^floor(n) + 2^-f e^-r. Above 50
// that is y. A limit on n, not on x, lets the sum grow for very negative x, up to infinity for -inf.
template <Vec V>
requires has_lookup<V>
inline V logistic_by_lookup(V y, V x) noexcept {
  constexpr float p[] = {-1.0f, 0.50001615f, -0.16666727f};  // (e^-r - 1) / r, error of e^-r 1.6e-9
  const V limited = raw_min(V(50.0f), x);
  const Sixteenths<V> sixteenths(limited);
  const V n = raw_max(V(-240.0f), sixteenths.n);
  const V r = less_ln2(limited, n);
  const V power = look_up<V>(sixteenth_powers.down, sixteenths.index);
  const V sum = fma(power * r, horner(r, p), power + scale_by_floor(V(1.0f), n));
  return scale_by_floor(y / sum, n);
}

// max(x, 0) - |x| tail(|x|), the tail 0 from the end of the table on.
template <Vec V, std::size_t Degree>
requires has_lookup<V>
inline V gated_by_tail(V x, const EvenTable<Degree>& tail) noexcept {
  const V last(tail.last());
  const V size = simd::abs(raw_min(last, x));  // finite for +inf, infinite for -inf, whose gelu is NaN
  return fnma(size, piecewise(raw_min(last, size), tail), raw_max(V(0.0f), x));
}

}  // namespace detail

// 1 / (1 + e^-x) to 3 ULP.
template <Vec V>
inline V sigmoid(V x) noexcept {
  const V one(Lane<V>(1));
  if constexpr (detail::has_lookup<V>) return detail::logistic_by_lookup(one, x);
  const V e = detail::Decay<V>(x).plain;
  return select(x < V(Lane<V>(0)), e, one) / (one + e);
}

// x sigmoid(x) to 4 ULP.
template <Vec V>
inline V silu(V x) noexcept {
  using T = Lane<V>;
  const V one(T(1)), zero(T(0)), cut(detail::Decay<V>::cut);
#if defined(__AVX512F__)
  if constexpr (detail::has_lookup<V>) return detail::logistic_by_lookup(x, x);
  // x / (1 + e^-x) with e^-x = m 2^n as 2^-n (x / (2^-n + m)), which neither overflows nor rounds a subnormal twice.
  // Above 50 the quotient is x; below -cut the result is 0.
  const ExpParts<V> e = exp_parts(raw_max(V(T(-50)), raw_min(cut, -x)));
  const V minus_n = -e.exponent;
  return scale(select(x < -cut, x * zero, x) / (scale(one, minus_n) + e.mantissa), minus_n);
#else
  const detail::Decay<V> e(x);
  const Mask<V> negative = x < zero;
  const V factor = select(x < -cut, zero, e.factor);
  return e.finish(select(negative, x * factor, x) / (one + e.plain), negative);
#endif
}

// x Phi(x), Phi the distribution function of the normal distribution, to 4 eps max(|gelu(x)|, 2^-20 |x|)
// (torch gelu, approximate="none"). Written max(x, 0) - |x| Phi(-|x|).
template <Vec V>
inline V gelu(V x) noexcept {
  if constexpr (detail::has_lookup<V>) return detail::gated_by_tail(x, detail::normal_tail_table);
  const V cut(detail::ErfConstants<Lane<V>>::cut);
  const V size = simd::abs(raw_min(cut, x));  // finite for +inf, infinite for -inf, whose gelu is NaN
  const V a = raw_min(cut, size);
  const V tail = detail::gaussian(a) * detail::mills_ratio(a);
  return fnma(size, tail, raw_max(V(Lane<V>(0)), x));
}

// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, to 4 eps max(|gelu(x)|, 2^-20 |x|) (torch gelu,
// approximate="tanh"). Written max(x, 0) - |x| sigmoid(-|y|).
template <Vec V>
inline V gelu_tanh(V x) noexcept {
  if constexpr (detail::has_lookup<V>) return detail::gated_by_tail(x, detail::tanh_gate_tail_table);
  const V cut(detail::TanhGateConstants<Lane<V>>::cut);
  const V size = simd::abs(raw_min(cut, x));
  const V e = detail::TanhGate<V>(raw_min(cut, size)).decay;
  return fnma(size, e / (V(Lane<V>(1)) + e), raw_max(V(Lane<V>(0)), x));
}

// ---- function objects, also the names of activations in kernels and ops

struct Identity {
  template <Vec V>
  V operator()(V x) const noexcept {
    return x;
  }
  template <Vec V>
  V derivative(V) const noexcept {
    return V(Lane<V>(1));
  }
};

// max(x, 0); the derivative at 0 is 0.
struct Relu {
  template <Vec V>
  V operator()(V x) const noexcept {
    return raw_max(V(Lane<V>(0)), x);
  }
  template <Vec V>
  V derivative(V x) const noexcept {
    return select(x <= V(Lane<V>(0)), V(Lane<V>(0)), V(Lane<V>(1)));
  }
};

struct Sigmoid {
  template <Vec V>
  V operator()(V x) const noexcept {
    return simd::sigmoid(x);
  }
  template <Vec V>
  V derivative(V x) const noexcept {
    const V e = detail::Decay<V>(x).plain;
    const V d = V(Lane<V>(1)) + e;
    return e / (d * d);
  }
};

struct Tanh {
  template <Vec V>
  V operator()(V x) const noexcept {
    return simd::tanh(x);
  }
  // 4 sigmoid'(2 x)
  template <Vec V>
  V derivative(V x) const noexcept {
    return V(Lane<V>(4)) * Sigmoid{}.derivative(x + x);
  }
};

struct Silu {
  template <Vec V>
  V operator()(V x) const noexcept {
    return simd::silu(x);
  }
  // sigmoid(x) + x sigmoid'(x)
  template <Vec V>
  V derivative(V x) const noexcept {
    const V one(Lane<V>(1)), zero(Lane<V>(0)), cut(detail::Decay<V>::cut);
    const V e = detail::Decay<V>(x).plain;
    const V d = one + e;
    const V bend = raw_max(-cut, raw_min(cut, x)) * e / (d * d);
    return select(x < zero, e, one) / d + bend;
  }
};

struct Gelu {
  template <Vec V>
  V operator()(V x) const noexcept {
    return simd::gelu(x);
  }
  // Phi(x) + x phi(x)
  template <Vec V>
  V derivative(V x) const noexcept {
    const V zero(Lane<V>(0)), one(Lane<V>(1)), cut(detail::ErfConstants<Lane<V>>::cut);
    const V finite = raw_max(-cut, raw_min(cut, x));
    const V a = simd::abs(finite);
    const V g = detail::gaussian(a);
    const V mills = detail::mills_ratio(a);
    const V phi = select(x < zero, g * mills, fnma(g, mills, one));
    return fma(finite * g, V(Lane<V>(0.398942280401432678)), phi);
  }
};

struct GeluTanh {
  template <Vec V>
  V operator()(V x) const noexcept {
    return simd::gelu_tanh(x);
  }
  // sigmoid(y) + x sigmoid'(y) dy / dx
  template <Vec V>
  V derivative(V x) const noexcept {
    const V zero(Lane<V>(0)), one(Lane<V>(1)), cut(detail::TanhGateConstants<Lane<V>>::cut);
    const V finite = raw_max(-cut, raw_min(cut, x));
    const detail::TanhGate<V> gate(simd::abs(finite));
    const V d = one + gate.decay;
    return fma(finite * gate.slope(), gate.decay / (d * d), select(x < zero, gate.decay, one) / d);
  }
};

// log(1 + e^x); x itself above 20, as torch.
struct Softplus {
  template <Vec V>
  V operator()(V x) const noexcept {
    const V y = log1p_unit(detail::Decay<V>(x).plain, raw_max(V(Lane<V>(0)), x));
    return select(x > V(Lane<V>(20)), x, y);
  }
  template <Vec V>
  V derivative(V x) const noexcept {
    return select(x > V(Lane<V>(20)), V(Lane<V>(1)), simd::sigmoid(x));
  }
};

struct Exp {
  template <Vec V>
  V operator()(V x) const noexcept {
    return simd::exp(x);
  }
  template <Vec V>
  V derivative(V x) const noexcept {
    return simd::exp(x);
  }
};

struct Log {
  template <Vec V>
  V operator()(V x) const noexcept {
    return simd::log(x);
  }
  template <Vec V>
  V derivative(V x) const noexcept {
    return V(Lane<V>(1)) / x;
  }
};

struct Sqrt {
  template <Vec V>
  V operator()(V x) const noexcept {
    return simd::sqrt(x);
  }
  template <Vec V>
  V derivative(V x) const noexcept {
    return V(Lane<V>(0.5)) / simd::sqrt(x);
  }
};

struct Rsqrt {
  template <Vec V>
  V operator()(V x) const noexcept {
    return V(Lane<V>(1)) / simd::sqrt(x);
  }
  template <Vec V>
  V derivative(V x) const noexcept {
    const V y = V(Lane<V>(1)) / simd::sqrt(x);
    return V(Lane<V>(-0.5)) * (y * y * y);
  }
};

struct Square {
  template <Vec V>
  V operator()(V x) const noexcept {
    return x * x;
  }
  template <Vec V>
  V derivative(V x) const noexcept {
    return x + x;
  }
};

struct Abs {
  template <Vec V>
  V operator()(V x) const noexcept {
    return simd::abs(x);
  }
  // 0 at 0
  template <Vec V>
  V derivative(V x) const noexcept {
    const V zero(Lane<V>(0));
    return select(x == zero, zero, simd::copysign(V(Lane<V>(1)), x));
  }
};

// elu(x) + 1: x + 1 above 0, e^x below. The positive feature of linear attention.
struct EluPlusOne {
  template <Vec V>
  V operator()(V x) const noexcept {
    const V zero(Lane<V>(0));
    return simd::exp(raw_min(zero, x)) + raw_max(zero, x);
  }
  template <Vec V>
  V derivative(V x) const noexcept {
    return simd::exp(raw_min(V(Lane<V>(0)), x));
  }
};

}  // namespace aulos::inline AULOS_ISA::simd
