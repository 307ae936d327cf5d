// Between float and the 16-bit storage types, with the bits of the scalar conversions of core/dtype.hpp in every place;
// and between a batch of floats and two batches of doubles.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "aulos/core/dtype.hpp"
#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::simd {

// The lanes of a Batch<T> as doubles, in order.
template <class T>
struct Doubles {
  static constexpr std::size_t count = static_cast<std::size_t>(lanes<T> / lanes<double>);
  Batch<double> part[count];
};

// Exact.
inline Doubles<double> widen(Batch<double> x) noexcept { return {{x}}; }
inline Doubles<float> widen(Batch<float> x) noexcept {
#if defined(__AVX512F__)
  const __m512 v = x.native();
  const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
  return {{{_mm512_cvtps_pd(_mm512_castps512_ps256(v))}, {_mm512_cvtps_pd(upper)}}};
#elif defined(__AVX__)
  const __m256 v = x.native();
  return {{{_mm256_cvtps_pd(_mm256_castps256_ps128(v))}, {_mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))}}};
#elif defined(__SSE2__)
  const __m128 v = x.native();
  return {{{_mm_cvtps_pd(v)}, {_mm_cvtps_pd(_mm_movehl_ps(v, v))}}};
#elif defined(__aarch64__)
  const float32x4_t v = x.native();
  return {{{vcvt_f64_f32(vget_low_f32(v))}, {vcvt_high_f64_f32(v)}}};
#else
  constexpr Index half = lanes<double>;
  float from[static_cast<std::size_t>(2 * half)];
  double to[static_cast<std::size_t>(2 * half)];
  store(from, x);
  for (Index i = 0; i < 2 * half; ++i) to[i] = static_cast<double>(from[i]);
  return {{load(to), load(to + half)}};
#endif
}

// Rounded to nearest.
inline Batch<double> narrow(Doubles<double> x) noexcept { return x.part[0]; }
inline Batch<float> narrow(Doubles<float> x) noexcept {
#if defined(__AVX512F__)
  const __m512d lower = _mm512_castps_pd(_mm512_castps256_ps512(_mm512_cvtpd_ps(x.part[0].native())));
  const __m256d upper = _mm256_castps_pd(_mm512_cvtpd_ps(x.part[1].native()));
  return {_mm512_castpd_ps(_mm512_insertf64x4(lower, upper, 1))};
#elif defined(__AVX__)
  const __m256 lower = _mm256_castps128_ps256(_mm256_cvtpd_ps(x.part[0].native()));
  return {_mm256_insertf128_ps(lower, _mm256_cvtpd_ps(x.part[1].native()), 1)};
#elif defined(__SSE2__)
  return {_mm_movelh_ps(_mm_cvtpd_ps(x.part[0].native()), _mm_cvtpd_ps(x.part[1].native()))};
#elif defined(__aarch64__)
  return {vcvt_high_f32_f64(vcvt_f32_f64(x.part[0].native()), x.part[1].native())};
#else
  constexpr Index half = lanes<double>;
  double from[static_cast<std::size_t>(2 * half)];
  float to[static_cast<std::size_t>(2 * half)];
  store(from, x.part[0]);
  store(from + half, x.part[1]);
  for (Index i = 0; i < 2 * half; ++i) to[i] = static_cast<float>(from[i]);
  return load(to);
#endif
}

namespace detail {

// Without branches, so that the compiler makes vectors of it.
inline std::uint16_t bf16_bits(float x) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t nan = (bits >> 16) | 0x40u;
  return static_cast<std::uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? nan : rounded);
}

template <class To, class From, class One>
inline void convert_blocks(const From* x, To* y, Index count, One one) noexcept {
  constexpr Index block = 32;
  const Index whole = count / block * block;
  for (Index i = 0; i < whole; i += block) {
    for (Index j = 0; j < block; ++j) y[i + j] = one(x[i + j]);
  }
  for (Index i = whole; i < count; ++i) y[i] = one(x[i]);
}

}  // namespace detail

// y[i] = x[i] for i < count, to the nearest, ties to even; the arrays must not overlap.
inline void convert(const bf16* x, float* y, Index count) noexcept {
  detail::convert_blocks(x, y, count,
                         [](bf16 a) { return std::bit_cast<float>(static_cast<std::uint32_t>(a.bits) << 16); });
}

inline void convert(const float* x, bf16* y, Index count) noexcept {
  detail::convert_blocks(x, y, count, [](float a) { return bf16::from_bits(detail::bf16_bits(a)); });
}

inline void convert(const f16* x, float* y, Index count) noexcept {
  Index whole = 0;
#if defined(__F16C__)
  whole = count / 8 * 8;
  for (Index i = 0; i < whole; i += 8) {
    _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
  }
#endif
  for (Index i = whole; i < count; ++i) y[i] = static_cast<float>(x[i]);
}

inline void convert(const float* x, f16* y, Index count) noexcept {
  Index whole = 0;
#if defined(__F16C__)
  whole = count / 8 * 8;
  for (Index i = 0; i < whole; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
  }
#endif
  for (Index i = whole; i < count; ++i) y[i] = f16(x[i]);
}

template <class Half>
requires(std::is_same_v<Half, bf16> || std::is_same_v<Half, f16>) inline void convert(const Half* x, double* y,
                                                                                      Index count) noexcept {
  for (Index i = 0; i < count; ++i) y[i] = static_cast<double>(x[i]);
}

template <class Half>
requires(std::is_same_v<Half, bf16> || std::is_same_v<Half, f16>) inline void convert(const double* x, Half* y,
                                                                                      Index count) noexcept {
  for (Index i = 0; i < count; ++i) y[i] = Half(x[i]);
}

}  // namespace aulos::inline AULOS_ISA::simd
