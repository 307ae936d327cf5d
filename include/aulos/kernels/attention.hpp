// Tiled softmax attention with the scores and the mask as inlined rules.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <type_traits>

#include "aulos/core/numeric.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/attention_format.hpp"
#include "aulos/kernels/attention_mask.hpp"
#include "aulos/kernels/attention_product.hpp"
#include "aulos/kernels/attention_row.hpp"
#include "aulos/kernels/attention_row_split.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/kernels/attention_softmax.hpp"
#include "aulos/kernels/attention_tile.hpp"
#include "aulos/simd/amx.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace tile {

// Query tiles that share one packing of the keys: their queries and sums, with a key tile, fit a second-level cache of
// 1 MiB, or the 2 MiB of processors with tiles (bf16 with 4096 queries and keys: 3 to 6 % faster than with half as
// much).
template <class Format>
Index tiles_per_piece(const AttentionShape& shape) {
  using T = typename Format::Number;
  constexpr Index budget = (simd::has_tiles ? 800 : 400) * Index{1024};
  const Index row = (round_up<T>(Format::elements(shape.width)) + round_up<T>(shape.value_width)) * Index(sizeof(T));
  const Index bytes = Format::query_rows * row;
  return std::clamp<Index>(budget / std::max<Index>(bytes, 1), 4, 32);
}

// How the query tiles of a (batch element, bundle) are cut into pieces. No sum depends on it.
struct QueryPieces {
  Index tiles_per_head;
  Index tiles;   // of one (batch element, bundle)
  Index chunk;   // tiles of one piece
  Index chunks;  // of one (batch element, bundle)

  QueryPieces(const AttentionShape& shape, Index nq, Index tile_rows, Index threads, Index most)
      : tiles_per_head((nq + tile_rows - 1) / tile_rows), tiles(tiles_per_head * shape.heads_per_bundle()) {
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
  using SoftmaxOf = Softmax<Format, Mask, Score>;
  static constexpr Index W = panel<T>, L = lanes<T>;
  static constexpr Index strip = Format::strip, query_rows = Format::query_rows;

  Forward(const AttentionShape& shape, std::span<const AttentionSide<T>> sides, const Mask& mask, const Score& score,
          Index nq, Index nk, Index tiles_per_head)
      : shape_(shape),
        sides_(sides),
        mask_(mask),
        score_(score),
        softmax_(shape.scale, mask, score),
        nq_(nq),
        nk_(nk),
        tiles_per_head_(tiles_per_head),
        bundle_(shape, 0) {}

  static std::size_t scratch(const AttentionShape& shape, Index tiles) {
    const Index rows = tiles * query_rows, width = Format::elements(shape.width);
    return scratch_size<T>(rows * round_up<T>(width)) + scratch_size<T>(rows * round_up<T>(shape.value_width)) +
           2 * scratch_size<T>(rows + L) + scratch_size<T>(key_rows * width) +
           scratch_size<T>(Format::elements(key_rows) * round_up<T>(shape.value_width)) +
           scratch_size<T>(strip * score_stride<T>);
  }

  // A bundle of heads of a batch element, counted over all.
  struct Bundle {
    Index b, head, key_head, value_head;

    Bundle(const AttentionShape& shape, Index n)
        : b(n / shape.bundles()),
          head(n % shape.bundles() * shape.heads_per_bundle()),
          key_head(head / shape.heads_per_group()),
          value_head(head / shape.heads_per_value_group()) {}
  };

  // Query tiles [first, last) of a bundle's heads. `next`, if any, is what this thread is likely to be given then.
  void run(const Bundle& bundle, Index first, Index last, const Bundle* next, Scratch& scratch) {
    [[maybe_unused]] const typename Format::Scope scope;
    const Index tiles = last - first, width = Format::elements(shape_.width);
    bundle_ = bundle;
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
      const Index j1 = (std::min)(nk_, j0 + key_rows);
      for (Index t = 0, n = 0; t < tiles; ++t) {
        const Position at = locate(bundle_, first + t);
        if (j0 == 0) load_queries(t, at);
        for (Index r = 0; r < at.rows; r += strip, ++n) {
          const Index rows = (std::min)(strip, at.rows - r);
          const auto panels = visible_panels<T>(mask_, bundle_.b, at.h, at.i + r, at.i + r + rows, j0, j1);
          if (panels.size > 0) {
            for (const auto& p : panels) pack(j0, p.column);
            // What comes next is on its way while this is computed: a few rows before each panel.
            const bool end = j1 == nk_, more = j0 == 0 && t + 1 < tiles;
            const Bundle* const later = end ? next : strips >= 8 ? &bundle_ : nullptr;
            const Index j2 = end ? 0 : j1;
            const Part keys(later != nullptr ? (std::min)(nk_ - j2, key_rows) : 0, n, strips, panels.size);
            const Part here(rows, 0, 1, panels.size);
            add_keys(t, r, rows, at, j0, panels, [&](Index part) {
              if (later != nullptr) prefetch_keys(*later, j2 + keys.first(part), keys.count(part));
              const Index from = r + here.first(part), count = here.count(part);
              if (more) prefetch_queries(bundle_, locate(bundle_, first + t + 1), from, count);
              if (end && next != nullptr && t == 0) prefetch_queries(*next, locate(*next, 0), from, count);
              if (end) prefetch_results(at, from, count);
            });
          }
          if (j1 == nk_) store_rows(t, at, r, rows);
        }
      }
    }
  }

 private:
  struct Position {
    Index h, i, rows;
  };

  Position locate(const Bundle& bundle, Index t) const {
    const Index i = t % tiles_per_head_ * query_rows;
    return {bundle.head + t / tiles_per_head_, i, (std::min)(query_rows, nq_ - i)};
  }

  T* q_of(Index t) const { return q_ + t * query_rows * round_up<T>(Format::elements(shape_.width)); }
  T* sum_of(Index t) const { return sum_ + t * query_rows * round_up<T>(shape_.value_width); }

  void load_queries(Index t, Position at) {
    for_each_run(sides_, &AttentionSide<T>::nq, at.i, at.rows, [&](std::size_t s, Index local, Index offset, Index n) {
      const HeadRows<const T>& q = sides_[s].q;
      Format::pack_queries(q_of(t), offset, q.at(bundle_.b, local, at.h), q.token, n, shape_.width,
                           softmax_.query_factor());
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
      const T* from = k.at(bundle_.b, local, bundle_.key_head);
      const Index most = sides_[s].nk - 1 - local;
      Format::pack_keys(columns, offset, from, k.token, m, shape_.width,
                        [&, most](Index r) { prefetch_row(from + (std::min)(r + W, most) * k.token, shape_.width); });
    });
    for_each_run(sides_, &AttentionSide<T>::nk, first, n, [&](std::size_t s, Index local, Index offset, Index m) {
      const HeadRows<const T>& v = sides_[s].v;
      const T* from = v.at(bundle_.b, local, bundle_.value_head);
      const Index most = sides_[s].nk - 1 - local;
      Format::pack_values(v_, column + offset, from, v.token, m, shape_.value_width, [&, most](Index r) {
        prefetch_row(from + (std::min)(r + W, most) * v.token, shape_.value_width);
      });
    });
  }

  // Piece n of `pieces` of some rows, in parts.
  class Part {
   public:
    Part(Index rows, Index n, Index pieces, Index parts)
        : first_(rows * n / pieces), count_(rows * (n + 1) / pieces - first_), each_((count_ + parts - 1) / parts) {}

    Index first(Index part) const { return first_ + part * each_; }
    Index count(Index part) const { return std::clamp<Index>(count_ - part * each_, 0, each_); }

   private:
    Index first_, count_, each_;
  };

  void prefetch_keys(const Bundle& of, Index first, Index n) const {
    for_each_run(sides_, &AttentionSide<T>::nk, first, n, [&](std::size_t s, Index local, Index, Index m) {
      prefetch_rows(sides_[s].k.at(of.b, local, of.key_head), sides_[s].k.token, m, shape_.width);
      prefetch_rows(sides_[s].v.at(of.b, local, of.value_head), sides_[s].v.token, m, shape_.value_width);
    });
  }

  // Queries of a tile from row r on.
  void prefetch_queries(const Bundle& of, Position at, Index r, Index count) const {
    const Index n = (std::min)(count, at.rows - r);
    for_each_run(sides_, &AttentionSide<T>::nq, at.i + r, n, [&](std::size_t s, Index local, Index, Index m) {
      prefetch_rows(sides_[s].q.at(of.b, local, at.h), sides_[s].q.token, m, shape_.width);
    });
  }

  void prefetch_results(Position at, Index r, Index n) const {
    for_each_run(sides_, &AttentionSide<T>::nq, at.i + r, n, [&](std::size_t s, Index local, Index, Index m) {
      prefetch_rows<1>(sides_[s].out.at(bundle_.b, local, at.h), sides_[s].out.token, m, shape_.value_width);
    });
  }

  // One strip of queries against the visible panels of a key tile: scores, weights, weighted sum of the values.
  // ahead(n) is called before the n-th panel.
  template <class Ahead>
  void add_keys(Index t, Index r, Index rows, Position at, Index j0, const Panels<T>& panels, const Ahead& ahead) {
    typename SoftmaxOf::Rows top;
    top.fill(Batch<T>(dropped<T>));
    Index n = 0;
    score_product<Format>(s_, q_of(t) + r * W, rows, k_, Format::elements(shape_.width), panels,
                          SoftmaxOf::plain ? top.data() : nullptr, [&](const typename Panels<T>::Entry& p) {
                            ahead(n++);
                            if constexpr (requires { score_.prefetch(bundle_.b, at.h, at.i, Keys<T>{}); }) {
                              const Keys<T> keys{j0 + p.column, p.count};
                              for (Index x = 0; x < rows; ++x) score_.prefetch(bundle_.b, at.h, at.i + r + x, keys);
                            }
                          });
    alignas(64) T factor[static_cast<std::size_t>(SoftmaxOf::rows)], shift[static_cast<std::size_t>(SoftmaxOf::rows)];
    const Index row = t * query_rows + r;
    softmax_.rule(s_, top, rows, bundle_.b, at.h, at.i + r, j0, panels);
    softmax_.raise(top, rows, max_ + row, factor, shift);
    softmax_.weigh(s_, rows, panels, shift, factor, total_ + row);
    key_product<Format>(sum_of(t) + r * W, s_, rows, v_, shape_.value_width, panels, factor);
  }

  // The strip of results from row r of a tile on.
  void store_rows(Index t, Position at, Index r, Index rows) {
    for_each_run(sides_, &AttentionSide<T>::nq, at.i + r, rows, [&](std::size_t s, Index local, Index offset, Index n) {
      for (Index x = 0; x < n; ++x) {
        const Index row = r + offset + x;
        store_result(sides_[s], bundle_.b, local + x, at.h, sum_of(t) + row * W, query_rows * W, shape_.value_width,
                     max_[t * query_rows + row] * softmax_.natural_unit(), total_[t * query_rows + row]);
      }
    });
  }

  const AttentionShape& shape_;
  std::span<const AttentionSide<T>> sides_;
  const Mask& mask_;
  const Score& score_;
  const SoftmaxOf softmax_;
  Index nq_, nk_, tiles_per_head_;
  Bundle bundle_;
  T *q_ = nullptr, *sum_ = nullptr, *max_ = nullptr, *total_ = nullptr, *k_ = nullptr, *v_ = nullptr, *s_ = nullptr;
  std::array<bool, static_cast<std::size_t>(max_panels<T>)> packed_{};
};

// Whether keys and values are read where they are.
template <class Format>
bool in_place(const AttentionShape& shape, Index nq) {
  return std::is_same_v<Format, ExactFormat<typename Format::Number>> && nq * shape.heads_per_bundle() <= rows_in_place;
}

// Whether the keys of rows in place are split: there are too few rows to share out evenly, and many keys.
inline bool split_keys(Index threads, const AttentionShape& shape, Index nq, Index nk) {
  return threads > 1 && shape.batch * shape.heads * nq < 4 * threads && nk >= 4 * key_rows;
}

template <class Format>
std::size_t scratch_as(const AttentionShape& shape, Index nq) {
  if (in_place<Format>(shape, nq)) return RowForward<typename Format::Number, NoMask, NoScore>::scratch(shape);
  const QueryPieces pieces(shape, nq, Format::query_rows, 1, tiles_per_piece<Format>(shape));
  return Forward<Format, NoMask, NoScore>::scratch(shape, pieces.chunk);
}

template <class Format, class T, class Mask, class Score>
void attention_as(Threads threads, const AttentionShape& shape, std::span<const AttentionSide<T>> sides,
                  const Mask& mask, const Score& score, [[maybe_unused]] T* workspace = nullptr) {
  const Index nq = count_queries(sides), nk = count_keys(sides), bundles = shape.bundles();
  if (shape.batch == 0 || shape.heads == 0 || nq == 0) return;
  if (in_place<Format>(shape, nq)) {
    if (workspace != nullptr && split_keys(threads.count(), shape, nq, nk)) {
      return RowSplit<T, Mask, Score>(shape, sides, mask, score, workspace).run(threads);
    }
    threads.run(shape.batch * bundles, [&](Index piece, Scratch& scratch) {
      RowForward<T, Mask, Score>(shape, sides, mask, score).run(piece / bundles, piece % bundles, scratch);
    });
    return;
  }
  Format::prepare();
  const QueryPieces pieces(shape, nq, Format::query_rows, threads.count(), tiles_per_piece<Format>(shape));
  const Index all = shape.batch * bundles * pieces.chunks;
  threads.run(all, [&](Index piece, Scratch& scratch) {
    using Tiles = Forward<Format, Mask, Score>;
    const Index first = piece % pieces.chunks * pieces.chunk, later = piece + threads.count();
    const typename Tiles::Bundle bundle(shape, piece / pieces.chunks), next(shape, later / pieces.chunks);
    const bool other = later < all && later / pieces.chunks != piece / pieces.chunks;
    Tiles forward(shape, sides, mask, score, nq, nk, pieces.tiles_per_head);
    forward.run(bundle, first, (std::min)(first + pieces.chunk, pieces.tiles), other ? &next : nullptr, scratch);
  });
}

}  // namespace tile

// Scratch of one running piece of attention() for nq queries of all sides together.
template <class T>
std::size_t attention_scratch(const AttentionShape& shape, Index nq, Index /*nk*/, Numeric mode = Numeric::exact) {
  if constexpr (std::is_same_v<T, float>) {
    if (mode != Numeric::exact) return tile::scratch_as<tile::Bf16Format>(shape, nq);
  }
  return tile::scratch_as<tile::ExactFormat<T>>(shape, nq);
}

// Elements of the workspace with which attention() splits the keys of single rows over so many threads; 0 where it
// would not, or the mode has no such rows.
template <class T>
Index attention_workspace(Index threads, const AttentionShape& shape, Index nq, Index nk,
                          Numeric mode = Numeric::exact) {
  const bool exact = std::is_same_v<T, double> || mode == Numeric::exact;
  const bool split =
      exact && tile::in_place<tile::ExactFormat<T>>(shape, nq) && tile::split_keys(threads, shape, nq, nk);
  return split ? tile::SplitSpace<T>(shape, nq, nk).elements() : 0;
}

// out_i = sum_j softmax_j(score(scale q_i . k_j)) v_j over the keys j that the mask keeps; lse_i = log of the sum.
// Queries [B, Nq, H, D], keys [B, Nk, G, D], values [B, Nk, G', E], over the joint tokens of all sides; out may alias q
// of the same side and layout only if that side has no keys and E is D. Accumulates in T, keys in tiles of 256 in
// order. In the modes bf16 and int8, q, k, v and the weights are rounded to bf16 for the products (double: never).
// A row that keeps no key gets 0 and lse -inf. Cost 2 B H Nq Nk (D + E), less the skipped blocks. The workspace, of
// attention_workspace() elements, changes no bit.
// One side: torch.nn.functional.scaled_dot_product_attention.
template <class T, class Mask = NoMask, class Score = NoScore>
void attention(Threads threads, const AttentionShape& shape, std::span<const AttentionSide<T>> sides,
               const Mask& mask = {}, const Score& score = {}, Numeric mode = Numeric::exact, T* workspace = nullptr) {
  if constexpr (std::is_same_v<T, float>) {
    if (mode != Numeric::exact) return tile::attention_as<tile::Bf16Format, T>(threads, shape, sides, mask, score);
  }
  tile::attention_as<tile::ExactFormat<T>, T>(threads, shape, sides, mask, score, workspace);
}

}  // namespace aulos::inline AULOS_ISA::kernels
