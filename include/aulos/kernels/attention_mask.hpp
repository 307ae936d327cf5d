// The rules of an attention: which pairs (query i, key j) are kept, and what becomes of their scores. i and j count
// over the joint sequences. A rule is a small function object, inlined into the kernel, that sees a batch of keys at
// once:
//
//   mask(b, h, i, Keys<T> j)      -> lanes that are kept
//   score(s, b, h, i, Keys<T> j)  -> new scores; s = scale * q k^T; -inf drops the pair
//
// A mask may add block(b, h, i0, i1, j0, j1) -> Visible, so that whole blocks are skipped or left unmasked. A score may
// add gradient(ds, s, b, h, i, Keys<T> j) -> the gradient of s, given that of the result; without it there is no
// backward. If gradient() also adds into memory, gradient_sink() says over which axes that memory is shared. A score
// that reads memory may add prefetch(b, h, i, Keys<T> j), for one or more batches of keys, to ask for it in time.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>

#include "aulos/core/config.hpp"
#include "aulos/simd/batch.hpp"
#include "aulos/simd/tanh.hpp"

namespace aulos::inline AULOS_ISA::kernels {

template <class T>
using LaneMask = simd::Mask<simd::Batch<T>>;

// The keys of one batch: `first` in lane 0 and so on; lanes from `count` on are no keys, and their results are ignored.
template <class T>
struct Keys {
  Index first = 0;
  Index count = simd::lanes<T>;

  // j - origin of each lane; exact in float within 2^24 of the origin.
  simd::Batch<T> minus(Index origin) const { return simd::iota(static_cast<T>(first - origin)); }

  // Lanes with j < limit, and lanes with j >= limit.
  LaneMask<T> below(Index limit) const { return lanes() < simd::Batch<T>(lane_of(limit)); }
  LaneMask<T> from(Index limit) const { return lanes() >= simd::Batch<T>(lane_of(limit)); }

  // row[j] of each key.
  simd::Batch<T> load(const T* row) const {
    return count >= simd::lanes<T> ? simd::load(row + first) : simd::load_partial(row + first, count);
  }

  // Asks the memory for row[j] of each key, without waiting.
  void prefetch(const T* row) const {
    for (Index j = 0; j < count; j += 64 / Index(sizeof(T))) {
      __builtin_prefetch(row + first + j, 0, 2);
      asm volatile("" : : "r"(row + first + j));  // g++ removes a loop that does nothing else
    }
  }

  // Adds x to row[j] of each key.
  void add(T* row, simd::Batch<T> x) const {
    if (count >= simd::lanes<T>) {
      simd::store(row + first, simd::load(row + first) + x);
    } else {
      simd::store_partial(row + first, simd::load_partial(row + first, count) + x, count);
    }
  }

  // Lanes where test(j) holds.
  template <class Test>
  LaneMask<T> where(Test&& test) const {
    alignas(64) T lane[static_cast<std::size_t>(simd::lanes<T>)] = {};
    for (Index l = 0; l < count; ++l) lane[l] = test(first + l) ? T(1) : T(0);
    return simd::load(lane) > simd::Batch<T>(T(0));
  }

  static LaneMask<T> all() { return LaneMask<T>(true); }

 private:
  static simd::Batch<T> lanes() { return simd::iota<T>(); }
  T lane_of(Index j) const {
    return static_cast<T>(j <= first ? 0 : j - first < simd::lanes<T> ? j - first : simd::lanes<T>);
  }
};

// How much of a block of pairs a mask keeps.
enum class Visible : unsigned char { none, some, all };

// How the keys of a causal or windowed mask are aligned when Nq differs from Nk: key 0 with query 0 (PyTorch's
// is_causal), or the last key with the last query (a cache of earlier keys).
enum class Causality { top_left, bottom_right };

// ---- masks

struct NoMask {
  template <class T>
  LaneMask<T> operator()(Index, Index, Index, Keys<T>) const {
    return Keys<T>::all();
  }
  Visible block(Index, Index, Index, Index, Index, Index) const { return Visible::all; }
};

// i + offset - left <= j <= i + offset + right.
struct SlidingWindow {
  Index left = 0;
  Index right = 0;
  Index offset = 0;

  template <class T>
  LaneMask<T> operator()(Index, Index, Index i, Keys<T> j) const {
    return j.from(i + offset - left) & j.below(i + offset + right + 1);
  }
  Visible block(Index, Index, Index i0, Index i1, Index j0, Index j1) const {
    if (j1 <= i0 + offset - left || j0 > i1 - 1 + offset + right) return Visible::none;
    return j0 >= i1 - 1 + offset - left && j1 - 1 <= i0 + offset + right ? Visible::all : Visible::some;
  }
};

inline Index causal_offset(Causality causality, Index nq, Index nk) {
  return causality == Causality::top_left ? 0 : nk - nq;
}

inline SlidingWindow sliding_window(Causality causality, Index nq, Index nk, Index left, Index right) {
  return {left, right, causal_offset(causality, nq, nk)};
}

// j <= i + offset.
struct Causal {
  Index offset = 0;

  template <class T>
  LaneMask<T> operator()(Index, Index, Index i, Keys<T> j) const {
    return j.below(i + offset + 1);
  }
  Visible block(Index, Index, Index i0, Index i1, Index j0, Index j1) const {
    if (j0 > i1 - 1 + offset) return Visible::none;
    return j1 - 1 <= i0 + offset ? Visible::all : Visible::some;
  }
};

inline Causal causal(Causality causality, Index nq, Index nk) { return {causal_offset(causality, nq, nk)}; }

enum class KeyFlag { keep, drop };

// One flag per key: bytes [B, Nk], where non-zero says `flag`.
struct KeyMask {
  const std::uint8_t* flags = nullptr;
  Index batch_stride = 0;
  KeyFlag flag = KeyFlag::keep;

  template <class T>
  LaneMask<T> operator()(Index b, Index, Index, Keys<T> j) const {
    const std::uint8_t* row = flags + b * batch_stride;
    const bool keep = flag == KeyFlag::keep;
    return j.where([row, keep](Index key) { return (row[key] != 0) == keep; });
  }
  Visible block(Index b, Index, Index, Index, Index j0, Index j1) const {
    const std::uint8_t* row = flags + b * batch_stride;
    Index set = 0;
    for (Index j = j0; j < j1; ++j) set += row[j] != 0;
    const Index kept = flag == KeyFlag::keep ? set : j1 - j0 - set;
    return kept == 0 ? Visible::none : kept == j1 - j0 ? Visible::all : Visible::some;
  }
};

// One flag per pair: bytes [B, H, Nq, Nk], non-zero keeps; a stride of 0 shares the axis.
struct PairMask {
  const std::uint8_t* keep = nullptr;
  Index batch_stride = 0;
  Index head_stride = 0;
  Index query_stride = 0;

  template <class T>
  LaneMask<T> operator()(Index b, Index h, Index i, Keys<T> j) const {
    const std::uint8_t* row = keep + b * batch_stride + h * head_stride + i * query_stride;
    return j.where([row](Index key) { return row[key] != 0; });
  }
};

// Pairs of the same segment: numbers [B, Nq] and [B, Nk].
struct SegmentMask {
  const std::int32_t* query = nullptr;
  const std::int32_t* key = nullptr;
  Index query_batch_stride = 0;
  Index key_batch_stride = 0;

  template <class T>
  LaneMask<T> operator()(Index b, Index, Index i, Keys<T> j) const {
    const std::int32_t own = query[b * query_batch_stride + i];
    const std::int32_t* row = key + b * key_batch_stride;
    return j.where([row, own](Index other) { return row[other] == own; });
  }
};

template <class Mask>
Visible visible_block(const Mask& mask, Index b, Index h, Index i0, Index i1, Index j0, Index j1) {
  if constexpr (requires { mask.block(b, h, i0, i1, j0, j1); }) {
    return mask.block(b, h, i0, i1, j0, j1);
  } else {
    return Visible::some;
  }
}

// Pairs that both masks keep.
template <class First, class Second>
struct MaskBoth {
  First first;
  Second second;

  template <class T>
  LaneMask<T> operator()(Index b, Index h, Index i, Keys<T> j) const {
    return first(b, h, i, j) & second(b, h, i, j);
  }
  Visible block(Index b, Index h, Index i0, Index i1, Index j0, Index j1) const {
    const Visible x = visible_block(first, b, h, i0, i1, j0, j1);
    if (x == Visible::none) return x;
    const Visible y = visible_block(second, b, h, i0, i1, j0, j1);
    return y == Visible::none || x == Visible::all ? y : x;
  }
};
template <class First, class Second>
MaskBoth(First, Second) -> MaskBoth<First, Second>;

// ---- scores

struct NoScore {
  template <class T>
  simd::Batch<T> operator()(simd::Batch<T> s, Index, Index, Index, Keys<T>) const {
    return s;
  }
  template <class T>
  simd::Batch<T> gradient(simd::Batch<T> ds, simd::Batch<T>, Index, Index, Index, Keys<T>) const {
    return ds;
  }
};

// Whether the gradient() of a score adds into memory, and over which axes that is shared: one piece then walks them
// all.
struct GradientSink {
  bool present = false;
  bool batch_shared = false;
  bool heads_shared = false;
};

template <class Score>
GradientSink gradient_sink(const Score& score) {
  if constexpr (requires { score.gradient_sink(); }) {
    return score.gradient_sink();
  } else {
    return {};
  }
}

// s + bias: [B, H, Nq, Nk]; a stride of 0 shares the axis. -inf masks. The backward adds to
// `gradient_data`, which has the same strides and may be absent.
template <class T>
struct AdditiveBias {
  const T* bias = nullptr;
  Index batch_stride = 0;
  Index head_stride = 0;
  Index query_stride = 0;
  T* gradient_data = nullptr;

  simd::Batch<T> operator()(simd::Batch<T> s, Index b, Index h, Index i, Keys<T> j) const {
    return s + j.load(bias + offset(b, h, i));
  }
  simd::Batch<T> gradient(simd::Batch<T> ds, simd::Batch<T>, Index b, Index h, Index i, Keys<T> j) const {
    if (gradient_data != nullptr) j.add(gradient_data + offset(b, h, i), ds);
    return ds;
  }
  void prefetch(Index b, Index h, Index i, Keys<T> j) const { j.prefetch(bias + offset(b, h, i)); }
  GradientSink gradient_sink() const { return {gradient_data != nullptr, batch_stride == 0, head_stride == 0}; }

 private:
  Index offset(Index b, Index h, Index i) const { return b * batch_stride + h * head_stride + i * query_stride; }
};

// s - slopes[h] * |i + offset - j|.
template <class T>
struct Alibi {
  const T* slopes = nullptr;
  Index offset = 0;

  simd::Batch<T> operator()(simd::Batch<T> s, Index, Index h, Index i, Keys<T> j) const {
    return s - simd::Batch<T>(slopes[h]) * simd::abs(j.minus(i + offset));
  }
  simd::Batch<T> gradient(simd::Batch<T> ds, simd::Batch<T>, Index, Index, Index, Keys<T>) const { return ds; }
};

// cap * tanh(s / cap).
struct SoftCap {
  double cap = 1.0;

  template <class T>
  simd::Batch<T> operator()(simd::Batch<T> s, Index, Index, Index, Keys<T>) const {
    return simd::Batch<T>(static_cast<T>(cap)) * simd::tanh(s * simd::Batch<T>(static_cast<T>(1.0 / cap)));
  }
  template <class T>
  simd::Batch<T> gradient(simd::Batch<T> ds, simd::Batch<T> s, Index, Index, Index, Keys<T>) const {
    const simd::Batch<T> t = simd::tanh(s * simd::Batch<T>(static_cast<T>(1.0 / cap)));
    return ds * (simd::Batch<T>(T(1)) - t * t);
  }
};

// second(first(s)).
template <class First, class Second>
struct ScoreThen {
  First first;
  Second second;

  template <class T>
  simd::Batch<T> operator()(simd::Batch<T> s, Index b, Index h, Index i, Keys<T> j) const {
    return second(first(s, b, h, i, j), b, h, i, j);
  }
  template <class T>
  simd::Batch<T> gradient(simd::Batch<T> ds, simd::Batch<T> s, Index b, Index h, Index i, Keys<T> j) const {
    return first.gradient(second.gradient(ds, first(s, b, h, i, j), b, h, i, j), s, b, h, i, j);
  }
  template <class T>
  void prefetch(Index b, Index h, Index i, Keys<T> j) const {
    if constexpr (requires { first.prefetch(b, h, i, j); }) first.prefetch(b, h, i, j);
    if constexpr (requires { second.prefetch(b, h, i, j); }) second.prefetch(b, h, i, j);
  }
  GradientSink gradient_sink() const {
    const GradientSink x = kernels::gradient_sink(first);
    const GradientSink y = kernels::gradient_sink(second);
    return {x.present || y.present, x.batch_shared || y.batch_shared, x.heads_shared || y.heads_shared};
  }
};
template <class First, class Second>
ScoreThen(First, Second) -> ScoreThen<First, Second>;

}  // namespace aulos::inline AULOS_ISA::kernels
