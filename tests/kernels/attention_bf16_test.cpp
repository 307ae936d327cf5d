// Attention in bf16 mode: whichever format the build has chosen, and RoundedFormat in any.
#include <gtest/gtest.h>

#include <numeric>

#include "aulos/core/dtype.hpp"
#include "aulos/kernels/attention.hpp"
#include "tests/kernels/attention_problem.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace attention_test {
namespace {

using namespace aulos::kernels;
using aulos::Numeric;
using Numbers = Problem<float>;

// What attention() does in bf16 mode, without the exact mode, which would have to be compiled as well.
template <class Format = tile::Bf16Format, class Mask = NoMask, class Score = NoScore>
void run_bf16(Numbers& p, const Mask& mask = {}, const Score& score = {}, int threads = 1) {
  aulos::ThreadTeam team(threads);
  const auto sides = p.sides();
  const auto scratch = tile::scratch_as<Format>(p.shape, p.nq());
  tile::attention_as<Format, float>(team.threads(scratch), p.shape, sides, mask, score);
}

// The same problem with q, k and v rounded, whose result in double differs from ours by the rounding of the weights
// alone.
Numbers rounded(const Numbers& p) {
  Numbers other = p;
  for (auto& side : other.data) {
    for (auto* x : {&side.q, &side.k, &side.v}) x->each([](float& y) { y = static_cast<float>(aulos::bf16(y)); });
  }
  return other;
}

// A weight is wrong by 2^-8 (rounded to bf16) and twice 1.0e-4 (2^x, here and in the sum), so a result by that times
// the largest |v|, 1.5; a log-sum-exp by 1.0e-4, and by the sums in float.
constexpr double out_bound = 1.5 * (1.0 / 256 + 2.1e-4), lse_bound = 1.1e-4;

::testing::AssertionResult near(Numbers& p, Problem<double>& expected) {
  double out = 0, lse = 0;
  for (std::size_t s = 0; s < p.data.size(); ++s) {
    out = std::max(out, distance(p.data[s].out, expected.data[s].out));
    lse = std::max(lse, distance(p.data[s].lse, expected.data[s].lse));
  }
  if (out <= out_bound && lse <= lse_bound) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "out differs by " << out << ", lse by " << lse;
}

template <class Keep = naive::KeepAll, class Score = naive::SameScore>
::testing::AssertionResult near_naive(Numbers& p, const Keep& keep = {}, const Score& score = {}) {
  auto expected = rounded(p).expected(keep, score);
  return near(p, expected);
}

TEST(AttentionBf16, AgreesWithNaiveAtEverySize) {
  for (const Index nq : {0, 1, 2, 3, 11, 12, 13, 47, 48, 49, 100}) {
    for (const Index nk : {0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 255, 256, 257, 300}) {
      Numbers p(shape_of(1, 1, 1, 8, 8), {{nq, nk}});
      run_bf16(p);
      EXPECT_TRUE(near_naive(p)) << nq << " x " << nk;
    }
  }
}

TEST(AttentionBf16, AgreesWithNaiveAtEveryWidth) {
  for (const Index d : {0, 1, 2, 3, 5, 8, 17, 40, 63, 64, 65, 72, 129, 300}) {
    for (const Index e : {0, 1, 3, 8, 33, 72}) {
      for (const Index nq : {1, 14}) {
        Numbers p(shape_of(2, 2, 1, d, e), {{nq, 37}}, Layout::gaps);
        const Index before = p.data[0].out.sentinels();
        run_bf16(p);
        EXPECT_TRUE(near_naive(p)) << "D " << d << ", E " << e << ", Nq " << nq;
        EXPECT_EQ(p.data[0].out.sentinels(), before - 2 * 2 * nq * e);
      }
    }
  }
}

// Keys whose pairs lie across the border of two sides.
TEST(AttentionBf16, JointSidesEqualOneConcatenatedSide) {
  for (const auto& extents : {std::vector<Extents>{{20, 21}, {7, 76}}, {{0, 1}, {30, 1}, {3, 1}, {1, 300}}}) {
    Numbers joint(shape_of(2, 4, 2, 9, 6), extents, Layout::tokens, 7);
    run_bf16(joint);
    EXPECT_TRUE(near_naive(joint));
    Numbers whole(joint.shape, {{joint.nq(), joint.nk()}}, Layout::heads);
    Index q0 = 0, k0 = 0;
    for (auto& side : joint.data) {
      for (Index b = 0; b < 2; ++b) {
        for (Index h = 0; h < 4; ++h) {
          for (Index n = 0; n < side.nq; ++n) std::copy_n(side.q.at(b, n, h), 9, whole.data[0].q.at(b, q0 + n, h));
        }
        for (Index g = 0; g < 2; ++g) {
          for (Index n = 0; n < side.nk; ++n) std::copy_n(side.k.at(b, n, g), 9, whole.data[0].k.at(b, k0 + n, g));
          for (Index n = 0; n < side.nk; ++n) std::copy_n(side.v.at(b, n, g), 6, whole.data[0].v.at(b, k0 + n, g));
        }
      }
      q0 += side.nq;
      k0 += side.nk;
    }
    run_bf16(whole);
    q0 = 0;
    for (auto& side : joint.data) {
      for (Index n = 0; n < side.nq; ++n) {
        for (Index h = 0; h < 4; ++h) {
          for (Index e = 0; e < 6; ++e) {
            ASSERT_EQ(side.out.at(1, n, h)[e], whole.data[0].out.at(1, q0 + n, h)[e]);
          }
        }
      }
      q0 += side.nq;
    }
  }
}

TEST(AttentionBf16, GroupsOfKeysAndOfValues) {
  for (const auto& [groups, value_groups] : head_groups) {
    for (const Index nq : {1, 2, 50}) {
      Numbers p(shape_of(2, 12, groups, value_groups, 6, 9), {{nq, 3}, {0, 21}});
      run_bf16(p);
      EXPECT_TRUE(near_naive(p)) << groups << ", " << value_groups;
    }
  }
}

TEST(AttentionBf16, MasksAndScores) {
  Numbers p(shape_of(2, 2, 2, 10, 7), {{70, 330}});
  run_bf16(p, Causal{17});
  EXPECT_TRUE(near_naive(p, [](Index, Index, Index i, Index j) { return j <= i + 17; }));
  run_bf16(p, SlidingWindow{.left = 5, .right = 40, .offset = 100});
  EXPECT_TRUE(near_naive(p, [](Index, Index, Index i, Index j) { return j >= i + 95 && j <= i + 140; }));
  std::vector<float> bias(2 * 2 * 70 * 330);
  for (std::size_t x = 0; x < bias.size(); ++x) bias[x] = static_cast<float>(x % 37) * 0.1f;
  for (std::size_t x = 0; x < bias.size(); x += 5) bias[x] = -std::numeric_limits<float>::infinity();
  run_bf16(p, NoMask{}, AdditiveBias<float>{bias.data(), 2 * 70 * 330, 70 * 330, 330});
  EXPECT_TRUE(near_naive(p, naive::KeepAll{}, [&](double s, Index b, Index h, Index i, Index j) {
    return s + static_cast<double>(bias[static_cast<std::size_t>(((b * 2 + h) * 70 + i) * 330 + j)]);
  }));
  const float slopes[] = {0.03f, 0.01f};
  run_bf16(p, Causal{300}, Alibi<float>{slopes, 0});
  EXPECT_TRUE(near_naive(
      p, [](Index, Index, Index i, Index j) { return j <= i + 300; },
      [&](double s, Index, Index h, Index i, Index j) {
        return s - static_cast<double>(slopes[h]) * std::abs(static_cast<double>(i - j));
      }));
  run_bf16(p, NoMask{}, SoftCap{0.7});
  EXPECT_TRUE(
      near_naive(p, naive::KeepAll{}, [](double s, Index, Index, Index, Index) { return 0.7 * std::tanh(s / 0.7); }));
}

TEST(AttentionBf16, ARowThatSeesNoKeyIsZero) {
  Numbers p(shape_of(1, 2, 2, 8, 5), {{60, 100}});
  run_bf16(p, Causal{-30});
  for (Index i = 0; i < 60; ++i) {
    EXPECT_EQ(*p.data[0].lse.at(0, i, 1) == -std::numeric_limits<float>::infinity(), i < 30) << i;
    for (Index e = 0; e < 5; ++e) EXPECT_EQ(p.data[0].out.at(0, i, 1)[e] == 0.0f, i < 30) << i;
  }
}

TEST(AttentionBf16, AnyScale) {
  for (const double scale : {0.5, 3.0, 0.0, -0.7, 1e-30, 1e-300, -1e-20}) {
    Numbers p(shape_of(1, 1, 1, 8, 5), {{30, 40}});
    p.shape.scale = scale;
    run_bf16(p, Causal{0});
    // A scale that the queries take on before they are rounded moves the scores, by up to 8 * 1.5^2 * 2^-8.
    auto expected = rounded(p).expected([](Index, Index, Index i, Index j) { return j <= i; });
    EXPECT_LE(forward_distance(p, expected), scale < 0 ? 2 * 1.5 * 8 * 2.25 / 256 : out_bound) << scale;
  }
  Numbers p(shape_of(1, 1, 1, 8, 5), {{30, 40}}), score = p;
  for (auto* x : {&p, &score}) x->shape.scale = -0.5;  // a power of two is not rounded
  run_bf16(p);
  EXPECT_TRUE(near_naive(p));
  run_bf16(score, NoMask{}, SoftCap{0.7});
  EXPECT_TRUE(near_naive(score, naive::KeepAll{},
                         [](double s, Index, Index, Index, Index) { return 0.7 * std::tanh(s / 0.7); }));
}

// Against operands that are not rounded. Rounding to bf16 is wrong by 1.6e-3 of a number (root mean square: 2^-8 /
// sqrt(3) where the significand is 1, half of that where it is 2). Of N(0, 1) numbers q, k, v and the weights
// contribute that much each: 3.3e-3 in all.
TEST(AttentionBf16, RelativeErrorOfNormalInputs) {
  Numbers p(shape_of(1, 2, 2, 64, 64), {{100, 1024}});
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (auto* x : {&p.data[0].q, &p.data[0].k, &p.data[0].v}) x->each([&](float& y) { y = normal(random); });
  run_bf16(p);
  auto expected = p.expected();
  const auto out = p.data[0].out.values();
  const auto exact = expected.data[0].out.values();
  double error = 0, size = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    error += std::pow(static_cast<double>(out[i]) - exact[i], 2);
    size += exact[i] * exact[i];
  }
  EXPECT_LE(std::sqrt(error / size), 4e-3);
  EXPECT_GE(std::sqrt(error / size), 2e-3);  // it did round
}

TEST(AttentionBf16, NotANumberSpreadsAsFarAsItShould) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Index nq : {1, 20}) {
    for (const Index at : {0, 5, 20, 255, 256, 299}) {
      Numbers p(shape_of(1, 1, 1, 3, 3), {{nq, 300}});
      const auto clean = p;
      p.data[0].k.at(0, at, 0)[1] = nan;  // every row sees it
      run_bf16(p);
      for (float x : p.data[0].out.values()) EXPECT_TRUE(std::isnan(x)) << at;
      run_bf16(p, Causal{at - 10});  // rows 10.. see it
      for (Index i = 0; i < nq; ++i) EXPECT_EQ(std::isnan(*p.data[0].lse.at(0, i, 0)), i >= 10) << at << " " << i;
      p = clean;
      p.data[0].v.at(0, at, 0)[1] = nan;  // column 1 of every row
      run_bf16(p);
      for (Index i = 0; i < nq; ++i) {
        EXPECT_FALSE(std::isnan(p.data[0].out.at(0, i, 0)[0]));
        EXPECT_TRUE(std::isnan(p.data[0].out.at(0, i, 0)[1]));
      }
    }
  }
}

// A score of -inf is a weight of 0, of +inf no number, as in PyTorch.
TEST(AttentionBf16, InfiniteScores) {
  for (const auto mode : {Numeric::exact, Numeric::bf16}) {
    for (const float huge : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
      Numbers p(shape_of(1, 1, 1, 3, 3), {{20, 300}});
      for (Index i = 0; i < 20; ++i) p.data[0].q.at(0, i, 0)[1] = 1.0f;
      p.data[0].k.at(0, 100, 0)[1] = huge;
      p.run(NoMask{}, NoScore{}, 1, mode);
      for (float x : p.data[0].out.values()) EXPECT_EQ(std::isnan(x), huge > 0);
    }
  }
}

TEST(AttentionBf16, DoubleIsExactInEveryMode) {
  Problem<double> p(shape_of(1, 2, 2, 9, 5), {{14, 37}}), exact = p;
  p.run(NoMask{}, NoScore{}, 1, Numeric::bf16);
  exact.run();
  EXPECT_TRUE(same_forward(p, exact));
}

TEST(AttentionBf16, IsWhatTheModesBf16AndInt8Do) {
  Numbers p(shape_of(1, 2, 2, 9, 5), {{14, 37}});
  run_bf16(p);
  for (const auto mode : {Numeric::bf16, Numeric::int8}) {
    Numbers other(p.shape, {{14, 37}});
    other.run(NoMask{}, NoScore{}, 1, mode);
    EXPECT_TRUE(same_forward(p, other));
  }
}

// All formats, whichever the build has chosen; tiles may be plain code that stands for them.
template <class Format>
class AttentionBf16Format : public ::testing::Test {};
#if defined(__AVX512F__)
using Formats = ::testing::Types<tile::RoundedFormat, tile::PairFormat, tile::AmxFormat>;
#else
using Formats = ::testing::Types<tile::RoundedFormat, tile::PairFormat>;
#endif
TYPED_TEST_SUITE(AttentionBf16Format, Formats);

TYPED_TEST(AttentionBf16Format, AgreesWithNaive) {
  for (const Index nq : {1, 30}) {
    for (const Index nk : {1, 5, 18, 300}) {
      for (const Index d : {1, 9, 64, 150}) {
        Numbers p(shape_of(2, 4, 2, d, 35), {{nq, nk}, {2, 7}});
        run_bf16<TypeParam>(p, Causal{4});
        EXPECT_TRUE(near_naive(p, [](Index, Index, Index i, Index j) { return j <= i + 4; }))
            << nq << " " << nk << " " << d;
      }
    }
  }
}

TYPED_TEST(AttentionBf16Format, EveryLengthAndAlignment) {
  sweep_problems<float>([](Numbers& p) {
    run_bf16<TypeParam>(p);
    EXPECT_TRUE(near_naive(p));
  });
}

TYPED_TEST(AttentionBf16Format, ThreadsDoNotChangeABit) {
  for (const auto& extents : {std::vector<Extents>{{130, 300}}, {{70, 70}, {33, 290}}, {{1, 700}}}) {
    Numbers one(shape_of(1, 2, 1, 10, 7), extents);
    run_bf16<TypeParam>(one, Causal{90});
    for (const int threads : aulos_test::more_threads) {
      Numbers many(one.shape, extents);
      run_bf16<TypeParam>(many, Causal{90}, NoScore{}, threads);
      EXPECT_TRUE(same_forward(one, many)) << threads;
    }
  }
}

TYPED_TEST(AttentionBf16Format, ARowDoesNotDependOnItsNeighbours) {
  for (const auto& mask : {Causal{0}, Causal{200}, Causal{10000}}) {
    const Index width = mask.offset == 200 ? 85 : 5;
    Numbers whole(shape_of(1, 2, 2, width + 7, width), {{110, 600}});
    run_bf16<TypeParam>(whole, mask);
    for (const Index first : {0, 37, 86, 108, 109}) {
      const Index count = std::min<Index>(110 - first, 50);
      auto sides = whole.sides();
      Numbers part(whole.shape, {{count, 600}});
      auto own = part.sides();
      own[0].q = sides[0].q;
      own[0].q.data += first * own[0].q.token;
      own[0].k = sides[0].k;
      own[0].v = sides[0].v;
      aulos::ThreadTeam team(1);
      tile::attention_as<TypeParam, float>(team.threads(tile::scratch_as<TypeParam>(part.shape, count)), part.shape,
                                           own, Causal{mask.offset + first}, NoScore{});
      for (Index n = 0; n < count; ++n) {
        for (Index h = 0; h < 2; ++h) {
          ASSERT_EQ(std::memcmp(part.data[0].out.at(0, n, h), whole.data[0].out.at(0, first + n, h),
                                static_cast<std::size_t>(width) * sizeof(float)),
                    0)
              << first << " + " << n;
        }
      }
    }
  }
}

}  // namespace
}  // namespace attention_test
