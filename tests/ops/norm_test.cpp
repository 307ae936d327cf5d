#include "aulos/ops/norm.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

// The naive norm of one row in double, before weight and bias.
std::vector<double> normalised(const float* x, Index n, double eps, bool subtract_mean) {
  double mean = 0, square = 0;
  for (Index i = 0; subtract_mean && i < n; ++i) mean += static_cast<double>(x[i]) / static_cast<double>(n);
  for (Index i = 0; i < n; ++i)
    square += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean) / static_cast<double>(n);
  std::vector<double> y;
  for (Index i = 0; i < n; ++i) y.push_back((static_cast<double>(x[i]) - mean) / std::sqrt(square + eps));
  return y;
}

TEST(NormOps, AgreeWithTheFormula) {
  for (const Index width : {1, 4, 16, 33}) {
    Context context;
    Case<float> c(context);
    const Shape<3> shape{2, 3, width};
    const auto x = c.in<3>(shape, 1, 2, 0.5);
    const auto w = c.in<1>(Shape<1>{width}, 2, 1, 1), b = c.in<1>(Shape<1>{width}, 3);
    const auto shift = c.in<2>(Shape<2>{2, width}, 4), scale = c.in<2>(Shape<2>{2, width}, 5);
    for (const bool layer : {true, false}) {
      const auto expected = [&](bool modulated) {
        return [&, modulated](Index p) {
          const Index row = p / width, i = p % width;
          double y = normalised(x.data() + row * width, width, 1e-5, layer)[static_cast<std::size_t>(i)] *
                     static_cast<double>(w(i));
          if (layer) y += static_cast<double>(b(i));
          return modulated ? y * (1 + static_cast<double>(scale(row / 3, i))) + static_cast<double>(shift(row / 3, i))
                           : y;
        };
      };
      expect_near(layer ? layer_norm(x, w, b, 1e-5) : rms_norm(x, w, 1e-5), expected(false), 1e-6);
      expect_near(
          layer ? modulated_layer_norm(x, w, b, shift, scale, 1e-5) : modulated_rms_norm(x, w, shift, scale, 1e-5),
          expected(true), 1e-6);
    }
  }
}

TEST(NormOps, OneFormIsTheOther) {
  Context context;
  Case<float> c(context);
  const auto x = c.in<3>(Shape<3>{2, 3, 19}, 1, 2, 0.5);
  const auto shift = c.in<2>(Shape<2>{2, 19}, 4), scale = c.in<2>(Shape<2>{2, 19}, 5);
  const auto same = [](const Tensor<float, 3>& together, const Tensor<float, 3>& apart) {
    const std::vector<float> want = values(apart);
    expect_near(
        together, [&](Index i) { return static_cast<double>(want[static_cast<std::size_t>(i)]); }, 3e-7);
  };
  same(modulated_layer_norm(x, {}, {}, shift, scale, 1e-6), modulate(layer_norm(x, {}, {}, 1e-6), shift, scale));
  same(modulated_rms_norm(x, {}, shift, scale, 1e-6), modulate(rms_norm(x, {}, 1e-6), shift, scale));
}

TEST(NormOps, TheEpsOfTheCallCounts) {  // rows of +-1e-3 have variance and mean square 1e-6
  for (const auto& [eps, expected] :
       {std::pair{1e-6, 0.7071068}, {1e-5, 0.3015113}, {1e-12, 0.9999995}, {1e-3, 0.0316070}}) {
    for (const Index width : {2, 16, 34}) {
      Context context;
      Case<float> c(context);
      const auto x = c.at<2>(Shape<2>{2, width}, [](Index i) { return i % 2 == 0 ? 1e-3 : -1e-3; });
      const double value = expected;
      const auto want = [value](Index i) { return i % 2 == 0 ? value : -value; };
      expect_near(layer_norm(x, {}, {}, eps), want, 1e-6);
      expect_near(rms_norm(x, {}, eps), want, 1e-6);
    }
  }
}

TEST(NormOps, EpsIsAddedToTheMeanInsideTheRoot) {
  Context context;
  expect_values(rms_norm(of<float>(context, Shape<1>{2}, {3e-5f, 4e-5f}), {}, 1e-6), {0.029981, 0.039975}, 1e-6);
  GradTape tape(context);
  auto zero = context.zeros<float>(Shape<2>{1, 5});
  tape.watch(zero);
  const auto a = layer_norm(zero, {}, {}, 1e-6), b = rms_norm(zero, {}, 1e-6);
  EXPECT_EQ(values(a), std::vector<float>(5, 0));
  EXPECT_EQ(values(b), std::vector<float>(5, 0));
  backward<float>(context, {a.any(), b.any()});
  for (const float g : values(tape.gradient(zero))) EXPECT_TRUE(std::isfinite(g));
}

TEST(NormOps, LargeMeans) {
  Context context;
  expect_values(layer_norm(of<float>(context, Shape<1>{4}, {40000, 40001, 40002, 40003}), {}, {}, 1e-5),
                {-1.341635, -0.447212, 0.447212, 1.341635}, 1e-5);
  for (const Index width : {16, 33, 1024}) {
    Case<float> c(context);
    const auto x = c.at<1>(Shape<1>{width}, [](Index i) { return 10000 + 0.001 * static_cast<double>(i % 16); });
    const std::vector<double> expected = normalised(x.data(), width, 1e-5, true);
    expect_values(layer_norm(x, {}, {}, 1e-5), expected, 1e-5);
  }
}

TEST(NormOps, NaNFillsItsRowAlone) {
  for (Index width = 1; width <= 35; ++width) {
    Context context;
    auto x = context.full<float>(Shape<2>{2, width}, 1);
    x.mutable_data()[width - 1] = nan_value;
    for (const auto& y : {layer_norm(x, {}, {}, 1e-5), rms_norm(x, {}, 1e-5)}) {
      for (Index i = 0; i < width; ++i) {
        EXPECT_TRUE(std::isnan(y(0, i)));
        EXPECT_FALSE(std::isnan(y(1, i)));
      }
    }
  }
}

template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, const Shape<3>& shape) {
  const auto x = c.template in<3>(shape, 1);
  const auto w = c.template in<1>(Shape<1>{shape[2]}, 2, 1, 1), b = c.template in<1>(Shape<1>{shape[2]}, 3);
  const auto shift = c.template in<2>(Shape<2>{shape[0], shape[2]}, 4),
             scale = c.template in<2>(Shape<2>{shape[0], shape[2]}, 5);
  const auto shift_of_token = c.template in<3>(shape, 6), scale_of_token = c.template in<3>(shape, 7);
  return results(layer_norm(x, w, b, 1e-5), rms_norm(x, w, 1e-5), layer_norm(x, {}, {}, 1e-6), rms_norm(x, {}, 1e-6),
                 modulated_layer_norm(x, w, b, shift, scale, 1e-5), modulated_rms_norm(x, w, shift, scale, 1e-5),
                 modulated_layer_norm(x, {}, {}, shift_of_token, scale_of_token, 1e-5));
}

TEST(NormOps, LayoutsAndThreadsAgree) {
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, Shape<3>{3, 4, 19}); });
  expect_threads_agree<float>([](Case<float>& c) { return all_of(c, Shape<3>{3, 64, 257}); });
}

TEST(NormOps, WithoutTokensOrSamples) {
  for (const Shape<3>& shape : {Shape<3>{2, 0, 5}, {0, 3, 5}}) {
    const Outcome<float> outcome = forward_backward<float>([&](Case<float>& c) { return all_of(c, shape); });
    for (const auto& y : outcome.results) EXPECT_TRUE(y.empty());
    for (const auto& gradient : outcome.gradients)
      for (const float g : gradient) EXPECT_EQ(g, 0);
    EXPECT_EQ(outcome.gradients[1].size(), 5u);
  }
}

TEST(NormOps, Records) {
  const Shape<3> shape{2, 3, 7};
  expect_records<float>("layer_norm", {"x", "weight", "bias", "shift", "scale"}, [&](Case<float>& c) {
    const auto x = c.in<3>(shape, 1);
    const auto w = c.in<1>(Shape<1>{7}, 2), b = c.in<1>(Shape<1>{7}, 3);
    const auto shift = c.in<2>(Shape<2>{2, 7}, 4), scale = c.in<2>(Shape<2>{2, 7}, 5);
    return results(modulated_layer_norm(x, w, b, shift, scale, 1e-5));
  });
  expect_records<float>("rms_norm", {"x", "weight"}, [&](Case<float>& c) {
    const auto x = c.in<3>(shape, 1);
    const auto w = c.in<1>(Shape<1>{7}, 2);
    return results(rms_norm(x, w, 1e-5));
  });
}

TEST(NormOps, SayWhatIsWrong) {
  const auto x = [](Context& c) { return c.zeros<float>(Shape<3>{2, 3, 5}); };
  const auto wide = [](Context& c) { return c.zeros<float>(Shape<1>{4}); };
  const auto row = [](Context& c, const Shape<2>& shape) { return c.zeros<float>(shape); };
  expect_errors({
      {"weight",
       [&](Context& c) { layer_norm(x(c), wide(c), {}, 1e-5); },
       {"layer_norm: ", "weight [4]", "x [2, 3, 5]", "expected [5]"}},
      {"bias", [&](Context& c) { layer_norm(x(c), {}, wide(c), 1e-5); }, {"layer_norm: ", "bias [4]", "expected [5]"}},
      {"rms weight", [&](Context& c) { rms_norm(x(c), wide(c), 1e-5); }, {"rms_norm: ", "weight [4]", "expected [5]"}},
      {"shift",
       [&](Context& c) {
         modulated_layer_norm(x(c), {}, {}, row(c, {3, 5}), {}, 1e-5);
       },
       {"layer_norm: ", "shift [3, 5]"}},
      {"scale",
       [&](Context& c) {
         modulated_rms_norm(x(c), {}, row(c, {2, 5}), row(c, {2, 4}), 1e-5);
       },
       {"rms_norm: ", "scale [2, 4]"}},
      {"layer x", [&](Context&) { layer_norm(Tensor<float, 3>(), {}, {}, 1e-5); }, {"layer_norm: x is empty"}},
      {"rms x", [&](Context&) { rms_norm(Tensor<float, 3>(), {}, 1e-5); }, {"rms_norm: x is empty"}},
  });
}

}  // namespace
