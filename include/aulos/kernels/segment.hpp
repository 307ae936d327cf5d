// Chunks of a sequence, and their exact adjoint: adding overlapping chunks back to where they came from.
#pragma once

#include <algorithm>
#include <cstring>

#include "aulos/kernels/rows.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// Which tokens of a sequence of `length` each of `chunks` chunks of `chunk` tokens holds. Starts move on by two hops in
// turn (SepFormer's odd chunks need that), may be negative and may lie past the end: tokens outside are zeros.
struct ChunkTable {
  Index length = 0;
  Index chunk = 0;
  Index chunks = 0;
  Index first = 0;     // where chunk 0 starts
  Index even_hop = 0;  // from an even chunk to the next one, >= 0
  Index odd_hop = 0;   // from an odd chunk

  constexpr Index start(Index c) const noexcept {
    return first + c / 2 * (even_hop + odd_hop) + (c % 2 == 0 ? 0 : even_hop);
  }
  // The first chunk that ends behind `token`; `chunks` where none does.
  constexpr Index first_behind(Index token) const noexcept {
    Index low = 0;
    for (Index high = chunks; low < high;) {
      const Index middle = low + (high - low) / 2;
      if (start(middle) + chunk > token)
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  }
  bool operator==(const ChunkTable&) const = default;
};

// Sequences [B, L, C], the channels side by side.
template <class T>
struct SequenceView {
  T* data;
  Index batch_stride, token_stride;
};
// Chunks [B, S, K, C], the channels side by side.
template <class T>
struct ChunksView {
  T* data;
  Index batch_stride, chunk_stride, token_stride;
};

namespace detail {

// Tokens [begin, end) of a chunk, those that lie inside the sequence.
struct ChunkPart {
  Index begin, end;
};
constexpr ChunkPart part_inside(const ChunkTable& table, Index start, Index from, Index to) noexcept {
  const Index begin = std::clamp<Index>(from - start, 0, table.chunk);
  return {begin, std::clamp<Index>(to - start, begin, table.chunk)};
}

// The rows of some tokens, and where they go: in one stretch where the rows touch on both sides.
template <class T>
struct TokenRows {
  const T* from;
  T* to;
  Index from_stride, to_stride;
  Index count, channels;
  const T* window;  // of these tokens, or null

  // to = window * from, or to += window * from.
  [[gnu::noinline]] void move(bool add) const noexcept {
    if (window == nullptr && from_stride == channels && to_stride == channels)
      return stretch(from, to, count * channels, add);
    if (channels == 1 && from_stride == 1 && to_stride == 1) return windowed(add);
    for (Index t = 0; t < count; ++t) {
      if (window == nullptr)
        stretch(from + t * from_stride, to + t * to_stride, channels, add);
      else
        scaled(from + t * from_stride, to + t * to_stride, window[t], add);
    }
  }

 private:
  static void stretch(const T* x, T* y, Index length, bool add) noexcept {
    if (!add) {
      std::memcpy(y, x, static_cast<std::size_t>(length) * sizeof(T));
      return;
    }
    simd::for_lanes<T>(length, [&](Index i, auto part) { part.store(y + i, part.load(y + i) + part.load(x + i)); });
  }
  void scaled(const T* x, T* y, T factor, bool add) const noexcept {
    const simd::Batch<T> by(factor);
    simd::for_lanes<T>(channels, [&](Index i, auto part) {
      const simd::Batch<T> value = part.load(x + i);
      part.store(y + i, add ? simd::fma(by, value, part.load(y + i)) : by * value);
    });
  }
  void windowed(bool add) const noexcept {
    simd::for_lanes<T>(count, [&](Index i, auto part) {
      const simd::Batch<T> by = part.load(window + i), value = part.load(from + i);
      part.store(to + i, add ? simd::fma(by, value, part.load(to + i)) : by * value);
    });
  }
};

}  // namespace detail

// z[b, c, j] = window[j] x[b, start(c) + j], zero outside of x; window [K] or null for ones. z overlaps neither.
// Memory-bound. torch.Tensor.unfold of the padded sequence where both hops are equal.
template <class T>
void segment(Threads threads, Index batch, Index channels, const ChunkTable& table, SequenceView<const T> x,
             const T* window, ChunksView<T> z) {
  const Index all = batch * table.chunks;
  if (all <= 0 || table.chunk <= 0 || channels <= 0) return;
  const Index per_piece = std::max<Index>(1, detail::piece_elements / (table.chunk * channels));
  threads.run((all + per_piece - 1) / per_piece, [&](Index piece, Scratch&) {
    for (Index i = piece * per_piece; i < (std::min)(all, (piece + 1) * per_piece); ++i) {
      const Index b = i / table.chunks, c = i % table.chunks, start = table.start(c);
      const auto inside = detail::part_inside(table, start, 0, table.length);
      T* to = z.data + b * z.batch_stride + c * z.chunk_stride;
      for (Index j = 0; j < inside.begin; ++j) std::fill_n(to + j * z.token_stride, channels, T(0));
      if (inside.begin < inside.end) {
        detail::TokenRows<T>{x.data + b * x.batch_stride + (start + inside.begin) * x.token_stride,
                             to + inside.begin * z.token_stride,
                             x.token_stride,
                             z.token_stride,
                             inside.end - inside.begin,
                             channels,
                             window == nullptr ? nullptr : window + inside.begin}
            .move(false);
      }
      for (Index j = inside.end; j < table.chunk; ++j) std::fill_n(to + j * z.token_stride, channels, T(0));
    }
  });
}

// The transpose of `segment`: y[b, t] = the sum over chunks c, in order, of window[j] z[b, c, j] at j = t - start(c).
// No division by the number of chunks. y overlaps no operand. Memory-bound. torch.nn.functional.fold for one axis.
template <class T>
void overlap_add(Threads threads, Index batch, Index channels, const ChunkTable& table, ChunksView<const T> z,
                 const T* window, SequenceView<T> y) {
  if (batch <= 0 || table.length <= 0 || channels <= 0) return;
  const Index block = std::max<Index>(1, detail::piece_elements / channels);  // tokens of one piece
  const Index blocks = (table.length + block - 1) / block;
  threads.run(batch * blocks, [&](Index piece, Scratch&) {
    const Index b = piece / blocks, begin = piece % blocks * block;
    const Index end = (std::min)(table.length, begin + block);
    T* to = y.data + b * y.batch_stride;
    for (Index t = begin; t < end; ++t) std::fill_n(to + t * y.token_stride, channels, T(0));
    for (Index c = table.first_behind(begin); c < table.chunks && table.start(c) < end; ++c) {
      const Index start = table.start(c);
      const auto inside = detail::part_inside(table, start, begin, end);
      if (inside.begin == inside.end) continue;
      detail::TokenRows<T>{z.data + b * z.batch_stride + c * z.chunk_stride + inside.begin * z.token_stride,
                           to + (start + inside.begin) * y.token_stride,
                           z.token_stride,
                           y.token_stride,
                           inside.end - inside.begin,
                           channels,
                           window == nullptr ? nullptr : window + inside.begin}
          .move(true);
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
