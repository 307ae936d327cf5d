// Sums over one row, in double up to short runs in T, in an order that depends on the length of the row alone.
#pragma once

#include <array>
#include <cstddef>

#include "aulos/simd/batch.hpp"
#include "aulos/simd/convert.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/reduce.hpp"

namespace aulos::inline AULOS_ISA::simd {

namespace detail {

// Four accumulators of T for each of K sums hide the latency of additions; after at most five additions each they are
// moved to double, so that a sum has the error of a few roundings whatever the length.
template <class T, std::size_t K>
class RunningSums {
 public:
  static constexpr std::size_t turns = 4;
  using Turn = std::array<Batch<T>, K>;

  RunningSums() noexcept {
    for (auto& total : total_) {
      for (auto& part : total.part) part = Batch<double>(0.0);
    }
    clear();
  }

  Turn& operator[](std::size_t turn) noexcept { return run_[turn]; }

  void flush() noexcept {
    AULOS_UNROLL
    for (std::size_t k = 0; k < K; ++k) {
      const Doubles<T> wide = widen((run_[0][k] + run_[2][k]) + (run_[1][k] + run_[3][k]));
      AULOS_UNROLL
      for (std::size_t i = 0; i < Doubles<T>::count; ++i) total_[k].part[i] += wide.part[i];
    }
    clear();
  }

  std::array<double, K> totals() const noexcept {
    std::array<double, K> result;
    for (std::size_t k = 0; k < K; ++k) {
      Batch<double> sum = total_[k].part[0];
      for (std::size_t i = 1; i < Doubles<T>::count; ++i) sum += total_[k].part[i];
      result[k] = reduce_add(sum);
    }
    return result;
  }

 private:
  void clear() noexcept {
    AULOS_UNROLL
    for (std::size_t turn = 0; turn < turns; ++turn) {
      AULOS_UNROLL
      for (std::size_t k = 0; k < K; ++k) run_[turn][k] = Batch<T>(T(0));
    }
  }

  Turn run_[turns];
  Doubles<T> total_[K];
};

}  // namespace detail

// K sums over [0, length): body(i, part, sums) adds what belongs to the elements i, i + 1, ... of a WholeBatch or a
// PartialBatch to sums[0], ..., sums[K - 1]; lanes that don't exist must add 0 (part.keep).
template <class T, std::size_t K, class Body>
inline std::array<double, K> sum_row(Index length, const Body& body) {
  constexpr Index width = lanes<T>, turns = 4, block = 4 * turns * width;
  detail::RunningSums<T, K> sums;
  Index i = 0;
  while (length - i >= turns * width) {
    const Index end = length - i >= block ? i + block : i + (length - i) / (turns * width) * (turns * width);
    for (; i < end; i += turns * width) {
      AULOS_UNROLL
      for (std::size_t turn = 0; turn < 4; ++turn) {
        body(i + static_cast<Index>(turn) * width, WholeBatch<T>{}, sums[turn]);
      }
    }
    if (length - i >= width) sums.flush();
  }
  for (; i + width <= length; i += width) body(i, WholeBatch<T>{}, sums[0]);
  if (i < length) body(i, PartialBatch<T>{length - i}, sums[1]);
  sums.flush();
  return sums.totals();
}

}  // namespace aulos::inline AULOS_ISA::simd
