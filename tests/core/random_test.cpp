#include "aulos/core/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <vector>

#include "aulos/core/threads.hpp"

namespace {

using aulos::Index;
using aulos::Random;

template <class T>
class RandomTest : public testing::Test {
 protected:
  static std::vector<T> normal(Random random, Index count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    random.normal(values.data(), count);
    return values;
  }
  static std::vector<T> uniform(Random random, Index count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    random.uniform(values.data(), count);
    return values;
  }
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(RandomTest, Types);

TYPED_TEST(RandomTest, AFillMayBeSplitAnywhere) {
  using T = TypeParam;
  const auto all_normal = this->normal(Random(7), 50);
  const auto all_uniform = this->uniform(Random(7), 50);
  for (Index split = 0; split <= 50; ++split) {
    Random a(7), b(7);
    std::vector<T> x(50), y(50);
    a.normal(x.data(), split);
    b.uniform(y.data(), split);
    EXPECT_EQ(a.position(), static_cast<std::uint64_t>(split));
    a.normal(x.data() + split, 50 - split);
    b.uniform(y.data() + split, 50 - split);
    EXPECT_EQ(x, all_normal) << split;
    EXPECT_EQ(y, all_uniform) << split;
    EXPECT_EQ(a, b);
  }
}

TYPED_TEST(RandomTest, PiecesOnThreadsGiveTheSameValues) {
  using T = TypeParam;
  const Index n = 1001, size = 77;
  Random random(3, 9);
  random.seek(5);
  const auto expected = this->normal(random, n);
  for (const int count : {1, 2, 4}) {
    aulos::ThreadTeam team(count);
    std::vector<T> values(static_cast<std::size_t>(n));
    team.threads().run((n + size - 1) / size, [&](Index piece, aulos::Scratch&) {
      const Index begin = piece * size;
      random.normal_at(random.position() + static_cast<std::uint64_t>(begin), values.data() + begin,
                       std::min(size, n - begin));
    });
    EXPECT_EQ(values, expected);
  }
}

TYPED_TEST(RandomTest, ScalesAndShifts) {
  using T = TypeParam;
  const auto z = this->normal(Random(1), 100);
  const auto u = this->uniform(Random(1), 100);
  std::vector<T> x(100), y(100);
  Random(1).normal(x.data(), 100, 3, T(0.5));
  Random(1).uniform(y.data(), 100, -2, 6);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(x[i], 3 + z[i] * T(0.5)) << "the product is exact, so one rounding";
    EXPECT_EQ(y[i], u[i] * 8 - 2) << "the product is exact, so one rounding";
  }
  Random(1).uniform(y.data(), 100, 5, 5);
  EXPECT_EQ(y, std::vector<T>(100, 5));
}

TYPED_TEST(RandomTest, UniformIsUniform) {
  const Index n = 1 << 20;
  const auto u = this->uniform(Random(11), n);
  EXPECT_GE(*std::min_element(u.begin(), u.end()), 0);
  EXPECT_LT(*std::max_element(u.begin(), u.end()), 1);
  std::vector<double> bins(64);
  for (const auto x : u) ++bins[static_cast<std::size_t>(x * 64)];
  double chi2 = 0;
  for (const double count : bins) chi2 += (count - n / 64.0) * (count - n / 64.0) / (n / 64.0);
  EXPECT_GT(chi2, 30);   // 63 degrees of freedom: 63 +- 11
  EXPECT_LT(chi2, 110);  // 4 standard deviations
}

TYPED_TEST(RandomTest, NormalIsNormal) {
  const Index n = 1 << 20;
  const auto z = this->normal(Random(5), n);
  double moments[5] = {};
  for (const auto x : z) {
    const auto v = static_cast<double>(x);
    double power = v;
    for (int k = 1; k < 5; ++k, power *= v) moments[k] += power / n;
  }
  const double error = 4 / std::sqrt(n);  // four standard deviations of the mean; of the k-th moment below
  EXPECT_NEAR(moments[1], 0, error);
  EXPECT_NEAR(moments[2], 1, error * std::sqrt(2.0));
  EXPECT_NEAR(moments[3], 0, error * std::sqrt(15.0));
  EXPECT_NEAR(moments[4], 3, error * std::sqrt(96.0));
  // Cells of equal probability by the distribution function.
  std::vector<double> bins(64);
  for (const auto x : z) {
    const double p = 0.5 * std::erfc(-static_cast<double>(x) / std::sqrt(2.0));
    ++bins[std::min<std::size_t>(63, static_cast<std::size_t>(p * 64))];
  }
  double chi2 = 0;
  for (const double count : bins) chi2 += (count - n / 64.0) * (count - n / 64.0) / (n / 64.0);
  EXPECT_GT(chi2, 30);
  EXPECT_LT(chi2, 110);
  // The two deviates of a block, and neighbours of different blocks, are uncorrelated.
  double within = 0, across = 0;
  for (std::size_t i = 0; i + 2 < z.size(); i += 2) {
    within += static_cast<double>(z[i]) * static_cast<double>(z[i + 1]);
    across += static_cast<double>(z[i + 1]) * static_cast<double>(z[i + 2]);
  }
  EXPECT_NEAR(within / (n / 2), 0, error * 1.5);
  EXPECT_NEAR(across / (n / 2), 0, error * 1.5);
}

TYPED_TEST(RandomTest, SeedsStreamsAndKindsDiffer) {
  const auto same = [](const auto& a, const auto& b) {
    Index equal = 0;
    for (std::size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i] ? 1 : 0;
    return equal;
  };
  const auto base = this->uniform(Random(1, 1), 1000);
  for (const Random& other : {Random(2, 1), Random(1, 2), Random(1, 0), Random(std::uint64_t{1} << 32 | 1, 1),
                              Random(1, std::uint64_t{1} << 32 | 1)}) {
    EXPECT_LE(same(base, this->uniform(other, 1000)), 2);
  }
  // A uniform draw tells nothing about the normal deviate of its position.
  const auto z = this->normal(Random(1, 1), 1000);
  double correlation = 0;
  for (std::size_t i = 0; i < 1000; ++i)
    correlation += (static_cast<double>(base[i]) - 0.5) * std::abs(static_cast<double>(z[i])) / 1000;
  EXPECT_NEAR(correlation, 0, 0.04);
}

// The values themselves, as every platform, compiler and flag must give them: FNV-1a of their bits. Those of floats and
// of uniform doubles come from a program of its own, in rational arithmetic with 120-bit logarithms and sines; normal
// doubles, whose last bit is this library's choice, are recorded (box_muller_test measures them).
template <class Bits, class T>
std::uint64_t hash(const std::vector<T>& values) {
  std::uint64_t h = 14695981039346656037U;
  for (const T value : values) {
    auto bits = static_cast<std::uint64_t>(std::bit_cast<Bits>(value));
    for (std::size_t byte = 0; byte < sizeof(T); ++byte, bits >>= 8) h = (h ^ (bits & 255)) * 1099511628211U;
  }
  return h;
}

TEST(RandomValuesTest, AreTheSameEverywhere) {
  const Index n = 100001;
  std::vector<float> f(static_cast<std::size_t>(n));
  std::vector<double> d(static_cast<std::size_t>(n));
  Random(42, 1).normal(f.data(), n);
  EXPECT_EQ(hash<std::uint32_t>(f), 4056264823011828117U);
  Random(42, 1).normal(d.data(), n);
  EXPECT_EQ(hash<std::uint64_t>(d), 15634977388495704376U);
  for (std::size_t i = 0; i < f.size(); i += 97) EXPECT_NEAR(static_cast<double>(f[i]), d[i], 3e-7);
  Random(42, 1).normal(f.data(), n, 0.1F, 0.02F);
  EXPECT_EQ(hash<std::uint32_t>(f), 12811847129223720747U);
  Random(42, 1).normal(d.data(), n, 0.1, 0.02);
  EXPECT_EQ(hash<std::uint64_t>(d), 5221376813990591528U);
  Random(42, 1).uniform(f.data(), n, -0.3F, 0.7F);
  EXPECT_EQ(hash<std::uint32_t>(f), 15887088280219134916U);
  Random(42, 1).uniform(d.data(), n, -0.3, 0.7);
  EXPECT_EQ(hash<std::uint64_t>(d), 12921872306299516030U);
}

TEST(RandomScalarTest, WordsAreThoseOfPhilox) {
  Random zero(0, 0);
  EXPECT_EQ(zero.next_uint64(), 0xe169c58d6627e8d5U);  // Random123's answer to counter 0, key 0
  EXPECT_EQ(zero.next_uint64(), 0x9b00dbd8bc57ac4cU);
  zero.seek(0);
  EXPECT_EQ(zero.next_uint32(), 0xe169c58dU) << "the upper half";
  Random random((std::uint64_t{0x299f31d0} << 32) | 0xa4093822, (std::uint64_t{0x03707344} << 32) | 0x13198a2e);
  random.seek(((std::uint64_t{0x05a308d3} << 32) | 0x243f6a88) * 2);
  const auto expected = aulos::philox4x32({0x243f6a88, 0x05a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0});
  EXPECT_EQ(random.next_uint64(), (std::uint64_t{expected[1]} << 32) | expected[0]);
}

TEST(RandomScalarTest, AgreesWithFills) {
  Random scalar(4, 2), fill(4, 2);
  double u[5], z[5];
  fill.uniform(u, 5);
  fill.normal(z, 5);
  for (const double x : u) EXPECT_EQ(scalar.uniform01(), x);
  for (const double x : z) EXPECT_EQ(scalar.normal(), x);
  EXPECT_EQ(scalar, fill);
}

TEST(RandomScalarTest, BelowCoversItsRangeEvenly) {
  Random random(8);
  std::vector<double> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts[static_cast<std::size_t>(random.below(7))];
  for (const double count : counts) EXPECT_NEAR(count, 10000, 400);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.below(1), 0);
  Index largest = 0;
  for (int i = 0; i < 100; ++i) largest = std::max(largest, random.below(INT64_MAX));
  EXPECT_GT(largest, INT64_MAX / 10 * 9);
  EXPECT_EQ(random.position(), 70200U) << "one draw each";
  EXPECT_THROW(random.below(0), aulos::Error);
  EXPECT_THROW(random.below(-5), aulos::Error);
}

TEST(RandomScalarTest, ShuffleIsAFairPermutation) {
  Random random(2);
  std::vector<int> counts(24);
  for (int i = 0; i < 24000; ++i) {
    int order[4] = {0, 1, 2, 3};
    random.shuffle(order, 4);
    int rank = 0;  // of the permutation, in lexicographic order
    for (int a = 0; a < 4; ++a) {
      int smaller = 0;
      for (int b = a + 1; b < 4; ++b) smaller += order[b] < order[a] ? 1 : 0;
      rank = rank * (4 - a) + smaller;
    }
    ++counts[static_cast<std::size_t>(rank)];
  }
  for (const int count : counts) EXPECT_NEAR(count, 1000, 160);
  random.shuffle(static_cast<int*>(nullptr), 0);
}

TEST(RandomScalarTest, EmptyFillsTakeNothing) {
  Random random(1);
  random.normal(static_cast<float*>(nullptr), 0);
  random.uniform(static_cast<float*>(nullptr), -3);
  EXPECT_EQ(random.position(), 0U);
  Random copy = random;
  EXPECT_EQ(copy.next_uint64(), random.next_uint64());
  EXPECT_EQ(random.seed(), 1U);
  EXPECT_EQ(random.stream(), 0U);
}

}  // namespace
