#include "aulos/nn/recurrent.hpp"

#include <gtest/gtest.h>

#include "aulos/kernels/naive/recurrent.hpp"
#include "support/naive_tokens.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
namespace nn = aulos::nn;
namespace naive_kernels = aulos::kernels::naive;

std::vector<std::string> names(auto& module) {
  std::vector<std::string> all;
  nn::for_each_parameter(module, [&](const auto& p) { all.push_back(p.name.text()); });
  return all;
}

TEST(Recurrent, HasTorchsNamesAndShapes) {
  const nn::Lstm<float> lstm(5, 7, {.layers = 2, .directions = nn::Directions::both});
  EXPECT_EQ(names(lstm), (std::vector<std::string>{"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0",
                                                   "weight_ih_l0_reverse", "weight_hh_l0_reverse", "bias_ih_l0_reverse",
                                                   "bias_hh_l0_reverse", "weight_ih_l1", "weight_hh_l1", "bias_ih_l1",
                                                   "bias_hh_l1", "weight_ih_l1_reverse", "weight_hh_l1_reverse",
                                                   "bias_ih_l1_reverse", "bias_hh_l1_reverse"}));
  EXPECT_EQ(lstm.layers[1][0].weight_ih.shape(), (Shape<2>{28, 14}));
  const nn::Gru<float> gru(5, 7, {.bias = nn::Bias::no});
  EXPECT_EQ(names(gru), (std::vector<std::string>{"weight_ih_l0", "weight_hh_l0"}));
  EXPECT_EQ(nn::parameter_count(gru), 21 * 5 + 21 * 7);
}

// Both directions and two layers, step by step in double.
template <class Module>
void expect_torchs_model(aulos::RecurrentCell cell) {
  Context context({.threads = 1});
  const Index batch = 2, steps = 4, in = 3, hidden = 5, width = aulos::kernels::gates_of(cell) * hidden;
  Module m(in, hidden, {.layers = 2, .directions = nn::Directions::both});
  naive::randomise(m, 4);
  const auto x = naive::random<double, 3>(context, Shape<3>{batch, steps, in}, 2);
  const auto out = m.run(x);
  ASSERT_EQ(out.y.shape(), (Shape<3>{batch, steps, 2 * hidden}));
  ASSERT_EQ(out.state.h.shape(), (Shape<3>{4, batch, hidden}));
  for (Index b = 0; b < batch; ++b) {
    std::vector<naive_kernels::Vector> tokens;
    for (Index t = 0; t < steps; ++t) tokens.push_back({x(b, t, 0), x(b, t, 1), x(b, t, 2)});
    for (std::size_t layer = 0; layer < 2; ++layer) {
      std::vector<naive_kernels::Vector> next(static_cast<std::size_t>(steps));
      for (std::size_t d = 0; d < 2; ++d) {
        const auto& p = m.layers[layer][d];
        const naive_kernels::Vector zeros(static_cast<std::size_t>(hidden), 0);
        const auto token = [&](Index step) {
          const auto& from = tokens[static_cast<std::size_t>(d == 1 ? steps - 1 - step : step)];
          naive_kernels::Vector sum(p.bias_ih.data(), p.bias_ih.data() + width);
          for (Index n = 0; n < width; ++n)
            for (std::size_t i = 0; i < from.size(); ++i)
              sum[static_cast<std::size_t>(n)] +=
                  p.weight_ih.rows().data()[n * static_cast<Index>(from.size()) + static_cast<Index>(i)] * from[i];
          return sum;
        };
        const double* w = p.weight_hh.rows().data();
        const auto trace = naive_kernels::recurrent(cell, steps, hidden, token, {w, w + width * hidden},
                                                    {p.bias_hh.data(), p.bias_hh.data() + width}, zeros, zeros);
        for (Index step = 0; step < steps; ++step) {
          auto& to = next[static_cast<std::size_t>(d == 1 ? steps - 1 - step : step)];
          to.insert(to.end(), trace.h[static_cast<std::size_t>(step) + 1].begin(),
                    trace.h[static_cast<std::size_t>(step) + 1].end());
        }
        for (Index j = 0; j < hidden; ++j)
          EXPECT_NEAR(out.state.h(static_cast<Index>(2 * layer + d), b, j), trace.h.back()[static_cast<std::size_t>(j)],
                      1e-13);
      }
      tokens = next;
    }
    for (Index t = 0; t < steps; ++t)
      for (Index j = 0; j < 2 * hidden; ++j)
        EXPECT_NEAR(out.y(b, t, j), tokens[static_cast<std::size_t>(t)][static_cast<std::size_t>(j)], 1e-13);
  }
}

TEST(Recurrent, ComputesTorchsModel) {
  expect_torchs_model<nn::Lstm<double>>(aulos::RecurrentCell::lstm);
  expect_torchs_model<nn::Gru<double>>(aulos::RecurrentCell::gru);
}

TEST(Recurrent, GoesOnFromAStateAndIgnoresPadding) {
  Context context({.threads = 1});
  nn::Lstm<double> m(3, 4, {.layers = 2, .directions = nn::Directions::both});
  naive::randomise(m, 4);
  const auto x = naive::random<double, 3>(context, Shape<3>{2, 5, 3}, 2);
  const auto alone = m.run(x.slice(0, 1, 2).slice(1, 0, 3));
  const auto lengths = context.from(Shape<1>{2}, std::array<std::int64_t, 2>{5, 3}.data());
  const auto padded = m.run(x, {}, lengths);
  for (Index t = 0; t < 5; ++t)
    for (Index j = 0; j < 8; ++j) EXPECT_EQ(padded.y(1, t, j), t < 3 ? alone.y(0, t, j) : 0);
  for (Index l = 0; l < 4; ++l)
    for (Index j = 0; j < 4; ++j) {
      EXPECT_EQ(padded.state.h(l, 1, j), alone.state.h(l, 0, j));
      EXPECT_EQ(padded.state.c(l, 1, j), alone.state.c(l, 0, j));
    }
  nn::Gru<double> forward(3, 4, {.layers = 2});
  naive::randomise(forward, 5);
  const auto whole = forward.run(x);
  const auto first = forward.run(x.slice(1, 0, 2));
  const auto second = forward.run(x.slice(1, 2, 5), first.state);
  for (Index t = 2; t < 5; ++t)
    for (Index j = 0; j < 4; ++j) EXPECT_EQ(second.y(1, t - 2, j), whole.y(1, t, j));
}

TEST(Recurrent, Gradients) {
  Context context({.threads = 1});
  nn::Gru<double> m(2, 3, {.layers = 2, .directions = nn::Directions::both});
  naive::randomise(m, 4);
  const auto x = naive::random<double, 3>(context, Shape<3>{2, 3, 2}, 2);
  const auto h0 = naive::random<double, 3>(context, Shape<3>{4, 2, 3}, 3);
  const auto f = [&](const Tensor<double, 3>& tokens, const Tensor<double, 3>& h) {
    const auto out = m.run(tokens, {h, {}});
    return std::tuple(out.y, out.state.h);
  };
  const auto result = gradcheck(context, f, std::tuple(x, h0), naive::parameters_of(m));
  EXPECT_TRUE(result) << to_string(result);
}

}  // namespace
