// Tiled softmax attention with the scores and the mask as inlined rules.
#pragma once

#include <cmath>
#include <span>

#include "aulos/core/numeric.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/attention_format.hpp"
#include "aulos/kernels/attention_mask.hpp"
#include "aulos/kernels/attention_product.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/kernels/attention_tile.hpp"
#include "aulos/simd/reduce_rows.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace tile {

// Query tiles that share one packing of the keys: their queries and sums, with a key tile, fit a second-level cache of
// 1 MiB.
template <class T>
Index tiles_per_piece(const AttentionShape& shape) {
  constexpr Index budget = 400 * 1024;
  const Index bytes = query_rows * (round_up<T>(shape.width) + round_up<T>(shape.value_width)) * Index(sizeof(T));
  return std::clamp<Index>(budget / std::max<Index>(bytes, 1), 4, 24);
}

// Query rows of a (batch element, bundle) for which its keys and values are read where they are, once for each row.
inline constexpr Index rows_in_place = 2;

// How the query tiles of a (batch element, bundle) are cut into pieces. No sum depends on it.
struct QueryPieces {
  Index tiles_per_head;
  Index tiles;   // of one (batch element, bundle)
  Index chunk;   // tiles of one piece
  Index chunks;  // of one (batch element, bundle)

  QueryPieces(const AttentionShape& shape, Index nq, Index threads, Index most)
      : tiles_per_head((nq + query_rows - 1) / query_rows), tiles(tiles_per_head * shape.heads_per_bundle()) {
    const Index all = tiles * shape.batch * shape.bundles();
    const Index wanted = threads <= 1 ? 1 : 4 * threads;
    chunk = std::clamp(all / wanted, std::min<Index>(2, most), most);
    chunks = std::max<Index>(1, (tiles + chunk - 1) / chunk);
    chunk = std::max<Index>(1, (tiles + chunks - 1) / chunks);  // as even as they can be
    chunks = (tiles + chunk - 1) / chunk;
  }
};

// The tile's forward state in scratch memory, and what one piece does with it.
template <class Format, class Mask, class Score>
class Forward {
 public:
  using T = typename Format::Number;
  static constexpr bool plain = std::is_same_v<Score, NoScore>;
  static constexpr bool unscaled = plain && Format::scales_queries;  // scores are exponents of base 2 from the start
  static constexpr Index W = panel<T>, L = lanes<T>;
  static constexpr Index strip_rows = (strip + L - 1) / L * L;  // whole batches of rows

  Forward(const AttentionShape& shape, std::span<const AttentionSide<T>> sides, const Mask& mask, const Score& score,
          Index nq, Index nk, Index tiles_per_head)
      : shape_(shape), sides_(sides), mask_(mask), score_(score), nq_(nq), nk_(nk), tiles_per_head_(tiles_per_head) {
    // Where queries are to be rounded, the scores take the scale instead, unless it is so far from 1 that scores could
    // no longer be told from dropped ones.
    const double scale = shape.scale;
    const bool late = !Format::scales_queries && scale > 1e-15 && scale < 1e15;
    query_factor_ = static_cast<T>(late ? 1.0 : unscaled ? scale * log2_e : scale);
    score_factor_ = static_cast<T>(late ? scale : 1.0);
    natural_unit_ = static_cast<T>(unscaled ? ln_2 : plain && late ? scale : 1.0);
    unit_ = static_cast<T>(plain && late ? scale * log2_e : log2_e);
  }

  static std::size_t scratch(const AttentionShape& shape, Index tiles) {
    const Index rows = tiles * query_rows, width = Format::elements(shape.width);
    return scratch_size<T>(rows * round_up<T>(width)) + scratch_size<T>(rows * round_up<T>(shape.value_width)) +
           2 * scratch_size<T>(rows + L) + scratch_size<T>(key_rows * width) +
           scratch_size<T>(Format::elements(key_rows) * round_up<T>(shape.value_width)) +
           scratch_size<T>(strip * score_stride<T>);
  }

  // Query tiles [first, last) of a bundle's heads.
  void run(Index b, Index bundle, Index first, Index last, Scratch& scratch) {
    const Index tiles = last - first, width = Format::elements(shape_.width);
    b_ = b;
    first_head_ = bundle * shape_.heads_per_bundle();
    key_head_ = first_head_ / shape_.heads_per_group();
    value_head_ = first_head_ / shape_.heads_per_value_group();
    q_ = scratch.take<T>(tiles * query_rows * round_up<T>(width));
    sum_ = scratch.take<T>(tiles * query_rows * round_up<T>(shape_.value_width));
    max_ = scratch.take<T>(tiles * query_rows + L);
    total_ = scratch.take<T>(tiles * query_rows + L);
    k_ = scratch.take<T>(key_rows * width);
    v_ = scratch.take<T>(Format::elements(key_rows) * round_up<T>(shape_.value_width));
    s_ = scratch.take<T>(strip * score_stride<T>);

    const Index strips = tiles * ((query_rows + strip - 1) / strip);
    for (Index j0 = 0; j0 == 0 || j0 < nk_; j0 += key_rows) {
      packed_.fill(false);
      const Index j1 = (std::min)(nk_, j0 + key_rows), ahead = (std::min)(nk_ - j1, key_rows);
      for (Index t = 0, n = 0; t < tiles; ++t) {
        const Position at = locate(first + t);
        if (j0 == 0) load_queries(t, at);
        for (Index r = 0; r < at.rows; r += strip, ++n) {
          const Index rows = std::min<Index>(strip, at.rows - r);
          const auto panels = visible_panels<T>(mask_, b, at.h, at.i + r, at.i + r + rows, j0, j1);
          if (panels.size == 0) continue;
          if (in_place()) {
            for (Index row = r; row < r + rows; ++row) add_keys_in_place(t * query_rows, row, at, j0, panels);
            continue;
          }
          // What comes next is on its way while this is computed.
          if (strips >= 8) prefetch_keys(j1 + ahead * n / strips, ahead * (n + 1) / strips - ahead * n / strips);
          if (j0 == 0 && t + 1 < tiles) prefetch_queries(locate(first + t + 1), r);
          for (const auto& p : panels) pack(j0, p.column);
          add_keys(t * query_rows, r, rows, at.h, at.i + r, j0, panels);
        }
      }
    }
    for (Index t = 0; t < tiles; ++t) store_rows(t, locate(first + t));
  }

 private:
  // A batch for each row of a strip: what its lanes have in common is still to be found.
  using Rows = std::array<Batch<T>, static_cast<std::size_t>(strip_rows)>;

  struct Position {
    Index h, i, rows;
  };

  Position locate(Index t) const {
    const Index i = t % tiles_per_head_ * query_rows;
    return {first_head_ + t / tiles_per_head_, i, (std::min)(query_rows, nq_ - i)};
  }

  T* q_of(Index t) const { return q_ + t * query_rows * round_up<T>(Format::elements(shape_.width)); }
  T* sum_of(Index t) const { return sum_ + t * query_rows * round_up<T>(shape_.value_width); }

  void load_queries(Index t, Position at) {
    for_each_run(sides_, &AttentionSide<T>::nq, at.i, at.rows, [&](std::size_t s, Index local, Index offset, Index n) {
      const HeadRows<const T>& q = sides_[s].q;
      Format::pack_queries(q_of(t), offset, q.at(b_, local, at.h), q.token, n, shape_.width, query_factor_);
    });
    std::fill_n(sum_of(t), query_rows * round_up<T>(shape_.value_width), T(0));
    std::fill_n(max_ + t * query_rows, query_rows, dropped<T>);
    std::fill_n(total_ + t * query_rows, query_rows, T(0));
  }

  // The keys and values of the panel at `column` of a key tile, once.
  void pack(Index j0, Index column) {
    bool& done = packed_[static_cast<std::size_t>(column / W)];
    if (done) return;
    done = true;
    const Index width = Format::elements(shape_.width), first = j0 + column, n = (std::min)(W, nk_ - first);
    T* columns = k_ + column * width;
    if (n < W) std::fill_n(columns, width * W, T(0));
    for_each_run(sides_, &AttentionSide<T>::nk, first, n, [&](std::size_t s, Index local, Index offset, Index m) {
      const HeadRows<const T>& k = sides_[s].k;
      const T* from = k.at(b_, local, key_head_);
      const Index most = sides_[s].nk - 1 - local;
      Format::pack_keys(columns, offset, from, k.token, m, shape_.width,
                        [&, most](Index r) { prefetch_row(from + (std::min)(r + W, most) * k.token, shape_.width); });
    });
    for_each_run(sides_, &AttentionSide<T>::nk, first, n, [&](std::size_t s, Index local, Index offset, Index m) {
      const HeadRows<const T>& v = sides_[s].v;
      const T* from = v.at(b_, local, value_head_);
      const Index most = sides_[s].nk - 1 - local;
      Format::pack_values(v_, column + offset, from, v.token, m, shape_.value_width, [&, most](Index r) {
        prefetch_row(from + (std::min)(r + W, most) * v.token, shape_.value_width);
      });
    });
  }

  void prefetch_keys(Index first, Index n) const {
    for_each_run(sides_, &AttentionSide<T>::nk, first, n, [&](std::size_t s, Index local, Index, Index m) {
      prefetch_rows(sides_[s].k.at(b_, local, key_head_), sides_[s].k.token, m, shape_.width);
      prefetch_rows(sides_[s].v.at(b_, local, value_head_), sides_[s].v.token, m, shape_.value_width);
    });
  }

  // The strip of queries from row r of a tile on.
  void prefetch_queries(Position at, Index r) const {
    const Index n = std::min<Index>(strip, at.rows - r);
    for_each_run(sides_, &AttentionSide<T>::nq, at.i + r, n, [&](std::size_t s, Index local, Index, Index m) {
      prefetch_rows(sides_[s].q.at(b_, local, at.h), sides_[s].q.token, m, shape_.width);
    });
  }

  // One strip of queries against the visible panels of a key tile: scores, weights, weighted sum of the values.
  void add_keys(Index tile_row, Index r, Index rows, Index h, Index i, Index j0, const Panels<T>& panels) {
    const Index t = tile_row / query_rows;
    Rows lane;
    lane.fill(Batch<T>(dropped<T>));
    score_product<Format>(s_, q_of(t) + r * W, rows, k_, Format::elements(shape_.width), panels,
                          plain ? lane.data() : nullptr, [&](const typename Panels<T>::Entry& p) {
                            if constexpr (requires { score_.prefetch(b_, h, i, Keys<T>{}); }) {
                              const Keys<T> keys{j0 + p.column, p.count};
                              for (Index row = 0; row < rows; ++row) score_.prefetch(b_, h, i + row, keys);
                            }
                          });
    alignas(64) T factor[static_cast<std::size_t>(strip_rows)];
    soften(lane, rows, h, i, j0, panels, max_ + tile_row + r, total_ + tile_row + r, factor);
    key_product<Format>(sum_of(t) + r * W, s_, rows, v_, shape_.value_width, panels, factor);
  }

  bool in_place() const {
    return std::is_same_v<Format, ExactFormat<T>> && nq_ * shape_.heads_per_bundle() <= rows_in_place;
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
      const T* k = side.k.at(b_, local, key_head_);
      const T* v = side.v.at(b_, local, value_head_);
      row_scores(s, k_, k, side.k.token, n, shape_.width,
                 [&](Index j) { prefetch_row(v + j * side.v.token, shape_.value_width); });
    });
    alignas(64) T factor[static_cast<std::size_t>(strip_rows)];
    Rows lane;
    lane.fill(Batch<T>(dropped<T>));
    for (const auto& p : panels) {
      for (Index c = 0; plain && p.whole() && c < W; c += L) {
        lane[0] = simd::raw_max(simd::load(s_ + p.column + c), lane[0]);
      }
    }
    soften(lane, 1, at.h, at.i + r, j0, panels, max_ + tile_row + r, total_ + tile_row + r, factor);
    for_each_key_run([&](const AttentionSide<T>& side, Index local, const T* w, Index n) {
      const T* k = side.k.at(b_, local, key_head_);
      const T* v = side.v.at(b_, local, value_head_);
      const Index most = side.nk - 1 - local;
      add_weighted_rows(v_, w, v, side.v.token, n, shape_.value_width,
                        [&](Index j) { prefetch_row(k + (std::min)(n + j, most) * side.k.token, shape_.width); });
    });
    for (Index c = 0; c < shape_.value_width; c += W) {
      T* sum = sum_of(t) + c * query_rows + r * W;
      for (Index x = 0; x < (std::min)(W, shape_.value_width - c); ++x)
        sum[x] = simd::fma(sum[x], factor[0], v_[c + x]);
    }
  }

  // Scores to weights relative to the new maximum of each row; lane = the maxima of the scores in panels that no rule
  // changes; factor = what rescales the sums so far.
  void soften(Rows& lane, Index rows, Index h, Index i, Index j0, const Panels<T>& panels, T* max, T* total,
              T* factor) {
    constexpr auto most = [](Batch<T> a, Batch<T> b) { return simd::raw_max(a, b); };
    constexpr auto add = [](Batch<T> a, Batch<T> b) { return a + b; };
    const Batch<T> unit(unit_), scale(score_factor_);
    bool ready = plain;
    for (const auto& p : panels) ready = ready && p.whole();
    for (Index r = 0; r < rows && !ready; ++r) {
      T* s = s_ + r * score_stride<T>;
      Batch<T> top = lane[static_cast<std::size_t>(r)];
      for (const auto& p : panels) {
        if (plain && p.whole()) continue;
        for (Index c = 0; c < p.count; c += L) {
          const Keys<T> keys{j0 + p.column + c, (std::min)(L, p.count - c)};
          Batch<T> x = simd::load(s + p.column + c);
          if constexpr (!plain && !Format::scales_queries) x *= scale;
          x = ruled(x, mask_, score_, p.visible, b_, h, i + r, keys);
          simd::store(s + p.column + c, x);
          top = simd::raw_max(x, top);
        }
      }
      lane[static_cast<std::size_t>(r)] = top;
    }
    alignas(64) T shift[static_cast<std::size_t>(strip_rows)];
    for (Index r = 0; r < rows; r += L) {
      const Batch<T> none(dropped<T>), old = simd::load(max + r);
      Batch<T> top = simd::reduce_rows<T>(lane.data() + r, most);
      top = simd::raw_max(top, old);
      simd::store_partial(max + r, top, std::min<Index>(L, rows - r));
      top = simd::select(top == none, Batch<T>(T(0)), top);  // nothing kept yet: every weight is 0
      simd::store(shift + r, top);
      simd::store(factor + r, exp2<T>(unscaled ? old - top : (old - top) * unit));
    }
    for (Index r = 0; r < rows; ++r) {
      T* s = s_ + r * score_stride<T>;
      const Batch<T> top(shift[r]);
      const auto weight = [&](const T* at) {
        const Batch<T> x = simd::load(at);
        return Format::exp2(unscaled ? x - top : (x - top) * unit);
      };
      Batch<T> sum0(T(0)), sum1(T(0));
      for (const auto& p : panels) {
        const Batch<T> w0 = weight(s + p.column);
        sum0 += w0;
        if (p.count > L) {
          const Batch<T> w1 = weight(s + p.column + L);
          sum1 += w1;
          Format::store_weights(s, p.column, w0, w1);
        } else {
          Format::store_weights(s, p.column, w0);
        }
      }
      lane[static_cast<std::size_t>(r)] = sum0 + sum1;
    }
    for (Index r = 0; r < rows; r += L) {
      const Batch<T> sum = simd::reduce_rows<T>(lane.data() + r, add);
      const Batch<T> all = simd::fma(simd::load(total + r), simd::load(factor + r), sum);
      simd::store_partial(total + r, all, std::min<Index>(L, rows - r));
    }
  }

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
          *side.lse.at(b_, local + r, at.h) =
              empty ? -std::numeric_limits<T>::infinity() : max_[row] * natural_unit_ + std::log(total_[row]);
        }
      }
    });
  }

  const AttentionShape& shape_;
  std::span<const AttentionSide<T>> sides_;
  const Mask& mask_;
  const Score& score_;
  Index nq_, nk_, tiles_per_head_;
  // What multiplies queries as they are packed, scores before their rule, and maxima and scores to make of them natural
  // ones and exponents of base 2.
  T query_factor_, score_factor_, natural_unit_, unit_;
  Index b_ = 0, first_head_ = 0, key_head_ = 0, value_head_ = 0;
  T *q_ = nullptr, *sum_ = nullptr, *max_ = nullptr, *total_ = nullptr, *k_ = nullptr, *v_ = nullptr, *s_ = nullptr;
  std::array<bool, static_cast<std::size_t>(max_panels<T>)> packed_{};
};

}  // namespace tile

// Scratch of one running piece of attention() for nq queries of all sides together.
template <class T>
std::size_t attention_scratch(const AttentionShape& shape, Index nq, Index /*nk*/, Numeric /*mode*/ = Numeric::exact) {
  const tile::QueryPieces pieces(shape, nq, 1, tile::tiles_per_piece<T>(shape));
  return tile::Forward<tile::ExactFormat<T>, NoMask, NoScore>::scratch(shape, pieces.chunk);
}

namespace tile {

template <class Format, class T, class Mask, class Score>
void attention_as(Threads threads, const AttentionShape& shape, std::span<const AttentionSide<T>> sides,
                  const Mask& mask, const Score& score) {
  const Index nq = count_queries(sides);
  const Index nk = count_keys(sides);
  if (shape.batch == 0 || shape.heads == 0 || nq == 0) return;
  const QueryPieces pieces(shape, nq, threads.count(), tiles_per_piece<T>(shape));
  const Index bundles = shape.bundles();
  threads.run(shape.batch * bundles * pieces.chunks, [&](Index piece, Scratch& scratch) {
    const Index first = piece % pieces.chunks * pieces.chunk;
    const Index at = piece / pieces.chunks;
    Forward<Format, Mask, Score> forward(shape, sides, mask, score, nq, nk, pieces.tiles_per_head);
    forward.run(at / bundles, at % bundles, first, (std::min)(first + pieces.chunk, pieces.tiles), scratch);
  });
}

}  // namespace tile

// out_i = sum_j softmax_j(score(scale q_i . k_j)) v_j over the keys j that the mask keeps; lse_i = log of the sum.
// Queries [B, Nq, H, D], keys [B, Nk, G, D], values [B, Nk, G', E], over the joint tokens of all sides; out may alias q
// of the same side and layout only if that side has no keys and E is D. Accumulates in T, keys in tiles of 256 in
// order. In the modes bf16 and int8, q, k, v and the weights are rounded to bf16 for the products (double: never).
// A row that keeps no key gets 0 and lse -inf. Cost 2 B H Nq Nk (D + E), less the skipped blocks.
// One side: torch.nn.functional.scaled_dot_product_attention.
template <class T, class Mask = NoMask, class Score = NoScore>
void attention(Threads threads, const AttentionShape& shape, std::span<const AttentionSide<T>> sides,
               const Mask& mask = {}, const Score& score = {}, Numeric mode = Numeric::exact) {
  if constexpr (std::is_same_v<T, float>) {
    if (mode != Numeric::exact) return tile::attention_as<tile::Bf16Format, T>(threads, shape, sides, mask, score);
  }
  tile::attention_as<tile::ExactFormat<T>, T>(threads, shape, sides, mask, score);
}

}  // namespace aulos::inline AULOS_ISA::kernels
