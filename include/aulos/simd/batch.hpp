// The only folder that includes xsimd. A batch is as many lanes of T as the instruction set holds.
#pragma once

#include <xsimd/xsimd.hpp>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA::simd {

template <class T>
using Batch = xsimd::batch<T>;

// Lanes of a Batch<T>.
template <class T>
inline constexpr Index lanes = static_cast<Index>(Batch<T>::size);

template <class T>
inline Batch<T> load(const T* p) noexcept {
  return Batch<T>::load_unaligned(p);
}

template <class T>
inline void store(T* p, Batch<T> x) noexcept {
  x.store_unaligned(p);
}

// a * b + c with one rounding on every instruction set that has it.
template <class T>
inline Batch<T> fma(Batch<T> a, Batch<T> b, Batch<T> c) noexcept {
  return xsimd::fma(a, b, c);
}

}  // namespace aulos::inline AULOS_ISA::simd
