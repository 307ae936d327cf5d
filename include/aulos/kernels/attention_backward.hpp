// Gradients of attention() by recomputation of the scores.
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

struct Wanted {
  bool dq = false, dk = false, dv = false;
};

// The gradient of what nothing reads.
template <class T>
void clear(const HeadGradient<T>& d, Index batch, Index tokens, Index heads, Index width) {
  if (!d.rows || d.store == Store::add) return;
  for (Index b = 0; b < batch; ++b) {
    for (Index n = 0; n < tokens; ++n) {
      for (Index h = 0; h < heads; ++h) std::fill_n(d.rows.at(b, n, h), width, T(0));
    }
  }
}

// The gradients of some query tiles against some key tiles of one (batch element, bundle). Every element of dq is
// summed over the key tiles in order, every element of dk and dv over the heads of the bundle and their query tiles in
// order, then over the bundles that read it.
template <class T, class Mask, class Score>
class Backward {
 public:
  static constexpr Index W = panel<T>;
  static constexpr Index L = lanes<T>;
  static constexpr Index S = score_stride<T>;

  Backward(const AttentionShape& shape, std::span<const AttentionSide<T>> sides,
           std::span<const AttentionSideGradients<T>> gradients, const Mask& mask, const Score& score, Index nq,
           Index nk)
      : shape_(shape), sides_(sides), gradients_(gradients), mask_(mask), score_(score), nq_(nq), nk_(nk) {}

  static Index tiles_of(Index nq) { return (nq + query_rows - 1) / query_rows; }

  // Query tiles that are packed at a time.
  static Index tiles_at_once(const AttentionShape& shape, Index nq) {
    constexpr Index most = 32;
    return (std::min)(most, tiles_of(nq) * shape.heads_per_bundle());
  }

  static std::size_t scratch(const AttentionShape& shape, Index nq) {
    const Index rows = tiles_at_once(shape, nq) * query_rows;
    const Index padded_width = round_up<T>(shape.width), padded_value_width = round_up<T>(shape.value_width);
    return 2 * scratch_size<T>(rows) + 2 * scratch_size<T>(rows * padded_width) +
           scratch_size<T>(rows * padded_value_width) + 2 * scratch_size<T>(query_rows * S) +
           scratch_size<T>(key_rows * shape.width) + scratch_size<T>(key_rows * shape.value_width) +
           2 * scratch_size<T>(key_rows * padded_width) + scratch_size<T>(key_rows * padded_value_width);
  }

  // Query tiles [t0, t1) of the bundle's heads, keys [first, last) from a tile's border on.
  void run(Index b, Index bundle, Index t0, Index t1, Index first, Index last, Wanted wanted, Scratch& scratch) {
    b_ = b;
    first_head_ = bundle * shape_.heads_per_bundle();
    key_head_ = first_head_ / shape_.heads_per_group();
    value_head_ = first_head_ / shape_.heads_per_value_group();
    const bool first_of_keys = first_head_ % shape_.heads_per_group() == 0;
    const bool first_of_values = first_head_ % shape_.heads_per_value_group() == 0;
    wanted_ = wanted;
    const Index padded_width = round_up<T>(shape_.width), padded_value_width = round_up<T>(shape_.value_width);
    const Index most = tiles_at_once(shape_, nq_), rows = most * query_rows;
    lse_ = scratch.take<T>(rows);
    mean_ = scratch.take<T>(rows);
    q_ = scratch.take<T>(rows * padded_width);
    dq_ = scratch.take<T>(rows * padded_width);
    dout_ = scratch.take<T>(rows * padded_value_width);
    weight_ = scratch.take<T>(query_rows * S);
    dscore_ = scratch.take<T>(query_rows * S);
    k_columns_ = scratch.take<T>(key_rows * shape_.width);
    v_columns_ = scratch.take<T>(key_rows * shape_.value_width);
    k_rows_ = scratch.take<T>(key_rows * padded_width);
    dk_ = scratch.take<T>(key_rows * padded_width);
    dv_ = scratch.take<T>(key_rows * padded_value_width);

    Index t = t0;
    do {
      const Index end = (std::min)(t + most, t1);
      const bool begins = t == t0;
      add_queries(t, end, first, last, first_of_keys && begins, first_of_values && begins);
      t = end;
    } while (t < t1);
  }

 private:
  struct Position {
    Index h, i, rows;
  };

  Position locate(Index t) const {
    const Index per_head = tiles_of(nq_);
    const Index i = t % per_head * query_rows;
    return {first_head_ + t / per_head, i, (std::min)(query_rows, nq_ - i)};
  }

  // What run() does, for query tiles that are packed together.
  void add_queries(Index t0, Index t1, Index first, Index last, bool first_of_keys, bool first_of_values) {
    const Index padded_width = round_up<T>(shape_.width), padded_value_width = round_up<T>(shape_.value_width);
    for (Index t = t0; t < t1; ++t) start_queries(locate(t), t - t0);
    for (Index j0 = first; j0 < last; j0 += key_rows) {
      const Index j1 = (std::min)(nk_, j0 + key_rows);
      packed_.fill(false);
      std::fill_n(dk_, key_rows * padded_width, T(0));
      std::fill_n(dv_, key_rows * padded_value_width, T(0));
      for (Index t = t0; t < t1; ++t) {
        const Position at = locate(t);
        const auto panels = visible_panels<T>(mask_, b_, at.h, at.i, at.i + at.rows, j0, j1);
        if (panels.size == 0) continue;
        for (const auto& p : panels) pack_keys(j0, p);
        add_block(at, t - t0, j0, panels);
      }
      if (wanted_.dk) {
        store_keys(dk_, &AttentionSideGradients<T>::dk, key_head_, first_of_keys, j0, j1, shape_.width);
      }
      if (wanted_.dv) {
        store_keys(dv_, &AttentionSideGradients<T>::dv, value_head_, first_of_values, j0, j1, shape_.value_width);
      }
    }
    for (Index t = t0; t < t1 && wanted_.dq; ++t) store_queries(locate(t), t - t0);
  }

  T* q_of(Index tile) const { return q_ + tile * query_rows * round_up<T>(shape_.width); }
  T* dq_of(Index tile) const { return dq_ + tile * query_rows * round_up<T>(shape_.width); }
  T* dout_of(Index tile) const { return dout_ + tile * query_rows * round_up<T>(shape_.value_width); }

  // Packs a tile's queries and dout; log-sum-exp and mean_i = dout_i . out_i - dlse_i of its rows.
  void start_queries(Position at, Index tile) {
    auto q = [&](std::size_t s) -> const HeadRows<const T>& { return sides_[s].q; };
    auto dout_rows = [&](std::size_t s) -> const HeadRows<const T>& { return gradients_[s].dout; };
    pack_joint_rows(q_of(tile), query_rows, 0, sides_, &AttentionSide<T>::nq, q, at.i, at.rows, b_, at.h, shape_.width,
                    static_cast<T>(shape_.scale));
    pack_joint_rows(dout_of(tile), query_rows, 0, sides_, &AttentionSide<T>::nq, dout_rows, at.i, at.rows, b_, at.h,
                    shape_.value_width);
    if (wanted_.dq) std::fill_n(dq_of(tile), query_rows * round_up<T>(shape_.width), T(0));
    const Index row = tile * query_rows;
    for_each_run(sides_, &AttentionSide<T>::nq, at.i, at.rows, [&](std::size_t s, Index local, Index offset, Index n) {
      const AttentionSide<T>& side = sides_[s];
      const AttentionSideGradients<T>& d = gradients_[s];
      for (Index r = 0; r < n; ++r) {
        const T lse = *side.lse.at(b_, local + r, at.h);
        const bool empty = simd::to_bits(lse) == simd::to_bits(-std::numeric_limits<T>::infinity());
        lse_[row + offset + r] = empty ? T(0) : lse;  // an empty row's scores are all dropped: its weights are 0
        const T* out = side.out.at(b_, local + r, at.h);
        const T* dout = d.dout.at(b_, local + r, at.h);
        Batch<T> sum(T(0));
        for (Index e = 0; e < shape_.value_width; e += L) {
          const Index count = (std::min)(L, shape_.value_width - e);
          sum = simd::fma(simd::load_partial(dout + e, count), simd::load_partial(out + e, count), sum);
        }
        mean_[row + offset + r] = simd::reduce_add(sum) - (d.dlse ? *d.dlse.at(b_, local + r, at.h) : T(0));
      }
    });
  }

  void pack_keys(Index j0, const typename Panels<T>::Entry& p) {
    bool& done = packed_[static_cast<std::size_t>(p.column / W)];
    if (done) return;
    done = true;
    auto k = [&](std::size_t s) -> const HeadRows<const T>& { return sides_[s].k; };
    auto v = [&](std::size_t s) -> const HeadRows<const T>& { return sides_[s].v; };
    const Index j = j0 + p.column, count = (std::min)(W, nk_ - j);
    pack_joint_columns(k_columns_ + p.column * shape_.width, sides_, k, j, count, b_, key_head_, shape_.width);
    pack_joint_columns(v_columns_ + p.column * shape_.value_width, sides_, v, j, count, b_, value_head_,
                       shape_.value_width);
    if (wanted_.dq) {
      pack_joint_rows(k_rows_, key_rows, p.column, sides_, &AttentionSide<T>::nk, k, j, count, b_, key_head_,
                      shape_.width);
    }
  }

  // One query tile against the visible panels of the current key tile.
  void add_block(Position at, Index tile, Index j0, const Panels<T>& panels) {
    const T* q = q_of(tile);
    const T* dout = dout_of(tile);
    score_product<ExactFormat<T>>(weight_, q, at.rows, k_columns_, shape_.width, panels);
    score_product<ExactFormat<T>>(dscore_, dout, at.rows, v_columns_, shape_.value_width, panels);
    for (Index r = 0; r < at.rows; ++r) differentiate(at, r, tile * query_rows, j0, panels);
    if (wanted_.dv) query_product(dv_, weight_, at.rows, dout, shape_.value_width, panels);
    if (wanted_.dk) query_product(dk_, dscore_, at.rows, q, shape_.width, panels);
    if (wanted_.dq) {
      alignas(64) T one[static_cast<std::size_t>(query_rows)];
      std::fill_n(one, query_rows, T(1));
      key_product<ExactFormat<T>>(dq_of(tile), dscore_, at.rows, k_rows_, shape_.width, panels, one);
    }
  }

  // Row r: scores to weights p, their gradients dp to those of the scores, p (dp - mean).
  void differentiate(Position at, Index r, Index row, Index j0, const Panels<T>& panels) {
    const Batch<T> lse(lse_[row + r]), mean(mean_[row + r]), unit(static_cast<T>(log2_e)), zero(T(0));
    for (const auto& p : panels) {
      for (Index c = 0; c < p.count; c += L) {
        const Keys<T> keys{j0 + p.column + c, (std::min)(L, p.count - c)};
        T* weights = weight_ + r * S + p.column + c;
        T* dscores = dscore_ + r * S + p.column + c;
        const Batch<T> raw = simd::load(weights);
        const Batch<T> s = ruled(raw, mask_, score_, p.visible, b_, at.h, at.i + r, keys);
        const Batch<T> weight = exp2<T>((s - lse) * unit);
        simd::store(weights, weight);
        Batch<T> ds = simd::select(weight == zero, zero, weight * (simd::load(dscores) - mean));
        if constexpr (!std::is_same_v<Score, NoScore>) ds = score_.gradient(ds, raw, b_, at.h, at.i + r, keys);
        simd::store(dscores, ds);
      }
    }
  }

  // dq_i (+)= scale sum_j ds_ij k_j.
  void store_queries(Position at, Index tile) {
    for_each_run(sides_, &AttentionSide<T>::nq, at.i, at.rows, [&](std::size_t s, Index local, Index offset, Index n) {
      const HeadGradient<T>& dq = gradients_[s].dq;
      if (!dq.rows) return;
      for (Index r = 0; r < n; ++r) {
        store_row(dq.rows.at(b_, local + r, at.h), dq_of(tile) + (offset + r) * W, query_rows, shape_.width,
                  static_cast<T>(shape_.scale), dq.store);
      }
    });
  }

  // To head `head` of a gradient, which the first that comes to it may overwrite.
  void store_keys(const T* from, HeadGradient<T> AttentionSideGradients<T>::*gradient, Index head, bool first, Index j0,
                  Index j1, Index width) {
    for_each_run(sides_, &AttentionSide<T>::nk, j0, j1 - j0, [&](std::size_t s, Index local, Index offset, Index n) {
      const HeadGradient<T>& to = gradients_[s].*gradient;
      if (!to.rows) return;
      for (Index r = 0; r < n; ++r) {
        store_row(to.rows.at(b_, local + r, head), from + (offset + r) * W, key_rows, width, T(1),
                  first ? to.store : Store::add);
      }
    });
  }

  // to (+)= factor * a row of panelled rows.
  static void store_row(T* to, const T* from, Index capacity, Index width, T factor, Store store) {
    for (Index c = 0; c < width; c += L) {
      const Index count = (std::min)(L, width - c);
      Batch<T> x = simd::load(from + c / W * W * capacity + c % W) * Batch<T>(factor);
      if (store == Store::add) x = simd::load_partial(to + c, count) + x;
      simd::store_partial(to + c, x, count);
    }
  }

  const AttentionShape& shape_;
  std::span<const AttentionSide<T>> sides_;
  std::span<const AttentionSideGradients<T>> gradients_;
  const Mask& mask_;
  const Score& score_;
  Index nq_, nk_;
  Index b_ = 0, first_head_ = 0, key_head_ = 0, value_head_ = 0;
  Wanted wanted_;
  T *lse_ = nullptr, *mean_ = nullptr, *q_ = nullptr, *dq_ = nullptr, *dout_ = nullptr, *weight_ = nullptr,
    *dscore_ = nullptr, *k_columns_ = nullptr, *v_columns_ = nullptr, *k_rows_ = nullptr, *dk_ = nullptr,
    *dv_ = nullptr;
  std::array<bool, static_cast<std::size_t>(max_panels<T>)> packed_{};
};

}  // namespace tile

// Scratch of one running piece of attention_backward() for nq queries of all sides together.
template <class T>
std::size_t attention_backward_scratch(const AttentionShape& shape, Index nq, Index /*nk*/) {
  return tile::Backward<T, NoMask, NoScore>::scratch(shape, nq);
}

// From dout (and dlse): with p_ij = exp(s_ij - lse_i) and ds_ij = p_ij (dout_i . v_j - dout_i . out_i + dlse_i),
// dv_j = sum_i p_ij dout_i, dq_i = scale sum_j ds_ij k_j, dk_j = scale sum_i ds_ij q_i; a score rule's gradient() acts
// on ds. Shapes as in attention(), whose out and lse are read; the heads that read a key or value are summed.
// Accumulates in T, in an order that no thread count changes. Empty rows give and get 0. Cost 2 B H Nq Nk (3 D + 2 E),
// or where a (batch element, island) each is too coarse for the threads, 2 B H Nq Nk (4 D + 3 E): then dq has a pass of
// its own.
template <class T, class Mask = NoMask, class Score = NoScore>
void attention_backward(Threads threads, const AttentionShape& shape, std::span<const AttentionSide<T>> sides,
                        std::span<const AttentionSideGradients<T>> gradients, const Mask& mask = {},
                        const Score& score = {}) {
  using Piece = tile::Backward<T, Mask, Score>;
  const Index nq = count_queries(sides);
  const Index nk = count_keys(sides);
  const Index bundles = shape.bundles(), islands = shape.islands();
  const Index bundles_per_island = islands == 0 ? 0 : bundles / islands;
  const Index tiles = Piece::tiles_of(nq) * shape.heads_per_bundle();
  const GradientSink sink = gradient_sink(score);
  tile::Wanted wanted;
  for (const auto& g : gradients) {
    wanted.dq = wanted.dq || g.dq.rows;
    wanted.dk = wanted.dk || g.dk.rows;
    wanted.dv = wanted.dv || g.dv.rows;
  }
  if (!wanted.dq && !wanted.dk && !wanted.dv && !sink.present) return;
  if (shape.heads == 0) {  // nobody reads the keys
    for (std::size_t s = 0; s < sides.size(); ++s) {
      tile::clear(gradients[s].dk, shape.batch, sides[s].nk, shape.groups, shape.width);
      tile::clear(gradients[s].dv, shape.batch, sides[s].nk, shape.value_groups, shape.value_width);
    }
    return;
  }

  // One pass: a piece owns whatever its sums go to.
  const bool all_batches = sink.present && sink.batch_shared;
  const bool all_heads = sink.present && sink.heads_shared;
  const Index pieces = (all_batches ? 1 : shape.batch) * (all_heads ? 1 : islands);
  const Index count = threads.count();
  const bool fits = 5 * ((pieces + count - 1) / count) * count <= 7 * pieces;
  if (sink.present || fits || !wanted.dq || !(wanted.dk || wanted.dv)) {
    threads.run(pieces, [&](Index piece, Scratch& scratch) {
      const Index b0 = all_batches ? 0 : all_heads ? piece : piece / islands;
      const Index first = all_heads ? 0 : piece % islands * bundles_per_island;
      for (Index b = b0; b < (all_batches ? shape.batch : b0 + 1); ++b) {
        for (Index u = first; u < (all_heads ? bundles : first + bundles_per_island); ++u) {
          Scratch own = scratch;
          Piece(shape, sides, gradients, mask, score, nq, nk).run(b, u, 0, tiles, 0, nk, wanted, own);
        }
      }
    });
    return;
  }
  // Two passes, finer: dq by query tiles, dk and dv by key tiles. The sums run in the same order.
  const Index key_tiles = (nk + tile::key_rows - 1) / tile::key_rows;
  const Index chunk = std::clamp<Index>(shape.batch * bundles * tiles / (4 * count), 1, 16);
  const Index chunks = (tiles + chunk - 1) / chunk;
  threads.run(shape.batch * bundles * chunks, [&](Index piece, Scratch& scratch) {
    const Index at = piece / chunks, t = piece % chunks * chunk;
    Piece(shape, sides, gradients, mask, score, nq, nk)
        .run(at / bundles, at % bundles, t, (std::min)(tiles, t + chunk), 0, nk, {.dq = true}, scratch);
  });
  threads.run(shape.batch * islands * key_tiles, [&](Index piece, Scratch& scratch) {
    const Index at = piece / key_tiles, j = piece % key_tiles * tile::key_rows;
    const Index first = at % islands * bundles_per_island;
    for (Index u = first; u < first + bundles_per_island; ++u) {
      Scratch own = scratch;
      Piece(shape, sides, gradients, mask, score, nq, nk)
          .run(at / islands, u, 0, tiles, j, (std::min)(nk, j + tile::key_rows), {.dk = wanted.dk, .dv = wanted.dv},
               own);
    }
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
