// A loop over one row, written once for whole batches and for the tail, which is computed by the same operations and so
// has the same bits.
#pragma once

#include "aulos/simd/batch.hpp"

namespace aulos::inline AULOS_ISA::simd {

// All lanes of a batch.
template <class T>
struct WholeBatch {
  Batch<T> load(const T* p) const noexcept { return simd::load(p); }
  void store(T* p, Batch<T> x) const noexcept { simd::store(p, x); }
  // x in the lanes that exist, `other` in those that don't.
  Batch<T> keep(Batch<T> x, T) const noexcept { return x; }
};

// The first `count` lanes of a batch.
template <class T>
struct PartialBatch {
  Index count;

  Batch<T> load(const T* p) const noexcept { return load_partial(p, count); }
  void store(T* p, Batch<T> x) const noexcept { store_partial(p, x, count); }
  Batch<T> keep(Batch<T> x, T other) const noexcept { return select(first_lanes<T>(count), x, Batch<T>(other)); }
};

// Calls body(i, WholeBatch) for i = 0, lanes, 2 lanes, ... and body(i, PartialBatch) for what remains of [0, length).
template <class T, class Body>
inline void for_lanes(Index length, const Body& body) {
  Index i = 0;
  for (; i + lanes<T> <= length; i += lanes<T>) body(i, WholeBatch<T>{});
  if (i < length) body(i, PartialBatch<T>{length - i});
}

}  // namespace aulos::inline AULOS_ISA::simd
