// The same sequence at several resolutions: averages of neighbouring tokens, and back by repetition.
#pragma once

#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/segment.hpp"

namespace aulos::inline AULOS_ISA::path {

namespace detail {

// `factor` chunks that all hold the whole sequence: their overlap-add is a sum over chunks, their gather repeats.
inline ChunkTable stacked(Index length, Index factor) { return {.length = length, .chunk = length, .chunks = factor}; }

}  // namespace detail

// [B, N, C] -> [B, N / factor, C], the means of neighbouring tokens. torch.nn.AvgPool1d(factor) over tokens.
template <Real T>
Tensor<T, 3> coarser(const Tensor<T, 3>& x, Index factor) {
  if (factor < 1 || x.extent(1) % factor != 0 || x.extent(1) == 0)
    throw ShapeError("coarser: x " + to_string(x.any().dims()) + " by a factor of " + std::to_string(factor) +
                     ", expected a divisor of the number of tokens");
  const Tensor<T, 3> from = dense(x);
  const Index length = x.extent(1) / factor;
  const Tensor<T, 4> groups = from.reshape(Shape<4>{x.extent(0), length, factor, x.extent(2)});
  return scale(overlap_add(groups.permute_leading(Shape<4>{0, 2, 1, 3}), detail::stacked(length, factor)),
               static_cast<T>(1.0 / static_cast<double>(factor)));
}

// [B, N, C] -> [B, factor N, C], every token `factor` times. torch.repeat_interleave over tokens.
template <Real T>
Tensor<T, 3> finer(const Tensor<T, 3>& x, Index factor) {
  if (factor < 1 || x.empty() || x.extent(1) == 0)
    throw ShapeError("finer: x " + (x.empty() ? "is empty" : to_string(x.any().dims())) + " by a factor of " +
                     std::to_string(factor) + ", expected tokens and a factor >= 1");
  const Tensor<T, 4> copies = segment(x, detail::stacked(x.extent(1), factor));
  return permute(copies, Shape<4>{0, 2, 1, 3}).reshape(Shape<3>{x.extent(0), factor * x.extent(1), x.extent(2)});
}

}  // namespace aulos::inline AULOS_ISA::path
