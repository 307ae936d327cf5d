// Two batches of floats rounded to the bf16 pairs of dot_bf16, in either order.
#pragma once

#include <bit>
#include <cstdint>
#include <utility>

#include "aulos/simd/dot_bf16.hpp"
#include "aulos/simd/pairs.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

template <int first, std::size_t... i>
inline Shuffle<float> every_other(Shuffle<float> a, Shuffle<float> b, std::index_sequence<i...>) noexcept {
  return __builtin_shufflevector(a, b, (first + 2 * static_cast<int>(i))...);
}

}  // namespace detail

// Lane i holds the pair low[i], high[i]: rows next to each other, as a right operand has them. A batch of floats holds
// the bits of the pairs. With vdpbf16ps, denormal numbers become 0.
inline Batch<float> interleave_bf16(Batch<float> low, Batch<float> high) noexcept {
#if defined(__AVX512BF16__) && defined(__AVX512BW__)
  alignas(64) static constexpr std::uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                          8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const auto pairs = std::bit_cast<__m512i>(_mm512_cvtne2ps_pbh(high.native(), low.native()));
  return {_mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_load_si512(order), pairs))};
#else
  return from_bits<Batch<float>>((to_bits(round_bf16(low)) >> 16) | to_bits(round_bf16(high)));
#endif
}

// The numbers of `front`, then those of `back`, in pairs: neighbours in a row, as a left operand has them.
inline Batch<float> bf16_pairs(Batch<float> front, Batch<float> back) noexcept {
#if defined(__AVX512BF16__)
  return {std::bit_cast<__m512>(_mm512_cvtne2ps_pbh(back.native(), front.native()))};
#else
  const auto a = detail::to_shuffle(front), b = detail::to_shuffle(back);
  constexpr detail::EachLane<float> each{};
  return interleave_bf16(detail::from_shuffle<float>(detail::every_other<0>(a, b, each)),
                         detail::from_shuffle<float>(detail::every_other<1>(a, b, each)));
#endif
}

}  // namespace aulos::inline AULOS_ISA::simd
