// The op that the library lacks: snake.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "aulos/core/text.hpp"
#include "aulos/ops/op.hpp"

namespace tutorial {

using aulos::AnyTensor;
using aulos::Index;

// x + sin(alpha x)^2 / alpha with alpha [C] for the last axis of x.
template <aulos::Real T>
AnyTensor<T> snake(const AnyTensor<T>& x, const AnyTensor<T>& alpha) {
  aulos::Op op("snake", aulos::arg("x", x), aulos::arg("alpha", alpha));
  op.require(alpha.rank() == 1 && alpha.last() == x.last(), [&] {
    return aulos::concat_text({"alpha ", alpha.dims(), " for x ", x.dims(), ", expected [", x.last(), "]"});
  });
  const AnyTensor<T> from = op.dense(x), a = op.dense(alpha);
  AnyTensor<T> y = op.like(x);
  const Index rows = x.rows(), channels = x.last(), chunk = 64;  // fixed: results don't depend on the threads
  op.run(aulos::cost_per_element<T>(x.count(), 20, 2), [&](aulos::Threads threads) {
    threads.run((rows + chunk - 1) / chunk, [&](Index piece, aulos::Scratch&) {
      for (Index i = piece * chunk * channels; i < std::min(rows, (piece + 1) * chunk) * channels; ++i) {
        const T s = std::sin(a.data()[i % channels] * from.data()[i]);
        y.mutable_data()[i] = from.data()[i] + s * s / a.data()[i % channels];
      }
    });
  });
  if (op.recording()) {
    // dy/dx = 1 + sin(2 alpha x),  dy/dalpha = (x sin(2 alpha x) - sin(alpha x)^2 / alpha) / alpha
    op.record(y, [from, a, gx = op.ghost(x), galpha = op.ghost(alpha)](aulos::GradTape& tape, AnyTensor<T> gy) {
      const aulos::Op back("snake_backward", aulos::arg("gy", gy));
      AnyTensor<T> dx = back.like(gy);
      AnyTensor<T> dalpha = galpha ? tape.into(galpha) : AnyTensor<T>{};  // what is there is added to
      back.run(aulos::cost_per_element<T>(gy.count(), 30, 3), [&](aulos::Threads threads) {
        threads.run(gy.last(), [&](Index c, aulos::Scratch&) {  // a channel's sum belongs to one piece
          const T f = a.data()[c];
          double sum = 0;
          for (Index i = c; i < gy.count(); i += gy.last()) {
            const T v = from.data()[i], s = std::sin(f * v), double_angle = std::sin(2 * f * v);
            dx.mutable_data()[i] = gy.data()[i] * (1 + double_angle);
            sum += static_cast<double>(gy.data()[i] * (v * double_angle - s * s / f) / f);
          }
          if (!dalpha.empty()) dalpha.mutable_data()[c] += static_cast<T>(sum);
        });
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

// What modules call: any rank, and a parameter where a tensor is asked for.
template <aulos::Real T, int Rank>
aulos::Tensor<T, Rank> snake(const aulos::Tensor<T, Rank>& x, const aulos::Arg<aulos::Tensor<T, 1>>& alpha) {
  return aulos::Tensor<T, Rank>(snake(x.any(), alpha.any()));
}

}  // namespace tutorial
