// Numbers rounded to bf16, and sums of products of pairs of them: a 32-bit lane holds two (k in the lower half, k + 1
// in the upper), as vdpbf16ps reads them.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::simd {

// True where dot_bf16 is one instruction.
#if defined(__AVX512BF16__)
inline constexpr bool has_dot_bf16 = true;
#else
inline constexpr bool has_dot_bf16 = false;
#endif

// The lower and the upper number of each pair, exactly.
inline Batch<float> lower_bf16(Bits<Batch<float>> pairs) noexcept { return from_bits<Batch<float>>(pairs << 16); }
inline Batch<float> upper_bf16(Bits<Batch<float>> pairs) noexcept {
  return from_bits<Batch<float>>(pairs & Bits<Batch<float>>(0xffff0000u));
}

// x to the nearest bf16, ties to even; a NaN stays one. Denormal numbers are rounded as all others.
inline Batch<float> round_bf16(Batch<float> x) noexcept {
  using Integers = Bits<Batch<float>>;
  const Integers bits = to_bits(x), odd = (bits >> 16) & Integers(1u), upper(0xffff0000u);
  const auto rounded = from_bits<Batch<float>>((bits + Integers(0x7fffu) + odd) & upper);
  const auto quiet = from_bits<Batch<float>>((bits | Integers(0x00400000u)) & upper);
  return select(is_nan(x), quiet, rounded);
}

// acc + a1 b1 + a0 b0, the upper products first, each addition rounded: the bits of vdpbf16ps, except that the
// instruction takes denormal numbers for 0.
inline Batch<float> dot_bf16(Batch<float> acc, Bits<Batch<float>> a, Bits<Batch<float>> b) noexcept {
#if defined(__AVX512BF16__)
  const __m512i x = a, y = b;
  return {_mm512_dpbf16_ps(acc.native(), std::bit_cast<__m512bh>(x), std::bit_cast<__m512bh>(y))};
#else
  acc = simd::fma(upper_bf16(a), upper_bf16(b), acc);
  return simd::fma(lower_bf16(a), lower_bf16(b), acc);
#endif
}

// pairs[i] = bf16(x[2 i]), bf16(x[2 i + 1]) for the (count + 1) / 2 pairs of x [count], 0 behind x; memory that a
// float* points to holds the bits of a pair each. With the instruction, denormal numbers become 0.
inline void round_to_pairs(const float* x, Index count, float* pairs) noexcept {
  constexpr Index width = lanes<float>;
  Index i = 0;
#if defined(__AVX512BF16__)
  const auto round = [](Batch<float> low, Batch<float> high) {
    return std::bit_cast<__m512>(_mm512_cvtne2ps_pbh(high.native(), low.native()));
  };
  for (; i + 2 * width <= count; i += 2 * width) {
    store<float>(pairs + i / 2, {round(load(x + i), load(x + i + width))});
  }
  if (i < count) {
    const Index low = count - i < width ? count - i : width, high = count - i - low;
    const Batch<float> rest(round(load_partial(x + i, low), load_partial(x + i + width, high)));
    store_partial(pairs + i / 2, rest, (count - i + 1) / 2);
  }
#else
  for (; i < count; i += 2 * width) {
    alignas(64) std::uint32_t bits[static_cast<std::size_t>(2 * width)];
    const Index low = count - i < width ? count - i : width, high = count - i - low < width ? count - i - low : width;
    store(reinterpret_cast<float*>(bits), round_bf16(load_partial(x + i, low)));
    store(reinterpret_cast<float*>(bits) + width, round_bf16(load_partial(x + i + width, high)));
    const Index used = (low + high + 1) / 2;
    for (Index p = 0; p < used; ++p) bits[p] = bits[2 * p] >> 16 | bits[2 * p + 1];
    std::memcpy(pairs + i / 2, bits, static_cast<std::size_t>(used) * sizeof(float));
  }
#endif
}

}  // namespace aulos::inline AULOS_ISA::simd
