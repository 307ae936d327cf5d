// Rotary position embedding: pairs of channels of queries and keys turned by angles that depend on the token.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/pairs.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// Which channels make pair j of P: 2j and 2j + 1, or j and j + P.
enum class RopePairs { interleaved, half_split };

// By the angles of the table, or back by them.
enum class Rotation { forward, backward };

// The first 2 * pairs of `width` channels turn.
struct RopeShape {
  Index batch, tokens, heads, width, pairs;
  RopePairs layout;
};

// cos and sin of the angles, `pairs` to a row; a stride of 0 shares rows among batch elements or heads.
template <class T>
struct RopeRows {
  HeadRows<const T> cos, sin;
};

namespace detail {

// Turns `rows` rows by one row of the table.
template <class T>
[[gnu::noinline]] void rotate_half_split(Index rows, Index pairs, const T* x, Index ldx, const T* cos, const T* sin,
                                         T sign, T* y, Index ldy) {
  simd::for_lanes<T>(pairs, [=](Index j, auto part) {
    const simd::Batch<T> c = part.load(cos + j), s = part.load(sin + j) * simd::Batch<T>(sign);
    for (Index r = 0; r < rows; ++r) {
      const simd::Batch<T> a = part.load(x + r * ldx + j), b = part.load(x + r * ldx + pairs + j);
      part.store(y + r * ldy + j, simd::fnma(b, s, a * c));
      part.store(y + r * ldy + pairs + j, simd::fma(a, s, b * c));
    }
  });
}

template <class T>
[[gnu::noinline]] void rotate_interleaved(Index rows, Index pairs, const T* x, Index ldx, const T* cos, const T* sin,
                                          T sign, T* y, Index ldy) {
  constexpr Index width = simd::lanes<T>;
  const simd::Batch<T> signs = simd::alternating_signs<T>() * simd::Batch<T>(sign);
  const auto turn = [=](auto part, Index at, simd::Batch<T> c, simd::Batch<T> s) {
    for (Index r = 0; r < rows; ++r) {
      const simd::Batch<T> v = part.load(x + r * ldx + at);
      part.store(y + r * ldy + at, simd::fma(simd::swap_pairs(v), s, v * c));
    }
  };
  simd::for_lanes<T>(pairs, [=](Index j, auto part) {
    const simd::Batch<T> c = part.load(cos + j), s = part.load(sin + j);
    const Index count = (std::min)(width, pairs - j) * 2;  // channels
    const simd::Batch<T> lower = simd::repeat_lower(s) * signs, upper = simd::repeat_upper(s) * signs;
    if (count >= width)
      turn(simd::WholeBatch<T>{}, 2 * j, simd::repeat_lower(c), lower);
    else
      turn(simd::PartialBatch<T>{count}, 2 * j, simd::repeat_lower(c), lower);
    if (count == 2 * width)
      turn(simd::WholeBatch<T>{}, 2 * j + width, simd::repeat_upper(c), upper);
    else if (count > width)
      turn(simd::PartialBatch<T>{count - width}, 2 * j + width, simd::repeat_upper(c), upper);
  });
}

// Runs body(batch element, token) for all tokens, `elements` elements to each.
template <class Body>
void for_tokens(Threads threads, Index batch, Index tokens, Index elements, const Body& body) {
  constexpr Index elements_per_piece = 16 * 1024;
  const Index per_piece = std::max<Index>(1, elements_per_piece / std::max<Index>(1, elements));
  threads.run((batch * tokens + per_piece - 1) / per_piece, [&](Index piece, Scratch&) {
    const Index end = (std::min)(batch * tokens, (piece + 1) * per_piece);
    for (Index i = piece * per_piece; i < end; ++i) body(i / tokens, i % tokens);
  });
}

}  // namespace detail

// With angle a of pair (x0, x1): y0 = x0 cos a - x1 sin a, y1 = x1 cos a + x0 sin a; the channels behind the pairs are
// copied. The gradient of x is the rotation backward of y's. x, y [B, N, H, width] with any strides; y may be x.
// Both layouts give the same bits. apply_rotary_emb of diffusers (interleaved), apply_rotary_pos_emb of transformers
// (half-split).
template <class T>
void rope(Threads threads, const RopeShape& shape, Rotation rotation, HeadRows<const T> x, const RopeRows<T>& table,
          HeadRows<T> y) {
  const T sign = rotation == Rotation::forward ? T(1) : T(-1);
  const auto rotate =
      shape.layout == RopePairs::interleaved ? &detail::rotate_interleaved<T> : &detail::rotate_half_split<T>;
  const bool shared = table.cos.head == 0 && table.sin.head == 0;  // one row of the table turns all heads
  const Index rest = shape.width - 2 * shape.pairs;
  detail::for_tokens(threads, shape.batch, shape.tokens, shape.heads * shape.width, [&](Index b, Index n) {
    for (Index h = 0; h < shape.heads; h += shared ? shape.heads : 1) {
      rotate(shared ? shape.heads : 1, shape.pairs, x.at(b, n, h), x.head, table.cos.at(b, n, h), table.sin.at(b, n, h),
             sign, y.at(b, n, h), y.head);
    }
    for (Index h = 0; rest > 0 && h < shape.heads; ++h) {
      const T* from = x.at(b, n, h) + 2 * shape.pairs;
      T* to = y.at(b, n, h) + 2 * shape.pairs;
      if (to != from) std::memcpy(to, from, static_cast<std::size_t>(rest) * sizeof(T));
    }
  });
}

// The gradients of the table, summed in double, in order, over the batch elements and heads that share a row:
// gcos = sum gy0 x0 + gy1 x1, gsin = sum gy1 x0 - gy0 x1. gcos, gsin dense [table_batch, N, table_heads, pairs], with
// table_batch 1 or B, table_heads 1 or H. Either may be absent.
template <class T>
void rope_table_backward(Threads threads, const RopeShape& shape, Index table_batch, Index table_heads,
                         HeadRows<const T> x, HeadRows<const T> gy, T* gcos, T* gsin) {
  constexpr Index chunk = 64;  // pairs
  const Index step = shape.layout == RopePairs::interleaved ? 2 : 1;
  const Index other = shape.layout == RopePairs::interleaved ? 1 : shape.pairs;
  const Index batch = table_batch == 1 ? shape.batch : 1, heads = table_heads == 1 ? shape.heads : 1;  // that share
  const Index elements = batch * shape.heads * shape.width;
  detail::for_tokens(threads, table_batch, shape.tokens, elements, [&](Index tb, Index n) {
    for (Index th = 0; th < table_heads; ++th) {
      const Index row = ((tb * shape.tokens + n) * table_heads + th) * shape.pairs;
      for (Index first = 0; first < shape.pairs; first += chunk) {
        const Index count = (std::min)(chunk, shape.pairs - first);
        double by_cos[chunk] = {}, by_sin[chunk] = {};
        for (Index b = 0; b < batch; ++b) {
          for (Index h = 0; h < heads; ++h) {
            const T* px = x.at(tb + b, n, th + h) + first * step;
            const T* pg = gy.at(tb + b, n, th + h) + first * step;
            for (Index j = 0; j < count; ++j) {
              const double x0 = static_cast<double>(px[j * step]), x1 = static_cast<double>(px[j * step + other]);
              const double g0 = static_cast<double>(pg[j * step]), g1 = static_cast<double>(pg[j * step + other]);
              by_cos[j] += g0 * x0 + g1 * x1;
              by_sin[j] += g1 * x0 - g0 * x1;
            }
          }
        }
        for (Index j = 0; j < count; ++j) {
          if (gcos != nullptr) gcos[row + first + j] = static_cast<T>(by_cos[j]);
          if (gsin != nullptr) gsin[row + first + j] = static_cast<T>(by_sin[j]);
        }
      }
    }
  });
}

// In which type angles = position * frequency are computed before cosine and sine: as the reference does, or a model
// sees other angles than it was trained with at large positions.
enum class RopePrecision { float32, float64 };

// The frequencies theta^(-2j / width) of one axis, width / 2 of them: in double, or as float computes
// 1 / pow(theta, 2j / width) step by step.
inline void rope_frequencies(double theta, Index width, RopePrecision precision, double* frequencies) {
  for (Index j = 0; j < width / 2; ++j) {
    if (precision == RopePrecision::float64) {
      frequencies[j] = std::pow(theta, -static_cast<double>(2 * j) / static_cast<double>(width));
    } else {
      const float exponent = static_cast<float>(2 * j) / static_cast<float>(width);
      frequencies[j] = static_cast<double>(1.0f / std::pow(static_cast<float>(theta), exponent));
    }
  }
}

// cos[i, j], sin[i, j] of positions[i, axis[j]] * frequencies[j], taken in double of the angle and rounded once.
// positions [rows, axes] and the tables [rows, pairs] dense.
template <class T>
void rope_table(Threads threads, Index rows, Index axes, Index pairs, const T* positions, const double* frequencies,
                const std::int64_t* axis, RopePrecision precision, T* cos, T* sin) {
  constexpr Index piece = 1024;  // angles
  const Index per_piece = std::max<Index>(1, piece / std::max<Index>(1, pairs));
  threads.run((rows + per_piece - 1) / per_piece, [&](Index p, Scratch&) {
    for (Index i = p * per_piece; i < (std::min)(rows, (p + 1) * per_piece); ++i) {
      for (Index j = 0; j < pairs; ++j) {
        const double position = static_cast<double>(positions[i * axes + axis[j]]);
        const double angle =
            precision == RopePrecision::float64
                ? position * frequencies[j]
                : static_cast<double>(static_cast<float>(position) * static_cast<float>(frequencies[j]));
        cos[i * pairs + j] = static_cast<T>(std::cos(angle));
        sin[i * pairs + j] = static_cast<T>(std::sin(angle));
      }
    }
  });
}

// cos and sin of angles, taken in double and rounded once: full range reduction. torch.cos, torch.sin.
template <class T>
void cos_sin(Threads threads, Index count, const T* angles, T* cos, T* sin) {
  constexpr Index per_piece = 1024;
  threads.run((count + per_piece - 1) / per_piece, [&](Index piece, Scratch&) {
    for (Index i = piece * per_piece; i < (std::min)(count, (piece + 1) * per_piece); ++i) {
      cos[i] = static_cast<T>(std::cos(static_cast<double>(angles[i])));
      sin[i] = static_cast<T>(std::sin(static_cast<double>(angles[i])));
    }
  });
}

// gx = cos(x) gsin - sin(x) gcos; either of gcos and gsin may be absent.
template <class T>
void cos_sin_backward(Threads threads, Index count, const T* angles, const T* gcos, const T* gsin, T* gx) {
  constexpr Index per_piece = 1024;
  threads.run((count + per_piece - 1) / per_piece, [&](Index piece, Scratch&) {
    for (Index i = piece * per_piece; i < (std::min)(count, (piece + 1) * per_piece); ++i) {
      const double angle = static_cast<double>(angles[i]);
      const double by_sin = gsin == nullptr ? 0 : std::cos(angle) * static_cast<double>(gsin[i]);
      const double by_cos = gcos == nullptr ? 0 : std::sin(angle) * static_cast<double>(gcos[i]);
      gx[i] = static_cast<T>(by_sin - by_cos);
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
