// Packing: operands of the matrix product in the order in which the register tile reads them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "aulos/core/numeric.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/gemm_split.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/dot_bf16.hpp"
#include "aulos/simd/dot_int8.hpp"
#include "aulos/simd/transpose.hpp"

namespace aulos::inline AULOS_ISA::kernels {
namespace detail {

// Pieces of up to 512 bytes of `width` rows at a time. Rows a multiple of 4 KiB apart share one set of the first-level
// cache, where their misses wait for each other (half the rate, measured): those are copied first.
template <int width, class T>
class RowBlocks {
 public:
  static constexpr Index depth = static_cast<Index>(512 / sizeof(T));  // elements of a row in a block

  explicit RowBlocks(Index ld) noexcept : ld_(ld), copies_(ld * static_cast<Index>(sizeof(T)) % 4096 == 0) {}

  struct View {
    const T* data;
    Index ld;
  };
  View block(const T* p, Index rows, Index count) noexcept {
    if (!copies_) return {p, ld_};
    for (Index r = 0; r < rows; ++r) {
      std::memcpy(buffer_ + r * stride, p + r * ld_, static_cast<std::size_t>(count) * sizeof(T));
    }
    return {buffer_, stride};
  }

 private:
  static constexpr Index stride = depth + static_cast<Index>(64 / sizeof(T));

  Index ld_;
  bool copies_;
  alignas(64) T buffer_[static_cast<std::size_t>(width * stride)];
};

// Lanes [0, lanes) of `count` <= a batch of k's, out [count][width]; stores whole batches. `most` >= lanes is what the
// fast case holds.
template <Index most, int width, class T>
[[gnu::always_inline]] inline void pack_square(const T* p, Index lane_stride, Index lanes, Index count,
                                               T* out) noexcept {
  constexpr Index batch = simd::lanes<T>;
  simd::Batch<T> column[static_cast<std::size_t>(batch)];
  if (lanes >= most && count == batch) {
    simd::load_transposed(p, lane_stride, most, batch, column);
    AULOS_UNROLL for (Index e = 0; e < batch; ++e) simd::store(out + e * width, column[e]);
  } else {
    simd::load_transposed_part(p, lane_stride, std::clamp<Index>(lanes, 0, most), count, column);
    for (Index e = 0; e < count; ++e) simd::store(out + e * width, column[e]);
  }
}

// out [k][width] = the transpose of `lanes` <= width lines of k elements; lanes from `lanes` on are zero. Fast where
// one of the strides is 1. May write up to one batch past the end where width is no multiple of a batch.
template <int width, class T>
void pack_strip(const T* p, Index lane_stride, Index k_stride, Index lanes, Index k, T* out) noexcept {
  constexpr Index batch = simd::lanes<T>, full = width / batch * batch;
  if (k_stride == 1) {
    RowBlocks<width, T> blocks(lane_stride);
    for (Index begin = 0; begin < k; begin += blocks.depth) {
      const Index end = (std::min)(begin + blocks.depth, k);
      const auto rows = blocks.block(p + begin, lanes, end - begin);
      for (Index q = begin; q < end; q += batch, out += batch * width) {
        const T* from = rows.data + (q - begin);
        const Index count = (std::min)(batch, end - q);
        // From the last group down: what a store writes past its lanes is overwritten by a later one.
        if constexpr (full < width) {
          pack_square<width - full, width>(from + full * rows.ld, rows.ld, lanes - full, count, out + full);
        }
        for (Index g = full - batch; g >= 0; g -= batch) {
          pack_square<batch, width>(from + g * rows.ld, rows.ld, lanes - g, count, out + g);
        }
      }
    }
  } else if (lane_stride == 1 && lanes == width) {
    for (Index q = 0; q < k; ++q) std::memcpy(out + q * width, p + q * k_stride, width * sizeof(T));
  } else {
    for (Index q = 0; q < k; ++q) {
      T* row = out + q * width;
      for (Index lane = 0; lane < lanes; ++lane) row[lane] = p[lane * lane_stride + q * k_stride];
      std::fill(row + lanes, row + width, T(0));
    }
  }
}

// Elements that pack_strip may touch for `lines` lines.
template <int width, class T>
constexpr Index packed_count(Index lines, Index k) noexcept {
  return (lines + width - 1) / width * width * k + simd::lanes<T>;
}

// out [words][width], words of `group` numbers each (a float holds the bits of a word): the transpose of `lanes` <=
// width lines of k numbers. convert(line, begin, count, words) writes the words of the numbers [begin, begin + count)
// of a line, the last one filled up with zeros. May write up to one batch past the end, as pack_strip.
template <int width, Index group, class Convert>
void pack_words(Index lanes, Index k, float* out, const Convert& convert) {
  constexpr Index most = 128, stride = most + 16;
  alignas(64) float lines[static_cast<std::size_t>(width * stride)];
  for (Index begin = 0; begin < k; begin += most * group) {
    const Index count = (std::min)(most * group, k - begin), words = (count + group - 1) / group;
    for (Index line = 0; line < lanes; ++line) convert(line, begin, count, lines + line * stride);
    pack_strip<width>(lines, stride, 1, lanes, words, out);
    out += words * width;
  }
}

// How a line is quantised: x = step * q, q = round(x * factor), |q| <= 127. A line that holds a NaN or an infinity has
// a NaN for a step and zeros for q, so that all that is computed from it is NaN.
struct Quantization {
  float factor = 0, step = 0;

  static Quantization of(float largest) noexcept {
    constexpr float least = 0x1p-119f;  // so that the factor is finite; smaller numbers keep an error of 2^-126
    if (std::bit_cast<std::uint32_t>(largest) >= 0x7f800000u) return {0, std::numeric_limits<float>::quiet_NaN()};
    // A line of zeros has any step; one that makes no denormal number with another's is faster.
    if (largest < least) largest = largest == 0 ? 1.0f : least;
    return {127.0f / largest, largest / 127.0f};
  }

  // Bytes round(x * factor) + offset, zeros up to a multiple of 4.
  void apply(const float* x, Index count, int offset, std::uint8_t* y) const noexcept {
    if (factor > 0) return simd::quantize(x, count, factor, offset, y);
    std::memset(y, 0, static_cast<std::size_t>((count + 3) / 4 * 4));
  }
};

// Numbers in one 32-bit word (or element) of a panel, and such words in a column of k numbers.
template <Numeric storage>
inline constexpr Index panel_group = storage == Numeric::exact  ? 1
                                     : storage == Numeric::bf16 ? 2
                                                                : 4;
template <Numeric storage>
constexpr Index panel_depth(Index k) noexcept {
  return (k + panel_group<storage> - 1) / panel_group<storage>;
}

// Elements of a panel.
template <class T, Numeric storage>
constexpr Index panel_size(Index k) noexcept {
  return gemm_cols<T> * panel_group<storage> * panel_depth<storage>(k);
}

// What follows the panels of an int8 weight, in the same memory: for each column its step, and 128 times the sum of its
// quantised numbers (modulo 2^32), which is what activations with an offset of 128 add to a product.
template <class T>
struct Int8Columns {
  const float* steps;
  const std::uint32_t* offsets;

  Int8Columns(const void* panels, Index n, Index k) noexcept {
    const Index columns = panel_count<T>(n) * gemm_cols<T>;
    const auto* end = static_cast<const std::byte*>(panels) + panel_count<T>(n) * panel_size<T, Numeric::int8>(k);
    steps = reinterpret_cast<const float*>(end);
    offsets = reinterpret_cast<const std::uint32_t*>(steps + columns);
  }
};

// x[0, count) as floats: x itself, or copied to `space`.
inline const float* as_floats(const float* x, Index, float*) noexcept { return x; }
inline const float* as_floats(const double* x, Index count, float* space) noexcept {
  for (Index i = 0; i < count; ++i) space[i] = static_cast<float>(x[i]);
  return space;
}

// One panel of `lanes` rows (row j at rows + j * ldw).
template <class T>
void pack_bf16_panel(const T* rows, Index ldw, Index lanes, Index k, std::uint16_t* out) {
  float space[256];
  pack_words<gemm_cols<T>, 2>(lanes, k, reinterpret_cast<float*>(out),
                              [&](Index line, Index begin, Index count, float* words) {
                                simd::round_to_pairs(as_floats(rows + line * ldw + begin, count, space), count, words);
                              });
}

// The same in 8 bits, with the columns' steps and offsets.
template <class T>
void pack_int8_panel(const T* rows, Index ldw, Index lanes, Index k, std::int8_t* out, float* steps,
                     std::uint32_t* offsets) {
  constexpr Index block = 512;
  float space[static_cast<std::size_t>(block)];
  Quantization lines[static_cast<std::size_t>(gemm_cols<T>)];
  for (Index line = 0; line < gemm_cols<T>; ++line) {
    float largest[2] = {};
    for (Index begin = 0; line < lanes && begin < k; begin += block) {
      const Index count = (std::min)(block, k - begin);
      largest[1] = simd::largest_magnitude(as_floats(rows + line * ldw + begin, count, space), count);
      largest[0] = simd::largest_magnitude(largest, 2);
    }
    lines[line] = Quantization::of(largest[0]);
    steps[line] = lines[line].step;
    offsets[line] = 0;
  }
  pack_words<gemm_cols<T>, 4>(lanes, k, reinterpret_cast<float*>(out),
                              [&](Index line, Index begin, Index count, float* words) {
                                alignas(64) std::uint8_t bytes[static_cast<std::size_t>(block)];
                                lines[line].apply(as_floats(rows + line * ldw + begin, count, space), count, 0, bytes);
                                std::int32_t sum = 0;
                                for (Index i = 0; i < count; ++i) sum += static_cast<std::int8_t>(bytes[i]);
                                offsets[line] += static_cast<std::uint32_t>(sum) * 128u;
                                std::memcpy(words, bytes, static_cast<std::size_t>((count + 3) / 4 * 4));
                              });
}

// Column j, row p of a panel as T. `steps` of an int8 panel's columns.
template <class T, Numeric storage>
T panel_value(const PanelElement<T, storage>* panel, Index p, Index j, const float* steps) noexcept {
  constexpr Index group = panel_group<storage>, cols = gemm_cols<T>;
  const auto value = panel[(p / group * cols + j) * group + p % group];
  if constexpr (storage == Numeric::exact) {
    return value;
  } else if constexpr (storage == Numeric::bf16) {
    return static_cast<T>(std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16));
  } else {
    return static_cast<T>(value) * static_cast<T>(steps[j]);
  }
}

// Panel i of panels stored in `storage`, as T [k][gemm_cols].
template <class T, Numeric storage>
void widen_panel(const void* panels, Index i, Index n, Index k, T* out) noexcept {
  constexpr Index cols = gemm_cols<T>, group = panel_group<storage>;
  const auto* panel = static_cast<const PanelElement<T, storage>*>(panels) + i * panel_size<T, storage>(k);
  const float* steps = nullptr;
  if constexpr (storage == Numeric::int8) steps = Int8Columns<T>(panels, n, k).steps + i * cols;
  for (Index begin = 0; begin < k; begin += group) {
    const Index end = (std::min)(begin + group, k);
    for (Index p = begin; p < end; ++p) {
      for (Index j = 0; j < cols; ++j) out[p * cols + j] = panel_value<T, storage>(panel, p, j, steps);
    }
  }
}

// body(panel) for all panels, in pieces.
template <class T, class Body>
void for_panels(Threads threads, Index n, const Body& body) {
  const Index count = panel_count<T>(n), pieces = (std::min)(count, threads.count() * 4);
  if (count == 0) return;
  threads.run(pieces, [&](Index piece, Scratch&) {
    const Range range = part_of(count, pieces, piece);
    for (Index i = range.begin; i < range.end; ++i) body(i);
  });
}

template <class T, Numeric storage>
void unpack_panels(Threads threads, const void* panels, Index n, Index k, T* rows, Index ldw) {
  constexpr Index cols = gemm_cols<T>, block = 16;
  for_panels<T>(threads, n, [&](Index i) {
    const auto* panel = static_cast<const PanelElement<T, storage>*>(panels) + i * panel_size<T, storage>(k);
    const float* steps = nullptr;
    if constexpr (storage == Numeric::int8) steps = Int8Columns<T>(panels, n, k).steps + i * cols;
    const Index lanes = (std::min)(cols, n - i * cols);
    for (Index begin = 0; begin < k; begin += block) {
      const Index end = (std::min)(begin + block, k);
      for (Index j = 0; j < lanes; ++j) {
        T* row = rows + (i * cols + j) * ldw;
        for (Index p = begin; p < end; ++p) row[p] = panel_value<T, storage>(panel, p, j, steps);
      }
    }
  });
}

}  // namespace detail

// Bytes of the packed panels of a weight [n, k]; the buffer is to be 64-byte aligned.
template <class T>
constexpr std::size_t packed_bytes(Index n, Index k, Numeric storage) noexcept {
  const auto count = static_cast<std::size_t>(detail::panel_count<T>(n));
  constexpr auto columns = static_cast<std::size_t>(detail::gemm_cols<T>);
  if (storage == Numeric::exact) {
    return count * static_cast<std::size_t>(detail::panel_size<T, Numeric::exact>(k)) * sizeof(T);
  }
  if (storage == Numeric::bf16) return count * static_cast<std::size_t>(detail::panel_size<T, Numeric::bf16>(k)) * 2;
  return count * (static_cast<std::size_t>(detail::panel_size<T, Numeric::int8>(k)) + columns * 8);
}

// The rows of a panel.
template <class T>
inline constexpr Index panel_rows = detail::gemm_cols<T>;

// Packs panel i of a weight [n, k], see pack_weight: its rows [panel_rows, k] (fewer in the last one) are at `rows`,
// `ldw` elements apart.
template <class T>
void pack_panel(const T* rows, Index ldw, Index i, Index n, Index k, Numeric storage, void* panels) {
  constexpr Index cols = detail::gemm_cols<T>;
  const Index lanes = (std::min)(cols, n - i * cols);
  if (storage == Numeric::exact) {
    detail::pack_strip<detail::gemm_cols<T>>(rows, ldw, 1, lanes, k,
                                             static_cast<T*>(panels) + i * detail::panel_size<T, Numeric::exact>(k));
  } else if (storage == Numeric::bf16) {
    detail::pack_bf16_panel(rows, ldw, lanes, k,
                            static_cast<std::uint16_t*>(panels) + i * detail::panel_size<T, Numeric::bf16>(k));
  } else {
    const detail::Int8Columns<T> columns(panels, n, k);
    detail::pack_int8_panel(
        rows, ldw, lanes, k, static_cast<std::int8_t*>(panels) + i * detail::panel_size<T, Numeric::int8>(k),
        const_cast<float*>(columns.steps) + i * cols, const_cast<std::uint32_t*>(columns.offsets) + i * cols);
  }
}

// Packs rows [n, k] into panels of gemm_cols output columns, zeros behind column n.
//   exact  [panel][k][gemm_cols]
//   bf16   [panel][k / 2][gemm_cols][2], rounded to the nearest, ties to even (a double by way of float)
//   int8   [panel][k / 4][gemm_cols][4], q = round(127 w / max |w|) for each output channel, then the channels' steps
//          max |w| / 127 and sums; a channel with a NaN or an infinity becomes NaN as a whole
// Memory-bound: reads n k once (int8: twice), writes it once.
template <class T>
void pack_weight(Threads threads, const T* rows, Index ldw, Index n, Index k, Numeric storage, void* panels) {
  detail::for_panels<T>(threads, n,
                        [&](Index i) { pack_panel(rows + i * panel_rows<T> * ldw, ldw, i, n, k, storage, panels); });
}

// The rows [n, k] that the panels hold: exactly, of int8 step * q rounded to T.
template <class T>
void unpack_weight(Threads threads, const void* panels, Numeric storage, Index n, Index k, T* rows, Index ldw) {
  if (storage == Numeric::exact) {
    detail::unpack_panels<T, Numeric::exact>(threads, panels, n, k, rows, ldw);
  } else if (storage == Numeric::bf16) {
    detail::unpack_panels<T, Numeric::bf16>(threads, panels, n, k, rows, ldw);
  } else {
    detail::unpack_panels<T, Numeric::int8>(threads, panels, n, k, rows, ldw);
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels
