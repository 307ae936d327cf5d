// Lanes in pairs (0, 1), (2, 3), ...: what rotations of neighbouring channels need.
#pragma once

#include <bit>
#include <utility>

#include "aulos/simd/batch.hpp"
#include "aulos/simd/transpose.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

template <class T, std::size_t... i>
inline Shuffle<T> swap_pairs(Shuffle<T> x, std::index_sequence<i...>) noexcept {
  return __builtin_shufflevector(x, x, static_cast<int>(i ^ 1)...);
}
template <class T, int first, std::size_t... i>
inline Shuffle<T> repeat_twice(Shuffle<T> x, std::index_sequence<i...>) noexcept {
  return __builtin_shufflevector(x, x, (first + static_cast<int>(i) / 2)...);
}

template <class T>
using EachLane = std::make_index_sequence<static_cast<std::size_t>(lanes<T>)>;

template <class T>
inline Shuffle<T> to_shuffle(Batch<T> x) noexcept {
  using Register = typename Batch<T>::Native::register_type;
  return std::bit_cast<Shuffle<T>>(static_cast<Register>(x.native()));
}
template <class T>
inline Batch<T> from_shuffle(Shuffle<T> x) noexcept {
  using Register = typename Batch<T>::Native::register_type;
  return Batch<T>(typename Batch<T>::Native(std::bit_cast<Register>(x)));
}

}  // namespace detail

// x1, x0, x3, x2, ...
template <class T>
inline Batch<T> swap_pairs(Batch<T> x) noexcept {
  return detail::from_shuffle<T>(detail::swap_pairs<T>(detail::to_shuffle(x), detail::EachLane<T>{}));
}

// The lower half of the lanes, each twice: x0, x0, x1, x1, ...
template <class T>
inline Batch<T> repeat_lower(Batch<T> x) noexcept {
  return detail::from_shuffle<T>(detail::repeat_twice<T, 0>(detail::to_shuffle(x), detail::EachLane<T>{}));
}

// The upper half of the lanes, each twice.
template <class T>
inline Batch<T> repeat_upper(Batch<T> x) noexcept {
  return detail::from_shuffle<T>(
      detail::repeat_twice<T, static_cast<int>(lanes<T> / 2)>(detail::to_shuffle(x), detail::EachLane<T>{}));
}

// -1, 1, -1, 1, ...
template <class T>
inline Batch<T> alternating_signs() noexcept {
  alignas(64) T lane[static_cast<std::size_t>(lanes<T>)];
  AULOS_UNROLL
  for (Index i = 0; i < lanes<T>; ++i) lane[i] = i % 2 == 0 ? T(-1) : T(1);
  return load(lane);
}

}  // namespace aulos::inline AULOS_ISA::simd
