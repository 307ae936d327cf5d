// Sums over one row, in double up to short runs in T, in an order that depends on the length of the row alone.
#pragma once

#include <array>
#include <cstddef>

#include "aulos/simd/batch.hpp"
#include "aulos/simd/convert.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/reduce.hpp"
#include "aulos/simd/unroll.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

// Four accumulators of T for each of K sums hide the latency of additions; after at most eight additions each they are
// moved to double, so that a sum has the error of a few roundings whatever the length.
template <class T, std::size_t K>
class RunningSums {
 public:
  static constexpr std::size_t turns = 4;
  using Turn = std::array<Batch<T>, K>;

  RunningSums() noexcept { clear(); }

  Turn& operator[](std::size_t turn) noexcept { return run_[turn]; }

  void flush() noexcept {
    AULOS_UNROLL
    for (std::size_t k = 0; k < K; ++k) {
      const Doubles<T> wide = widen(run_sum(k));
      AULOS_UNROLL
      for (std::size_t i = 0; i < Doubles<T>::count; ++i) {
        total_[k].part[i] = flushed_ ? total_[k].part[i] + wide.part[i] : wide.part[i];
      }
    }
    flushed_ = true;
    clear();
  }

  std::array<double, K> totals() const noexcept {
    std::array<double, K> result;
    AULOS_UNROLL
    for (std::size_t k = 0; k < K; ++k) {
      result[k] = static_cast<double>(reduce_add(run_sum(k)));
      if (!flushed_) continue;
      Batch<double> sum = total_[k].part[0];
      AULOS_UNROLL
      for (std::size_t i = 1; i < Doubles<T>::count; ++i) sum += total_[k].part[i];
      result[k] += reduce_add(sum);
    }
    return result;
  }

 private:
  Batch<T> run_sum(std::size_t k) const noexcept { return (run_[0][k] + run_[2][k]) + (run_[1][k] + run_[3][k]); }

  void clear() noexcept {
    AULOS_UNROLL
    for (std::size_t turn = 0; turn < turns; ++turn) {
      AULOS_UNROLL
      for (std::size_t k = 0; k < K; ++k) run_[turn][k] = Batch<T>(T(0));
    }
  }

  Turn run_[turns];
  Doubles<T> total_[K];
  bool flushed_ = false;
};

}  // namespace detail

// K sums over [0, length): body(i, part, sums) adds what belongs to the elements i, i + 1, ... of a WholeBatch or a
// PartialBatch to sums[0], ..., sums[K - 1]; lanes that don't exist must add 0 (part.keep).
template <class T, std::size_t K, class Body>
inline std::array<double, K> sum_row(Index length, const Body& body) {
  constexpr Index width = lanes<T>, stride = 4 * width, block = 8 * stride;
  detail::RunningSums<T, K> sums;
  Index i = 0;
  const auto four_batches = [&] {
    AULOS_UNROLL
    for (std::size_t turn = 0; turn < 4; ++turn) {
      body(i + static_cast<Index>(turn) * width, WholeBatch<T>{}, sums[turn]);
    }
    i += stride;
  };
  while (length - i > block) {
    AULOS_NO_UNROLL
    for (int turn = 0; turn < 8; ++turn) four_batches();
    sums.flush();
  }
  while (length - i >= stride) four_batches();
  for (; i + width <= length; i += width) body(i, WholeBatch<T>{}, sums[0]);
  if (i < length) body(i, PartialBatch<T>{length - i}, sums[1]);
  return sums.totals();
}

}  // namespace aulos::inline AULOS_ISA::simd
