// FiLM: features scaled and shifted by a condition, without a norm.
#pragma once

#include "aulos/conditioning/plain_modulation.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/modulate.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

enum class FilmScale {
  gamma,           // gamma x + beta
  one_plus_gamma,  // (1 + gamma) x + beta: the identity at zero weights
};

// [gamma, beta] = linear(c), c as it is, without a SiLU. Perez et al., "FiLM: Visual Reasoning with a General
// Conditioning Layer", 2018.
template <Real T>
struct Film {
  nn::Linear<T> linear;  // [2 C, C']
  FilmScale form = FilmScale::gamma;

  Film() = default;
  Film(Index conditioning, Index channels, FilmScale scale = FilmScale::gamma)
      : linear(conditioning, 2 * channels), form(scale) {}

  // Tokens [B, N, C], c [B, C'] or, per token, [B, N, C'].
  template <int Rank>
  Tensor<T, 3> operator()(const Tensor<T, 3>& x, const Tensor<T, Rank>& c) const {
    const auto row = modulation_rows<2>(linear, c);
    return form == FilmScale::gamma ? scale_shift(x, row[0], row[1]) : modulate(x, row[1], row[0]);
  }
  // Feature maps [B, C, H, W], c [B, C'].
  Tensor<T, 4> operator()(const Tensor<T, 4>& x, const Tensor<T, 2>& c) const {
    auto row = chunk<2>(linear(c), 1);
    if (form == FilmScale::one_plus_gamma) row[0] = scale(row[0], T{1}, T{1});
    const Shape<4> shape{c.extent(0), x.extent(1), 1, 1};
    return add(multiply(x, dense(row[0]).reshape(shape)), dense(row[1]).reshape(shape));
  }
  void visit(auto&& v) { linear.visit(v); }
  bool operator==(const Film&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
