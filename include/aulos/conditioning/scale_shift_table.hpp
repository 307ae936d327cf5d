// Scale-shift tables: the share of the modulation that each block of an adaLN-single model has of its own.
#pragma once

#include <array>
#include <cstddef>

#include "aulos/core/config.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/layout.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// A learned row for each part, to which a vector is added that the model computes once. A checkpoint keeps it as
// [parts, C] (PixArt, SANA, LTX-2: scale_shift_table) or, with Rank 3, as [1, parts, C] (Wan: modulation).
template <Real T, int Rank = 2>
requires(Rank == 2 || Rank == 3) struct ScaleShiftTable {
  Parameter<T, Rank> table;

  ScaleShiftTable() = default;
  ScaleShiftTable(Index parts, Index channels) {
    if constexpr (Rank == 2)
      table = Parameter<T, 2>(Shape<2>{parts, channels});
    else
      table = Parameter<T, 3>(Shape<3>{1, parts, channels});
  }

  // Row first + i plus part i of t, which holds `Parts` vectors: [B, Parts C], or [B, N, Parts C] for one per token.
  template <std::size_t Parts, int VectorRank>
  std::array<Tensor<T, 3>, Parts> rows(const Tensor<T, VectorRank>& t, Index first = 0) const {
    constexpr Index parts = static_cast<Index>(Parts);
    const Tensor<T, 3> own = part(first, parts).reshape(Shape<3>{1, 1, parts * table.extent(Rank - 1)});
    return chunk<Parts>(add(tokens(t), own), 2);
  }

  // Row first + i plus the same vector for all: t [B, C] or [B, N, C]. The last norm of these models.
  template <std::size_t Parts, int VectorRank>
  std::array<Tensor<T, 3>, Parts> shared_rows(const Tensor<T, VectorRank>& t, Index first = 0) const {
    const Index channels = table.extent(Rank - 1);
    std::array<Tensor<T, 3>, Parts> rows;
    for (std::size_t i = 0; i < Parts; ++i)
      rows[i] = add(tokens(t), part(first + static_cast<Index>(i), 1).reshape(Shape<3>{1, 1, channels}));
    return rows;
  }

  void visit(auto&& v) { v("", table); }
  bool operator==(const ScaleShiftTable&) const = default;

 private:
  static Tensor<T, 3> tokens(const Tensor<T, 2>& t) { return t.unsqueeze(1); }
  static Tensor<T, 3> tokens(const Tensor<T, 3>& t) { return t; }
  Tensor<T, Rank> part(Index first, Index count) const { return table.tensor().slice(Rank - 2, first, first + count); }
};

}  // namespace aulos::inline AULOS_ISA::conditioning
