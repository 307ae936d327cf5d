#include "aulos/conditioning/modality_embedding.hpp"
#include "aulos/ops/arithmetic.hpp"

#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::ModalityEmbedding;

static_assert(aulos::nn::Module<ModalityEmbedding<float>>);

TEST(ModalityEmbeddings, ARowPerModality) {
  Context context({.threads = 1});
  ModalityEmbedding<float> module(2, 3);
  naive::randomise(module, 1);
  const std::int64_t ids[] = {1, 0, 1};
  const auto y = module(context.from(Shape<1>{3}, ids));
  ASSERT_EQ(y.shape(), (Shape<2>{3, 3}));
  for (Index b = 0; b < 3; ++b)
    for (Index c = 0; c < 3; ++c) EXPECT_EQ(y(b, c), module.weight.data()[ids[b] * 3 + c]);
  EXPECT_EQ(names_of(module), "weight ");
  const std::int64_t outside[] = {2};
  EXPECT_THROW(module(context.from(Shape<1>{1}, outside)), aulos::ShapeError);
}

TEST(ModalityEmbeddings, Gradients) {
  Context context({.threads = 1});
  ModalityEmbedding<double> module(2, 3);
  naive::randomise(module, 1);
  const std::int64_t ids[] = {1, 0, 1};
  const auto at = context.from(Shape<1>{3}, ids);
  expect_gradients(
      context, module, [&](const Tensor<double, 2>& c) { return aulos::multiply(c, module(at)); },
      std::tuple(naive::random<double, 2>(context, Shape<2>{3, 3}, 2)));
}

}  // namespace
