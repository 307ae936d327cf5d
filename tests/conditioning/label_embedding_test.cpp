#include "aulos/conditioning/label_embedding.hpp"
#include "aulos/ops/arithmetic.hpp"

#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::Random;
using aulos::conditioning::drop_labels;
using aulos::conditioning::LabelEmbedding;

static_assert(aulos::nn::Module<LabelEmbedding<float>>);

Tensor<std::int64_t, 1> labels(Context& context, const std::vector<std::int64_t>& ids) {
  return context.from(Shape<1>{static_cast<Index>(ids.size())}, ids.data());
}

TEST(LabelEmbeddings, RowsOfTheTable) {
  Context context({.threads = 1});
  LabelEmbedding<float> module(3, 2, 0.1);
  naive::randomise(module, 1);
  const float* table = module.table.data();
  const auto y = module(labels(context, {2, 0, module.null_label()}));
  EXPECT_EQ(naive::values(y), (std::vector<float>{table[4], table[5], table[0], table[1], table[6], table[7]}));
  EXPECT_EQ(names_of(module), "embedding_table.weight ");
}

// Only training with dropped labels gives the table a row for none.
TEST(LabelEmbeddings, NullRowOnlyWithDropout) {
  Context context({.threads = 1});
  LabelEmbedding<float> with(3, 2, 0.1), without(3, 2);
  EXPECT_EQ(with.table.shape(), (Shape<2>{4, 2}));
  EXPECT_EQ(without.table.shape(), (Shape<2>{3, 2}));
  EXPECT_EQ(with.null_label(), 3);
  EXPECT_THROW(without.null_label(), aulos::ConfigError);
  naive::randomise(without, 1);
  EXPECT_THROW(without(labels(context, {3})), aulos::ShapeError);
  EXPECT_THROW(without(labels(context, {-1})), aulos::ShapeError);
}

TEST(DropLabels, ProbabilitiesAndDraws) {
  Context context({.threads = 1});
  std::vector<std::int64_t> ids(4000);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i % 10);
  const auto all = labels(context, ids);
  const auto read = [](const Tensor<std::int64_t, 1>& x) {
    return std::vector<std::int64_t>(x.data(), x.data() + x.count());
  };
  Random random(1);
  EXPECT_EQ(read(drop_labels(all, 10, 0, random)), ids);
  EXPECT_EQ(random.position(), 4000u);
  EXPECT_EQ(read(drop_labels(all, 10, 1, random)), std::vector<std::int64_t>(4000, 10));
  Random again(1);
  const auto dropped = read(drop_labels(all, 10, 0.25, again));
  Index count = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_TRUE(dropped[i] == ids[i] || dropped[i] == 10);
    count += dropped[i] == 10;
  }
  EXPECT_NEAR(static_cast<double>(count), 1000, 5 * 27.4);  // five standard deviations
  Random same(1);
  EXPECT_EQ(read(drop_labels(all, 10, 0.25, same)), dropped);
  EXPECT_THROW(drop_labels(all, 10, 1.5, same), aulos::ConfigError);
  EXPECT_THROW(drop_labels(all, 10, std::nan(""), same), aulos::ConfigError);
}

TEST(LabelEmbeddings, DropsInTraining) {
  Context context({.threads = 1});
  LabelEmbedding<float> module(3, 2, 0.5), never(3, 2);
  naive::randomise(module, 1);
  naive::randomise(never, 2);
  const auto ids = labels(context, {0, 1, 2, 0, 1, 2, 0, 1, 2, 0});
  Random random(5), same(5);
  const auto want = module(drop_labels(ids, 3, 0.5, same));
  EXPECT_EQ(naive::values(module(ids, random)), naive::values(want));
  EXPECT_NE(naive::values(want), naive::values(module(ids)));
  EXPECT_EQ(naive::values(never(ids, random)), naive::values(never(ids)));
}

TEST(LabelEmbeddings, Gradients) {
  Context context({.threads = 1});
  LabelEmbedding<double> module(3, 2, 0.1);
  naive::randomise(module, 1);
  const auto ids = labels(context, {2, 0, 2});
  expect_gradients(
      context, module, [&](const Tensor<double, 2>& x) { return aulos::multiply(module(ids), x); },
      std::tuple(naive::random<double, 2>(context, Shape<2>{3, 2}, 3)));
}

}  // namespace
