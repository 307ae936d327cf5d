// Where rotary position embedding enters an attention layer: between its projections (and their norms) and its mixer.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/ops/attention.hpp"
#include "aulos/ops/rope.hpp"

namespace aulos::inline AULOS_ISA::attention {

// No side turns.
struct Unrotated {
  template <Real T>
  QueryKeyValue<T> operator()(std::size_t, QueryKeyValue<T> side) const {
    return side;
  }
};

// Queries and keys of each side turned by that side's table; a side with an empty table stays as it is.
template <Real T, std::size_t Sides>
struct Rotated {
  std::array<RopeTable<T>, Sides> tables;
  RopePairs pairs = RopePairs::interleaved;

  QueryKeyValue<T> operator()(std::size_t s, QueryKeyValue<T> side) const {
    if (tables[s].cos.empty()) return side;
    if (!side.q.empty()) side.q = rope(std::move(side.q), tables[s], pairs);
    side.k = rope(std::move(side.k), tables[s], pairs);
    return side;
  }
};

}  // namespace aulos::inline AULOS_ISA::attention
