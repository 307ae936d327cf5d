// What the tests of conditioning share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "support/naive_tokens.hpp"

namespace conditioning_support {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;

inline double silu(double x) { return x / (1 + std::exp(-x)); }

// [B, C] as one token per sample.
template <class T>
naive::Tokens vectors(const Tensor<T, 2>& x) {
  return naive::Tokens(x.unsqueeze(1));
}

// Part i of `count` of the channels.
inline naive::Tokens channels_of(const naive::Tokens& x, Index i, Index count) {
  naive::Tokens y(x.batch, x.count, x.channels / count);
  for (Index b = 0; b < y.batch; ++b)
    for (Index n = 0; n < y.count; ++n)
      for (Index c = 0; c < y.channels; ++c) y.at(b, n, c) = x.at(b, n, i * y.channels + c);
  return y;
}

inline naive::Tokens sum(naive::Tokens a, const naive::Tokens& b) { return naive::gated(std::move(a), {}, b); }

// The waves of a time in diffusers' order: cosines first, 10000^(-i / half).
inline naive::Tokens waves(const std::vector<double>& times, Index width) {
  const Index half = width / 2;
  naive::Tokens y(static_cast<Index>(times.size()), 1, width);
  for (Index b = 0; b < y.batch; ++b)
    for (Index i = 0; i < half; ++i) {
      const double angle =
          times[static_cast<std::size_t>(b)] * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
      y.at(b, 0, i) = std::cos(angle);
      y.at(b, 0, half + i) = std::sin(angle);
    }
  return y;
}

// linear_2(silu(linear_1(x))).
template <class Embedding>
naive::Tokens embedded(const Embedding& e, const naive::Tokens& x) {
  return naive::linear(naive::linear(x, e.linear_1).map(silu), e.linear_2);
}

template <class M>
std::string names_of(M& module) {
  std::string names;
  aulos::nn::for_each_parameter(module, [&](const auto& p) { names += p.name + " "; });
  return names;
}

// A module whose linear has a weight of zero and the bias i in part i: its rows say their place.
template <class Linear>
void number_parts(Linear& linear, Index parts) {
  const Index channels = linear.weight.out() / parts;
  linear.weight.rows().data();
  for (Index i = 0; i < linear.weight.out(); ++i)
    linear.bias.data()[i] = static_cast<typename Linear::value_type>(i / channels);
}
template <class T>
T place(const Tensor<T, 3>& row) {
  return row(0, 0, 0);
}

// Gradients of every input and parameter.
template <class M, class F, int... Ranks>
void expect_gradients(Context& context, M& module, const F& f, const std::tuple<Tensor<double, Ranks>...>& inputs) {
  const auto result = aulos::gradcheck(context, f, inputs, naive::parameters_of(module));
  EXPECT_TRUE(result) << to_string(result);
}

}  // namespace conditioning_support
