// The products of the tiled attention kernels: register tiles over packed copies. Each element is summed in the order
// of its terms, however many rows a register tile has.
#pragma once

#include <algorithm>
#include <type_traits>

#include "aulos/core/config.hpp"
#include "aulos/kernels/attention_format.hpp"
#include "aulos/kernels/attention_tile.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/transpose.hpp"

namespace aulos::inline AULOS_ISA::kernels::tile {

// A tile of Rows x Vecs batches in registers.
template <class Format, int Rows, int Vecs>
struct Product {
  using T = typename Format::Number;
  Batch<T> sum[static_cast<std::size_t>(Rows)][static_cast<std::size_t>(Vecs)];

  Product() {
    AULOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      AULOS_UNROLL
      for (int v = 0; v < Vecs; ++v) sum[r][v] = Batch<T>(T(0));
    }
  }

  // += a b over `steps` elements in order: row r of a is RowStride apart, its elements StepStride; b is one panel.
  template <Index RowStride, Index StepStride>
  void add(Index steps, const T* a, const T* b) {
    for (Index p = 0; p < steps; ++p, a += StepStride, b += panel<T>) {
      Batch<T> right[static_cast<std::size_t>(Vecs)];
      AULOS_UNROLL
      for (int v = 0; v < Vecs; ++v) right[v] = simd::load(b + v * lanes<T>);
      AULOS_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const Batch<T> left(a[r * RowStride]);
        AULOS_UNROLL
        for (int v = 0; v < Vecs; ++v) sum[r][v] = Format::dot(left, right[v], sum[r][v]);
      }
    }
  }

  // The same for a left operand of panelled rows.
  void add_rows(Index steps, const T* a, Index capacity, const T* b) {
    for (Index c = 0; c < steps; c += panel<T>) {
      add<panel<T>, 1>((std::min)(panel<T>, steps - c), a + c * capacity, b + c * panel<T>);
    }
  }

  void store(T* c, Index stride) const {
    AULOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      AULOS_UNROLL
      for (int v = 0; v < Vecs; ++v) simd::store(c + r * stride + v * lanes<T>, sum[r][v]);
    }
  }

  // top[r] = the larger of it and each batch of row r, without regard for NaN.
  void raise(Batch<T>* top) const {
    AULOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      Batch<T> x = top[r];
      AULOS_UNROLL
      for (int v = 0; v < Vecs; ++v) x = simd::raw_max(sum[r][v], x);
      top[r] = x;
    }
  }

  // c = c * factor[row] + sum.
  void scale_add(T* c, Index stride, const T* factor) const {
    AULOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const Batch<T> f(factor[r]);
      AULOS_UNROLL
      for (int v = 0; v < Vecs; ++v) {
        T* out = c + r * stride + v * lanes<T>;
        simd::store(out, simd::fma(simd::load(out), f, sum[r][v]));
      }
    }
  }

  void add_to(T* c, Index stride) const {
    AULOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      AULOS_UNROLL
      for (int v = 0; v < Vecs; ++v) {
        T* out = c + r * stride + v * lanes<T>;
        simd::store(out, simd::load(out) + sum[r][v]);
      }
    }
  }
};

// Calls body(Rows, Vecs, first row) with constants that cover `rows` rows; `columns` tells one batch from two.
template <class T, class Body>
void for_each_strip(Index rows, Index columns, Body&& body) {
  auto cover = [&](auto vecs) {
    Index r = 0;
    for (; r + strip <= rows; r += strip) body(std::integral_constant<int, strip>{}, vecs, r);
    for (; r + short_strip <= rows; r += short_strip) body(std::integral_constant<int, short_strip>{}, vecs, r);
    for (; r < rows; ++r) body(std::integral_constant<int, 1>{}, vecs, r);
  };
  if (columns > lanes<T>) {
    cover(std::integral_constant<int, 2>{});
  } else {
    cover(std::integral_constant<int, 1>{});
  }
}

// s[r, j] = a_r . k_j for `rows` panelled rows of a (capacity query_rows) and the keys j of the visible panels, whose
// packed columns are `columns`; `width` elements each. top, if given, is raised by the panels that are seen whole.
// before(p) is called before each panel.
template <class Format, class T, class Before = NothingAhead>
void score_product(T* s, const T* a, Index rows, const T* columns, Index width, const Panels<T>& panels,
                   Batch<T>* top = nullptr, const Before& before = {}) {
  for (const auto& p : panels) {
    before(p);
    for_each_strip<T>(rows, p.count, [&](auto n, auto vecs, Index r) {
      Product<Format, n(), vecs()> product;
      product.add_rows(width, a + r * panel<T>, query_rows, columns + p.column * width);
      product.store(s + r * score_stride<T> + p.column, score_stride<T>);
      if (top != nullptr && p.whole()) product.raise(top + r);
    });
  }
}

// to_r = factor[r] to_r + sum_j w[r, j] from_j over the keys j of the visible panels; without factor, to_r = the sum.
// `to` is panelled rows of capacity query_rows, `from` of capacity elements(key_rows).
template <class Format, class T>
void key_product(T* to, const T* w, Index rows, const T* from, Index width, const Panels<T>& panels,
                 const T* factor = nullptr) {
  for (Index c = 0; c < width; c += panel<T>) {
    for_each_strip<T>(rows, width - c, [&](auto n, auto vecs, Index r) {
      Product<Format, n(), vecs()> product;
      for (const auto& p : panels) {
        const Index element = p.column / Format::terms;
        product.template add<score_stride<T>, 1>(Format::elements(p.count), w + r * score_stride<T> + element,
                                                 from + c * Format::elements(key_rows) + element * panel<T>);
      }
      T* out = to + c * query_rows + r * panel<T>;
      if (factor != nullptr) {
        product.scale_add(out, panel<T>, factor + r);
      } else {
        product.store(out, panel<T>);
      }
    });
  }
}

// to_j += sum_r w[r, j] from_r over `rows` rows, for the keys j of the visible panels. `to` is panelled rows of
// capacity key_rows, `from` of capacity query_rows.
template <class T>
void query_product(T* to, const T* w, Index rows, const T* from, Index width, const Panels<T>& panels) {
  for (const auto* p = panels.begin(); p != panels.end();) {
    const Index column = p->column;
    Index count = 0;  // of a run of neighbours
    for (; p != panels.end() && p->column == column + count; ++p) count += p->count;
    for (Index c = 0; c < width; c += panel<T>) {
      for_each_strip<T>(count, width - c, [&](auto n, auto vecs, Index j) {
        Product<ExactFormat<T>, n(), vecs()> product;
        product.template add<1, score_stride<T>>(rows, w + column + j, from + c * query_rows);
        product.add_to(to + c * key_rows + (column + j) * panel<T>, panel<T>);
      });
    }
  }
}

// ---- the same products for a single row, which is not worth packing what it meets

// s[j] = a . k_j for the n rows k_j, which are transposed in registers.
template <class T, class Ahead = NothingAhead>
[[gnu::noinline]] void row_scores(T* s, const T* a, const T* k, Index stride, Index n, Index width,
                                  const Ahead& ahead = {}) {
  constexpr Index W = panel<T>, L = lanes<T>;
  const Index blocks = (width + L - 1) / L;
  for (Index j = 0; j < n; j += W) {
    Batch<T> sum[2] = {Batch<T>(T(0)), Batch<T>(T(0))};
    for (Index block = 0; block < blocks; ++block) {
      const Index c = block * L, count = (std::min)(L, width - c);
      AULOS_UNROLL
      for (int half = 0; half < 2; ++half) {
        const Index first = j + half * L, rows = std::clamp<Index>(n - first, 0, L);
        for (Index r = rows * block / blocks; r < rows * (block + 1) / blocks; ++r) ahead(first + r);
        const T* from = k + first * stride + c;
        Batch<T> column[static_cast<std::size_t>(L)];
        if (rows == L && count == L) {
          simd::load_transposed<T>(from, stride, L, L, column);
          AULOS_UNROLL
          for (Index x = 0; x < L; ++x) sum[half] = simd::fma(Batch<T>(a[c + x]), column[x], sum[half]);
        } else if (rows > 0) {
          simd::load_transposed_part<T>(from, stride, rows, count, column);
          for (Index x = 0; x < count; ++x) sum[half] = simd::fma(Batch<T>(a[c + x]), column[x], sum[half]);
        }
      }
    }
    AULOS_UNROLL
    for (int half = 0; half < 2; ++half) {
      const Index first = j + half * L;
      if (n - first >= L) {
        simd::store(s + first, sum[half]);
      } else if (n > first) {
        simd::store_partial(s + first, sum[half], n - first);
      }
    }
  }
}

// sum += sum_j w[j] v_j over the n rows v_j.
template <class T, class Ahead = NothingAhead>
[[gnu::noinline]] void add_weighted_rows(T* sum, const T* w, const T* v, Index stride, Index n, Index width,
                                         const Ahead& ahead = {}) {
  constexpr Index rows = 16;  // that stay in the first-level cache for all columns
  for (Index first = 0; first < n; first += rows) {
    const Index last = (std::min)(n, first + rows);
    const auto add = [&]<int vecs>(std::integral_constant<int, vecs>, Index c, auto part) {
      Batch<T> acc[static_cast<std::size_t>(vecs)];
      AULOS_UNROLL
      for (int i = 0; i < vecs; ++i) acc[i] = part.load(sum + c + i * lanes<T>);
      for (Index j = first; j < last; ++j) {
        if (c == 0) ahead(j);
        AULOS_UNROLL
        for (int i = 0; i < vecs; ++i) {
          acc[i] = simd::fma(Batch<T>(w[j]), part.load(v + j * stride + c + i * lanes<T>), acc[i]);
        }
      }
      AULOS_UNROLL
      for (int i = 0; i < vecs; ++i) part.store(sum + c + i * lanes<T>, acc[i]);
    };
    Index c = 0;
    for (; c + 4 * lanes<T> <= width; c += 4 * lanes<T>) {
      add(std::integral_constant<int, 4>{}, c, simd::WholeBatch<T>{});
    }
    for (; c + lanes<T> <= width; c += lanes<T>) add(std::integral_constant<int, 1>{}, c, simd::WholeBatch<T>{});
    if (c < width) add(std::integral_constant<int, 1>{}, c, simd::PartialBatch<T>{width - c});
  }
}

}  // namespace aulos::inline AULOS_ISA::kernels::tile
