// How a long sequence is cut into chunks: tables for the ways of the field, and overlap-add with windows.
#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/clamp.hpp"
#include "aulos/ops/segment.hpp"

namespace aulos::inline AULOS_ISA::path {

namespace detail {

inline void check_cut(const char* what, Index length, Index chunk, Index hop) {
  if (length < 0 || chunk < 1 || hop < 1)
    throw ShapeError(std::string(what) + ": chunks of " + std::to_string(chunk) + " tokens " + std::to_string(hop) +
                     " apart from " + std::to_string(length) + ", expected chunks and hops >= 1");
}

}  // namespace detail

// Whole chunks only, as a convolution without padding sees them: floor((L - K) / hop) + 1. torch.Tensor.unfold.
inline ChunkTable frames(Index length, Index chunk, Index hop) {
  detail::check_cut("frames", length, chunk, hop);
  const Index chunks = length < chunk ? 0 : (length - chunk) / hop + 1;
  return {.length = length, .chunk = chunk, .chunks = chunks, .first = 0, .even_hop = hop, .odd_hop = hop};
}

// The table whose overlap-add gives what a transposed convolution without padding does: length (S - 1) hop + K.
inline ChunkTable frames_of(Index chunks, Index chunk, Index hop) {
  detail::check_cut("frames_of", chunks, chunk, hop);
  const Index length = chunks == 0 ? 0 : (chunks - 1) * hop + chunk;
  return {.length = length, .chunk = chunk, .chunks = chunks, .first = 0, .even_hop = hop, .odd_hop = hop};
}

// As many chunks as it takes to hold every token, from token `first` <= 0 on; what lies outside is zeros. With
// hop = chunk: windows side by side.
inline ChunkTable covering_frames(Index length, Index chunk, Index hop, Index first = 0) {
  detail::check_cut("covering_frames", length, chunk, hop);
  const Index behind_first = (std::max<Index>)(length - first - chunk, 0);
  const Index chunks = length == 0 ? 0 : (behind_first + hop - 1) / hop + 1;
  return {.length = length, .chunk = chunk, .chunks = chunks, .first = first, .even_hop = hop, .odd_hop = hop};
}

// The chunks of DPRNN and SepFormer: every token lies in exactly two, one of even and one of odd number, so that
// overlap_add(segment(x)) = 2 x. The number of chunks is even, and there is one pair more than needed where L + K / 2
// is a multiple of K. With odd K the hops are K / 2 and K - K / 2 in turn.
inline ChunkTable half_overlapping(Index length, Index chunk) {
  detail::check_cut("half_overlapping", length, chunk, 1);
  const Index half = chunk / 2;
  const Index gap = chunk - (half + length % chunk) % chunk;
  return {.length = length,
          .chunk = chunk,
          .chunks = 2 * ((length + gap + half) / chunk),
          .first = -half,
          .even_hop = half,
          .odd_hop = chunk - half};
}

// Overlap-add divided by the sum of the windows over each token: chunks that agree give back their common sequence.
// window [K], or absent for a plain average. Tokens that no chunk holds are 0.
template <Real T>
Tensor<T, 3> overlap_average(const Tensor<T, 4>& z, const ChunkTable& table, const Arg<Tensor<T, 1>>& window = {}) {
  const Tensor<T, 3> sum = overlap_add(z, table, window);
  const Tensor<T, 4> ones = z.any().context()->template full<T>(Shape<4>{1, table.chunks, table.chunk, 1}, T{1});
  const T least = std::numeric_limits<T>::epsilon();
  const T most = (std::numeric_limits<T>::max)();
  return divide(sum, clamp(overlap_add(ones, table, window), least, most));
}

}  // namespace aulos::inline AULOS_ISA::path
