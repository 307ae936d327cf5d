// Reduces several batches at once, each over its own lanes.
#pragma once

#include <bit>
#include <utility>

#include "aulos/simd/batch.hpp"
#include "aulos/simd/transpose.hpp"

namespace aulos::inline AULOS_ISA::simd {

// Lane r of the result = op over the lanes of row[r], always by the same tree, which does not depend on the other rows.
// op takes two batches and is commutative. Three instructions a row, where row by row it takes three for each level.
template <class T, class Op>
[[gnu::always_inline]] inline Batch<T> reduce_rows(const Batch<T>* row, Op op) noexcept {
  constexpr int all = static_cast<int>(lanes<T>), width = static_cast<int>(16 / sizeof(T)), blocks = all / width;
  constexpr auto each = std::make_index_sequence<static_cast<std::size_t>(all)>{};
  using Register = typename Batch<T>::Native::register_type;
  using Shuffle = detail::Shuffle<T>;
  const auto apply = [&](Shuffle a, Shuffle b) {
    const auto batch = [](Shuffle x) { return Batch<T>(typename Batch<T>::Native(std::bit_cast<Register>(x))); };
    return std::bit_cast<Shuffle>(static_cast<Register>(op(batch(a), batch(b)).native()));
  };
  // Within 16 bytes, then 16 bytes with 16 bytes.
  const auto narrow = [&](Shuffle a, Shuffle b) {
    return apply(detail::interleave<T, 0>(a, b, each), detail::interleave<T, 1>(a, b, each));
  };
  const auto join = [&](Shuffle a, Shuffle b) {
    return apply(detail::every_second<T, 0>(a, b, each), detail::every_second<T, 1>(a, b, each));
  };
  const auto load_row = [&](int r) { return std::bit_cast<Shuffle>(static_cast<Register>(row[r].native())); };
  Shuffle x[static_cast<std::size_t>(blocks)];
  AULOS_UNROLL
  for (int q = 0; q < blocks; ++q) {
    const int r = q * width;
    if constexpr (width == 2) {
      x[q] = narrow(load_row(r), load_row(r + 1));
    } else {
      x[q] = narrow(narrow(load_row(r), load_row(r + 2)), narrow(load_row(r + 1), load_row(r + 3)));
    }
  }
  static_assert(blocks == 1 || blocks == 2 || blocks == 4);
  if constexpr (blocks == 4) x[0] = join(join(x[0], x[1]), join(x[2], x[3]));
  if constexpr (blocks == 2) x[0] = join(x[0], x[1]);
  return Batch<T>(typename Batch<T>::Native(std::bit_cast<Register>(x[0])));
}

}  // namespace aulos::inline AULOS_ISA::simd
