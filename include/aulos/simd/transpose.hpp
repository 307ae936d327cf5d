// Loads a square block of rows transposed: what packs a matrix whose rows are contiguous into lanes across its rows.
#pragma once

#include <bit>
#include <cstddef>
#include <utility>

#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

// A batch as the compiler's own vector, whose shuffles by constant indices are the best there are for the target.
template <class T>
struct Shuffled {
  typedef T Type __attribute__((vector_size(sizeof(T) * static_cast<std::size_t>(lanes<T>))));
};
template <class T>
using Shuffle = typename Shuffled<T>::Type;

// In each 16 bytes: the lower (half = 0) or upper (half = 1) halves of a and b, interleaved.
template <class T, int half, std::size_t... i>
inline Shuffle<T> interleave(Shuffle<T> a, Shuffle<T> b, std::index_sequence<i...>) noexcept {
  constexpr int width = static_cast<int>(16 / sizeof(T)), all = static_cast<int>(sizeof...(i));
  return __builtin_shufflevector(a, b,
                                 (static_cast<int>(i) / width * width + half * width / 2 +
                                  static_cast<int>(i) % width / 2 + static_cast<int>(i) % 2 * all)...);
}

// Every second 16 bytes of a, then of b, from the first (odd = 0) or the second (odd = 1) on.
template <class T, int odd, std::size_t... i>
inline Shuffle<T> every_second(Shuffle<T> a, Shuffle<T> b, std::index_sequence<i...>) noexcept {
  constexpr int width = static_cast<int>(16 / sizeof(T));
  return __builtin_shufflevector(
      a, b, (static_cast<int>(i) / width * 2 * width + odd * width + static_cast<int>(i) % width)...);
}

// 16 bytes from each of p, p + stride, ... (`count` <= lanes * sizeof(T) / 16 of them, zeros behind): by loads that
// merge, which leave the shuffle unit, the narrowest of a transpose, alone.
template <class T>
[[gnu::always_inline]] inline Shuffle<T> load_blocks(const T* p, Index stride, Index count) noexcept {
  const auto block = [=](Index i) { return reinterpret_cast<const float*>(p + i * stride); };
#if defined(__AVX512F__)
  __m512 x = _mm512_zextps128_ps512(_mm_loadu_ps(block(0)));
  if (count > 1) x = _mm512_mask_broadcast_f32x4(x, 0x00f0, _mm_loadu_ps(block(1)));
  if (count > 2) x = _mm512_mask_broadcast_f32x4(x, 0x0f00, _mm_loadu_ps(block(2)));
  if (count > 3) x = _mm512_mask_broadcast_f32x4(x, 0xf000, _mm_loadu_ps(block(3)));
  return std::bit_cast<Shuffle<T>>(x);
#elif defined(__AVX__)
  const __m128 low = _mm_loadu_ps(block(0)), high = count > 1 ? _mm_loadu_ps(block(1)) : _mm_setzero_ps();
  return std::bit_cast<Shuffle<T>>(_mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1));
#else
  static_cast<void>(count);
  static_cast<void>(block);
  return std::bit_cast<Shuffle<T>>(static_cast<typename Batch<T>::Native::register_type>(load(p).native()));
#endif
}

}  // namespace detail

// column[c], lane r = p[r * ld + c] for r < rows and c < cols (both <= lanes), zero elsewhere; nothing else is read.
// With constant rows and cols: one load per row and log2(lanes) shuffles per column.
template <class T>
[[gnu::always_inline]] inline void load_transposed(const T* p, Index ld, Index rows, Index cols,
                                                   Batch<T> (&column)[static_cast<std::size_t>(lanes<T>)]) noexcept {
  constexpr int all = static_cast<int>(lanes<T>), width = static_cast<int>(16 / sizeof(T)), blocks = all / width;
  constexpr auto each = std::make_index_sequence<static_cast<std::size_t>(all)>{};
  using Register = typename Batch<T>::Native::register_type;
  if (rows > 0 && rows % width == 0 && cols == all) {
    AULOS_UNROLL for (int block = 0; block < all; block += width) {
      detail::Shuffle<T> x[static_cast<std::size_t>(width)], y[static_cast<std::size_t>(width)];
      AULOS_UNROLL for (int i = 0; i < width; ++i) {
        x[i] = detail::load_blocks(p + i * ld + block, width * ld, rows / width);
      }
      AULOS_UNROLL for (int stage = 1; stage < width; stage *= 2) {
        AULOS_UNROLL for (int i = 0; i < width; i += 2) {
          y[i] = detail::interleave<T, 0>(x[i / 2], x[i / 2 + width / 2], each);
          y[i + 1] = detail::interleave<T, 1>(x[i / 2], x[i / 2 + width / 2], each);
        }
        AULOS_UNROLL for (int i = 0; i < width; ++i) x[i] = y[i];
      }
      AULOS_UNROLL for (int i = 0; i < width; ++i) {
        column[block + i] = Batch<T>(typename Batch<T>::Native(std::bit_cast<Register>(x[i])));
      }
    }
    return;
  }
  detail::Shuffle<T> x[static_cast<std::size_t>(all)], y[static_cast<std::size_t>(all)];
  AULOS_UNROLL for (int r = 0; r < all; ++r) {
    const Batch<T> row = r >= rows ? Batch<T>(T(0)) : cols == all ? load(p + r * ld) : load_partial(p + r * ld, cols);
    x[r] = std::bit_cast<detail::Shuffle<T>>(static_cast<Register>(row.native()));
  }
  // Transpose within each 16 bytes: log2(width) times, row i meets row i + width / 2 of its `width` rows.
  AULOS_UNROLL for (int stage = 1; stage < width; stage *= 2) {
    AULOS_UNROLL for (int i = 0; i < all; i += 2) {
      const int upper = i / width * width + i % width / 2;
      y[i] = detail::interleave<T, 0>(x[upper], x[upper + width / 2], each);
      y[i + 1] = detail::interleave<T, 1>(x[upper], x[upper + width / 2], each);
    }
    AULOS_UNROLL for (int i = 0; i < all; ++i) x[i] = y[i];
  }
  // Then the 16-byte blocks: x[q * width + c] holds, for the rows of group q, columns c, width + c, 2 width + c, ...
  AULOS_UNROLL for (int stage = 1; stage < blocks; stage *= 2) {
    AULOS_UNROLL for (int c = 0; c < width; ++c) {
      AULOS_UNROLL for (int q = 0; q < blocks; q += 2) {
        const auto a = x[q * width + c], b = x[(q + 1) * width + c];
        y[q / 2 * width + c] = detail::every_second<T, 0>(a, b, each);
        y[(q / 2 + blocks / 2) * width + c] = detail::every_second<T, 1>(a, b, each);
      }
    }
    AULOS_UNROLL for (int i = 0; i < all; ++i) x[i] = y[i];
  }
  AULOS_UNROLL for (int c = 0; c < all; ++c) {
    column[c] = Batch<T>(typename Batch<T>::Native(std::bit_cast<Register>(x[c])));
  }
}

// The same as a call, for the rare blocks with fewer rows or columns: inlined it would be the larger part of a kernel.
template <class T>
[[gnu::noinline]] void load_transposed_part(const T* p, Index ld, Index rows, Index cols,
                                            Batch<T> (&column)[static_cast<std::size_t>(lanes<T>)]) noexcept {
  load_transposed(p, ld, rows, cols, column);
}

}  // namespace aulos::inline AULOS_ISA::simd
