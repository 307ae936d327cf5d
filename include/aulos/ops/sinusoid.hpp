// Sinusoidal embeddings of scalars.
#pragma once

#include <cmath>
#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

enum class SinusoidOrder { cos_first, sin_first };

// The conventions in use differ in all of these; a wrong one loads without error and gives noise.
struct SinusoidOptions {
  Index width = 256;  // of the result; an odd width ends with a zero
  SinusoidOrder order = SinusoidOrder::cos_first;
  double frequency_shift = 0;  // s in f_i = exp(-ln(period) i / (width / 2 - s)): 0 in DiT, 1 in diffusers' defaults
  double max_period = 10000;
  double scale = 1;  // of t, after the frequencies
};

namespace any {

// e[b] = [cos(a), sin(a)] or [sin(a), cos(a)], a_i = scale (t_b f_i). In float every operation is rounded to float in
// the order of the reference (exponent, exp, t f, scale), since arguments reach 1e6. No gradient.
template <Real T>
AnyTensor<T> sinusoid(const AnyTensor<T>& t, const SinusoidOptions& options) {
  Op op("sinusoid", arg("t", t));
  const Index half = options.width / 2;
  op.require(options.width >= 2, [&] { return "width " + std::to_string(options.width) + ", expected 2 or more"; });
  Dims dims = t.dims();
  dims.extent[dims.rank++] = options.width;
  AnyTensor<T> y = op.empty<T>(dims);
  const AnyTensor<T> from = op.dense(t);
  op.run(cost_per_element<T>(y.count(), 20, 1), [&](Threads) {
    const T period = static_cast<T>(-std::log(options.max_period));
    const T below = static_cast<T>(static_cast<double>(half) - options.frequency_shift);
    const T factor = static_cast<T>(options.scale);
    for (Index i = 0; i < half; ++i) {
      const T product = period * static_cast<T>(i);
      const T frequency = std::exp(static_cast<T>(product / below));
      for (Index b = 0; b < from.count(); ++b) {
        const T scaled = from.data()[b] * frequency;
        const T angle = factor * scaled;
        T* row = y.mutable_data() + b * options.width;
        const bool cos_first = options.order == SinusoidOrder::cos_first;
        row[cos_first ? i : half + i] = std::cos(angle);
        row[cos_first ? half + i : i] = std::sin(angle);
      }
    }
    if (options.width % 2 == 1)
      for (Index b = 0; b < from.count(); ++b) y.mutable_data()[(b + 1) * options.width - 1] = T{0};
  });
  return op.result(std::move(y));
}

}  // namespace any

// [..] -> [.., width]. get_timestep_embedding of diffusers, timestep_embedding of DiT.
template <Real T, int Rank>
Tensor<T, Rank + 1> sinusoid(const Tensor<T, Rank>& t, const SinusoidOptions& options = {}) {
  return Tensor<T, Rank + 1>(any::sinusoid(t.any(), options));
}

}  // namespace aulos::inline AULOS_ISA
