// Sinusoidal embeddings of scalars.
#pragma once

#include <cmath>
#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

// Cosines then sines, sines then cosines, or sines at even and cosines at odd places.
enum class SinusoidOrder { cos_first, sin_first, interleaved };

// `same`: every operation is rounded to the type of t, in the order of the reference (exponent, exp, t f, scale), which
// shows as soon as arguments reach 1e3. `float64`: computed in double, rounded once at the end.
enum class SinusoidPrecision { same, float64 };

// The conventions in use differ in all of these; a wrong one loads without error and gives noise.
struct SinusoidOptions {
  Index width = 256;  // of the result; an odd width ends with a zero
  SinusoidOrder order = SinusoidOrder::cos_first;
  double frequency_shift = 0;  // s in f_i = exp(-ln(period) i / (width / 2 - s)): 0 in DiT, 1 in diffusers' defaults
  double max_period = 10000;
  double scale = 1;  // of t, after the frequencies
  SinusoidPrecision precision = SinusoidPrecision::same;

  bool operator==(const SinusoidOptions&) const = default;
};

namespace any {

// Where the wave i of a row of 2 h numbers has its cosine and its sine.
struct WavePlaces {
  Index cosines, sines, step;

  WavePlaces(SinusoidOrder order, Index half)
      : cosines(order == SinusoidOrder::interleaved ? 1
                : order == SinusoidOrder::sin_first ? half
                                                    : 0),
        sines(order == SinusoidOrder::cos_first ? half : 0),
        step(order == SinusoidOrder::interleaved ? 2 : 1) {}
};

// The waves of `count` times, in arithmetic of U.
template <class U, Real T>
[[gnu::noinline]] void sinusoid_rows(const T* t, Index count, const SinusoidOptions& o, T* y) {
  const Index half = o.width / 2;
  const U period = static_cast<U>(-std::log(o.max_period));
  const U below = static_cast<U>(static_cast<double>(half) - o.frequency_shift);
  const U factor = static_cast<U>(o.scale);
  const WavePlaces at(o.order, half);
  for (Index i = 0; i < half; ++i) {
    const U product = period * static_cast<U>(i);
    const U frequency = std::exp(static_cast<U>(product / below));
    for (Index b = 0; b < count; ++b) {
      const U scaled = static_cast<U>(t[b]) * frequency;
      const U angle = factor * scaled;
      T* row = y + b * o.width;
      row[at.cosines + at.step * i] = static_cast<T>(std::cos(angle));
      row[at.sines + at.step * i] = static_cast<T>(std::sin(angle));
    }
  }
  if (o.width % 2 == 1)
    for (Index b = 0; b < count; ++b) y[(b + 1) * o.width - 1] = T{0};
}

// a_i = scale (t f_i); e = the cosines and sines of a in the order asked for. No gradient.
template <Real T>
AnyTensor<T> sinusoid(const AnyTensor<T>& t, const SinusoidOptions& options) {
  Op op("sinusoid", arg("t", t));
  op.require(options.width >= 2, [&] { return "width " + std::to_string(options.width) + ", expected 2 or more"; });
  Dims dims = t.dims();
  dims.extent[dims.rank++] = options.width;
  AnyTensor<T> y = op.empty<T>(dims);
  const AnyTensor<T> from = op.dense(t);
  op.run(cost_per_element<T>(y.count(), 20, 1), [&](Threads) {
    options.precision == SinusoidPrecision::float64
        ? sinusoid_rows<double>(from.data(), from.count(), options, y.mutable_data())
        : sinusoid_rows<T>(from.data(), from.count(), options, y.mutable_data());
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
