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

// A tile of Rows x Vecs batches in registers. narrow: only the lower half of each is made, where a format can do that.
template <class Format, int Rows, int Vecs, bool narrow = false>
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
        if constexpr (narrow && requires { Format::dot_each_lower(a, right[0], right[0]); }) {
          sum[r][0] = Format::dot_each_lower(a + r * RowStride, right[0], sum[r][0]);
        } else if constexpr (Vecs == 1 && requires { Format::dot_each(a, right[0], right[0]); }) {
          sum[r][0] = Format::dot_each(a + r * RowStride, right[0], sum[r][0]);
        } else {
          const Batch<T> left(a[r * RowStride]);
          AULOS_UNROLL
          for (int v = 0; v < Vecs; ++v) sum[r][v] = Format::dot(left, right[v], sum[r][v]);
        }
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
  if constexpr (Format::tiles) {
    return amx_score_product(s, a, Format::query_rows, rows, columns, width, panels, top, before);
  }
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
  if constexpr (Format::tiles) {
    return amx_key_product(to, Format::query_rows, w, rows, from, width, panels, factor);
  }
  for (Index c = 0; c < width; c += panel<T>) {
    const auto sum_strip = [&](auto product, Index r) {
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
    };
    for_each_strip<T>(rows, width - c, [&](auto n, auto vecs, Index r) {
      if constexpr (vecs() == 1 && requires(T * a, Batch<T> b) { Format::dot_each_lower(a, b, b); }) {
        if (width - c <= lanes<T> / 2) return sum_strip(Product<Format, n(), 1, true>(), r);
      }
      sum_strip(Product<Format, n(), vecs()>(), r);
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

}  // namespace aulos::inline AULOS_ISA::kernels::tile
