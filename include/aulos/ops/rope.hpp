// Rotary position embedding of queries and keys, and the tables of cosines and sines that it takes.
#pragma once

#include <array>
#include <span>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/rope.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

using kernels::RopePairs;
using kernels::RopePrecision;

// cos and sin of the angles [B or 1, N, H or 1, P], P pairs of channels: what batch elements or heads share stands
// there once. A head whose width is larger than 2 P keeps its other channels.
template <Real T>
struct RopeTable {
  Tensor<T, 4> cos, sin;
};

struct RopeOptions {
  double theta = 10000;
  RopePrecision precision = RopePrecision::float64;  // of positions * frequencies: Flux, Wan; float32: Qwen, LLaMA
};

namespace any {

template <Real T>
kernels::HeadRows<const T> rope_rows(const AnyTensor<T>& x) {
  return {x.data(), x.stride(0), x.stride(1), x.stride(2)};
}
template <Real T>
kernels::HeadRows<T> rope_rows_out(const AnyTensor<T>& y) {
  return {y.mutable_data(), y.stride(0), y.stride(1), y.stride(2)};
}

// A table's rows, those of extent 1 repeated.
template <Real T>
kernels::HeadRows<const T> rope_table_rows(const AnyTensor<T>& t) {
  return {t.data(), t.extent(0) == 1 ? 0 : t.stride(0), t.stride(1), t.extent(2) == 1 ? 0 : t.stride(2)};
}

template <Real T>
kernels::RopeShape rope_shape(const Op& op, const AnyTensor<T>& x, const AnyTensor<T>& cos, const AnyTensor<T>& sin,
                              RopePairs pairs) {
  op.require(x.rank() == 4, [&] { return concat_text({"x ", x.dims(), ", expected [B, N, H, D]"}); });
  op.require(cos.rank() == 4 && cos.dims().same_extents(sin.dims()), [&] {
    return concat_text({"cos ", cos.dims(), " and sin ", sin.dims(), ", expected two [B, N, H, P]"});
  });
  op.require((cos.extent(0) == 1 || cos.extent(0) == x.extent(0)) && cos.extent(1) == x.extent(1) &&
                 (cos.extent(2) == 1 || cos.extent(2) == x.extent(2)) && 2 * cos.last() <= x.last(),
             [&] {
               return concat_text({"table ", cos.dims(), " for x ", x.dims(), ", expected [1 or ", x.extent(0), ", ",
                                   x.extent(1), ", 1 or ", x.extent(2), ", at most ", x.last() / 2, "]"});
             });
  return {x.extent(0), x.extent(1), x.extent(2), x.last(), cos.last(), pairs};
}

template <Real T>
AnyTensor<T> rope(AnyTensor<T>&& x, const AnyTensor<T>& cos, const AnyTensor<T>& sin, RopePairs pairs) {
  Op op("rope", arg("x", x), arg("cos", cos), arg("sin", sin));
  const kernels::RopeShape shape = rope_shape(op, x, cos, sin, pairs);
  const Ghost<T> gx = op.ghost(x);
  AnyTensor<T> y = op.recording() ? op.like(x) : op.reuse(std::move(x));
  const AnyTensor<T> from = x.empty() ? y : std::move(x);  // empty: its memory is y's now
  op.run(cost_per_element<T>(y.count(), 3, 2), [&](Threads threads) {
    kernels::rope<T>(threads, shape, kernels::Rotation::forward, rope_rows(from),
                     {rope_table_rows(cos), rope_table_rows(sin)}, rope_rows_out(y));
  });
  if (op.recording()) {
    const Ghost<T> gcos = op.ghost(cos), gsin = op.ghost(sin);
    const AnyTensor<T> kept = gcos || gsin ? from : AnyTensor<T>{};  // only the table's gradient needs x
    op.record(y, [kept, cos, sin, shape, gx, gcos, gsin](GradTape& tape, AnyTensor<T> gy) {
      Op back("rope_backward", arg("gy", gy));
      if (gcos || gsin) {
        AnyTensor<T> dcos = gcos ? back.like(cos) : AnyTensor<T>{};
        AnyTensor<T> dsin = gsin ? back.like(sin) : AnyTensor<T>{};
        back.run(cost_per_element<T>(gy.count(), 4, 2), [&](Threads threads) {
          const auto pointer = [](const AnyTensor<T>& t) { return t.empty() ? nullptr : t.mutable_data(); };
          kernels::rope_table_backward<T>(threads, shape, cos.extent(0), cos.extent(2), rope_rows(kept), rope_rows(gy),
                                          pointer(dcos), pointer(dsin));
        });
        tape.give(gcos, std::move(dcos));
        tape.give(gsin, std::move(dsin));
      }
      if (!gx) return;
      AnyTensor<T> dx = back.reuse(std::move(gy));
      const AnyTensor<T>& g = gy.empty() ? dx : gy;
      back.run(cost_per_element<T>(dx.count(), 3, 2), [&](Threads threads) {
        kernels::rope<T>(threads, shape, kernels::Rotation::backward, rope_rows(g),
                         {rope_table_rows(cos), rope_table_rows(sin)}, rope_rows_out(dx));
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

// positions [N, axes] or [B, N, axes] -> cos, sin [1 or B, N, 1, sum of widths / 2]. No gradient.
template <Real T>
std::array<AnyTensor<T>, 2> rope_table(const AnyTensor<T>& positions, std::span<const Index> widths,
                                       const RopeOptions& options) {
  Op op("rope_table", arg("positions", positions));
  const Index axes = positions.last();
  op.require(static_cast<Index>(widths.size()) == axes, [&] {
    return concat_text({"positions ", positions.dims(), " for ", widths.size(), " axes"});
  });
  Index pairs = 0;
  for (const Index width : widths) {
    op.require(width >= 0 && width % 2 == 0, [&] {
      return concat_text({"width ", width, " of an axis, expected an even number"});
    });
    pairs += width / 2;
  }
  const bool by_sample = positions.rank() == 3;
  const Dims dims =
      dense_dims({by_sample ? positions.extent(0) : 1, positions.extent(by_sample ? 1 : 0), Index{1}, pairs});
  AnyTensor<T> cos = op.empty<T>(dims), sin = op.empty<T>(dims);
  const AnyTensor<T> at = op.dense(positions);
  const AnyTensor<double> frequencies = op.context().template empty_any<double>(dense_dims({pairs}));
  const AnyTensor<std::int64_t> axis = op.context().template empty_any<std::int64_t>(dense_dims({pairs}));
  op.run(cost_per_element<T>(cos.count(), 40, 2), [&](Threads threads) {
    Index begin = 0;
    for (Index a = 0; a < axes; ++a) {
      const Index width = widths[static_cast<std::size_t>(a)];
      kernels::rope_frequencies(options.theta, width, options.precision, frequencies.mutable_data() + begin);
      for (Index j = 0; j < width / 2; ++j) axis.mutable_data()[begin++] = a;
    }
    kernels::rope_table<T>(threads, at.rows(), axes, pairs, at.data(), frequencies.data(), axis.data(),
                           options.precision, cos.mutable_data(), sin.mutable_data());
  });
  return {op.result(std::move(cos)), op.result(std::move(sin))};
}

template <Real T>
std::array<AnyTensor<T>, 2> cos_sin(const AnyTensor<T>& angles) {
  Op op("cos_sin", arg("angles", angles));
  const AnyTensor<T> from = op.dense(angles);
  AnyTensor<T> cos = op.like(angles), sin = op.like(angles);
  op.run(cost_per_element<T>(from.count(), 40, 3), [&](Threads threads) {
    kernels::cos_sin<T>(threads, from.count(), from.data(), cos.mutable_data(), sin.mutable_data());
  });
  if (op.recording()) {
    op.record(std::array<AnyTensor<T>*, 2>{&cos, &sin},
              [from, g = op.ghost(angles)](GradTape& tape, std::span<AnyTensor<T>> gy) {
                Context& context = tape.context();
                AnyTensor<T> dx = context.empty_any<T>(from.dims());
                context.run("cos_sin_backward", cost_per_element<T>(dx.count(), 40, 4), [&](Threads threads) {
                  const T* gcos = gy[0].empty() ? nullptr : gy[0].data();
                  const T* gsin = gy[1].empty() ? nullptr : gy[1].data();
                  kernels::cos_sin_backward<T>(threads, from.count(), from.data(), gcos, gsin, dx.mutable_data());
                });
                tape.give(g, std::move(dx));
              });
  }
  return {op.result(std::move(cos)), op.result(std::move(sin))};
}

}  // namespace any

// The tables of given angles [B or 1, N, H or 1, P], with gradients: learned frequencies, frequencies by head, pairs
// that stay as they are (angle 0). The angles carry the model's own arithmetic; cos and sin of them are exact.
template <Real T>
RopeTable<T> rope_table(const Tensor<T, 4>& angles) {
  auto [cos, sin] = any::cos_sin(angles.any());
  return {Tensor<T, 4>(std::move(cos)), Tensor<T, 4>(std::move(sin))};
}

// Tables of positions [N, axes], or [B, N, axes], any real numbers: the first widths[0] channels turn with the first
// axis, the next widths[1] with the second, ...; pair j of an axis by position * theta^(-2j / width).
// FluxPosEmbed and get_1d_rotary_pos_embed of diffusers.
template <Real T, int Rank>
RopeTable<T> rope_table(const Tensor<T, Rank>& positions, std::span<const Index> widths,
                        const RopeOptions& options = {}) {
  static_assert(Rank == 2 || Rank == 3, "positions are [N, axes] or [B, N, axes]");
  auto [cos, sin] = any::rope_table(positions.any(), widths, options);
  return {Tensor<T, 4>(std::move(cos)), Tensor<T, 4>(std::move(sin))};
}

// Coordinates of a grid's points in row-major order [product of the grid, Rank]: frame, row, column.
template <Real T, int Rank>
Tensor<T, 2> grid_positions(Context& context, const Shape<Rank>& grid) {
  const Index count = checked_count(grid.extents, Rank, sizeof(T));
  Tensor<T, 2> positions = context.empty<T>(Shape<2>{count, Rank});
  context.run("grid_positions", cost_per_element<T>(positions.count(), 2, 1), [&](Threads) {
    for (Index i = 0; i < count; ++i) {
      Index rest = i;
      for (int axis = Rank - 1; axis >= 0; --axis) {
        positions.mutable_data()[i * Rank + axis] = static_cast<T>(rest % grid[axis]);
        rest /= grid[axis];
      }
    }
  });
  return positions;
}

// The table of tokens at positions offset, offset + 1, ..., `width` channels turning.
template <Real T>
RopeTable<T> rope_table(Context& context, Index tokens, Index width, const RopeOptions& options = {},
                        Index offset = 0) {
  const Tensor<T, 2> positions = context.empty<T>(Shape<2>{tokens, 1});
  context.run("positions", cost_per_element<T>(tokens, 0, 1), [&](Threads) {
    for (Index i = 0; i < tokens; ++i) positions.mutable_data()[i] = static_cast<T>(offset + i);
  });
  return rope_table(positions, std::span<const Index>(&width, 1), options);
}

// Queries or keys [B, N, H, D] turned by their tokens' angles; x is overwritten where nobody else holds it. For heads
// in front of tokens [B, H, N, D], give and take x.permute_leading({0, 2, 1, 3}), a view.
template <Real T>
Tensor<T, 4> rope(Tensor<T, 4> x, const RopeTable<T>& table, RopePairs pairs) {
  return Tensor<T, 4>(any::rope(std::move(x).any(), table.cos.any(), table.sin.any(), pairs));
}

}  // namespace aulos::inline AULOS_ISA
