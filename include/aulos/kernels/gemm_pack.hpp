// Packing: operands of the matrix product in the order in which the register tile reads them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/gemm_split.hpp"
#include "aulos/kernels/gemm_tile.hpp"
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

// The bits of x with those of the nearest bf16 (ties to even) in the upper half; a NaN stays one.
inline std::uint32_t round_to_bf16(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return nan ? bits | 0x00400000u : bits + 0x7fffu + ((bits >> 16) & 1u);
}

inline float widen_bf16(std::uint16_t x) noexcept { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

// Where a bf16 panel row keeps column j.
template <class T>
constexpr Index bf16_slot(Index j) noexcept {
  constexpr Index half = gemm_cols<T> / 2;
  return j % half * 2 + j / half;
}

// bf16 panel [k][gemm_cols] of `lanes` rows (row n at rows + n * ldw).
template <class T>
void pack_bf16_panel(const T* rows, Index ldw, Index lanes, Index k, std::uint16_t* out) noexcept {
  constexpr Index cols = gemm_cols<T>, half = cols / 2, block = 32;
  alignas(64) T buffer[static_cast<std::size_t>(cols * block)];
  for (Index begin = 0; begin < k; begin += block) {
    const Index count = (std::min)(block, k - begin);
    pack_strip<gemm_cols<T>>(rows + begin, ldw, 1, lanes, count, buffer);
    for (Index p = 0; p < count; ++p) {
      for (Index j = 0; j < half; ++j) {
        const std::uint32_t low = round_to_bf16(static_cast<float>(buffer[p * cols + j])) >> 16;
        const std::uint32_t high = round_to_bf16(static_cast<float>(buffer[p * cols + half + j])) >> 16;
        out[(begin + p) * cols + 2 * j] = static_cast<std::uint16_t>(low);
        out[(begin + p) * cols + 2 * j + 1] = static_cast<std::uint16_t>(high);
      }
    }
  }
}

// A bf16 panel as T.
template <class T>
void widen_panel(const std::uint16_t* panel, Index k, T* out) noexcept {
  constexpr Index cols = gemm_cols<T>;
  for (Index p = 0; p < k; ++p) {
    for (Index j = 0; j < cols; ++j) out[p * cols + j] = static_cast<T>(widen_bf16(panel[p * cols + bf16_slot<T>(j)]));
  }
}

}  // namespace detail

// Bytes of the packed panels of a weight [n, k]; the buffer is to be 64-byte aligned.
template <class T>
constexpr std::size_t packed_bytes(Index n, Index k, PanelType type) noexcept {
  const std::size_t element = type == PanelType::same ? sizeof(T) : sizeof(std::uint16_t);
  return static_cast<std::size_t>(detail::panel_count<T>(n) * detail::gemm_cols<T> * k) * element;
}

// Packs rows [n, k] into panels of gemm_cols output columns, [panel][k][gemm_cols], zeros behind column n. To bf16
// values are rounded to the nearest, ties to even (a double by way of float). Memory-bound: reads n k once, writes it
// once.
template <class T>
void pack_weight(Threads threads, const T* rows, Index ldw, Index n, Index k, PanelType type, void* panels) {
  constexpr Index cols = detail::gemm_cols<T>;
  const Index count = detail::panel_count<T>(n), pieces = (std::min)(count, threads.count() * 4);
  if (count == 0 || k == 0) return;
  threads.run(pieces, [&](Index piece, Scratch&) {
    const detail::Range range = detail::part_of(count, pieces, piece);
    for (Index i = range.begin; i < range.end; ++i) {
      const T* from = rows + i * cols * ldw;
      const Index lanes = (std::min)(cols, n - i * cols);
      if (type == PanelType::same) {
        detail::pack_strip<detail::gemm_cols<T>>(from, ldw, 1, lanes, k, static_cast<T*>(panels) + i * cols * k);
      } else {
        detail::pack_bf16_panel(from, ldw, lanes, k, static_cast<std::uint16_t*>(panels) + i * cols * k);
      }
    }
  });
}

// The rows [n, k] that the panels hold, exactly.
template <class T>
void unpack_weight(Threads threads, const void* panels, PanelType type, Index n, Index k, T* rows, Index ldw) {
  constexpr Index cols = detail::gemm_cols<T>, block = 16;
  const Index count = detail::panel_count<T>(n), pieces = (std::min)(count, threads.count() * 4);
  if (count == 0 || k == 0) return;
  threads.run(pieces, [&](Index piece, Scratch&) {
    const detail::Range range = detail::part_of(count, pieces, piece);
    for (Index i = range.begin; i < range.end; ++i) {
      const Index lanes = (std::min)(cols, n - i * cols);
      for (Index begin = 0; begin < k; begin += block) {
        const Index end = (std::min)(begin + block, k);
        for (Index j = 0; j < lanes; ++j) {
          T* row = rows + (i * cols + j) * ldw;
          if (type == PanelType::same) {
            const T* panel = static_cast<const T*>(panels) + i * cols * k + j;
            for (Index p = begin; p < end; ++p) row[p] = panel[p * cols];
          } else {
            const auto* panel = static_cast<const std::uint16_t*>(panels) + i * cols * k + detail::bf16_slot<T>(j);
            for (Index p = begin; p < end; ++p) row[p] = static_cast<T>(detail::widen_bf16(panel[p * cols]));
          }
        }
      }
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
