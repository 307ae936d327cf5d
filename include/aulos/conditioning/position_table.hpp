// Tables of sinusoidal positions, along a line and over a grid.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "aulos/conditioning/timestep_conventions.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/core/error.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/sinusoid.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

namespace detail {

// Positions i / divisor / scale, rounded to float as the reference has them.
template <Real T>
Tensor<T, 1> positions(Context& context, Index count, double divisor = 1, double scale = 1) {
  std::vector<T> at;
  for (Index i = 0; i < count; ++i) {
    const float divided = static_cast<float>(i) / static_cast<float>(divisor);
    at.push_back(static_cast<T>(divided / static_cast<float>(scale)));
  }
  return context.from(Shape<1>{count}, at.data());
}

}  // namespace detail

// The waves of 0 .. count - 1: [count, width].
template <Real T>
Tensor<T, 2> position_table(Context& context, Index count, const SinusoidOptions& options) {
  return sinusoid(detail::positions<T>(context, count), options);
}

struct PositionGrid {
  Index rows = 0;
  Index columns = 0;
  Index base = 0;    // the side for which a model was trained: positions i / (side / base); 0: not interpolated
  double scale = 1;  // and divided by this one
};

// Tokens row by row, [rows columns, width]: the waves of the column in the first half of the channels, of the row in
// the second. get_2d_sincos_pos_embed of DiT and PixArt.
template <Real T>
Tensor<T, 2> position_table_2d(Context& context, const PositionGrid& grid, Index width) {
  if (width < 4 || width % 4 != 0)
    throw ConfigError("position_table_2d: width is " + std::to_string(width) + ", expected a multiple of 4");
  const auto waves = [&](Index side) {
    const double divisor = grid.base > 0 ? static_cast<double>(side) / static_cast<double>(grid.base) : 1;
    return sinusoid(detail::positions<T>(context, side, divisor, grid.scale), position_sinusoid(width / 2));
  };
  const Shape<3> all{grid.rows, grid.columns, width / 2};
  const Tensor<T, 3> by_column = waves(grid.columns).unsqueeze(0).broadcast(all);
  const Tensor<T, 3> by_row = waves(grid.rows).unsqueeze(1).broadcast(all);
  return concat(std::array{by_column, by_row}, 2).reshape(Shape<2>{grid.rows * grid.columns, width});
}

}  // namespace aulos::inline AULOS_ISA::conditioning
