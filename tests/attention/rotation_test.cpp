// Rotary position embedding on the sides of a coupling.
#include "aulos/attention/rotation.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "aulos/core/context.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::QueryKeyValue;
using aulos::RopePairs;
using aulos::Shape;
using aulos::Tensor;
using aulos::attention::Rotated;
using aulos::attention::Unrotated;

template <int Rank>
std::vector<double> values(const Tensor<double, Rank>& x) {
  return {x.data(), x.data() + x.count()};
}

struct RotationTest : testing::Test {
  Context context{{.threads = 1, .seed = 3}};
  static constexpr Index batch = 2, tokens = 3, heads = 2, width = 4;

  QueryKeyValue<double> side() {
    const Shape<4> shape{batch, tokens, heads, width};
    return {context.normal<double>(shape), context.normal<double>(shape), context.normal<double>(shape)};
  }
  // Token n turns by n + 1 and 2 (n + 1).
  aulos::RopeTable<double> table() {
    Tensor<double, 4> angles = context.empty<double>(Shape<4>{1, tokens, 1, width / 2});
    for (Index n = 0; n < tokens; ++n)
      for (Index p = 0; p < 2; ++p)
        angles.mutable_data()[2 * n + p] = static_cast<double>(n + 1) * static_cast<double>(p + 1);
    return rope_table(angles);
  }
};

TEST_F(RotationTest, TurnsQueriesAndKeysAndNotValues) {
  const auto in = side();
  const Rotated<double, 2> rotation{{table(), {}}, RopePairs::interleaved};
  const auto out = rotation(0, in);
  EXPECT_EQ(values(out.v), values(in.v));
  for (Index b = 0; b < batch; ++b)
    for (Index n = 0; n < tokens; ++n)
      for (Index h = 0; h < heads; ++h)
        for (Index p = 0; p < 2; ++p) {
          const double angle = static_cast<double>(n + 1) * static_cast<double>(p + 1);
          const double c = std::cos(angle), s = std::sin(angle);
          for (const auto& [from, to] : {std::pair(in.q, out.q), std::pair(in.k, out.k)}) {
            const double x0 = from(b, n, h, 2 * p), x1 = from(b, n, h, 2 * p + 1);
            EXPECT_NEAR(to(b, n, h, 2 * p), x0 * c - x1 * s, 1e-14);
            EXPECT_NEAR(to(b, n, h, 2 * p + 1), x1 * c + x0 * s, 1e-14);
          }
        }
}

TEST_F(RotationTest, ASideWithoutATableStays) {
  const auto in = side();
  const Rotated<double, 2> rotation{{table(), {}}, RopePairs::interleaved};
  const auto out = rotation(1, in);
  EXPECT_EQ(values(out.q), values(in.q));
  EXPECT_EQ(values(out.k), values(in.k));
  const auto plain = Unrotated{}(0, in);
  EXPECT_EQ(plain.q.data(), in.q.data());
}

TEST_F(RotationTest, ASideThatIsOnlyReadHasNoQueries) {
  auto in = side();
  in.q = {};
  const Rotated<double, 1> rotation{{table()}, RopePairs::half_split};
  const auto out = rotation(0, in);
  EXPECT_TRUE(out.q.empty());
  EXPECT_NE(values(out.k), values(in.k));
}

}  // namespace
