// Modulation x (1 + scale) + shift and gated residual x + gate f, with rows shared by the tokens of a sample.
#pragma once

#include <array>

#include "aulos/kernels/rows.hpp"

namespace aulos::inline AULOS_ISA::kernels {

namespace detail {

template <class T, simd::Path path>
[[gnu::noinline]] void modulate_row(const T* x, const T* scale, const T* shift, Index columns, T* y) {
  const simd::Batch<T> one(T(1));
  if (scale != nullptr && shift != nullptr) {
    simd::for_lanes_on<T, path>(columns, [=](Index i, auto part) {
      if constexpr (path == simd::Path::past_caches) simd::ask_page_ahead(x + i);
      part.store(y + i, simd::fma(part.load(x + i), one + part.load(scale + i), part.load(shift + i)));
    });
  } else {
    simd::for_lanes_on<T, path>(columns, [=](Index i, auto part) {
      if constexpr (path == simd::Path::past_caches) simd::ask_page_ahead(x + i);
      simd::Batch<T> v = part.load(x + i);
      if (scale != nullptr) v = v * (one + part.load(scale + i));
      if (shift != nullptr) v = v + part.load(shift + i);
      part.store(y + i, v);
    });
  }
}

}  // namespace detail

// y = x (1 + scale) + shift. x, y [rows, columns]; either of scale and shift may be absent. y may be x.
// The `modulate` of DiT.
template <class T>
void modulate(Threads threads, Index rows, Index columns, Rows<const T> x, SharedRows<const T> scale,
              SharedRows<const T> shift, Rows<T> y) {
  const bool past = detail::past_caches<T>(x.data, y, rows, columns);
  const auto modulate_row = [&](Index row) {
    const T* s = scale ? scale[row] : nullptr;
    const T* t = shift ? shift[row] : nullptr;
    if (past) {
      detail::modulate_row<T, simd::Path::past_caches>(x[row], s, t, columns, y[row]);
    } else {
      detail::modulate_row<T, simd::Path::cached>(x[row], s, t, columns, y[row]);
    }
  };
  detail::for_rows(threads, rows, columns, modulate_row, past);
}

// gx = gy (1 + scale), gscale = sum gy x and gshift = sum gy over the rows that share one. Absent gradients are
// skipped; x is read for gscale only. The sums run over rows in order, in double. gx may be gy or x when it is the only
// gradient wanted. Without rows, gscale and gshift are left as they are unless their stride is 0.
template <class T>
void modulate_backward(Threads threads, Index rows, Index columns, Rows<const T> x, SharedRows<const T> scale,
                       Rows<const T> gy, Rows<T> gx, SharedRows<T> gscale, SharedRows<T> gshift) {
  using Terms = std::array<simd::Batch<T>, 1>;
  if (gscale) {
    detail::column_sums<T, 1>(
        threads, rows, detail::group_size(gscale), columns, {detail::group_rows(gscale)},
        [&](Index row, Index i, auto part) { return Terms{part.load(gy[row] + i) * part.load(x[row] + i)}; });
  }
  if (gshift) {
    detail::column_sums<T, 1>(threads, rows, detail::group_size(gshift), columns, {detail::group_rows(gshift)},
                              [&](Index row, Index i, auto part) { return Terms{part.load(gy[row] + i)}; });
  }
  if (gx) modulate<T>(threads, rows, columns, gy, scale, {}, gx);
}

// y = x + gate f; an absent gate is 1. y may be x or f. What closes every branch of an adaLN block.
template <class T>
void gated_residual(Threads threads, Index rows, Index columns, Rows<const T> x, SharedRows<const T> gate,
                    Rows<const T> f, Rows<T> y) {
  detail::for_rows(threads, rows, columns, [&](Index row) {
    const T* from = x[row];
    const T* a = gate ? gate[row] : nullptr;
    const T* branch = f[row];
    T* to = y[row];
    simd::for_lanes<T>(columns, [&](Index i, auto part) {
      const simd::Batch<T> base = part.load(from + i), b = part.load(branch + i);
      part.store(to + i, a != nullptr ? simd::fma(part.load(a + i), b, base) : base + b);
    });
  });
}

// gf = gy gate, ggate = sum gy f over the rows that share a gate; gx is gy itself. Absent gradients are skipped. gf may
// be gy or f. Without rows, ggate is left as it is unless its stride is 0.
template <class T>
void gated_residual_backward(Threads threads, Index rows, Index columns, SharedRows<const T> gate, Rows<const T> f,
                             Rows<const T> gy, Rows<T> gf, SharedRows<T> ggate) {
  if (ggate) {
    detail::column_sums<T, 1>(threads, rows, detail::group_size(ggate), columns, {detail::group_rows(ggate)},
                              [&](Index row, Index i, auto part) {
                                return std::array<simd::Batch<T>, 1>{part.load(gy[row] + i) * part.load(f[row] + i)};
                              });
  }
  if (!gf) return;
  detail::for_rows(threads, rows, columns, [&](Index row) {
    const T* g = gy[row];
    const T* a = gate[row];
    T* to = gf[row];
    simd::for_lanes<T>(columns, [&](Index i, auto part) { part.store(to + i, part.load(g + i) * part.load(a + i)); });
  });
}

}  // namespace aulos::inline AULOS_ISA::kernels
