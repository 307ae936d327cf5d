// Waves of scalars at stored frequencies.
#pragma once

#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/ops/sinusoid.hpp"

namespace aulos::inline AULOS_ISA {

// What a frequency counts: a = 2 pi t w, or a = t w.
enum class FrequencyUnit { turns, radians };

struct FourierOptions {
  SinusoidOrder order = SinusoidOrder::cos_first;
  FrequencyUnit unit = FrequencyUnit::turns;

  bool operator==(const FourierOptions&) const = default;
};

namespace any {

// y[b] = cosines and sines of a_i = ((t_b w_i) 2) pi, rounded after every operation, as the reference is.
template <Real T>
AnyTensor<T> fourier_features(const AnyTensor<T>& t, const AnyTensor<T>& frequencies, const FourierOptions& options) {
  Op op("fourier_features", arg("t", t), arg("frequencies", frequencies));
  op.require(frequencies.rank() == 1 && frequencies.last() > 0,
             [&] { return "frequencies " + to_string(frequencies.dims()) + ", expected one axis of 1 or more"; });
  const Index half = frequencies.last();
  Dims dims = t.dims();
  dims.extent[dims.rank++] = 2 * half;
  AnyTensor<T> y = op.empty<T>(dims);
  const AnyTensor<T> from = op.dense(t);
  const AnyTensor<T> w = op.dense(frequencies);
  const WavePlaces at(options.order, half);
  const bool turns = options.unit == FrequencyUnit::turns;
  op.run(cost_per_element<T>(y.count(), 20, 1), [&](Threads) {
    for (Index b = 0; b < from.count(); ++b) {
      T* row = y.mutable_data() + b * 2 * half;
      for (Index i = 0; i < half; ++i) {
        const T product = from.data()[b] * w.data()[i];
        const T angle = turns ? product * T{2} * std::numbers::pi_v<T> : product;
        row[at.cosines + at.step * i] = std::cos(angle);
        row[at.sines + at.step * i] = std::sin(angle);
      }
    }
  });
  if (op.recording()) {
    op.record(y, [from, w, y, at, turns, half, gt = op.ghost(t), gw = op.ghost(frequencies)](GradTape& tape,
                                                                                             AnyTensor<T> gy) {
      AnyTensor<T> dt = wanted(tape.context(), gt);
      AnyTensor<T> dw = wanted(tape.context(), gw);
      tape.context().run("fourier_features_backward", cost_per_element<T>(gy.count(), 4, 2), [&](Threads) {
        const double unit = turns ? 2 * std::numbers::pi : 1.0;
        const auto angle_gradient = [&](Index b, Index i) {
          const Index c = b * 2 * half + at.cosines + at.step * i;
          const Index s = b * 2 * half + at.sines + at.step * i;
          return unit * (static_cast<double>(gy.data()[s]) * static_cast<double>(y.data()[c]) -
                         static_cast<double>(gy.data()[c]) * static_cast<double>(y.data()[s]));
        };
        for (Index b = 0; !dt.empty() && b < from.count(); ++b) {
          double sum = 0;
          for (Index i = 0; i < half; ++i) sum += angle_gradient(b, i) * static_cast<double>(w.data()[i]);
          dt.mutable_data()[b] = static_cast<T>(sum);
        }
        for (Index i = 0; !dw.empty() && i < half; ++i) {
          double sum = 0;
          for (Index b = 0; b < from.count(); ++b) sum += angle_gradient(b, i) * static_cast<double>(from.data()[b]);
          dw.mutable_data()[i] = static_cast<T>(sum);
        }
      });
      tape.give(gt, std::move(dt));
      tape.give(gw, std::move(dw));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// t [..], frequencies [h] -> [.., 2 h]. GaussianFourierProjection of diffusers.
template <Real T, int Rank>
Tensor<T, Rank + 1> fourier_features(const Tensor<T, Rank>& t, const Arg<Tensor<T, 1>>& frequencies,
                                     const FourierOptions& options = {}) {
  return Tensor<T, Rank + 1>(any::fourier_features(t.any(), frequencies.any(), options));
}

}  // namespace aulos::inline AULOS_ISA
