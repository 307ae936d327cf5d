#include "aulos/ops/channel_affine.hpp"

#include <gtest/gtest.h>

#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

template <class T>
std::vector<AnyTensor<T>> both(Case<T>& c, const Shape<3>& shape) {
  const auto x = c.template in<3>(shape, 1);
  const auto weight = c.template in<1>(Shape<1>{shape[2]}, 2), bias = c.template in<1>(Shape<1>{shape[2]}, 3);
  return results(channel_affine(x, weight, bias), channel_affine(x, weight, {}), channel_affine(x, {}, bias),
                 global_layer_norm(x, weight, bias, 1e-3));
}

TEST(ChannelAffineOps, GradientsLayoutsAndThreads) {
  expect_gradients([](Case<double>& c) { return both(c, Shape<3>{2, 3, 4}); });
  expect_gradients([](Case<double>& c) { return both(c, Shape<3>{1, 2, 1}); });
  expect_layouts_agree<float>([](Case<float>& c) { return both(c, Shape<3>{2, 3, 4}); });
  expect_threads_agree<float>([](Case<float>& c) { return both(c, Shape<3>{2, 200, 70}); });
}

// Over all tokens and channels of a sample; an eps of 1e-8 shows where x is small.
TEST(ChannelAffineOps, GlobalLayerNorm) {
  for (const double scale : {1.0, 1e-4}) {
    Context context;
    const auto value = [&](Index i) { return scale * (noise(1, static_cast<std::uint64_t>(i)) + 0.3); };
    const auto x = make<double, 4>(context, Shape<4>{2, 3, 5, 4}, Layout::dense, value);
    const auto weight = of<double>(context, Shape<1>{4}, {1, 2, 3, 4});
    const auto bias = of<double>(context, Shape<1>{4}, {0.1, 0.2, 0.3, 0.4});
    const auto y = global_layer_norm(x, weight, bias, 1e-8);
    double mean[2] = {}, square[2] = {};
    for (Index i = 0; i < 120; ++i) mean[i / 60] += value(i) / 60;
    for (Index i = 0; i < 120; ++i) square[i / 60] += std::pow(value(i) - mean[i / 60], 2) / 60;
    expect_near(
        y,
        [&](Index i) {
          const double w = static_cast<double>(i % 4 + 1);
          return (value(i) - mean[i / 60]) / std::sqrt(square[i / 60] + 1e-8) * w + 0.1 * w;
        },
        1e-12);
  }
}

TEST(ChannelAffineOps, Records) {
  expect_records<float>("channel_affine", {"x", "weight", "bias"}, [](Case<float>& c) {
    return both(c, Shape<3>{2, 3, 4});
  });
}

TEST(ChannelAffineOps, SayWhatIsWrong) {
  expect_errors({
      {"weight",
       [](Context& c) {
         channel_affine(c.zeros<float>(Shape<2>{2, 3}), c.zeros<float>(Shape<1>{2}), {});
       },
       {"channel_affine: weight [2] for x [2, 3], expected [3]"}},
      {"bias",
       [](Context& c) {
         channel_affine(c.zeros<float>(Shape<2>{2, 3}), {}, c.zeros<float>(Shape<1>{2}));
       },
       {"channel_affine: bias [2]"}},
      {"no x", [](Context& c) { channel_affine(Tensor<float, 2>(), c.zeros<float>(Shape<1>{1}), {}); }, {"x is empty"}},
  });
}

}  // namespace
