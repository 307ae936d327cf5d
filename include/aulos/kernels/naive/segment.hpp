// The readable twin of segment.hpp.
#pragma once

#include <cmath>

#include "aulos/kernels/segment.hpp"

namespace aulos::inline AULOS_ISA::kernels::naive {

template <class T>
void segment(Index batch, Index channels, const ChunkTable& table, SequenceView<const T> x, const T* window,
             ChunksView<T> z) {
  for (Index b = 0; b < batch; ++b) {
    for (Index c = 0; c < table.chunks; ++c) {
      for (Index j = 0; j < table.chunk; ++j) {
        const Index token = table.start(c) + j;
        for (Index i = 0; i < channels; ++i) {
          const T value =
              token < 0 || token >= table.length ? T(0) : x.data[b * x.batch_stride + token * x.token_stride + i];
          T& to = z.data[b * z.batch_stride + c * z.chunk_stride + j * z.token_stride + i];
          to = window == nullptr || token < 0 || token >= table.length ? value : window[j] * value;
        }
      }
    }
  }
}

// Chunks are added in their order and in T: a sum in that order has one result, to the bit.
template <class T>
void overlap_add(Index batch, Index channels, const ChunkTable& table, ChunksView<const T> z, const T* window,
                 SequenceView<T> y) {
  for (Index b = 0; b < batch; ++b) {
    for (Index t = 0; t < table.length; ++t) {
      for (Index i = 0; i < channels; ++i) {
        T sum = 0;
        for (Index c = 0; c < table.chunks; ++c) {
          const Index j = t - table.start(c);
          if (j < 0 || j >= table.chunk) continue;
          const T value = z.data[b * z.batch_stride + c * z.chunk_stride + j * z.token_stride + i];
          sum = window == nullptr ? sum + value : std::fma(window[j], value, sum);
        }
        y.data[b * y.batch_stride + t * y.token_stride + i] = sum;
      }
    }
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::naive
