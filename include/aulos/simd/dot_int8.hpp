// Numbers quantised to 8 bits, and exact sums of products of four of them in a 32-bit lane: what vpdpbusd does.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::simd {

// 32-bit lanes: four 8-bit numbers (k in the lowest byte), or an integer modulo 2^32.
using Words = Bits<Batch<float>>;

// acc + a0 b0 + a1 b1 + a2 b2 + a3 b3 modulo 2^32, a unsigned and b signed. Exact everywhere; one instruction with
// VNNI.
inline Words dot_int8(Words acc, Words a, Words b) noexcept {
#if defined(__AVX512VNNI__)
  return {_mm512_dpbusd_epi32(acc, a, b)};
#elif defined(__AVX512BW__)
  const __m512i x = a, y = b;
  const __m512i even =
      _mm512_madd_epi16(_mm512_and_si512(x, _mm512_set1_epi16(0xff)), _mm512_srai_epi16(_mm512_slli_epi16(y, 8), 8));
  const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(x, 8), _mm512_srai_epi16(y, 8));
  return {_mm512_add_epi32(acc, _mm512_add_epi32(even, odd))};
#elif defined(__AVXVNNI__) && defined(__AVX2__)
  return {_mm256_dpbusd_avx_epi32(acc, a, b)};
#elif defined(__AVX2__)
  const __m256i x = a, y = b;
  const __m256i even =
      _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(0xff)), _mm256_srai_epi16(_mm256_slli_epi16(y, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(y, 8));
  return {_mm256_add_epi32(acc, _mm256_add_epi32(even, odd))};
#else
  using Signed = xsimd::batch<std::int32_t>;
  AULOS_UNROLL for (int byte = 0; byte < 4; ++byte) {
    const auto x = xsimd::bitwise_cast<Signed>((a >> 8 * byte) & Words(0xffu));
    const auto y = xsimd::bitwise_cast<Signed>(b << (24 - 8 * byte)) >> 24;
    acc = acc + xsimd::bitwise_cast<Words>(x * y);
  }
  return acc;
#endif
}

// Signed integers to the nearest float.
inline Batch<float> signed_to_float(Words x) noexcept {
  return {xsimd::to_float(xsimd::bitwise_cast<xsimd::batch<std::int32_t>>(x))};
}

// The largest |x[i]|, 0 for none; NaN or infinity if there is one. By bits, which order as the magnitudes do.
inline float largest_magnitude(const float* x, Index count) noexcept {
  using Signed = xsimd::batch<std::int32_t>;
  constexpr Index width = lanes<float>;
  const auto magnitude = [](Batch<float> v) { return xsimd::bitwise_cast<Signed>(to_bits(simd::abs(v))); };
  Signed most[2] = {Signed(0), Signed(0)};
  Index i = 0;
  for (; i + 2 * width <= count; i += 2 * width) {
    most[0] = (xsimd::max)(most[0], magnitude(load(x + i)));
    most[1] = (xsimd::max)(most[1], magnitude(load(x + i + width)));
  }
  for (; i < count; i += width) {
    most[0] = (xsimd::max)(most[0], magnitude(load_partial(x + i, (std::min)(width, count - i))));
  }
  const Signed all = (xsimd::max)(most[0], most[1]);
#if defined(__AVX512F__)
  return std::bit_cast<float>(_mm512_reduce_max_epi32(all));
#else
  alignas(64) std::int32_t lane[static_cast<std::size_t>(width)];
  all.store_aligned(lane);
  return std::bit_cast<float>(*std::max_element(lane, lane + width));
#endif
}

// y[i] = round(x[i] * factor) + offset as a byte, for |x[i] * factor| <= 127, offset 0 or 128; ties to even. Zeros (not
// `offset`) fill y up to a multiple of 4.
inline void quantize(const float* x, Index count, float factor, int offset, std::uint8_t* y) noexcept {
  constexpr Index width = lanes<float>;
#if defined(__AVX512BW__)
  // Packing within 16 bytes leaves words (v, 16 bytes) at (16 bytes, v).
  const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(offset));  // q + 128 = q ^ 128 in a byte
  const auto integers = [factor](Batch<float> v) { return _mm512_cvtps_epi32((v * Batch<float>(factor)).native()); };
  const auto bytes = [&](__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    return _mm512_xor_si512(_mm512_permutexvar_epi32(order, packed), flip);
  };
  Index i = 0;
  for (; i + 4 * width <= count; i += 4 * width) {
    const float* p = x + i;
    _mm512_storeu_si512(y + i, bytes(integers(load(p)), integers(load(p + width)), integers(load(p + 2 * width)),
                                     integers(load(p + 3 * width))));
  }
  if (i < count) {
    const Index rest = count - i;
    const auto part = [&](Index from) {
      return from < rest ? integers(load_partial(x + i + from, (std::min)(width, rest - from)))
                         : _mm512_setzero_si512();
    };
    const auto first = [](Index n) { return static_cast<__mmask64>(~std::uint64_t{0} >> (64 - n)); };
    const __m512i last = bytes(part(0), part(width), part(2 * width), part(3 * width));
    _mm512_mask_storeu_epi8(y + i, first((rest + 3) / 4 * 4), _mm512_maskz_mov_epi8(first(rest), last));
  }
#else
  Index i = 0;
  for (; i < count; i += width) {
    const Index used = (std::min)(width, count - i);
    alignas(64) float q[static_cast<std::size_t>(width)];
    store(q, simd::round(load_partial(x + i, used) * Batch<float>(factor)));
    for (Index j = 0; j < used; ++j) y[i + j] = static_cast<std::uint8_t>(static_cast<int>(q[j]) + offset);
  }
  for (i = count; i % 4 != 0; ++i) y[i] = 0;
#endif
}

}  // namespace aulos::inline AULOS_ISA::simd
