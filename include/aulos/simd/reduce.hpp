// Sum, maximum and minimum over the lanes of a batch, always by the same tree: the upper half onto the lower half.
#pragma once

#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

// The operations on any of xsimd's batches (the halves of a batch are batches of a smaller instruction set).
struct Add {
  auto operator()(auto a, auto b) const noexcept { return a + b; }
};
struct Max {
  template <class V>
  V operator()(V a, V b) const noexcept {
    return xsimd::select(xsimd::isnan(a), a, (xsimd::max)(a, b));
  }
};
struct Min {
  template <class V>
  V operator()(V a, V b) const noexcept {
    return xsimd::select(xsimd::isnan(a), a, (xsimd::min)(a, b));
  }
};

#if defined(__SSE2__)
template <class Op>
inline float reduce(__m128 x, Op op) noexcept {
  using V = xsimd::batch<float, xsimd::sse2>;
  const V y = op(V(x), V(_mm_movehl_ps(x, x)));
  return _mm_cvtss_f32(op(y, V(_mm_shuffle_ps(y, y, 1))));
}

template <class Op>
inline double reduce(__m128d x, Op op) noexcept {
  using V = xsimd::batch<double, xsimd::sse2>;
  return _mm_cvtsd_f64(op(V(x), V(_mm_unpackhi_pd(x, x))));
}
#endif
#if defined(__AVX__)
template <class Op>
inline float reduce(__m256 x, Op op) noexcept {
  using V = xsimd::batch<float, xsimd::sse2>;
  return reduce(static_cast<__m128>(op(V(_mm256_castps256_ps128(x)), V(_mm256_extractf128_ps(x, 1)))), op);
}

template <class Op>
inline double reduce(__m256d x, Op op) noexcept {
  using V = xsimd::batch<double, xsimd::sse2>;
  return reduce(static_cast<__m128d>(op(V(_mm256_castpd256_pd128(x)), V(_mm256_extractf128_pd(x, 1)))), op);
}
#endif
#if defined(__AVX512F__)
template <class Op>
inline float reduce(__m512 x, Op op) noexcept {
  using V = xsimd::batch<float, xsimd::avx>;
  const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
  return reduce(static_cast<__m256>(op(V(_mm512_castps512_ps256(x)), V(upper))), op);
}

template <class Op>
inline double reduce(__m512d x, Op op) noexcept {
  using V = xsimd::batch<double, xsimd::avx>;
  return reduce(static_cast<__m256d>(op(V(_mm512_castpd512_pd256(x)), V(_mm512_extractf64x4_pd(x, 1)))), op);
}
#endif

template <Vec V, class Op>
inline Lane<V> reduce_lanes(V x, Op op) noexcept {
  if constexpr (!is_batch<V>) {
    return x;
  } else {
#if defined(__SSE2__)
    return reduce(static_cast<typename V::Native::register_type>(x.native()), op);
#else
    using Half = xsimd::batch<Lane<V>>;
    alignas(64) Lane<V> lane[Half::size * 2] = {};
    x.native().store_aligned(lane);
    for (std::size_t half = Half::size / 2; half > 0; half /= 2) {
      op(Half::load_aligned(lane), Half::load_unaligned(lane + half)).store_aligned(lane);
    }
    return lane[0];
#endif
  }
}

}  // namespace detail

template <Vec V>
inline Lane<V> reduce_add(V x) noexcept {
  return detail::reduce_lanes(x, detail::Add{});
}

// NaN if a lane is NaN.
template <Vec V>
inline Lane<V> reduce_max(V x) noexcept {
  return detail::reduce_lanes(x, detail::Max{});
}

// NaN if a lane is NaN.
template <Vec V>
inline Lane<V> reduce_min(V x) noexcept {
  return detail::reduce_lanes(x, detail::Min{});
}

}  // namespace aulos::inline AULOS_ISA::simd
