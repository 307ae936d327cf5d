// Image to tokens with a table of positions.
#pragma once

#include <cmath>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/linear.hpp"
#include "aulos/ops/patch.hpp"

namespace aulos::inline AULOS_ISA::nn {

// A convolution with kernel = stride = patch: [B, Cin, H, W] -> [B, N, C], tokens row by row.
template <Real T>
struct PatchProjection {
  using value_type = T;

  Weight<T> weight;      // [C, Cin, patch, patch]
  Parameter<T, 1> bias;  // [C], or absent
  Index patch = 1;

  PatchProjection() = default;
  PatchProjection(Index in_channels, Index channels, Index patch_size, Bias with_bias = Bias::yes)
      : weight(Shape<4>{channels, in_channels, patch_size, patch_size}), patch(patch_size) {
    if (with_bias == Bias::yes) bias = Parameter<T, 1>(Shape<1>{channels});
  }

  Tensor<T, 3> operator()(const Tensor<T, 4>& x) const { return linear(patchify(x, patch), weight, bias); }

  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  bool operator==(const PatchProjection&) const = default;
};

// A patch projection, then a table of positions [1, P * P, C] of which the centre is taken
// (never interpolated). PatchEmbed of diffusers with cropping: SD3, AuraFlow.
template <Real T>
struct PatchEmbed {
  using value_type = T;

  PatchProjection<T> proj;
  Parameter<T, 3> pos_embed;  // [1, P * P, C]; a buffer: derived where a checkpoint lacks it
  Index table_side = 0;       // P

  PatchEmbed() = default;
  PatchEmbed(Index in_channels, Index channels, Index patch_size, Index side)
      : proj(in_channels, channels, patch_size), pos_embed(Shape<3>{1, side * side, channels}), table_side(side) {
    pos_embed.set_trainable(false);
  }

  // [B, Cin, H, W] -> [B, N, C], tokens row by row.
  Tensor<T, 3> operator()(const Tensor<T, 4>& x) const {
    const Index rows = x.extent(2) / proj.patch;
    const Index columns = x.extent(3) / proj.patch;
    const Tensor<T, 3> tokens = proj(x);
    const Shape<3> shape = tokens.shape();
    const Tensor<T, 4> grid = tokens.reshape(Shape<4>{shape[0], rows, columns, shape[2]});
    return add(grid, positions(rows, columns)).reshape(shape);
  }

  // The table's centre for a grid, [1, rows, columns, C].
  Tensor<T, 4> positions(Index rows, Index columns) const {
    if (rows > table_side || columns > table_side)
      throw ShapeError("pos_embed: " + std::to_string(rows) + " by " + std::to_string(columns) +
                       " patches, expected at most " + std::to_string(table_side) + " by " +
                       std::to_string(table_side));
    const Index top = (table_side - rows) / 2;
    const Index left = (table_side - columns) / 2;
    return pos_embed.tensor()
        .reshape(Shape<4>{1, table_side, table_side, pos_embed.extent(2)})
        .slice(1, top, top + rows)
        .slice(2, left, left + columns);
  }

  // Fills the table from its formula: first the sine and cosine of the column, then of the row, in float.
  void derive_positions(Index sample_patches) {
    const Index channels = pos_embed.extent(2);
    const Index quarter = channels / 4;
    const float step = static_cast<float>(sample_patches) / static_cast<float>(table_side);
    T* out = pos_embed.data();
    for (Index row = 0; row < table_side; ++row) {
      for (Index column = 0; column < table_side; ++column, out += channels) {
        for (Index half = 0; half < 2; ++half) {
          const double position = static_cast<double>(static_cast<float>(half == 0 ? column : row) * step);
          for (Index k = 0; k < quarter; ++k) {
            const double angle = position * std::pow(10000.0, -static_cast<double>(k) / static_cast<double>(quarter));
            out[half * channels / 2 + k] = static_cast<T>(static_cast<float>(std::sin(angle)));
            out[half * channels / 2 + quarter + k] = static_cast<T>(static_cast<float>(std::cos(angle)));
          }
        }
      }
    }
  }

  void visit(auto&& v) {
    v("proj", proj);
    v("pos_embed", pos_embed, Role::derived_buffer);
  }
  bool operator==(const PatchEmbed&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::nn
