#include <gtest/gtest.h>

#include "aulos/ops/norm.hpp"
#include "ops/op_case.hpp"

namespace {

using namespace aulos_test;

const Shape<3> shapes[] = {{2, 3, 7}, {1, 1, 17}, {2, 1, 5}, {1, 2, 3}};  // two features are +-1 whatever they were

TEST(NormGradients, OfBothNormsWithWeights) {
  for (const Shape<3>& shape : shapes) {
    SCOPED_TRACE(to_string(shape));
    const auto weight = [&](Case<double>& c, std::uint64_t seed) { return c.in<1>(Shape<1>{shape[2]}, seed, 1, 1); };
    expect_gradients([&](Case<double>& c) {
      const auto x = c.in<3>(shape, 1, 2);
      const auto w = weight(c, 2), b = weight(c, 3);
      return results(layer_norm(x, w, b, 1e-5));
    });
    expect_gradients([&](Case<double>& c) {
      const auto x = c.in<3>(shape, 1, 2);
      const auto w = weight(c, 2);
      return results(rms_norm(x, w, 1e-5));
    });
    expect_gradients([&](Case<double>& c) { return results(layer_norm(c.in<3>(shape, 1, 2), {}, {}, 1e-5)); });
    expect_gradients([&](Case<double>& c) { return results(rms_norm(c.in<3>(shape, 1, 2), {}, 1e-5)); });
  }
}

TEST(NormGradients, OfTheModulation) {
  for (const Shape<3>& shape : shapes) {
    for (const bool by_token : {false, true}) {
      SCOPED_TRACE(to_string(shape) + (by_token ? " by token" : " by sample"));
      const Shape<3> part = by_token ? shape : Shape<3>{shape[0], 1, shape[2]};
      expect_gradients([&](Case<double>& c) {
        const auto x = c.in<3>(shape, 1, 2);
        const auto w = c.in<1>(Shape<1>{shape[2]}, 2, 1, 1), b = c.in<1>(Shape<1>{shape[2]}, 3);
        const auto shift = c.in<3>(part, 4), scale = c.in<3>(part, 5);
        return results(modulated_layer_norm(x, w, b, shift, scale, 1e-5), modulated_rms_norm(x, w, shift, scale, 1e-5));
      });
    }
  }
}

TEST(NormGradients, OfOneFeatureIsZeroForLayerNorm) {
  const auto outcome = forward_backward<double>([](Case<double>& c) {
    return results(layer_norm(c.in<2>(Shape<2>{3, 1}, 1), {}, {}, 1e-5));
  });
  for (const double g : outcome.gradients[0]) EXPECT_EQ(g, 0);
  expect_gradients([](Case<double>& c) { return results(rms_norm(c.in<2>(Shape<2>{3, 1}, 1), {}, 1e-2)); });
}

TEST(NormGradients, AtALargeMean) {  // against the gradient of the centred row, which is the same
  const auto gradient = [](double mean) {
    return forward_backward<double>([mean](Case<double>& c) {
             return results(
                 layer_norm(c.at<1>(Shape<1>{33}, [mean](Index i) { return mean + static_cast<double>(i * 7 % 33); }),
                            {}, {}, 1e-5));
           })
        .gradients[0];
  };
  const std::vector<double> near = gradient(0), far = gradient(1e6);
  for (std::size_t i = 0; i < 33; ++i) EXPECT_NEAR(far[i], near[i], 1e-9);
}

}  // namespace
