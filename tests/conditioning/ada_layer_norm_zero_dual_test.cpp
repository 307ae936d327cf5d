#include "aulos/conditioning/ada_layer_norm_zero_dual.hpp"

#include "aulos/conditioning/ada_layer_norm.hpp"
#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::AdaLayerNormZero;
using aulos::conditioning::AdaLayerNormZeroDual;

static_assert(aulos::nn::Module<AdaLayerNormZeroDual<float>>);

TEST(AdaLayerNormZeroDuals, OrderOfTheNineParts) {
  Context context({.threads = 1});
  AdaLayerNormZeroDual<float> module(5, 4);
  number_parts(module.linear, 9);
  const auto m = module(naive::random<float, 2>(context, Shape<2>{2, 5}, 1));
  const Tensor<float, 3> rows[] = {m.stream.attention.shift, m.stream.attention.scale, m.stream.attention.gate,
                                   m.stream.mlp.shift,       m.stream.mlp.scale,       m.stream.mlp.gate,
                                   m.attention2.shift,       m.attention2.scale,       m.attention2.gate};
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(rows[i].shape(), (Shape<3>{2, 1, 4}));
    EXPECT_EQ(place(rows[i]), static_cast<float>(i));
  }
  EXPECT_EQ(names_of(module), "linear.weight linear.bias ");
}

// The first six parts are adaLN-Zero's.
TEST(AdaLayerNormZeroDuals, BeginsAsAdaLayerNormZero) {
  Context context({.threads = 1});
  AdaLayerNormZeroDual<float> dual(5, 4);
  naive::randomise(dual, 1);
  AdaLayerNormZero<float> zero(5, 4);
  std::copy_n(dual.linear.weight.rows().data(), 24 * 5, zero.linear.weight.rows().data());
  std::copy_n(dual.linear.bias.data(), 24, zero.linear.bias.data());
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 2);
  const auto m = dual(c).stream, want = zero(c);
  EXPECT_EQ(naive::values(m.attention.gate), naive::values(want.attention.gate));
  EXPECT_EQ(naive::values(m.mlp.shift), naive::values(want.mlp.shift));
  EXPECT_EQ(naive::values(m.mlp.gate), naive::values(want.mlp.gate));
  EXPECT_THROW(dual(context.zeros<float>(Shape<2>{2, 4})), aulos::ShapeError);
}

TEST(AdaLayerNormZeroDuals, Gradients) {
  Context context({.threads = 1});
  AdaLayerNormZeroDual<double> module(3, 2);
  naive::randomise(module, 1);
  expect_gradients(
      context, module,
      [&](const Tensor<double, 2>& c) {
        const auto m = module(c);
        return std::tuple(m.stream.attention.scale, m.stream.mlp.gate, m.attention2.shift, m.attention2.gate);
      },
      std::tuple(naive::random<double, 2>(context, Shape<2>{2, 3}, 3)));
}

}  // namespace
