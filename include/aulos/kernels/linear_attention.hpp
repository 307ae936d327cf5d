// Linear attention: the scores are products of features, so that all keys of the past are one state of fixed size.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "aulos/core/threads.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/kernels/chunk.hpp"
#include "aulos/kernels/rows.hpp"
#include "aulos/simd/activations.hpp"
#include "aulos/simd/reduce_rows.hpp"
#include "aulos/simd/stream.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// Which keys a query sees: all of them, or those up to its own position (what comes later, NaN too, changes nothing).
enum class LinearForm { full, causal };

// By what the result is divided: nothing, or the sum of the scores plus eps.
enum class Normaliser { none, score_sum };

// q [B, Nq, H, D], k [B, Nk, H, D], v [B, Nk, H, E]; Nq = Nk in the causal form.
struct LinearAttentionShape {
  Index batch = 0, heads = 0, nq = 0, nk = 0;
  Index width = 0, value_width = 0;  // D, E
  LinearForm form = LinearForm::full;
  Normaliser normaliser = Normaliser::none;
  double scale = 1.0;
  double eps = 0.0;

  // Tokens that are taken together: the causal form pays for the products within a chunk, which the full one has not.
  constexpr Index chunk() const noexcept { return form == LinearForm::causal ? 32 : 64; }
  // Columns of the values with the column of ones whose product is the sum of the scores.
  constexpr Index columns() const noexcept { return value_width + (normaliser == Normaliser::score_sum ? 1 : 0); }
};

// S = sum_j k_j v_j^T, dense [B, H, D, E], and z = sum_j k_j, [B, H, D]; z exists only with a normaliser.
template <class T>
struct LinearState {
  T* kv = nullptr;
  T* sum = nullptr;
};

// A feature map phi behind pointers, so that the kernels are compiled once for all of them. The extents are rows and
// their width.
template <class T>
struct LinearFeature {
  // to_r = factor phi(x_r); `to` may be x.
  void (*value)(T* to, Index to_stride, const T* x, Index x_stride, Index rows, Index width, T factor) = nullptr;
  // gx_r = gx_r phi'(x_r)
  void (*gradient)(T* gx, Index gx_stride, const T* x, Index x_stride, Index rows, Index width) = nullptr;
};

// F, a function object of simd/activations.hpp: simd::EluPlusOne, simd::Relu, ...
template <class T, class F>
constexpr LinearFeature<T> linear_feature() noexcept {
  return {[](T* to, Index to_stride, const T* x, Index x_stride, Index rows, Index width, T factor) {
            const F f;
            const simd::Batch<T> by(factor);
            if (to_stride == width && x_stride == width) width *= rows, rows = rows > 0;
            for (Index r = 0; r < rows; ++r, to += to_stride, x += x_stride)
              simd::for_lanes<T>(width, [=](Index c, auto part) { part.store(to + c, by * f(part.load(x + c))); });
          },
          [](T* gx, Index gx_stride, const T* x, Index x_stride, Index rows, Index width) {
            const F f;
            for (Index r = 0; r < rows; ++r, gx += gx_stride, x += x_stride) {
              simd::for_lanes<T>(width, [=](Index c, auto part) {
                part.store(gx + c, part.load(gx + c) * f.derivative(part.load(x + c)));
              });
            }
          }};
}

template <class T>
struct LinearAttentionOperands {
  HeadRows<const T> q, k, v;
  const T* decay = nullptr;            // [H], the factor of the state from token to token; absent: 1
  const std::uint8_t* keep = nullptr;  // [B, Nk], 0 drops a key; absent: all are kept
  Index keep_batch = 0;                // its stride
  LinearState<const T> initial{};      // what was seen before the first token; absent: nothing
  LinearFeature<T> feature{};          // of q and k; absent: they are features already
};

namespace detail {

// Neighbouring heads of one sample. They are worked on by turns, a chunk each: where they lie side by side in the rows
// of a token, a page and a row of the memory then serve all of them.
struct LinearHeads {
  Index sample, first, count;
};

// What forward and backward share: powers of the decay, and the operands of a chunk as they enter the products.
template <class T>
struct LinearHead {
  const LinearAttentionShape& s;
  const LinearAttentionOperands<T>& in;
  const LinearHeads heads;
  Index b, h, chunk;                        // the head at hand
  T* powers = nullptr;                      // with decay, of each head: rising, falling
  T *rising = nullptr, *falling = nullptr;  // g^t at [t] and at [chunk - t]

  static std::size_t bytes(Index chunk, Index heads) { return scratch_size<T>(heads * 2 * (chunk + 1)); }

  LinearHead(const LinearAttentionShape& shape, const LinearAttentionOperands<T>& operands, LinearHeads which,
             Index tokens, Scratch& scratch)
      : s(shape), in(operands), heads(which), b(which.sample), h(which.first), chunk(tokens) {
    if (in.decay == nullptr) return;
    powers = scratch.take<T>(heads.count * 2 * (chunk + 1));
    for (Index i = heads.count - 1; i >= 0; --i) {
      turn_to(heads.first + i);
      double power = 1;
      for (Index t = 0; t <= chunk; ++t, power *= static_cast<double>(in.decay[h])) {
        rising[t] = falling[chunk - t] = static_cast<T>(power);
      }
    }
  }

  void turn_to(Index head) {
    h = head;
    if (powers == nullptr) return;
    rising = powers + (head - heads.first) * 2 * (chunk + 1);
    falling = rising + chunk + 1;
  }

  bool normalised() const { return s.normaliser == Normaliser::score_sum; }
  bool kept(Index token) const { return in.keep == nullptr || in.keep[b * in.keep_batch + token] != 0; }
  Index item() const { return b * s.heads + h; }
  // Weights of the keys at the end of a chunk of m; of key j in row i, from j = 0 on.
  const T* key_weights(Index m) const { return falling == nullptr ? nullptr : falling + chunk - m + 1; }
  const T* row_weights(Index i) const { return falling == nullptr ? nullptr : falling + chunk - i; }

  // to_r = factor phi(x_r), dense
  void features(T* to, const HeadRows<const T>& x, Index first, Index m, T factor) const {
    if (in.feature.value == nullptr) {
      chunk::copy_rows(to, s.width, x.at(b, first, h), x.token, m, s.width, factor);
    } else {
      in.feature.value(to, s.width, x.at(b, first, h), x.token, m, s.width, factor);
    }
  }
  void key_features(T* to, Index first, Index m) const {
    features(to, in.k, first, m, T(1));
    for (Index j = 0; j < m && in.keep != nullptr; ++j) {
      if (!kept(first + j)) std::fill_n(to + j * s.width, s.width, T(0));
    }
  }
  // Values, rows `stride` apart; those of dropped keys are 0.
  void load_values(T* to, Index stride, Index first, Index m) const {
    for (Index j = 0; j < m; ++j) {
      T* row = to + j * stride;
      if (kept(first + j)) {
        std::copy_n(in.v.at(b, first + j, h), s.value_width, row);
      } else {
        std::fill_n(row, s.value_width, T(0));
      }
    }
  }
  // Row i of `scores` times g^(i - j), up to the diagonal.
  void weigh(T* scores, Index m) const {
    if (rising == nullptr) return;
    for (Index i = 0; i < m; ++i) {
      T* row = scores + i * chunk;
      const T* w = row_weights(i);
      simd::for_lanes<T>(i + 1,
                         [&](Index j, auto part) { part.store(row + j, part.load(row + j) * part.load(w + j)); });
    }
  }
};

// Rows first to first + valid of a chunk of results: out = inverse (scores v + q S), of the scores those up to the
// diagonal. Without scores q S alone; without `inverse` it is 1.
template <class T>
struct LinearTile {
  MatrixView<const T> q, values, state;
  const T *scores, *inverse;
  Index score_stride;
  T* out;
  Index out_stride, first, valid;
};

// sum_r += sum_k row_r[k] b_k, b_k the batches at b + k ldb.
template <class T, std::size_t rows, std::size_t width, class Part>
[[gnu::always_inline]] inline void add_products(const T* const (&row)[rows], const T* b, Index ldb, Index begin,
                                                Index end, Part part, simd::Batch<T> (&sum)[rows][width]) {
  b += begin * ldb;
  for (Index k = begin; k < end; ++k, b += ldb) {
    simd::Batch<T> value[width];
    AULOS_UNROLL for (std::size_t w = 0; w < width; ++w) value[w] = part.load(b + Index(w) * simd::lanes<T>);
    AULOS_UNROLL for (std::size_t r = 0; r < rows; ++r) {
      const simd::Batch<T> x(row[r][k]);
      AULOS_UNROLL for (std::size_t w = 0; w < width; ++w) sum[r][w] = simd::fma(x, value[w], sum[r][w]);
    }
  }
}

template <class T, std::size_t width, class Part>
[[gnu::noinline]] void linear_tile(const LinearTile<T>& o, Index column, Part part) {
  constexpr auto rows = static_cast<std::size_t>(chunk::detail::tile_rows);
  simd::Batch<T> sum[rows][width];
  AULOS_UNROLL for (std::size_t r = 0; r < rows; ++r) {
    AULOS_UNROLL for (std::size_t w = 0; w < width; ++w) sum[r][w] = simd::Batch<T>(T(0));
  }
  // A row that is none repeats the last.
  const T* row[rows];
  const auto rows_of = [&](const T* data, Index stride) {
    data += o.first * stride;
    AULOS_UNROLL for (std::size_t r = 0; r < rows; ++r) {
      row[r] = data;
      if (Index(r) + 1 < o.valid) data += stride;
    }
  };
  if (o.scores != nullptr) {
    rows_of(o.scores, o.score_stride);
    add_products(row, o.values.data + column, o.values.row_stride, 0, o.first, part, sum);
    // On the diagonal a score beyond the row's own token is left out, not taken as 0: 0 times NaN is NaN.
    AULOS_UNROLL for (std::size_t k = 0; k < rows; ++k) {
      const Index key = o.first + (std::min)(Index(k), o.valid - 1);
      const T* value = o.values.data + key * o.values.row_stride + column;
      AULOS_UNROLL for (std::size_t r = 0; r < rows; ++r) {
        if (r < k) continue;
        const simd::Batch<T> x(row[r][key]);
        AULOS_UNROLL for (std::size_t w = 0; w < width; ++w) {
          sum[r][w] = simd::fma(x, part.load(value + Index(w) * simd::lanes<T>), sum[r][w]);
        }
      }
    }
  }
  rows_of(o.q.data, o.q.row_stride);
  add_products(row, o.state.data + column, o.state.row_stride, 0, o.state.rows, part, sum);
  T* to = o.out + o.first * o.out_stride + column;
  AULOS_UNROLL for (std::size_t r = 0; r < rows; ++r, to += o.out_stride) {
    if (Index(r) >= o.valid) continue;
    const simd::Batch<T> by(o.inverse == nullptr ? T(1) : o.inverse[o.first + Index(r)]);
    AULOS_UNROLL for (std::size_t w = 0; w < width; ++w) part.store(to + Index(w) * simd::lanes<T>, by * sum[r][w]);
  }
}

template <class T>
struct LinearForward : LinearHead<T> {
  using Head = LinearHead<T>;
  using Head::b, Head::chunk, Head::h, Head::heads, Head::in, Head::rising, Head::s;

  T *states, *state, *sum;                   // of each head, and of the one at hand: S [D, E] and z [D]
  T* own[5];                                 // room for what does not lie in the operands as it is needed
  MatrixView<const T> q, k, values;          // of a chunk: scale phi(q) [m, D], phi(k) [m, D], v [m, E]
  MatrixView<const T> q_decayed, k_decayed;  // row i times g^(i + 1), row j times g^(m - 1 - j)
  T *scores, *keys;                          // causal: [m, m], rows `chunk` apart, and [D, m], phi(k) transposed
  T* inverse;                                // [m], 1 / the sums of the scores
  bool past = false;                         // whether the results go past the caches
  Scratch rest;                              // for products

  // Heads that are worked on by turns at most.
  static constexpr Index most_heads = 8;
  static constexpr Index state_size(const LinearAttentionShape& s) {
    constexpr Index lanes = simd::lanes<T>;
    return (s.width * (s.value_width + 1) + lanes - 1) / lanes * lanes;
  }

  static std::size_t bytes(const LinearAttentionShape& s) {
    const Index chunk = s.chunk(), d = s.width, e = s.value_width, heads = (std::min)(most_heads, s.heads);
    const std::size_t causal = 3 * scratch_size<T>(chunk * d) + scratch_size<T>(chunk * chunk);
    return Head::bytes(chunk, heads) + scratch_size<T>(heads * state_size(s)) + 2 * scratch_size<T>(chunk * d) +
           scratch_size<T>(chunk * e) + scratch_size<T>(chunk) + (s.form == LinearForm::causal ? causal : 0);
  }

  // How many heads a piece has: more only where they lie side by side, and so few that no thread has an eighth more
  // than its share. The results are the same for any number.
  static Index heads_of_piece(Index threads, const LinearAttentionShape& s, const LinearAttentionOperands<T>& in) {
    if (in.k.token < 2 * s.width || in.k.head >= in.k.token) return 1;
    const Index all = s.batch * s.heads;
    Index count = most_heads;
    for (; count > 1 && threads > 1; count /= 2) {
      const Index pieces = s.batch * ((s.heads + count - 1) / count), turns = (pieces + threads - 1) / threads;
      if (turns * count * threads <= all + all / 8) break;
    }
    return count;
  }

  LinearForward(const LinearAttentionShape& shape, const LinearAttentionOperands<T>& operands, LinearHeads which,
                Scratch scratch)
      : Head(shape, operands, which, shape.chunk(), scratch),
        states(scratch.take<T>(which.count * state_size(shape))),
        state(states),
        sum(nullptr),
        q(),
        k(),
        values(),
        q_decayed(),
        k_decayed(),
        scores(nullptr),
        keys(nullptr),
        inverse(scratch.take<T>(chunk)),
        rest(scratch) {
    for (const int i : {0, 1}) own[i] = rest.take<T>(chunk * s.width);
    own[2] = rest.take<T>(chunk * s.value_width);
    if (s.form == LinearForm::full) return;
    scores = rest.take<T>(chunk * chunk);
    keys = rest.take<T>(chunk * s.width);
    for (const int i : {3, 4}) own[i] = rising == nullptr ? nullptr : rest.take<T>(chunk * s.width);
  }

  void turn_to(Index head) {
    Head::turn_to(head);
    state = states + (head - heads.first) * state_size(s);
    sum = state + s.width * s.value_width;
  }

  // Rows are read where they lie if that is close together; rows far apart would fall on few sets of the cache.
  MatrixView<const T> rows_of(const HeadRows<const T>& x, Index first, Index m, Index width) const {
    return chunk::matrix(x.at(b, first, h), m, width, x.token);
  }
  static bool close(const HeadRows<const T>& x, Index width) { return x.token <= width + width / 2; }

  void load_queries(Index first, Index m) {
    if (in.feature.value == nullptr && s.scale == 1.0 && close(in.q, s.width)) {
      q = rows_of(in.q, first, m, s.width);
    } else {
      Head::features(own[0], in.q, first, m, static_cast<T>(s.scale));
      q = chunk::matrix<T>(own[0], m, s.width, s.width);
    }
    q_decayed = decayed(q, own[3], rising + 1);
  }
  void load_keys(Index first, Index m) {
    if (in.feature.value == nullptr && in.keep == nullptr && close(in.k, s.width)) {
      k = rows_of(in.k, first, m, s.width);
    } else {
      Head::key_features(own[1], first, m);
      k = chunk::matrix<T>(own[1], m, s.width, s.width);
    }
    k_decayed = decayed(k, own[4], Head::key_weights(m));
    if (in.keep == nullptr && close(in.v, s.value_width)) {
      values = rows_of(in.v, first, m, s.value_width);
    } else {
      Head::load_values(own[2], s.value_width, first, m);
      values = chunk::matrix<T>(own[2], m, s.value_width, s.value_width);
    }
  }
  MatrixView<const T> decayed(const MatrixView<const T>& x, T* to, const T* weights) const {
    if (rising == nullptr) return x;
    chunk::copy_rows(to, s.width, x.data, x.row_stride, x.rows, s.width, T(1), weights);
    return chunk::matrix<T>(to, x.rows, s.width, s.width);
  }

  // The state behind the chunk.
  void absorb(chunk::RowsAhead<T>* ahead) {
    const Index m = k.rows, d = s.width, e = s.value_width;
    if (rising != nullptr) chunk::copy_rows(state, e, state, e, d, e, rising[m]);
    chunk::product(k_decayed.transposed(), values, state, e, Update::add, rest, chunk::Cover::all, ahead);
    if (!Head::normalised()) return;
    constexpr Index lanes = simd::lanes<T>;
    Index c = 0;
    for (; c + 4 * lanes <= d; c += 4 * lanes) add_keys<4>(c, simd::WholeBatch<T>{});
    for (; c < d; c += lanes) add_keys<1>(c, simd::PartialBatch<T>{(std::min)(lanes, d - c)});
  }
  // Columns c to c + `width` batches of z = g^m z + the sum of the keys.
  template <std::size_t width, class Part>
  void add_keys(Index c, Part part) {
    const simd::Batch<T> decay(rising == nullptr ? T(1) : rising[k.rows]);
    simd::Batch<T> total[width];
    T* z = sum + c;
    const T* key = k_decayed.data + c;
    AULOS_UNROLL for (std::size_t w = 0; w < width; ++w) total[w] = decay * part.load(z + Index(w) * simd::lanes<T>);
    for (Index j = 0; j < k.rows; ++j, key += k_decayed.row_stride) {
      AULOS_UNROLL for (std::size_t w = 0; w < width; ++w) total[w] += part.load(key + Index(w) * simd::lanes<T>);
    }
    AULOS_UNROLL for (std::size_t w = 0; w < width; ++w) part.store(z + Index(w) * simd::lanes<T>, total[w]);
  }

  void score(chunk::RowsAhead<T>* ahead) {
    chunk::detail::pack_transposed(k, keys, chunk);
    chunk::product(q, chunk::matrix<T>(keys, s.width, k.rows, chunk), scores, chunk, Update::assign, rest,
                   chunk::Cover::lower, ahead);
    Head::weigh(scores, q.rows);
  }

  // inverse_i = 1 / (scale phi(q_i) . z + the sum of its scores + eps)
  void invert_sums(Index m) {
    constexpr Index lanes = simd::lanes<T>;
    simd::Batch<T> total[static_cast<std::size_t>(lanes)];
    for (Index first = 0; first < m; first += lanes) {
      const Index rows = (std::min)(lanes, m - first);
      for (Index r = 0; r < lanes; ++r) total[r] = simd::Batch<T>(T(0));
      Index c = 0;
      for (; c + 4 * lanes <= s.width; c += 4 * lanes) add_dots<4>(total, first, rows, c, simd::WholeBatch<T>{});
      for (; c < s.width; c += lanes)
        add_dots<1>(total, first, rows, c, simd::PartialBatch<T>{(std::min)(lanes, s.width - c)});
      for (Index r = 0; r < rows && scores != nullptr; ++r) {
        const T* row = scores + (first + r) * chunk;
        simd::Batch<T> of_row = total[r];
        simd::for_lanes<T>(first + r + 1, [&](Index j, auto part) { of_row += part.load(row + j); });
        total[r] = of_row;
      }
      const simd::Batch<T> sums = simd::reduce_rows<T>(total, [](auto x, auto y) { return x + y; });
      simd::store_partial(inverse + first, simd::Batch<T>(T(1)) / (sums + simd::Batch<T>(static_cast<T>(s.eps))), rows);
    }
  }
  // The products of `width` batches of columns, from c on, with those of z.
  template <std::size_t width, class Part>
  void add_dots(simd::Batch<T>* total, Index first, Index rows, Index c, Part part) const {
    simd::Batch<T> z[width];
    AULOS_UNROLL for (std::size_t w = 0; w < width; ++w) z[w] = part.load(sum + c + Index(w) * simd::lanes<T>);
    const T* query = q_decayed.data + first * q_decayed.row_stride + c;
    for (Index r = 0; r < rows; ++r, query += q_decayed.row_stride) {
      simd::Batch<T> of_row = total[r];
      AULOS_UNROLL for (std::size_t w = 0; w < width; ++w) {
        of_row = simd::fma(part.load(query + Index(w) * simd::lanes<T>), z[w], of_row);
      }
      total[r] = of_row;
    }
  }

  void attend(HeadRows<T> out, Index first, Index m, chunk::RowsAhead<T>* ahead) {
    if (scores != nullptr) score(ahead);
    if (Head::normalised()) invert_sums(m);
    constexpr Index lanes = simd::lanes<T>;
    LinearTile<T> tile{q_decayed,
                       values,
                       chunk::matrix<T>(state, s.width, s.value_width, s.value_width),
                       scores,
                       Head::normalised() ? inverse : nullptr,
                       chunk,
                       out.at(b, first, h),
                       out.token,
                       0,
                       0};
    for (; tile.first < m; tile.first += chunk::detail::tile_rows) {
      tile.valid = std::min<Index>(chunk::detail::tile_rows, m - tile.first);
      Index j = 0;
      for (; j + 2 * lanes <= s.value_width; j += 2 * lanes) {
        if (past) {
          linear_tile<T, 2>(tile, j, simd::StreamedBatch<T>{});
        } else {
          linear_tile<T, 2>(tile, j, simd::WholeBatch<T>{});
        }
        ahead->some();
      }
      for (; j < s.value_width; j += lanes)
        linear_tile<T, 1>(tile, j, simd::PartialBatch<T>{(std::min)(lanes, s.value_width - j)});
    }
  }

  // This head's share of the rows of the next chunk, each whole, for all heads of the piece.
  chunk::RowsAhead<T> rows_ahead(Index first, const HeadRows<T>& out, bool queries, bool key_values) const {
    chunk::RowsAhead<T> ahead;
    const Index m = (std::min)(chunk, (queries ? s.nq : s.nk) - first - chunk), turn = h - heads.first;
    const Index from = first + chunk + turn * m / heads.count,
                rows = (turn + 1) * m / heads.count - turn * m / heads.count;
    if (rows <= 0) return ahead;
    const auto add = [&](const auto& x, Index width, auto... written) {
      ahead.add(x.at(b, from, heads.first), x.token, rows, (heads.count - 1) * x.head + width, written...);
    };
    if (queries) add(in.q, s.width);
    if (queries && !past) add(out, s.value_width, chunk::RowsAhead<T>::Use::write);
    if (key_values) add(in.k, s.width);
    if (key_values) add(in.v, s.value_width);
    return ahead;
  }

  template <class Body>
  void each_head(const Body& body) {
    for (Index head = heads.first; head < heads.first + heads.count; ++head) {
      turn_to(head);
      body();
    }
  }

  static bool goes_past_caches(const LinearAttentionShape& s, const HeadRows<T>& out) {
    constexpr Index lanes = simd::lanes<T>;
    return out.batch % lanes == 0 && out.head % lanes == 0 &&
           past_caches<T>(nullptr, Rows<T>{out.data, out.token}, s.batch * s.heads * s.nq, s.value_width);
  }

  static void copy_or_clear(T* to, const T* from, Index item, Index count) {
    if (from == nullptr) {
      std::fill_n(to, count, T(0));
    } else {
      std::copy_n(from + item * count, count, to);
    }
  }

  void run(HeadRows<T> out, const LinearState<T>& last) {
    past = goes_past_caches(s, out);
    const bool causal = s.form == LinearForm::causal;
    const Index size = s.width * s.value_width;
    each_head([&] {
      copy_or_clear(state, in.initial.kv, Head::item(), size);
      if (Head::normalised()) copy_or_clear(sum, in.initial.sum, Head::item(), s.width);
    });
    for (Index first = 0; !causal && first < s.nk; first += chunk) {
      each_head([&] {
        chunk::RowsAhead<T> ahead = rows_ahead(first, out, false, true);
        load_keys(first, (std::min)(chunk, s.nk - first));
        absorb(&ahead);
      });
    }
    for (Index first = 0; first < s.nq; first += chunk) {
      const Index m = (std::min)(chunk, s.nq - first);
      each_head([&] {
        chunk::RowsAhead<T> ahead = rows_ahead(first, out, true, causal);
        load_queries(first, m);
        if (causal) load_keys(first, m);
        attend(out, first, m, &ahead);
        const bool needed = last.kv != nullptr || last.sum != nullptr || first + m < s.nq;
        if (causal && needed) absorb(&ahead);
      });
    }
    each_head([&] {
      if (last.kv != nullptr) std::copy_n(state, size, last.kv + Head::item() * size);
      if (last.sum != nullptr && Head::normalised()) std::copy_n(sum, s.width, last.sum + Head::item() * s.width);
    });
    if (past) simd::stream_fence();
  }
};

}  // namespace detail

// Bytes of scratch that a running piece of linear_attention needs.
template <class T>
std::size_t linear_attention_scratch(const LinearAttentionShape& s) {
  return detail::LinearForward<T>::bytes(s);
}

// One token of the causal form: S = g S + k v^T, z = g z + k, out = scale q^T S / (scale q . z + eps). `last` may be
// the initial state itself. Costs one pass over the state; needs the scratch of linear_attention with a feature map
// only.
template <class T>
void linear_attention_step(Threads threads, const LinearAttentionShape& s,
                           const std::type_identity_t<LinearAttentionOperands<T>>& in, HeadRows<T> out,
                           const std::type_identity_t<LinearState<T>>& last) {
  using Batch = simd::Batch<T>;
  threads.run(s.batch * s.heads, [&](Index item, Scratch& scratch) {
    const Index b = item / s.heads, h = item % s.heads, d = s.width, e = s.value_width;
    const T *q = in.q.at(b, 0, h), *k = in.k.at(b, 0, h), *v = in.v.at(b, 0, h);
    for (const T** x : {&q, &k}) {
      if (in.feature.value == nullptr) break;
      T* features = scratch.take<T>(d);
      in.feature.value(features, d, *x, d, 1, d, T(1));
      *x = features;
    }
    const T g = in.decay == nullptr ? T(1) : in.decay[h], scale = static_cast<T>(s.scale);
    const bool kept = in.keep == nullptr || in.keep[b * in.keep_batch] != 0;
    T divisor = T(1);
    if (s.normaliser == Normaliser::score_sum) {
      double sum = s.eps;
      for (Index x = 0; x < d; ++x) {
        const T old = in.initial.sum == nullptr ? T(0) : in.initial.sum[item * d + x];
        const T z = g * old + (kept ? k[x] : T(0));
        last.sum[item * d + x] = z;
        sum += static_cast<double>(scale * q[x]) * static_cast<double>(z);
      }
      divisor = static_cast<T>(sum);
    }
    simd::for_lanes<T>(e, [&](Index c, auto part) {
      const Batch value = kept ? part.load(v + c) : Batch(T(0));
      Batch sum(T(0));
      for (Index x = 0; x < d; ++x) {
        const Index at = (item * d + x) * e + c;
        const Batch old = in.initial.kv == nullptr ? Batch(T(0)) : part.load(in.initial.kv + at);
        const Batch now = simd::fma(Batch(kept ? k[x] : T(0)), value, Batch(g) * old);
        part.store(last.kv + at, now);
        sum = simd::fma(Batch(scale * q[x]), now, sum);
      }
      part.store(out.at(b, 0, h) + c, sum / Batch(divisor));
    });
  });
}

// out_i = sum_j w_ij v_j, w_ij = scale q_i . k_j (causal: times g^(i - j), j <= i only), the initial state standing for
// the keys before the first; with a normaliser divided by sum_j w_ij + eps. out [B, Nq, H, E] must not overlap the
// operands. `last` (may be absent) is the state behind the last key and may be the initial state itself. A dropped key
// adds nothing, but the state decays past it. In chunks of 64, or of 32 and causal: the products of a chunk and the
// state before it. 4 N D E operations a head, causal 4 N (D E + 16 (D + E)); sums in T. No PyTorch function; the equal
// of fast_transformers' LinearAttention and CausalLinearAttention, and of retention.
template <class T>
void linear_attention(Threads threads, const LinearAttentionShape& s,
                      const std::type_identity_t<LinearAttentionOperands<T>>& in, HeadRows<T> out,
                      const std::type_identity_t<LinearState<T>>& last = {}) {
  if (s.form == LinearForm::causal && s.nk == 1 && last.kv != nullptr) {
    return linear_attention_step<T>(threads, s, in, out, last);
  }
  const Index heads = detail::LinearForward<T>::heads_of_piece(threads.count(), s, in);
  const Index groups = (s.heads + heads - 1) / heads;
  threads.run(s.batch * groups, [&](Index piece, Scratch& scratch) {
    const Index first = piece % groups * heads;
    const detail::LinearHeads which{piece / groups, first, (std::min)(heads, s.heads - first)};
    detail::LinearForward<T>(s, in, which, scratch).run(out, last);
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
