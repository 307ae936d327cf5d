// The only folder that includes xsimd. A batch is as many lanes of T as the instruction set holds; the functions below
// take a batch and a plain T alike (concept Vec), so that elementwise mathematics is written once. Batch is a type of
// its own, not xsimd's, so that an unqualified exp(x) or fma(a, b, c) can never find xsimd's function of that name.
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <type_traits>

// g++ 12 reports its own _mm512_undefined_*() as uninitialized wherever they are inlined.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <xsimd/xsimd.hpp>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include "aulos/core/config.hpp"
#include "aulos/simd/unroll.hpp"

namespace aulos::inline AULOS_ISA::simd {

// One truth value a lane of a Batch<T>.
template <class T>
class BatchMask {
 public:
  using Native = xsimd::batch_bool<T>;

  BatchMask() = default;
  BatchMask(Native native) noexcept : native_(native) {}
  explicit BatchMask(bool value) noexcept : native_(value) {}

  Native native() const noexcept { return native_; }

  friend BatchMask operator&(BatchMask a, BatchMask b) noexcept { return a.native_ & b.native_; }
  friend BatchMask operator|(BatchMask a, BatchMask b) noexcept { return a.native_ | b.native_; }
  friend BatchMask operator!(BatchMask a) noexcept { return !a.native_; }

 private:
  Native native_;
};

template <class T>
class Batch {
 public:
  using Native = xsimd::batch<T>;

  Batch() = default;
  Batch(T value) noexcept : native_(value) {}
  Batch(Native native) noexcept : native_(native) {}

  // What xsimd holds; it converts to the register type (__m512, float32x4_t, ...).
  Native native() const noexcept { return native_; }

  // Lane i (slow: through memory).
  T get(Index i) const noexcept { return native_.get(static_cast<std::size_t>(i)); }

  Batch& operator+=(Batch b) noexcept { return *this = *this + b; }
  Batch& operator-=(Batch b) noexcept { return *this = *this - b; }
  Batch& operator*=(Batch b) noexcept { return *this = *this * b; }
  Batch& operator/=(Batch b) noexcept { return *this = *this / b; }
  // By the sign bit, so that -0 comes of 0 (xsimd subtracts from 0).
  Batch operator-() const noexcept { return native_ ^ Native(T(-0.0)); }

  friend Batch operator+(Batch a, Batch b) noexcept { return a.native_ + b.native_; }
  friend Batch operator-(Batch a, Batch b) noexcept { return a.native_ - b.native_; }
  friend Batch operator*(Batch a, Batch b) noexcept { return a.native_ * b.native_; }
  friend Batch operator/(Batch a, Batch b) noexcept {
#if defined(__aarch64__)  // xsimd approximates the quotient, as 32-bit ARM has to
    if constexpr (std::is_same_v<T, float>) return Native(vdivq_f32(a.native_, b.native_));
#endif
    return a.native_ / b.native_;
  }

  friend BatchMask<T> operator<(Batch a, Batch b) noexcept { return a.native_ < b.native_; }
  friend BatchMask<T> operator>(Batch a, Batch b) noexcept { return a.native_ > b.native_; }
  friend BatchMask<T> operator<=(Batch a, Batch b) noexcept { return a.native_ <= b.native_; }
  friend BatchMask<T> operator>=(Batch a, Batch b) noexcept { return a.native_ >= b.native_; }
  friend BatchMask<T> operator==(Batch a, Batch b) noexcept { return a.native_ == b.native_; }
  // Not xsimd's !=, which is false for NaN in AVX and AVX-512.
  friend BatchMask<T> operator!=(Batch a, Batch b) noexcept { return !(a == b); }

 private:
  Native native_;
};

// Lanes of a Batch<T>.
template <class T>
inline constexpr Index lanes = static_cast<Index>(xsimd::batch<T>::size);

// True where a * b + c is rounded once; elsewhere fma() rounds twice.
#if defined(__FMA__) || defined(__AVX512F__) || defined(__aarch64__)
inline constexpr bool has_fma = true;
#else
inline constexpr bool has_fma = false;
#endif

namespace detail {

template <std::size_t Bytes>
using UintOf = std::conditional_t<Bytes == 4, std::uint32_t, std::uint64_t>;

template <class V>
struct VecTraits {
  using Lane = V;
  using Mask = bool;
  using Bits = UintOf<sizeof(V)>;
};

template <class T>
struct VecTraits<Batch<T>> {
  using Lane = T;
  using Mask = BatchMask<T>;
  using Bits = xsimd::batch<UintOf<sizeof(T)>>;
};

}  // namespace detail

template <class V>
inline constexpr bool is_batch = false;
template <class T>
inline constexpr bool is_batch<Batch<T>> = true;

// float, double, or a batch of either.
template <class V>
concept Vec = std::same_as<V, float> || std::same_as<V, double> || std::same_as<V, Batch<float>> ||
    std::same_as<V, Batch<double>>;

// The type of one lane; what a comparison of two V gives; the unsigned integers that hold the bits of V.
template <Vec V>
using Lane = typename detail::VecTraits<V>::Lane;
template <Vec V>
using Mask = typename detail::VecTraits<V>::Mask;
template <Vec V>
using Bits = typename detail::VecTraits<V>::Bits;

// ---- arithmetic

// x itself; under -ffast-math no addition is moved across it. What stands in the place of brackets that matter.
template <Vec V>
inline V in_order(V x) noexcept {
#if defined(__FAST_MATH__) && (defined(__GNUC__) || defined(__clang__))
#if defined(__AVX512F__)
#define AULOS_VECTOR_REGISTER "+v"
#elif defined(__aarch64__)
#define AULOS_VECTOR_REGISTER "+w"
#else
#define AULOS_VECTOR_REGISTER "+x"
#endif
  if constexpr (std::is_same_v<V, Lane<V>>) {
    asm("" : AULOS_VECTOR_REGISTER(x));
  } else {
    auto vector = static_cast<typename V::Native::register_type>(x.native());
    asm("" : AULOS_VECTOR_REGISTER(vector));
    x = V(vector);
  }
#undef AULOS_VECTOR_REGISTER
#endif
  return x;
}

// a * b + c, rounded once wherever the instruction set can (xsimd 8.1 has that for AVX2 and NEON doubles only).
template <Vec V>
inline V fma(V a, V b, V c) noexcept {
  if constexpr (std::is_same_v<V, Lane<V>>) {
    if constexpr (has_fma) return std::fma(a, b, c);
    return in_order(a * b + c);
#if defined(__AVX512F__)
  } else if constexpr (std::is_same_v<V, Batch<float>>) {
    return V(_mm512_fmadd_ps(a.native(), b.native(), c.native()));
  } else {
    return V(_mm512_fmadd_pd(a.native(), b.native(), c.native()));
#elif defined(__aarch64__)
  } else if constexpr (std::is_same_v<V, Batch<float>>) {
    return V(vfmaq_f32(c.native(), a.native(), b.native()));
  } else {
    return V(vfmaq_f64(c.native(), a.native(), b.native()));
#else
  } else {
    return in_order(V(xsimd::fma(a.native(), b.native(), c.native())));
#endif
  }
}

// c - a * b.
template <Vec V>
inline V fnma(V a, V b, V c) noexcept {
  if constexpr (!is_batch<V>) {
    return simd::fma(-a, b, c);
#if defined(__AVX512F__)
  } else if constexpr (std::is_same_v<V, Batch<float>>) {
    return V(_mm512_fnmadd_ps(a.native(), b.native(), c.native()));
  } else {
    return V(_mm512_fnmadd_pd(a.native(), b.native(), c.native()));
#elif defined(__aarch64__)
  } else if constexpr (std::is_same_v<V, Batch<float>>) {
    return V(vfmsq_f32(c.native(), a.native(), b.native()));
  } else {
    return V(vfmsq_f64(c.native(), a.native(), b.native()));
#else
  } else if constexpr (has_fma) {
    return xsimd::fnma(a.native(), b.native(), c.native());
  } else {
    return simd::fma(-a, b, c);
#endif
  }
}

template <Vec V>
inline V select(Mask<V> mask, V yes, V no) noexcept {
  if constexpr (is_batch<V>) {
    return xsimd::select(mask.native(), yes.native(), no.native());
  } else {
    return mask ? yes : no;
  }
}

template <Vec V>
inline Mask<V> is_nan(V x) noexcept {
  if constexpr (is_batch<V>) {
    return xsimd::isnan(x.native());
  } else {
    return std::isnan(x);
  }
}

inline bool any(bool mask) noexcept { return mask; }
inline bool all(bool mask) noexcept { return mask; }
template <class T>
inline bool any(BatchMask<T> mask) noexcept {
  return xsimd::any(mask.native());
}
template <class T>
inline bool all(BatchMask<T> mask) noexcept {
  return xsimd::all(mask.native());
}

// The larger one, and b if either is NaN or both are 0 (one instruction; AArch64's orders the zeros: two).
template <Vec V>
inline V raw_max(V a, V b) noexcept {
#if !defined(__aarch64__)
  if constexpr (is_batch<V>) return (xsimd::max)(a.native(), b.native());
#endif
  return simd::select(a > b, a, b);
}

// The smaller one, likewise.
template <Vec V>
inline V raw_min(V a, V b) noexcept {
#if !defined(__aarch64__)
  if constexpr (is_batch<V>) return (xsimd::min)(a.native(), b.native());
#endif
  return simd::select(a < b, a, b);
}

// The larger one; NaN if either is NaN, as torch.maximum.
template <Vec V>
inline V(max)(V a, V b) noexcept {
  return simd::select(simd::is_nan(a), a, simd::raw_max(a, b));
}

// The smaller one; NaN if either is NaN, as torch.minimum.
template <Vec V>
inline V(min)(V a, V b) noexcept {
  return simd::select(simd::is_nan(a), a, simd::raw_min(a, b));
}

template <Vec V>
inline V sqrt(V x) noexcept {
#if defined(__aarch64__)  // xsimd 8.1 estimates it
  if constexpr (std::is_same_v<V, Batch<float>>) return V(vsqrtq_f32(x.native()));
#endif
  if constexpr (is_batch<V>) {
    return xsimd::sqrt(x.native());
  } else {
    return std::sqrt(x);
  }
}

// ---- bits

template <Vec V>
inline Bits<V> to_bits(V x) noexcept {
  if constexpr (is_batch<V>) {
    return xsimd::bitwise_cast<Bits<V>>(x.native());
  } else {
    return std::bit_cast<Bits<V>>(x);
  }
}

template <Vec V>
inline V from_bits(Bits<V> x) noexcept {
  if constexpr (is_batch<V>) {
    return xsimd::bitwise_cast<typename V::Native>(x);
  } else {
    return std::bit_cast<V>(x);
  }
}

// The sign bit of every lane, alone.
template <Vec V>
inline Bits<V> sign_bit(V x) noexcept {
  return to_bits(x) & to_bits(V(Lane<V>(-0.0)));
}

template <Vec V>
inline V abs(V x) noexcept {
  return from_bits<V>(to_bits(x) & ~to_bits(V(Lane<V>(-0.0))));
}

// |x| with the sign of s.
template <Vec V>
inline V copysign(V x, V s) noexcept {
  return from_bits<V>(to_bits(simd::abs(x)) | sign_bit(s));
}

// The nearest integer, ties to even, for |x| < 2^31 (beyond that, some number of about the same size or NaN).
template <Vec V>
inline V round(V x) noexcept {
  if constexpr (!is_batch<V>) {
    return std::nearbyint(x);
#if defined(__SSE2__) && !defined(__SSE4_1__)
  } else if constexpr (std::is_same_v<V, Batch<float>>) {
    return V(_mm_cvtepi32_ps(_mm_cvtps_epi32(x.native())));
  } else {
    return V(_mm_cvtepi32_pd(_mm_cvtpd_epi32(x.native())));
#elif defined(__aarch64__)
  } else if constexpr (std::is_same_v<V, Batch<float>>) {
    return V(vrndnq_f32(x.native()));
  } else {
    return V(vrndnq_f64(x.native()));
#else
  } else {
    return xsimd::nearbyint(x.native());
#endif
  }
}

// Lanes in which a and b have the same bits: a comparison that -ffast-math leaves alone.
template <class T>
inline BatchMask<T> same_bits(Batch<T> a, Batch<T> b) noexcept {
  using Integer = xsimd::batch<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>;
  return xsimd::bool_cast(xsimd::bitwise_cast<Integer>(a.native()) == xsimd::bitwise_cast<Integer>(b.native()));
}

// ---- memory

template <class T>
inline Batch<T> load(const T* p) noexcept {
  return xsimd::batch<T>::load_unaligned(p);
}

template <class T>
inline void store(T* p, Batch<T> x) noexcept {
  x.native().store_unaligned(p);
}

namespace detail {

#if defined(__AVX__) && !defined(__AVX512F__)
inline constexpr std::int32_t tail_mask_32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

// A mask whose first n lanes of `Bytes` bytes are set.
template <std::size_t Bytes>
inline __m256i tail_mask(Index n) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tail_mask_32 + 8 - n * Index(Bytes / 4)));
}
#endif

}  // namespace detail

// The first n lanes (0 <= n <= lanes) from p, zeros behind; nothing outside p[0, n) is touched.
template <class T>
inline Batch<T> load_partial(const T* p, Index n) noexcept {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) {
    return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p)};
  } else {
    return {_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1u), p)};
  }
#elif defined(__AVX__)
  if constexpr (std::is_same_v<T, float>) {
    return {_mm256_maskload_ps(p, detail::tail_mask<4>(n))};
  } else {
    return {_mm256_maskload_pd(p, detail::tail_mask<8>(n))};
  }
#else
  alignas(64) T lane[static_cast<std::size_t>(lanes<T>)] = {};
  for (Index i = 0; i < n; ++i) lane[i] = p[i];
  return xsimd::batch<T>::load_aligned(lane);
#endif
}

// Stores the first n lanes (0 <= n <= lanes) and touches nothing else.
template <class T>
inline void store_partial(T* p, Batch<T> x, Index n) noexcept {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), x.native());
  } else {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1u), x.native());
  }
#elif defined(__AVX__)
  if constexpr (std::is_same_v<T, float>) {
    _mm256_maskstore_ps(p, detail::tail_mask<4>(n), x.native());
  } else {
    _mm256_maskstore_pd(p, detail::tail_mask<8>(n), x.native());
  }
#else
  alignas(64) T lane[static_cast<std::size_t>(lanes<T>)];
  x.native().store_aligned(lane);
  for (Index i = 0; i < n; ++i) p[i] = lane[i];
#endif
}

// start, start + 1, ... (exact below 2^24 in float).
template <class T>
inline Batch<T> iota(T start = T(0)) noexcept {
  alignas(64) T lane[static_cast<std::size_t>(lanes<T>)];
  AULOS_UNROLL
  for (Index i = 0; i < lanes<T>; ++i) lane[i] = static_cast<T>(i);
  return xsimd::batch<T>::load_aligned(lane) + xsimd::batch<T>(start);
}

// True in the lanes [0, n).
template <class T>
inline BatchMask<T> first_lanes(Index n) noexcept {
  return iota<T>() < Batch<T>(static_cast<T>(n));
}

}  // namespace aulos::inline AULOS_ISA::simd
