#include "aulos/ops/conv.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;
using aulos::conv1d;
using aulos::conv2d;
using aulos::conv_transpose1d;
using aulos::conv_transpose2d;
using aulos::ConvOptions;
using aulos::ConvTransposeOptions;
using aulos::Sides;

// (i * step) mod `modulus`, less half of it: small integers, so that sums are exact.
template <int Rank>
Tensor<double, Rank> ramp(Context& context, const Shape<Rank>& shape, Index modulus = 7, Index step = 3) {
  auto x = context.empty<double>(shape);
  for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = static_cast<double>(i * step % modulus - modulus / 2);
  return x;
}

// The numbers are PyTorch's for the same arguments.
TEST(ConvOps, AreThoseOfPyTorch) {
  Context context;
  const auto one = conv1d(ramp(context, Shape<3>{1, 4, 5}), ramp(context, Shape<3>{6, 2, 3}, 5, 2),
                          ramp(context, Shape<1>{6}, 4, 1), {.stride = 2, .padding = 2, .dilation = 2, .groups = 2});
  EXPECT_EQ(one.shape(), (Shape<3>{1, 6, 3}));
  expect_values(one, {8, 1, -2, -6, 7, -6, 0, 3, 10, 5, 6, -4, -1, 0, 2, -3, -2, 2});
  const auto two = conv2d(ramp(context, Shape<4>{1, 2, 3, 4}), ramp(context, Shape<4>{2, 2, 2, 3}, 5, 2),
                          ramp(context, Shape<1>{2}), {.stride = {2, 1}, .padding = {1, 0}});
  EXPECT_EQ(two.shape(), (Shape<4>{1, 2, 2, 2}));
  expect_values(two, {-10, 9, 3, -10, 17, -8, -9, -6});
  const auto up = conv_transpose1d(ramp(context, Shape<3>{1, 4, 3}), ramp(context, Shape<3>{4, 1, 3}, 5, 2),
                                   ramp(context, Shape<1>{2}),
                                   {.stride = 2, .padding = 1, .output_padding = 1, .dilation = 2, .groups = 2});
  EXPECT_EQ(up.shape(), (Shape<3>{1, 2, 8}));
  expect_values(up, {-3, -6, -3, -9, -3, -9, -3, 7, 0, -5, 0, -3, 0, -1, 0, 0});
  const auto wide =
      conv_transpose2d(ramp(context, Shape<4>{1, 2, 2, 2}), ramp(context, Shape<4>{2, 1, 2, 3}, 5, 2),
                       ramp(context, Shape<1>{1}), {.stride = {2, 1}, .padding = {0, 1}, .output_padding = {1, 0}});
  EXPECT_EQ(wide.shape(), (Shape<4>{1, 1, 5, 2}));
  expect_values(wide, {1, -15, -12, 7, 1, -4, -4, -4, -3, -3});
}

TEST(ConvOps, CausalPaddingSeesThePastAlone) {
  Context context;
  const auto w = of<double>(context, Shape<3>{1, 1, 3}, {1, 10, 100});
  const auto x = of<double>(context, Shape<3>{1, 1, 4}, {1, 2, 3, 4});
  expect_values(conv1d(x, w, {}, {.padding = aulos::causal_padding(3)}), {100, 210, 321, 432});
  expect_values(conv1d(x, w, {}, {.padding = Sides{0, 2}}), {321, 432, 43, 4});
}

// Stride 2 with padding on one side is another grid than with padding on both, of the same shape.
TEST(ConvOps, StridedWithPaddingOnOneSide) {
  Context context;
  const auto x = context.full<float>(Shape<4>{1, 1, 4, 4}, 1), w = context.full<float>(Shape<4>{1, 1, 3, 3}, 1);
  expect_values(conv2d(x, w, {}, {.stride = 2, .padding = Sides{0, 1}}), {9, 6, 6, 4});
  expect_values(conv2d(x, w, {}, {.stride = 2, .padding = Sides{1}}), {4, 6, 6, 9});
}

TEST(ConvOps, CausalConvolutionsDoNotSeeTheFuture) {
  constexpr Index length = 17;
  Context context({.threads = 1});
  Case<double> c(context);
  const auto x = c.in<3>(Shape<3>{1, 2, length}, 1);
  const auto w = c.in<3>(Shape<3>{2, 2, 3}, 2);
  for (const Index dilation : {1, 2, 4}) {
    for (const Index stride : {1, 2}) {
      const aulos::ConvOptions<1> options{
          .stride = stride, .padding = aulos::causal_padding(3, dilation), .dilation = dilation};
      const auto before = conv1d(x, w, {}, options);
      for (Index at = 0; at < length; ++at) {
        auto other = context.from(x.shape(), x.data());
        other.mutable_data()[at] += 1;
        const auto after = conv1d(other, w, {}, options);
        for (Index t = 0; t < before.shape()[2]; ++t) {
          const bool same = before(0, 0, t) == after(0, 0, t) && before(0, 1, t) == after(0, 1, t);
          EXPECT_EQ(same, t * stride < at || (t * stride - at) % dilation != 0 || t * stride - at > 2 * dilation);
        }
      }
    }
  }
}

TEST(ConvOps, WithoutBatchOrPositions) {
  Context context;
  const auto w = context.zeros<float>(Shape<3>{5, 3, 4});
  EXPECT_EQ(conv1d(context.zeros<float>(Shape<3>{0, 3, 9}), w, {}).shape(), (Shape<3>{0, 5, 6}));
  EXPECT_EQ(conv1d(context.zeros<float>(Shape<3>{2, 3, 0}), w, {}, {.padding = 2}).shape(), (Shape<3>{2, 5, 1}));
  EXPECT_EQ(conv_transpose1d(context.zeros<float>(Shape<3>{2, 5, 0}), w, {}).shape(), (Shape<3>{2, 3, 0}));
}

// Everything at once: full, depthwise, strided, dilated, asymmetric, transposed, with and without bias.
template <class T>
std::vector<AnyTensor<T>> all_of(Case<T>& c, Index batch, Index channels, Index length) {
  const Index half = channels / 2;
  const auto x = c.template in<3>(Shape<3>{batch, channels, length}, 1);
  const auto image = c.template in<4>(Shape<4>{batch, channels, 5, length}, 2);
  const auto full = c.template in<3>(Shape<3>{6, channels, 3}, 3), grouped = c.template in<3>(Shape<3>{6, half, 2}, 4);
  const auto depthwise = c.template in<3>(Shape<3>{channels, 1, 4}, 5),
             up = c.template in<3>(Shape<3>{channels, 3, 3}, 6);
  const auto square = c.template in<4>(Shape<4>{4, channels, 3, 2}, 7);
  const auto window = c.template in<4>(Shape<4>{2 * channels, 1, 3, 3}, 8);
  const auto wide = c.template in<4>(Shape<4>{channels, 2, 2, 2}, 9);
  const auto bias = c.template in<1>(Shape<1>{6}, 10), four = c.template in<1>(Shape<1>{4}, 11);
  return results(conv1d(x, full, bias, {.stride = 2, .padding = 1}),
                 conv1d(x, grouped, {}, {.padding = 3, .dilation = 3, .groups = 2}),
                 conv1d(x, depthwise, {}, {.padding = aulos::causal_padding(4), .groups = channels}),
                 conv_transpose1d(x, up, bias, {.stride = 3, .padding = 1, .output_padding = 2, .groups = 2}),
                 conv2d(image, square, four, {.stride = {2, 1}, .padding = {1, Sides{0, 1}}}),
                 conv2d(image, window, {}, {.padding = 1, .dilation = {1, 2}, .groups = channels}),
                 conv_transpose2d(image, wide, {}, {.stride = 2}),
                 conv_transpose2d(image, depthwise.reshape(Shape<4>{channels, 1, 2, 2}), {},
                                  {.stride = {2, 1}, .groups = channels}));
}

TEST(ConvOps, Gradients) {
  expect_gradients([](Case<double>& c) { return all_of(c, 2, 4, 7); });
  expect_gradients([](Case<double>& c) { return all_of(c, 1, 2, 3); });
}

TEST(ConvOps, LayoutsAndThreads) {
  expect_layouts_agree<float>([](Case<float>& c) { return all_of(c, 2, 4, 7); });
  expect_threads_agree<float>([](Case<float>& c) { return all_of(c, 2, 32, 150); });
}

TEST(ConvOps, Records) {
  expect_records<float>("conv", {"x", "weight", "bias"}, [](Case<float>& c) {
    return results(conv1d(c.in<3>(Shape<3>{2, 3, 20}, 1), c.in<3>(Shape<3>{4, 3, 3}, 2), c.in<1>(Shape<1>{4}, 3)));
  });
  expect_records<float>("conv_transpose", {"x", "weight"}, [](Case<float>& c) {
    return results(conv_transpose2d(c.in<4>(Shape<4>{2, 3, 5, 6}, 1), c.in<4>(Shape<4>{3, 4, 2, 2}, 2), {}));
  });
}

TEST(ConvOps, SayWhatIsWrong) {
  const auto x = [](Context& c) { return c.zeros<float>(Shape<3>{1, 4, 6}); };
  const auto w = [](Context& c, Index out, Index in, Index k) { return c.zeros<float>(Shape<3>{out, in, k}); };
  const auto bias = [](Context& c) { return c.zeros<float>(Shape<1>{5}); };
  expect_errors({
      {"channels",
       [&](Context& c) { conv1d(x(c), w(c, 2, 3, 3), {}); },
       {"conv: ", "x [1, 4, 6] has 4 channels", "weight [2, 3, 3] in 1 groups takes 3"}},
      {"groups", [&](Context& c) { conv1d(x(c), w(c, 3, 2, 3), {}, {.groups = 2}); }, {"[3, 2, 3] in 2 groups"}},
      {"no groups", [&](Context& c) { conv1d(x(c), w(c, 3, 2, 3), {}, {.groups = 0}); }, {"0 groups"}},
      {"bias", [&](Context& c) { conv1d(x(c), w(c, 2, 4, 3), bias(c)); }, {"bias [5], expected [2]"}},
      {"short",
       [&](Context& c) { conv1d(x(c), w(c, 2, 4, 7), {}); },
       {"axis 2 of x [1, 4, 6] is too short", "[2, 4, 7]"}},
      {"stride", [&](Context& c) { conv1d(x(c), w(c, 2, 4, 3), {}, {.stride = 0}); }, {"axis 2: stride 0"}},
      {"padding", [&](Context& c) { conv1d(x(c), w(c, 2, 4, 3), {}, {.padding = -1}); }, {"padding -1 and -1"}},
      {"dilation", [&](Context& c) { conv1d(x(c), w(c, 2, 4, 3), {}, {.dilation = 0}); }, {"dilation 0"}},
      {"transposed channels",
       [&](Context& c) { conv_transpose1d(x(c), w(c, 2, 4, 3), {}); },
       {"conv_transpose: ", "takes 2"}},
      {"transposed bias", [&](Context& c) { conv_transpose1d(x(c), w(c, 4, 2, 3), bias(c)); }, {"expected [2]"}},
      {"output padding",
       [&](Context& c) { conv_transpose1d(x(c), w(c, 4, 2, 3), {}, {.output_padding = 1}); },
       {"output padding 1"}},
      {"all left out", [&](Context& c) { conv_transpose1d(x(c), w(c, 4, 2, 1), {}, {.padding = 3}); }, {"too short"}},
      {"two axes",
       [&](Context& c) {
         conv2d(c.zeros<float>(Shape<4>{1, 4, 2, 6}), c.zeros<float>(Shape<4>{2, 4, 3, 3}), {});
       },
       {"axis 2 of x [1, 4, 2, 6] is too short"}},
      {"no x", [&](Context& c) { conv1d(Tensor<float, 3>(), w(c, 4, 2, 3), {}); }, {"conv: x is empty"}},
  });
}

}  // namespace
