#include "aulos/conditioning/modulation.hpp"

#include <gtest/gtest.h>

#include "support/naive_tokens.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::conditioning::modulation_rows;
using aulos::nn::Linear;

constexpr Index width = 5, channels = 4;

TEST(ModulationRows, OneRowPerSample) {
  Context context({.threads = 1});
  Linear<float> linear(width, 3 * channels);
  naive::randomise(linear, 1);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, width}, 2);
  const naive::Tokens want = naive::linear(naive::Tokens(c.unsqueeze(1)), linear);
  const auto rows = modulation_rows<3>(linear, c);
  for (std::size_t part = 0; part < 3; ++part) {
    ASSERT_EQ(rows[part].shape(), (Shape<3>{2, 1, channels}));
    for (Index b = 0; b < 2; ++b)
      for (Index i = 0; i < channels; ++i)
        EXPECT_NEAR(static_cast<double>(rows[part](b, 0, i)), want.at(b, 0, static_cast<Index>(part) * channels + i),
                    1e-6);
  }
}

// A vector per token gives the rows that each token alone would get.
TEST(ModulationRows, OneRowPerToken) {
  Context context({.threads = 1});
  Linear<float> linear(width, 2 * channels);
  naive::randomise(linear, 1);
  const auto c = naive::random<float, 3>(context, Shape<3>{2, 6, width}, 2);
  const auto rows = modulation_rows<2>(linear, c);
  for (Index n = 0; n < 6; ++n) {
    const auto token = aulos::dense(c.slice(1, n, n + 1)).reshape(Shape<2>{2, width});
    const auto alone = modulation_rows<2>(linear, token);
    for (std::size_t part = 0; part < 2; ++part) {
      ASSERT_EQ(rows[part].shape(), (Shape<3>{2, 6, channels}));
      EXPECT_EQ(naive::values(rows[part].slice(1, n, n + 1)), naive::values(alone[part])) << n;
    }
  }
}

TEST(ModulationRows, AreViewsOfOneProduct) {
  Context context({.threads = 1});
  Linear<float> linear(width, 6 * channels);
  naive::randomise(linear, 1);
  const auto rows = modulation_rows<6>(linear, naive::random<float, 2>(context, Shape<2>{2, width}, 2));
  for (std::size_t part = 1; part < 6; ++part) EXPECT_EQ(rows[part].data(), rows[0].data() + 4 * part);
}

TEST(ModulationRows, RefuseAWidthThatHasNoSuchParts) {
  Context context({.threads = 1});
  Linear<float> linear(width, 7);
  naive::randomise(linear, 1);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, width}, 2);
  EXPECT_THROW(modulation_rows<2>(linear, c), aulos::ShapeError);
}

}  // namespace
