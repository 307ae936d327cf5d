// Sums over one row in double, in an order that depends on its length alone.
#pragma once

#include <cstddef>

#include "aulos/simd/batch.hpp"
#include "aulos/simd/convert.hpp"
#include "aulos/simd/for_lanes.hpp"
#include "aulos/simd/reduce.hpp"

namespace aulos::inline AULOS_ISA::simd {

// Adds up batches of T in double; two turns of accumulators hide the latency of the additions.
template <class T>
class RowSum {
 public:
  static constexpr std::size_t turns = 2;

  RowSum() noexcept {
    for (auto& turn : sum_) {
      for (auto& part : turn.part) part = Batch<double>(0.0);
    }
  }

  // x, or x * z, of doubles: exact products of floats.
  void add(std::size_t turn, Batch<T> x) noexcept {
    const Doubles<T> wide = widen(x);
    AULOS_UNROLL
    for (std::size_t i = 0; i < Doubles<T>::count; ++i) sum_[turn].part[i] += wide.part[i];
  }
  void add_product(std::size_t turn, Batch<T> x, Batch<T> z) noexcept {
    const Doubles<T> a = widen(x), b = widen(z);
    AULOS_UNROLL
    for (std::size_t i = 0; i < Doubles<T>::count; ++i) sum_[turn].part[i] = fma(a.part[i], b.part[i], sum_[turn].part[i]);
  }

  double total() const noexcept {
    Batch<double> sum = sum_[0].part[0] + sum_[1].part[0];
    AULOS_UNROLL
    for (std::size_t i = 1; i < Doubles<T>::count; ++i) sum += sum_[0].part[i] + sum_[1].part[i];
    return reduce_add(sum);
  }

 private:
  Doubles<T> sum_[turns];
};

// for_lanes with turns: body(i, part, turn).
template <class T, class Body>
inline void for_lanes_in_turns(Index length, const Body& body) {
  Index i = 0;
  for (; i + 2 * lanes<T> <= length; i += 2 * lanes<T>) {
    body(i, WholeBatch<T>{}, std::size_t{0});
    body(i + lanes<T>, WholeBatch<T>{}, std::size_t{1});
  }
  if (i + lanes<T> <= length) {
    body(i, WholeBatch<T>{}, std::size_t{0});
    i += lanes<T>;
  }
  if (i < length) body(i, PartialBatch<T>{length - i}, std::size_t{1});
}

}  // namespace aulos::inline AULOS_ISA::simd
