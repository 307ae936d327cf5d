// Attention of single query rows (a decoding step), which are not worth packing the keys and values that they meet: the
// same sums in the same order as the tiles of attention(), from where keys and values are. It is bound by reading them.
#pragma once

#include <algorithm>
#include <span>

#include "aulos/core/scratch.hpp"
#include "aulos/kernels/attention_format.hpp"
#include "aulos/kernels/attention_mask.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/kernels/attention_softmax.hpp"
#include "aulos/kernels/attention_tile.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/row_dots.hpp"

namespace aulos::inline AULOS_ISA::kernels::tile {

// Query rows of a (batch element, bundle) for which its keys and values are read where they are, once for each row.
inline constexpr Index rows_in_place = 2;

// ---- sums over neighbouring rows of keys or of values

// n rows, `stride` apart, of one side, the first of which is at `column` of a key tile; `left` more of the side follow.
template <class T>
struct RowRun {
  const T* rows;
  Index stride, n, column, left;
};

// Whether there is much between two rows.
constexpr bool lie_apart(Index stride, Index width) { return stride >= 2 * width; }

// Keys whose scores are summed in registers at the same time, so that no sum waits for itself.
template <class T>
inline constexpr Index keys_at_once = 2 * simd::dot_rows<T>;

// Whether rows of this stride share so few sets of a first-level cache that keys_at_once of them don't stay there.
template <class T>
constexpr bool crowded(Index stride) {
  return stride * Index(sizeof(T)) % 1024 == 0;
}

// Whether keys and values that no cache holds are asked for in turn. AMD's Zen 4 and later, which the instructions
// tell, read them faster by a tenth to a quarter; Intel's processors with the same instructions and tiles lose as much.
#if defined(__AVX512BF16__) && defined(__AVX512VBMI__) && !defined(__AMX_TILE__)
inline constexpr bool asks_in_turn = true;
#else
inline constexpr bool asks_in_turn = false;
#endif

// How rows are asked for before they are needed: by reading them, which a processor goes on with by itself, or by
// prefetching them into the cache of a level, of which a core has only so many under way.
enum class Ask { read, first_level, second_level };

// Asks for the rows of a run, a few lines at each call.
template <class T>
class RowsAhead {
 public:
  RowsAhead() = default;
  RowsAhead(const RowRun<T>& run, Index width, Ask by, int lines)
      : row_(run.rows), stride_(run.stride), left_(run.n), width_(width), by_(by), lines_(lines) {}

  bool empty() const { return left_ <= 0; }

  [[gnu::always_inline]] void operator()() {
    for (int line = 0; line < lines_ && left_ > 0; ++line) {
      const T* const p = row_ + column_;
      if (by_ == Ask::first_level) {
        __builtin_prefetch(p, 0, 3);
      } else if (by_ == Ask::second_level) {
        __builtin_prefetch(p, 0, 2);
      } else {
        static_cast<void>(*static_cast<const volatile T*>(p));
      }
      asm volatile("" : : "r"(p));  // g++ removes a loop that does nothing but prefetch
      column_ += 64 / Index(sizeof(T));
      if (column_ < width_) continue;
      column_ = 0;
      row_ += stride_;
      --left_;
    }
  }

 private:
  const T* row_ = nullptr;
  Index stride_ = 0, left_ = 0, width_ = 0, column_ = 0;
  Ask by_ = Ask::first_level;
  int lines_ = 0;
};

struct NothingBeside {
  void operator()() const {}
};

// s[j] = a . k_j for the rows k_j of k. They are read line by line across keys_at_once rows, which no processor
// expects, so it asks for those that come next. beside(): see simd::row_dots.
template <class T, class Beside = NothingBeside>
[[gnu::noinline]] void row_scores(T* s, const T* a, const RowRun<T>& k, Index width, Beside&& beside = {}) {
  const auto next = [&](Index j, Index n) {
    const Index first = j + keys_at_once<T>;
    return RowRun<T>{k.rows + first * k.stride, k.stride, (std::min)(k.n + k.left - first, n), 0, 0};
  };
  Index j = 0;
  if (!crowded<T>(k.stride)) {
    for (; j + keys_at_once<T> <= k.n; j += keys_at_once<T>) {
      RowsAhead<T> ahead(next(j, keys_at_once<T>), width, Ask::first_level, 4);
      simd::row_dots<T, 2>(s + j, a, k.rows + j * k.stride, k.stride, width, [&] {
        ahead();
        beside();
      });
    }
  }
  for (; j + simd::dot_rows<T> <= k.n; j += simd::dot_rows<T>) {
    RowsAhead<T> ahead(next(j, simd::dot_rows<T>), width, Ask::second_level, 4);
    simd::row_dots<T, 1>(s + j, a, k.rows + j * k.stride, k.stride, width, [&] {
      ahead();
      beside();
    });
  }
  if (j < k.n) simd::row_dots_part<T>(s + j, a, k.rows + j * k.stride, k.stride, k.n - j, width);
}

// sum += sum_j w[j] v_j over the rows v_j of v, in order. beside(): what is to be done meanwhile, a part for each row.
template <class T, class Beside = NothingBeside>
[[gnu::noinline]] void add_weighted_rows(T* sum, const T* w, const RowRun<T>& v, Index width, Beside&& beside = {}) {
  constexpr Index rows = 16;  // that stay in the first-level cache for all columns
  for (Index first = 0; first < v.n; first += rows) {
    const Index last = (std::min)(v.n, first + rows);
    // Rows that lie apart are not what a processor expects either.
    const Index next = first + 2 * rows, apart = lie_apart(v.stride, width) ? (std::min)(v.n + v.left - next, rows) : 0;
    RowsAhead<T> ahead({v.rows + next * v.stride, v.stride, apart, 0, 0}, width, Ask::second_level, 4);
    const auto add = [&]<int vecs>(std::integral_constant<int, vecs>, Index c, auto part) {
      Batch<T> acc[static_cast<std::size_t>(vecs)];
      AULOS_UNROLL
      for (int x = 0; x < vecs; ++x) acc[x] = part.load(sum + c + x * lanes<T>);
      for (Index j = first; j < last; ++j) {
        ahead();
        beside();
        const Batch<T> weight(w[j]);
        AULOS_UNROLL
        for (int x = 0; x < vecs; ++x) {
          acc[x] = simd::fma(weight, part.load(v.rows + j * v.stride + c + x * lanes<T>), acc[x]);
        }
      }
      AULOS_UNROLL
      for (int x = 0; x < vecs; ++x) part.store(sum + c + x * lanes<T>, acc[x]);
    };
    Index c = 0;
    for (; c + 4 * lanes<T> <= width; c += 4 * lanes<T>) {
      add(std::integral_constant<int, 4>{}, c, simd::WholeBatch<T>{});
    }
    for (; c + lanes<T> <= width; c += lanes<T>) add(std::integral_constant<int, 1>{}, c, simd::WholeBatch<T>{});
    if (c < width) add(std::integral_constant<int, 1>{}, c, simd::PartialBatch<T>{width - c});
  }
}

// ---- a row against key tiles

template <class T, class Mask, class Score>
class RowForward {
 public:
  using SoftmaxOf = Softmax<ExactFormat<T>, Mask, Score>;
  static constexpr Index L = lanes<T>;
  static constexpr auto padded = static_cast<std::size_t>(SoftmaxOf::rows);

  RowForward(const AttentionShape& shape, std::span<const AttentionSide<T>> sides, const Mask& mask, const Score& score)
      : shape_(shape), sides_(sides), mask_(mask), softmax_(shape.scale, mask, score), nk_(count_keys(sides)) {
    const Index row = shape.groups * shape.width + shape.value_groups * shape.value_width;
    from_memory_ = asks_in_turn && shape.batch * nk_ * row * Index(sizeof(T)) >= Index{16} << 20;
  }

  // Query i of head h of batch element b, scaled, and what its result is made of.
  struct Row {
    Index b, h, i;
    T *q, *sum, *max, *total;
  };

  static std::size_t row_scratch(const AttentionShape& shape) {
    return scratch_size<T>(shape.width) + scratch_size<T>(shape.value_width) + 2 * scratch_size<T>(SoftmaxOf::rows);
  }
  static std::size_t scratch(const AttentionShape& shape) {
    return scratch_size<T>(score_stride<T>) + scratch_size<T>(shape.value_width) +
           std::size_t{rows_in_place} * row_scratch(shape);
  }

  Row take_row(Index b, Index h, Index i, Scratch& scratch) const {
    const Row row{b,
                  h,
                  i,
                  scratch.take<T>(shape_.width),
                  scratch.take<T>(shape_.value_width),
                  scratch.take<T>(SoftmaxOf::rows),
                  scratch.take<T>(SoftmaxOf::rows)};
    for_each_run(sides_, &AttentionSide<T>::nq, i, 1, [&](std::size_t s, Index local, Index, Index) {
      const T* q = sides_[s].q.at(b, local, h);
      for (Index c = 0; c < shape_.width; ++c) row.q[c] = q[c] * softmax_.query_factor();
    });
    std::fill_n(row.sum, shape_.value_width, T(0));
    std::fill_n(row.max, SoftmaxOf::rows, dropped<T>);
    std::fill_n(row.total, SoftmaxOf::rows, T(0));
    return row;
  }

  // The panels of key tile j0 that a row sees.
  Panels<T> panels(const Row& row, Index j0) const {
    return visible_panels<T>(mask_, row.b, row.h, row.i, row.i + 1, j0, (std::min)(nk_, j0 + key_rows));
  }

  // The scores of the visible keys, with their rules; the result is the largest of each lane. Asks for `ahead`.
  Batch<T> score(const Row& row, Index j0, const Panels<T>& panels, T* s, RowsAhead<T> ahead = {}) const {
    for_each_row_run(row, panels, j0, &AttentionSide<T>::k, row.h / shape_.heads_per_group(), [&](const RowRun<T>& k) {
      T* const scores = s + k.column;
      ahead.empty() ? row_scores(scores, row.q, k, shape_.width) : row_scores(scores, row.q, k, shape_.width, ahead);
    });
    typename SoftmaxOf::Rows top;
    top[0] = Batch<T>(dropped<T>);
    for (const auto& p : panels) {
      for (Index c = 0; SoftmaxOf::plain && p.whole() && c < p.count; c += L) {
        top[0] = simd::raw_max(simd::load(s + p.column + c), top[0]);
      }
    }
    softmax_.rule(s, top, 1, row.b, row.h, row.i, j0, panels);
    return top[0];
  }

  // Raises the row's maximum by the largest of `top`. The results: what rescales earlier sums, what to take from
  // scores.
  struct Shift {
    T factor, shift;
  };
  Shift raise(const Row& row, Batch<T> top) const {
    typename SoftmaxOf::Rows tops;
    tops.fill(top);
    alignas(64) T factor[padded], shift[padded];
    softmax_.raise(tops, 1, row.max, factor, shift);
    return {factor[0], shift[0]};
  }

  // Scores to weights, whose sum is added to the row's total.
  void weigh(const Row& row, const Panels<T>& panels, Shift by, T* s) const {
    alignas(64) T factor[padded] = {by.factor}, shift[padded] = {by.shift};
    softmax_.weigh(s, 1, panels, shift, factor, row.total);
  }

  // sum = the visible values of key tile j0, each with its weight.
  void sum_values(const Row& row, Index j0, const Panels<T>& panels, const T* w, T* sum,
                  RowsAhead<T> ahead = {}) const {
    std::fill_n(sum, shape_.value_width, T(0));
    for_each_row_run(row, panels, j0, &AttentionSide<T>::v, row.h / shape_.heads_per_value_group(),
                     [&](const RowRun<T>& v) {
                       const T* const weights = w + v.column;
                       ahead.empty() ? add_weighted_rows(sum, weights, v, shape_.value_width)
                                     : add_weighted_rows(sum, weights, v, shape_.value_width, ahead);
                     });
  }

  // row.sum = factor row.sum + sum.
  void add_sum(const Row& row, T factor, const T* sum) const {
    simd::for_lanes<T>(shape_.value_width, [&](Index e, auto part) {
      part.store(row.sum + e, simd::fma(part.load(row.sum + e), Batch<T>(factor), part.load(sum + e)));
    });
  }

  void store(const Row& row) const {
    for_each_run(sides_, &AttentionSide<T>::nq, row.i, 1, [&](std::size_t s, Index local, Index, Index) {
      store_result(sides_[s], row.b, local, row.h, row.sum, panel<T>, shape_.value_width,
                   row.max[0] * softmax_.natural_unit(), row.total[0]);
    });
  }

  // All rows of a bundle's heads, at most rows_in_place: a key tile is read again for the second one while it is near.
  void run(Index b, Index bundle, Scratch& scratch) const {
    const Index first_head = bundle * shape_.heads_per_bundle(), nq = count_queries(sides_);
    const Index rows = nq * shape_.heads_per_bundle();
    T* s = scratch.take<T>(score_stride<T>);
    T* sum = scratch.take<T>(shape_.value_width);
    Row row[static_cast<std::size_t>(rows_in_place)];
    for (Index r = 0; r < rows; ++r) row[r] = take_row(b, first_head + r / nq, r % nq, scratch);
    for (Index j0 = 0; j0 < nk_; j0 += key_rows) {
      for (Index r = 0; r < rows; ++r) {
        const auto visible = panels(row[r], j0);
        if (visible.size == 0) continue;
        const Shift by = raise(row[r], score(row[r], j0, visible, s, values_ahead(row[r], j0)));
        weigh(row[r], visible, by, s);
        sum_values(row[r], j0, visible, s, sum, keys_ahead(row[r], j0 + key_rows));
        add_sum(row[r], by.factor, sum);
      }
    }
    for (Index r = 0; r < rows; ++r) store(row[r]);
  }

 private:
  // From memory, keys and values in turn would each begin slowly again. So while the values of a tile are summed, which
  // takes less time than they need to arrive, the next keys are read beside them, and while these are multiplied, a
  // quarter of the values is prefetched.
  RowsAhead<T> values_ahead(const Row& row, Index j0) const {
    const Index head = row.h / shape_.heads_per_value_group();
    return {neighbours(row, j0, &AttentionSide<T>::v, head, shape_.value_width), shape_.value_width, Ask::second_level,
            1};
  }
  RowsAhead<T> keys_ahead(const Row& row, Index j0) const {
    const Index head = row.h / shape_.heads_per_group();
    return {neighbours(row, j0, &AttentionSide<T>::k, head, shape_.width), shape_.width, Ask::read, 4};
  }
  // The keys or values of key tile j0 that one side has. None where all may be in a cache, or rows lie apart: then it
  // gains nothing.
  RowRun<T> neighbours(const Row& row, Index j0, HeadRows<const T> AttentionSide<T>::*which, Index head,
                       Index width) const {
    RowRun<T> found{};
    if (!from_memory_ || j0 >= nk_) return found;
    for_each_run(sides_, &AttentionSide<T>::nk, j0, 1, [&](std::size_t s, Index local, Index, Index) {
      const HeadRows<const T>& rows = sides_[s].*which;
      const Index n = (std::min)(key_rows, sides_[s].nk - local);
      if (!lie_apart(rows.token, width)) found = {rows.at(row.b, local, head), rows.token, n, 0, 0};
    });
    return found;
  }

  // Calls body(run) for the rows of the visible panels of key tile j0, in order.
  template <class Body>
  void for_each_row_run(const Row& row, const Panels<T>& panels, Index j0, HeadRows<const T> AttentionSide<T>::*which,
                        Index head, const Body& body) const {
    for (const auto* p = panels.begin(); p != panels.end();) {
      const Index column = p->column;
      Index count = 0;  // of neighbours
      for (; p != panels.end() && p->column == column + count; ++p) count += p->count;
      for_each_run(
          sides_, &AttentionSide<T>::nk, j0 + column, count, [&](std::size_t s, Index local, Index offset, Index n) {
            const HeadRows<const T>& rows = sides_[s].*which;
            body(RowRun<T>{rows.at(row.b, local, head), rows.token, n, column + offset, sides_[s].nk - local - n});
          });
    }
  }

  const AttentionShape& shape_;
  std::span<const AttentionSide<T>> sides_;
  const Mask& mask_;
  const SoftmaxOf softmax_;
  Index nk_;
  bool from_memory_;
};

}  // namespace aulos::inline AULOS_ISA::kernels::tile
