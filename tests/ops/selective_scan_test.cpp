#include "aulos/ops/selective_scan.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::kernels::StepSize;

struct Extents {
  Index batch, tokens, channels, states, groups;
};

template <class T>
std::vector<AnyTensor<T>> scans(Case<T>& c, const Extents& x) {
  const Shape<3> tokens{x.batch, x.tokens, x.channels}, vectors{x.batch, x.tokens, x.states};
  const auto u = c.template in<3>(tokens, 1), delta = c.template in<3>(tokens, 2), z = c.template in<3>(tokens, 3);
  const auto a = c.template in<2>(Shape<2>{x.channels, x.states}, 4, 0.5, -0.7);
  const auto b = c.template in<3>(vectors, 5), out = c.template in<3>(vectors, 6);
  const auto bg = c.template in<4>(Shape<4>{x.batch, x.tokens, x.groups, x.states}, 7);
  const auto d = c.template in<1>(Shape<1>{x.channels}, 8), bias = c.template in<1>(Shape<1>{x.channels}, 9);
  const auto initial = c.template in<3>(Shape<3>{x.batch, x.channels, x.states}, 10);
  const auto full =
      selective_scan_with_state(u, delta, a, b, out, {}, {.d = d, .z = z, .delta_bias = bias, .initial = initial});
  const auto grouped = selective_scan_with_state(u, delta, a, bg, bg, {.step = StepSize::given}, {.d = d});
  return results(selective_scan(u, delta, a, b, out), full.out, full.last, grouped.out, grouped.last);
}

TEST(SelectiveScanOp, SumsWithDecay) {
  Context context;
  const auto u = of<float>(context, Shape<3>{1, 3, 1}, {1, 2, 4});
  const auto one = context.full<float>(Shape<3>{1, 3, 1}, 1);
  const auto a = of<float>(context, Shape<2>{1, 1}, {std::log(0.5f)});
  const auto d = context.full<float>(Shape<1>{1}, 10);
  const auto y = selective_scan_with_state(u, one, a, one, one, {.step = StepSize::given}, {.d = d});
  expect_values(y.out, {11, 22.5, 45.25}, 1e-6);
  expect_values(y.last, {5.25}, 1e-6);
}

TEST(SelectiveScanOp, Gradients) {
  for (const Extents& x : {Extents{2, 3, 4, 3, 2}, {1, 1, 1, 1, 1}, {1, 2, 9, 2, 3}, {2, 5, 2, 1, 1}}) {
    SCOPED_TRACE(x.channels);
    expect_gradients([&](Case<double>& c) { return scans(c, x); });
  }
}

TEST(SelectiveScanOp, GradientsAcrossChunks) {
  expect_gradients([](Case<double>& c) { return scans(c, {1, 34, 2, 1, 1}); });
}

TEST(SelectiveScanOp, LayoutsAndThreadsAgree) {
  expect_layouts_agree<double>([](Case<double>& c) { return scans(c, {2, 3, 6, 3, 2}); });
  expect_threads_agree<float>([](Case<float>& c) { return scans(c, {2, 70, 132, 4, 2}); });
}

TEST(SelectiveScanOp, WithoutTokensOrSamples) {
  for (const Extents& x : {Extents{2, 0, 4, 3, 2}, {0, 3, 4, 3, 2}, {2, 3, 0, 3, 1}, {2, 3, 4, 0, 2}}) {
    const Outcome<float> y = forward_backward<float>([&](Case<float>& c) { return scans(c, x); });
    for (const auto& g : y.gradients) {
      for (const float each : g) EXPECT_TRUE(std::isfinite(each));
    }
  }
}

// Token by token, the state written in place: the bits of the whole sequence.
TEST(SelectiveScanOp, StepsInPlace) {
  Context context;
  Case<float> c(context);
  const auto u = c.in<3>(Shape<3>{2, 9, 5}, 1), delta = c.in<3>(Shape<3>{2, 9, 5}, 2);
  const auto b = c.in<3>(Shape<3>{2, 9, 3}, 3), out = c.in<3>(Shape<3>{2, 9, 3}, 4);
  const auto a = c.in<2>(Shape<2>{5, 3}, 5, 0.5, -0.7);
  const auto whole = selective_scan_with_state(u, delta, a, b, out);
  auto state = context.zeros<float>(Shape<3>{2, 5, 3});
  const float* memory = state.data();
  for (Index t = 0; t < 9; ++t) {
    const auto at = [t](const auto& x) { return x.slice(1, t, t + 1); };
    auto y = selective_scan_with_state(at(u), at(delta), a, at(b), at(out), {}, {.initial = std::move(state)});
    EXPECT_EQ(values(y.out), values(at(whole.out)));
    state = std::move(y.last);
    EXPECT_EQ(state.data(), memory);
  }
  EXPECT_EQ(values(state), values(whole.last));
}

TEST(SelectiveScanOp, Records) {
  expect_records<float>("selective_scan", {"u", "delta", "a", "b", "c", "d", "z", "delta_bias", "initial"},
                        [](Case<float>& c) {
                          return scans(c, {2, 3, 4, 3, 2});
                        });
}

TEST(SelectiveScanOp, SaysWhatIsWrong) {
  const auto x = [](Context& c, const Shape<3>& shape) { return c.zeros<float>(shape); };
  const auto a = [](Context& c, const Shape<2>& shape) { return c.zeros<float>(shape); };
  const auto run = [=](Context& c, const Shape<3>& delta, const Shape<2>& of_a, const Shape<3>& b, const Shape<3>& out,
                       aulos::SelectiveScanExtras<float> extras = {}) {
    selective_scan(x(c, {2, 3, 4}), x(c, delta), a(c, of_a), x(c, b), x(c, out), {}, std::move(extras));
  };
  expect_errors({
      {"delta",
       [&](Context& c) {
         run(c, {2, 3, 5}, {4, 6}, {2, 3, 6}, {2, 3, 6});
       },
       {"selective_scan: ", "delta [2, 3, 5], expected [2, 3, 4]"}},
      {"a",
       [&](Context& c) {
         run(c, {2, 3, 4}, {5, 6}, {2, 3, 6}, {2, 3, 6});
       },
       {"a [5, 6], expected [4, 6]"}},
      {"b",
       [&](Context& c) {
         run(c, {2, 3, 4}, {4, 6}, {2, 3, 7}, {2, 3, 6});
       },
       {"b [2, 3, 7], expected [2, 3, 6]"}},
      {"c",
       [&](Context& c) {
         run(c, {2, 3, 4}, {4, 6}, {2, 3, 6}, {2, 2, 6});
       },
       {"c [2, 2, 6], expected [2, 3, 6]"}},
      {"z",
       [&](Context& c) {
         run(c, {2, 3, 4}, {4, 6}, {2, 3, 6}, {2, 3, 6}, {.z = x(c, {2, 3, 6})});
       },
       {"z [2, 3, 6], expected [2, 3, 4]"}},
      {"initial",
       [&](Context& c) {
         run(c, {2, 3, 4}, {4, 6}, {2, 3, 6}, {2, 3, 6}, {.initial = x(c, {2, 6, 4})});
       },
       {"initial [2, 6, 4], expected [2, 4, 6]"}},
      {"groups",
       [&](Context& c) {
         const auto b = c.zeros<float>(Shape<4>{2, 3, 3, 6});
         selective_scan(x(c, {2, 3, 4}), x(c, {2, 3, 4}), a(c, {4, 6}), b, b);
       },
       {"4 channels", "3 equal groups"}},
      {"no u",
       [&](Context& c) {
         selective_scan(Tensor<float, 3>(), x(c, {2, 3, 4}), a(c, {4, 6}), x(c, {2, 3, 6}), x(c, {2, 3, 6}));
       },
       {"selective_scan: u is empty"}},
  });
}

}  // namespace
