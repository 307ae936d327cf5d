// Tiled softmax attention with the scores and the mask as inlined rules.
#pragma once

#include <cmath>
#include <span>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/attention_mask.hpp"
#include "aulos/kernels/attention_product.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/kernels/attention_tile.hpp"
#include "aulos/simd/reduce.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace tile {

// Query tiles that share one packing of the keys: at most 768 rows, which with a key tile fit the second-level cache.
inline constexpr Index tiles_per_piece = 16;

// Query rows of a (batch element, bundle) for which its keys and values are read where they are, once for each row.
inline constexpr Index rows_in_place = 2;

// How the query tiles of a (batch element, bundle) are cut into pieces. No sum depends on it.
struct QueryPieces {
  Index tiles_per_head;
  Index tiles;   // of one (batch element, bundle)
  Index chunk;   // tiles of one piece
  Index chunks;  // of one (batch element, bundle)

  QueryPieces(const AttentionShape& shape, Index nq, Index threads)
      : tiles_per_head((nq + query_rows - 1) / query_rows), tiles(tiles_per_head * shape.heads_per_bundle()) {
    const Index all = tiles * shape.batch * shape.bundles();
    const Index wanted = threads <= 1 ? 1 : 4 * threads;
    chunk = std::clamp(all / wanted, std::min<Index>(2, tiles_per_piece), tiles_per_piece);
    chunk = std::max<Index>(1, (std::min)(chunk, tiles));
    chunks = (tiles + chunk - 1) / chunk;
  }
};

// The tile's forward state in scratch memory, and what one piece does with it.
template <class T, class Mask, class Score>
class Forward {
 public:
  static constexpr bool plain = std::is_same_v<Score, NoScore>;
  static constexpr Index W = panel<T>;

  Forward(const AttentionShape& shape, std::span<const AttentionSide<T>> sides, const Mask& mask, const Score& score,
          Index nq, Index nk, Index tiles_per_head)
      : shape_(shape), sides_(sides), mask_(mask), score_(score), nq_(nq), nk_(nk), tiles_per_head_(tiles_per_head) {}

  static std::size_t scratch(const AttentionShape& shape, Index tiles) {
    const Index rows = tiles * query_rows;
    return scratch_size<T>(rows * round_up<T>(shape.width)) + scratch_size<T>(rows * round_up<T>(shape.value_width)) +
           2 * scratch_size<T>(rows) + scratch_size<T>(key_rows * shape.width) +
           scratch_size<T>(key_rows * round_up<T>(shape.value_width)) + scratch_size<T>(strip * score_stride<T>);
  }

  // Query tiles [first, last) of a bundle's heads.
  void run(Index b, Index bundle, Index first, Index last, Scratch& scratch) {
    const Index tiles = last - first;
    b_ = b;
    first_head_ = bundle * shape_.heads_per_bundle();
    key_head_ = first_head_ / shape_.heads_per_group();
    value_head_ = first_head_ / shape_.heads_per_value_group();
    q_ = scratch.take<T>(tiles * query_rows * round_up<T>(shape_.width));
    sum_ = scratch.take<T>(tiles * query_rows * round_up<T>(shape_.value_width));
    max_ = scratch.take<T>(tiles * query_rows);
    total_ = scratch.take<T>(tiles * query_rows);
    k_ = scratch.take<T>(key_rows * shape_.width);
    v_ = scratch.take<T>(key_rows * round_up<T>(shape_.value_width));
    s_ = scratch.take<T>(strip * score_stride<T>);

    for (Index t = 0; t < tiles; ++t) load_queries(t, locate(first + t));
    for (Index j0 = 0; j0 < nk_; j0 += key_rows) {
      packed_.fill(false);
      const Index j1 = (std::min)(nk_, j0 + key_rows);
      for (Index t = 0; t < tiles; ++t) {
        const Position at = locate(first + t);
        for (Index r = 0; r < at.rows; r += strip) {
          const Index rows = std::min<Index>(strip, at.rows - r);
          const auto panels = visible_panels<T>(mask_, b, at.h, at.i + r, at.i + r + rows, j0, j1);
          if (panels.size == 0) continue;
          if (in_place()) {
            for (Index row = r; row < r + rows; ++row) add_keys_in_place(t * query_rows, row, at, j0, panels);
            continue;
          }
          for (const auto& p : panels) pack(j0, p);
          add_keys(t * query_rows, r, rows, at.h, at.i + r, j0, panels);
        }
      }
    }
    for (Index t = 0; t < tiles; ++t) store_rows(t, locate(first + t));
  }

 private:
  struct Position {
    Index h, i, rows;
  };

  Position locate(Index t) const {
    const Index i = t % tiles_per_head_ * query_rows;
    return {first_head_ + t / tiles_per_head_, i, (std::min)(query_rows, nq_ - i)};
  }

  T* q_of(Index t) const { return q_ + t * query_rows * round_up<T>(shape_.width); }
  T* sum_of(Index t) const { return sum_ + t * query_rows * round_up<T>(shape_.value_width); }

  // Queries times scale, in units of log2(e) unless a score rule wants natural ones.
  void load_queries(Index t, Position at) {
    const T factor = static_cast<T>(shape_.scale * (plain ? log2_e : 1.0));
    pack_joint_rows(
        q_of(t), query_rows, 0, sides_, &AttentionSide<T>::nq,
        [&](std::size_t s) -> const HeadRows<const T>& { return sides_[s].q; }, at.i, at.rows, b_, at.h, shape_.width,
        factor);
    std::fill_n(sum_of(t), query_rows * round_up<T>(shape_.value_width), T(0));
    std::fill_n(max_ + t * query_rows, query_rows, dropped<T>);
    std::fill_n(total_ + t * query_rows, query_rows, T(0));
  }

  void pack(Index j0, const typename Panels<T>::Entry& p) {
    bool& done = packed_[static_cast<std::size_t>(p.column / W)];
    if (done) return;
    done = true;
    pack_joint_columns(
        k_ + p.column * shape_.width, sides_, [&](std::size_t s) -> const HeadRows<const T>& { return sides_[s].k; },
        j0 + p.column, p.count, b_, key_head_, shape_.width);
    pack_joint_rows(
        v_, key_rows, p.column, sides_, &AttentionSide<T>::nk,
        [&](std::size_t s) -> const HeadRows<const T>& { return sides_[s].v; }, j0 + p.column, p.count, b_, value_head_,
        shape_.value_width);
  }

  // One strip of queries against the visible panels of a key tile: scores, weights, weighted sum of the values.
  void add_keys(Index tile_row, Index r, Index rows, Index h, Index i, Index j0, const Panels<T>& panels) {
    const Index t = tile_row / query_rows;
    score_product(s_, q_of(t) + r * W, rows, k_, shape_.width, panels);
    alignas(64) T factor[static_cast<std::size_t>(strip + lanes<T>)];
    soften(rows, h, i, j0, panels, max_ + tile_row + r, total_ + tile_row + r, factor);
    key_product(sum_of(t) + r * W, s_, rows, v_, shape_.value_width, panels, factor);
  }

  bool in_place() const {
    return nq_ * shape_.heads_per_bundle() <= rows_in_place && shape_.width <= kernels::detail::gemm_k_chunk;
  }

  // add_keys for one row, with the same sums. The scratch for packed keys and values holds what is contiguous here: the
  // query and the weighted sum.
  void add_keys_in_place(Index tile_row, Index r, Position at, Index j0, const Panels<T>& panels) {
    const Index t = tile_row / query_rows;
    for (Index c = 0; c < shape_.width; c += W) {
      std::copy_n(q_of(t) + c * query_rows + r * W, (std::min)(W, shape_.width - c), k_ + c);
    }
    std::fill_n(v_, shape_.value_width, T(0));
    const auto for_each_key_run = [&](auto&& body) {
      for (const auto* p = panels.begin(); p != panels.end();) {
        const Index column = p->column;
        Index count = 0;  // of a run of neighbours
        for (; p != panels.end() && p->column == column + count; ++p) count += p->count;
        for_each_run(sides_, &AttentionSide<T>::nk, j0 + column, count,
                     [&](std::size_t s, Index local, Index offset, Index n) {
                       body(sides_[s], local, s_ + column + offset, n);
                     });
      }
    };
    for_each_key_run([&](const AttentionSide<T>& side, Index local, T* s, Index n) {
      row_scores(s, k_, side.k.at(b_, local, key_head_), side.k.token, n, shape_.width);
    });
    alignas(64) T factor[static_cast<std::size_t>(strip + lanes<T>)];
    soften(1, at.h, at.i + r, j0, panels, max_ + tile_row + r, total_ + tile_row + r, factor);
    for_each_key_run([&](const AttentionSide<T>& side, Index local, const T* w, Index n) {
      add_weighted_rows(v_, w, side.v.at(b_, local, value_head_), side.v.token, n, shape_.value_width);
    });
    for (Index c = 0; c < shape_.value_width; c += W) {
      T* sum = sum_of(t) + c * query_rows + r * W;
      for (Index x = 0; x < (std::min)(W, shape_.value_width - c); ++x)
        sum[x] = simd::fma(sum[x], factor[0], v_[c + x]);
    }
  }

  // Scores to weights relative to the new maximum of each row; factor = what rescales the sums so far.
  void soften(Index rows, Index h, Index i, Index j0, const Panels<T>& panels, T* max, T* total, T* factor) {
    const Batch<T> unit(plain ? T(1) : static_cast<T>(log2_e));
    alignas(64) T old_max[static_cast<std::size_t>(strip + lanes<T>)] = {};
    alignas(64) T new_max[static_cast<std::size_t>(strip + lanes<T>)] = {};
    for (Index r = 0; r < rows; ++r) {
      T* s = s_ + r * score_stride<T>;
      Batch<T> top(max[r]), top1 = top;
      for (const auto& p : panels) {
        if (plain && p.visible == Visible::all && p.count == W) {
          top = simd::raw_max(simd::load(s + p.column), top);
          top1 = simd::raw_max(simd::load(s + p.column + lanes<T>), top1);
          continue;
        }
        for (Index c = 0; c < p.count; c += lanes<T>) {
          const Keys<T> keys{j0 + p.column + c, (std::min)(lanes<T>, p.count - c)};
          const Batch<T> x = ruled(simd::load(s + p.column + c), mask_, score_, p.visible, b_, h, i + r, keys);
          simd::store(s + p.column + c, x);
          top = simd::raw_max(x, top);
        }
      }
      old_max[r] = max[r];
      new_max[r] = simd::reduce_max(simd::raw_max(top, top1));
      max[r] = new_max[r];
    }
    for (Index r = 0; r < rows; r += lanes<T>) {
      simd::store(factor + r, exp2<T>((simd::load(old_max + r) - simd::load(new_max + r)) * unit));
    }
    for (Index r = 0; r < rows; ++r) {
      T* s = s_ + r * score_stride<T>;
      const Batch<T> top(new_max[r] == dropped<T> ? T(0) : new_max[r]);  // nothing kept yet: every weight is 0
      Batch<T> sum0(T(0)), sum1(T(0));
      for (const auto& p : panels) {
        const Batch<T> w0 = weight(simd::load(s + p.column) - top, unit);
        simd::store(s + p.column, w0);
        sum0 += w0;
        if (p.count > lanes<T>) {
          const Batch<T> w1 = weight(simd::load(s + p.column + lanes<T>) - top, unit);
          simd::store(s + p.column + lanes<T>, w1);
          sum1 += w1;
        }
      }
      total[r] = total[r] * factor[r] + simd::reduce_add(sum0 + sum1);
    }
  }

  static Batch<T> weight(Batch<T> s, Batch<T> unit) { return exp2<T>(plain ? s : s * unit); }

  void store_rows(Index t, Position at) {
    for_each_run(sides_, &AttentionSide<T>::nq, at.i, at.rows, [&](std::size_t s, Index local, Index offset, Index n) {
      const AttentionSide<T>& side = sides_[s];
      for (Index r = 0; r < n; ++r) {
        const Index row = t * query_rows + offset + r;
        const bool empty = total_[row] == T(0);
        const T inverse = empty ? T(0) : T(1) / total_[row];
        T* out = side.out.at(b_, local + r, at.h);
        for (Index e = 0; e < shape_.value_width; e += W) {
          const T* sum = sum_of(t) + e * query_rows + (offset + r) * W;
          const Index count = (std::min)(W, shape_.value_width - e);
          for (Index x = 0; x < count; ++x) out[e + x] = empty ? T(0) : sum[x] * inverse;
        }
        if (side.lse) {
          const T top = max_[row] * (plain ? static_cast<T>(ln_2) : T(1));
          *side.lse.at(b_, local + r, at.h) = empty ? -std::numeric_limits<T>::infinity() : top + std::log(total_[row]);
        }
      }
    });
  }

  const AttentionShape& shape_;
  std::span<const AttentionSide<T>> sides_;
  const Mask& mask_;
  const Score& score_;
  Index nq_, nk_, tiles_per_head_;
  Index b_ = 0, first_head_ = 0, key_head_ = 0, value_head_ = 0;
  T *q_ = nullptr, *sum_ = nullptr, *max_ = nullptr, *total_ = nullptr, *k_ = nullptr, *v_ = nullptr, *s_ = nullptr;
  std::array<bool, static_cast<std::size_t>(max_panels<T>)> packed_{};
};

}  // namespace tile

// Scratch of one running piece of attention() for nq queries of all sides together.
template <class T>
std::size_t attention_scratch(const AttentionShape& shape, Index nq, Index /*nk*/) {
  const tile::QueryPieces pieces(shape, nq, 1);
  return tile::Forward<T, NoMask, NoScore>::scratch(shape, pieces.chunk);
}

// out_i = sum_j softmax_j(score(scale q_i . k_j)) v_j over the keys j that the mask keeps; lse_i = log of the sum.
// Queries [B, Nq, H, D], keys [B, Nk, G, D], values [B, Nk, G', E], over the joint tokens of all sides; out may alias q
// of the same side and layout only if that side has no keys and E is D. Accumulates in T, keys in tiles of 256 in
// order. A row that keeps no key gets 0 and lse -inf. Cost 2 B H Nq Nk (D + E), less the skipped blocks.
// One side: torch.nn.functional.scaled_dot_product_attention.
template <class T, class Mask = NoMask, class Score = NoScore>
void attention(Threads threads, const AttentionShape& shape, std::span<const AttentionSide<T>> sides,
               const Mask& mask = {}, const Score& score = {}) {
  const Index nq = count_queries(sides);
  const Index nk = count_keys(sides);
  if (shape.batch == 0 || shape.heads == 0 || nq == 0) return;
  const tile::QueryPieces pieces(shape, nq, threads.count());
  const Index bundles = shape.bundles();
  threads.run(shape.batch * bundles * pieces.chunks, [&](Index piece, Scratch& scratch) {
    const Index first = piece % pieces.chunks * pieces.chunk;
    const Index at = piece / pieces.chunks;
    tile::Forward<T, Mask, Score> forward(shape, sides, mask, score, nq, nk, pieces.tiles_per_head);
    forward.run(at / bundles, at % bundles, first, (std::min)(first + pieces.chunk, pieces.tiles), scratch);
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
