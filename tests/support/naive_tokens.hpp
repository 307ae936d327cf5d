// What modules compute, written out in double without the library: the tests of attention, conditioning and stream
// blocks compare with it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "aulos/autograd/gradcheck.hpp"
#include "aulos/core/context.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/nn/norm.hpp"

namespace naive {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;

// A number in [-1, 1) from a position.
inline double noise(std::uint64_t seed, std::uint64_t position) {
  return aulos::detail::gradcheck_cotangent(seed, position);
}

// Gives every parameter of a module random values. One visitor for all modules, compiled once.
struct Randomiser {
  std::uint64_t seed;
  double scale;

  template <aulos::Real T>
  void operator()(const aulos::nn::ParameterRef<T>& p) {
    T* x = p.data();
    ++seed;
    for (Index i = 0; i < p.count(); ++i)
      x[i] = static_cast<T>(scale * noise(seed, static_cast<std::uint64_t>(i)) + (p.shape.size() == 1 ? 0.3 : 0.0));
  }
};

template <class M>
void randomise(M& module, std::uint64_t seed, double scale = 0.5) {
  Randomiser randomiser{seed, scale};
  aulos::nn::for_each_parameter(module, randomiser);
}

template <class T, int Rank>
Tensor<T, Rank> random(Context& context, const Shape<Rank>& shape, std::uint64_t seed) {
  Tensor<T, Rank> x = context.empty<T, Rank>(shape);
  for (Index i = 0; i < x.count(); ++i)
    x.mutable_data()[i] = static_cast<T>(noise(seed, static_cast<std::uint64_t>(i)));
  return x;
}

// [B, N, C] in double; empty where the tensor is.
struct Tokens {
  Index batch = 0, count = 0, channels = 0;
  std::vector<double> x;

  Tokens() = default;
  Tokens(Index b, Index n, Index c) : batch(b), count(n), channels(c), x(static_cast<std::size_t>(b * n * c), 0.0) {}
  template <class T>
  explicit Tokens(const Tensor<T, 3>& t) {
    if (t.empty()) return;
    *this = Tokens(t.extent(0), t.extent(1), t.extent(2));
    for (Index b = 0; b < batch; ++b)
      for (Index n = 0; n < count; ++n)
        for (Index c = 0; c < channels; ++c) at(b, n, c) = static_cast<double>(t(b, n, c));
  }
  bool empty() const { return x.empty(); }
  double& at(Index b, Index n, Index c) { return x[static_cast<std::size_t>((b * count + n) * channels + c)]; }
  double at(Index b, Index n, Index c) const { return x[static_cast<std::size_t>((b * count + n) * channels + c)]; }
  // A row per token, or one that all tokens of a sample share.
  double shared(Index b, Index n, Index c) const { return at(b, count == 1 ? 0 : n, c); }

  template <class F>
  Tokens map(const F& f) const {
    Tokens y = *this;
    for (double& v : y.x) v = f(v);
    return y;
  }
};

template <class T>
Tokens linear(const Tokens& x, const aulos::nn::Linear<T>& l) {
  Tokens y(x.batch, x.count, l.weight.out());
  const T* w = l.weight.rows().data();
  for (Index b = 0; b < y.batch; ++b)
    for (Index n = 0; n < y.count; ++n)
      for (Index o = 0; o < y.channels; ++o) {
        double sum = l.bias.empty() ? 0 : static_cast<double>(l.bias.data()[o]);
        for (Index i = 0; i < x.channels; ++i) sum += x.at(b, n, i) * static_cast<double>(w[o * x.channels + i]);
        y.at(b, n, o) = sum;
      }
  return y;
}

// Normalises groups of `width` channels, each with the weights of the norm.
inline Tokens normalise(const Tokens& x, Index width, double eps, bool centre,
                        const std::function<double(Index)>& weight, const std::function<double(Index)>& bias) {
  Tokens y = x;
  for (Index b = 0; b < x.batch; ++b)
    for (Index n = 0; n < x.count; ++n)
      for (Index first = 0; first < x.channels; first += width) {
        double mean = 0, square = 0;
        for (Index c = 0; c < width && centre; ++c) mean += x.at(b, n, first + c) / static_cast<double>(width);
        for (Index c = 0; c < width; ++c)
          square += std::pow(x.at(b, n, first + c) - mean, 2) / static_cast<double>(width);
        for (Index c = 0; c < width; ++c)
          y.at(b, n, first + c) = (x.at(b, n, first + c) - mean) / std::sqrt(square + eps) * weight(c) + bias(c);
      }
  return y;
}

template <class T>
std::function<double(Index)> entries(const aulos::Parameter<T, 1>& p, double absent) {
  if (p.empty()) return [absent](Index) { return absent; };
  return [data = p.data()](Index c) { return static_cast<double>(data[c]); };
}

template <class T>
Tokens norm(const Tokens& x, const aulos::nn::LayerNorm<T>& n, Index width) {
  return normalise(x, width, n.eps, true, entries(n.weight, 1), entries(n.bias, 0));
}
template <class T>
Tokens norm(const Tokens& x, const aulos::nn::RmsNorm<T>& n, Index width) {
  return normalise(x, width, n.eps, false, entries(n.weight, 1), [](Index) { return 0.0; });
}

// x (1 + scale) + shift.
inline Tokens modulate(Tokens x, const Tokens& shift, const Tokens& scale) {
  for (Index b = 0; b < x.batch; ++b)
    for (Index n = 0; n < x.count; ++n)
      for (Index c = 0; c < x.channels; ++c) {
        if (!scale.empty()) x.at(b, n, c) *= 1 + scale.shared(b, n, c);
        if (!shift.empty()) x.at(b, n, c) += shift.shared(b, n, c);
      }
  return x;
}

// x + gate f; an empty gate is 1.
inline Tokens gated(Tokens x, const Tokens& gate, const Tokens& f) {
  for (Index b = 0; b < x.batch; ++b)
    for (Index n = 0; n < x.count; ++n)
      for (Index c = 0; c < x.channels; ++c) x.at(b, n, c) += (gate.empty() ? 1 : gate.shared(b, n, c)) * f.at(b, n, c);
  return x;
}

// [x; y] along the tokens.
inline Tokens joined(const Tokens& x, const Tokens& y) {
  if (x.empty()) return y;
  Tokens z(x.batch, x.count + y.count, x.channels);
  for (Index b = 0; b < z.batch; ++b)
    for (Index n = 0; n < z.count; ++n)
      for (Index c = 0; c < z.channels; ++c) z.at(b, n, c) = n < x.count ? x.at(b, n, c) : y.at(b, n - x.count, c);
  return z;
}

// Tokens [begin, end).
inline Tokens part(const Tokens& x, Index begin, Index end) {
  Tokens y(x.batch, end - begin, x.channels);
  for (Index b = 0; b < y.batch; ++b)
    for (Index n = 0; n < y.count; ++n)
      for (Index c = 0; c < y.channels; ++c) y.at(b, n, c) = x.at(b, begin + n, c);
  return y;
}

// Softmax attention of `heads` heads over keys in `groups` groups; keep(b, i, j) drops pairs.
inline Tokens attention(const Tokens& q, const Tokens& k, const Tokens& v, Index heads, Index groups,
                        const std::function<bool(Index, Index, Index)>& keep = {}) {
  const Index d = q.channels / heads, e = v.channels / groups;
  Tokens y(q.batch, q.count, heads * e);
  for (Index b = 0; b < q.batch; ++b)
    for (Index h = 0; h < heads; ++h) {
      const Index g = h / (heads / groups);
      for (Index i = 0; i < q.count; ++i) {
        std::vector<double> weight;
        double total = 0;
        for (Index j = 0; j < k.count; ++j) {
          double s = 0;
          for (Index c = 0; c < d; ++c) s += q.at(b, i, h * d + c) * k.at(b, j, g * d + c);
          weight.push_back(keep && !keep(b, i, j) ? 0 : std::exp(s / std::sqrt(static_cast<double>(d))));
          total += weight.back();
        }
        for (Index j = 0; j < k.count && total > 0; ++j)
          for (Index c = 0; c < e; ++c)
            y.at(b, i, h * e + c) += weight[static_cast<std::size_t>(j)] / total * v.at(b, j, g * e + c);
      }
    }
  return y;
}

// |got - want| <= tolerance max(1, largest |want|).
template <class T>
void expect_near(const Tensor<T, 3>& got, const Tokens& want, double tolerance) {
  ASSERT_EQ(got.shape(), (Shape<3>{want.batch, want.count, want.channels}));
  double largest = 1, worst = 0;
  for (const double v : want.x) largest = std::max(largest, std::fabs(v));
  for (Index b = 0; b < want.batch; ++b)
    for (Index n = 0; n < want.count; ++n)
      for (Index c = 0; c < want.channels; ++c) {
        const double error = std::fabs(static_cast<double>(got(b, n, c)) - want.at(b, n, c));
        if (!(error <= worst)) worst = error;
      }
  EXPECT_LE(worst, tolerance * largest);
}

template <class T, int Rank>
std::vector<T> values(const Tensor<T, Rank>& x) {
  std::vector<T> all;
  if (x.empty()) return all;
  const aulos::detail::GradcheckArgument walk{{}, x.any().dims(), nullptr, {}, {}};
  for (Index i = 0; i < x.count(); ++i) all.push_back(x.data()[walk.offset(i)]);
  return all;
}

// Every parameter of a module, for gradcheck.
template <class M>
std::vector<aulos::GradcheckParameter> parameters_of(M& module) {
  std::vector<aulos::GradcheckParameter> all;
  aulos::nn::for_each_parameter(module, [&](const auto& p) {
    all.push_back({std::string(p.name), p.data(), p.count(), p.any()});
  });
  return all;
}

}  // namespace naive
