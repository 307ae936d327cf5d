#include "aulos/nn/patch_embed.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "aulos/nn/initialise.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::nn::PatchEmbed;

TEST(PatchEmbed, TheTableHasTheColumnFirst) {
  // Eight channels, frequencies 1 and 0.01, a position per patch.
  PatchEmbed<double> embed(1, 8, 1, 3);
  embed.derive_positions(3);
  const auto row = [&](Index r, Index c) {
    const double* at = embed.pos_embed.data() + (r * 3 + c) * 8;
    return std::vector<double>(at, at + 8);
  };
  const double s = std::sin(1.0), c = std::cos(1.0), s2 = std::sin(0.01), c2 = std::cos(0.01);
  const auto near = [](const std::vector<double>& a, const std::vector<double>& b) {
    for (std::size_t i = 0; i < 8; ++i) EXPECT_NEAR(a[i], b[i], 6e-8) << i;
  };
  near(row(0, 0), {0, 0, 1, 1, 0, 0, 1, 1});
  near(row(0, 1), {s, s2, c, c2, 0, 0, 1, 1});
  near(row(1, 0), {0, 0, 1, 1, s, s2, c, c2});
  near(row(2, 1), {s, s2, c, c2, std::sin(2.0), std::sin(0.02), std::cos(2.0), std::cos(0.02)});
  // Exchanging rows and columns exchanges the halves.
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < 3; ++j) {
      const auto a = row(i, j), b = row(j, i);
      for (std::size_t k = 0; k < 8; ++k) EXPECT_EQ(a[k], b[(k + 4) % 8]);
    }
  }
}

TEST(PatchEmbed, PositionsAreScaledToTheSampleSize) {
  // SD3: a table of 192 for samples of 64 patches: position c * 64 / 192 in float.
  PatchEmbed<float> embed(1, 16, 1, 192);
  embed.derive_positions(64);
  const float* at = embed.pos_embed.data() + (5 * 192 + 191) * 16;
  const float step = 64.0f / 192.0f;
  for (Index k = 0; k < 4; ++k) {
    const double w = std::pow(10000.0, -static_cast<double>(k) / 4);
    EXPECT_EQ(at[k], static_cast<float>(std::sin(static_cast<double>(191.0f * step) * w)));
    EXPECT_EQ(at[4 + k], static_cast<float>(std::cos(static_cast<double>(191.0f * step) * w)));
    EXPECT_EQ(at[8 + k], static_cast<float>(std::sin(static_cast<double>(5.0f * step) * w)));
    EXPECT_EQ(at[12 + k], static_cast<float>(std::cos(static_cast<double>(5.0f * step) * w)));
  }
}

TEST(PatchEmbed, TakesTheCentreOfTheTable) {
  PatchEmbed<double> embed(1, 4, 1, 7);
  for (Index i = 0; i < 7 * 7 * 4; ++i) embed.pos_embed.data()[i] = static_cast<double>(i / 4);  // the patch's number
  for (const auto& [rows, columns, first] :
       {std::array<Index, 3>{7, 7, 0}, {3, 3, 2 * 7 + 2}, {2, 5, 2 * 7 + 1}, {4, 6, 1 * 7 + 0}, {1, 1, 3 * 7 + 3}}) {
    const auto part = embed.positions(rows, columns);
    EXPECT_EQ(part.shape(), (Shape<4>{1, rows, columns, 4}));
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < columns; ++c) EXPECT_EQ(part(0, r, c, 3), static_cast<double>(first + r * 7 + c));
  }
  for (const auto& [rows, columns] : {std::array<Index, 2>{8, 3}, {3, 8}}) {
    try {
      embed.positions(rows, columns);
      ADD_FAILURE();
    } catch (const aulos::ShapeError& error) {
      EXPECT_EQ(error.what(), "pos_embed: " + std::to_string(rows) + " by " + std::to_string(columns) +
                                  " patches, expected at most 7 by 7");
    }
  }
}

TEST(PatchEmbed, IsAConvolutionPlusPositions) {
  Context context({.threads = 1});
  PatchEmbed<double> embed(3, 8, 2, 5);
  aulos::Random random(1);
  aulos::nn::initialise_normal(embed, random, 1);
  embed.derive_positions(5);
  const auto x = context.normal<double>(Shape<4>{2, 3, 4, 6});  // 2 by 3 patches: the centre begins at (1, 1)
  const auto y = embed(x);
  ASSERT_EQ(y.shape(), (Shape<3>{2, 6, 8}));
  const double* w = embed.proj.weight.rows().data();
  for (Index b = 0; b < 2; ++b) {
    for (Index r = 0; r < 2; ++r) {
      for (Index c = 0; c < 3; ++c) {
        for (Index o = 0; o < 8; ++o) {
          double sum = embed.proj.bias.data()[o] + embed.pos_embed.data()[((1 + r) * 5 + 1 + c) * 8 + o];
          for (Index i = 0; i < 3; ++i)
            for (Index p = 0; p < 2; ++p)
              for (Index q = 0; q < 2; ++q) sum += w[((o * 3 + i) * 2 + p) * 2 + q] * x(b, i, 2 * r + p, 2 * c + q);
          EXPECT_NEAR(y(b, r * 3 + c, o), sum, 1e-13);
        }
      }
    }
  }
  EXPECT_THROW(embed(context.zeros<double>(Shape<4>{1, 3, 5, 6})), aulos::ShapeError);
}

TEST(PatchEmbed, TheTableIsADerivedBufferAndFrozen) {
  PatchEmbed<float> embed(3, 8, 2, 5);
  EXPECT_FALSE(embed.pos_embed.trainable());
  EXPECT_TRUE(embed.proj.bias.trainable());
  EXPECT_EQ(aulos::nn::parameter_count(embed), 8 * 3 * 2 * 2 + 8);
  std::vector<std::string> names;
  aulos::nn::for_each_parameter(embed, [&](const auto& p) {
    names.push_back(p.name);
    EXPECT_EQ(p.role == aulos::nn::Role::derived_buffer, p.name == "pos_embed");
  });
  EXPECT_EQ(names, (std::vector<std::string>{"proj.weight", "proj.bias", "pos_embed"}));
  const PatchEmbed<float> copy = embed;
  EXPECT_EQ(copy, embed);
  EXPECT_FALSE(copy.pos_embed.trainable());
}

TEST(PatchProjection, IsTheEmbeddingWithoutPositions) {
  Context context({.threads = 1});
  PatchEmbed<double> embed(3, 8, 2, 5);
  aulos::Random random(1);
  aulos::nn::initialise_normal(embed, random, 1);
  for (Index i = 0; i < embed.pos_embed.count(); ++i) embed.pos_embed.data()[i] = 0;
  const auto x = context.normal<double>(Shape<4>{2, 3, 4, 6});
  const auto a = embed(x), b = embed.proj(x);
  for (Index i = 0; i < a.count(); ++i) EXPECT_EQ(a.data()[i], b.data()[i]);
  aulos::nn::PatchProjection<double> bare(3, 8, 2, aulos::nn::Bias::no);
  EXPECT_EQ(aulos::nn::parameter_count(bare), 8 * 3 * 2 * 2);
  bare.weight = embed.proj.weight;
  EXPECT_NEAR(bare(x)(1, 2, 3), b(1, 2, 3) - embed.proj.bias.data()[3], 1e-14);
}

}  // namespace
