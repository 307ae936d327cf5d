// The activation functions of neural networks and their derivatives, for a batch or a plain number. Each is a function
// object: `Gelu{}(x)` is the value and `Gelu{}.derivative(x)` the derivative. Infinities and NaN as in PyTorch, except
// that a derivative at an infinity is its limit (PyTorch: NaN for gelu and silu).
#pragma once

#include "aulos/simd/batch.hpp"
#include "aulos/simd/erf.hpp"
#include "aulos/simd/exp.hpp"
#include "aulos/simd/log.hpp"
#include "aulos/simd/tanh.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

// What sigmoid and silu share: `shifted` = e^-|x| 2^shift, a normal number where e^-|x| needs not be, and e^-|x|.
// Both are 0 beyond the cut, where x e^-|x| rounds to 0.
template <Vec V>
struct Decay {
  static constexpr int shift = sizeof(Lane<V>) == 4 ? 64 : 128;
  static constexpr Lane<V> unshift = sizeof(Lane<V>) == 4 ? Lane<V>(0x1p-64) : Lane<V>(0x1p-128);
  static constexpr Lane<V> cut = sizeof(Lane<V>) == 4 ? Lane<V>(110) : Lane<V>(755);

  explicit Decay(V x) noexcept {
    const V a = simd::abs(x);
    const ExpParts<V> e = exp_parts(-a);
    shifted = select(a > V(cut), V(Lane<V>(0)), e.mantissa * pow2<shift>(e.exponent));
    plain = shifted * V(unshift);
  }

  V shifted, plain;
};

// y = k0 x + k1 x^3 = 2 sqrt(2 / pi) (x + 0.044715 x^3), and what k0 and k1 lose in T.
template <class T>
struct TanhGateConstants;

template <>
struct TanhGateConstants<float> {
  static constexpr float cut = 86.0f, k0 = 1.59576912f, k0_rest = -4.53406804e-8f, k1 = 0.0713548163f,
                         k1_rest = 2.39883240e-9f;
};

template <>
struct TanhGateConstants<double> {
  static constexpr double cut = 700.0, k0 = 1.595769121605730711759784, k0_rest = -9.96930880911e-17,
                          k1 = 0.07135481627260024877633875, k1_rest = -6.17514991816e-19;
};

// The gate of gelu_tanh is sigmoid(y). For it to have 4 eps, y = x w needs more digits than T holds: w = w_hi + w_lo.
template <Vec V>
struct TanhGate {
  using T = Lane<V>;
  using C = TanhGateConstants<T>;

  explicit TanhGate(V x) noexcept {
    const TwoTerms<V> square = two_product(x, x);
    const TwoTerms<V> product = two_product(square.hi, V(C::k1));
    const V w_hi = V(C::k0) + product.hi;
    const V rest = fma(square.hi, V(C::k1_rest), fma(square.lo, V(C::k1), V(C::k0_rest)));
    const V w_lo = ((product.hi - (w_hi - V(C::k0))) + product.lo) + rest;
    const V a = simd::abs(x);
    const TwoTerms<V> y = two_product(-a, w_hi);
    const ExpParts<V> e = exp_parts(y.hi, fnma(a, w_lo, y.lo));
    slope = fma(square.hi, V(T(3) * C::k1), V(C::k0));
    saturated = y.hi < V(-C::cut);
    decay = select(saturated, V(T(0)), e.mantissa * pow2(e.exponent));
  }

  V decay, slope;     // e^-|y|, dy / dx
  Mask<V> saturated;  // decay is taken as 0
};

}  // namespace detail

// 1 / (1 + e^-x) to 3 ULP.
template <Vec V>
inline V sigmoid(V x) noexcept {
  const V one(Lane<V>(1));
  const V e = detail::Decay<V>(x).plain;
  return select(x < V(Lane<V>(0)), e, one) / (one + e);
}

// x sigmoid(x) to 4 ULP.
template <Vec V>
inline V silu(V x) noexcept {
  const V one(Lane<V>(1)), zero(Lane<V>(0));
  const detail::Decay<V> e(x);
  const Mask<V> negative = x < zero;
  return select(negative, x * e.shifted, x) / (one + e.plain) * select(negative, V(detail::Decay<V>::unshift), one);
}

// x Phi(x), Phi the distribution function of the normal distribution, to 4 eps max(|gelu(x)|, 2^-20 |x|)
// (torch gelu, approximate="none").
template <Vec V>
inline V gelu(V x) noexcept {
  using C = detail::ErfConstants<Lane<V>>;
  const V zero(Lane<V>(0)), one(Lane<V>(1));
  const V a = simd::abs(x);
  const V tail = select(a > V(C::cut), zero, detail::gaussian(a) * detail::mills_ratio(a));
  return x * select(x < zero, tail, one - tail);
}

// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, to 4 eps max(|gelu(x)|, 2^-20 |x|) (torch gelu,
// approximate="tanh").
template <Vec V>
inline V gelu_tanh(V x) noexcept {
  const V one(Lane<V>(1));
  const V e = detail::TanhGate<V>(x).decay;
  return x * (select(x < V(Lane<V>(0)), e, one) / (one + e));
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
    const V one(Lane<V>(1)), zero(Lane<V>(0));
    const detail::Decay<V> e(x);
    const V d = one + e.plain;
    const V bend = select(simd::abs(x) > V(detail::Decay<V>::cut), zero, x * e.shifted);
    return select(x < zero, e.plain, one) / d + bend / (d * d) * V(detail::Decay<V>::unshift);
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
    using C = detail::ErfConstants<Lane<V>>;
    const V zero(Lane<V>(0)), one(Lane<V>(1));
    const V a = simd::abs(x);
    const Mask<V> far = a > V(C::cut);
    const V g = select(far, zero, detail::gaussian(a));
    const V tail = select(far, zero, g * detail::mills_ratio(a));
    const V density = select(far, zero, x * g * V(Lane<V>(0.398942280401432678)));
    return select(x < zero, tail, one - tail) + density;
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
    const V zero(Lane<V>(0)), one(Lane<V>(1));
    const detail::TanhGate<V> gate(x);
    const V d = one + gate.decay;
    const V bend = select(gate.saturated, zero, x * gate.slope * (gate.decay / (d * d)));
    return select(x < zero, gate.decay, one) / d + bend;
  }
};

// log(1 + e^x); x itself above 20, as torch.
struct Softplus {
  template <Vec V>
  V operator()(V x) const noexcept {
    const V y = raw_max(V(Lane<V>(0)), x) + log1p_unit(detail::Decay<V>(x).plain);
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

}  // namespace aulos::inline AULOS_ISA::simd
