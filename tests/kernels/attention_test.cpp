#include "aulos/kernels/attention.hpp"

#include <gtest/gtest.h>

#include "tests/kernels/attention_problem.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace attention_test {
namespace {

using namespace aulos::kernels;

template <class T>
class Attention : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Attention, Types);

TYPED_TEST(Attention, AgreesWithNaiveAtEverySize) {
  using T = TypeParam;
  for (const Index nq : {0, 1, 7, 11, 12, 13, 47, 48, 49, 100}) {
    for (const Index nk : {0, 1, 7, 15, 16, 17, 31, 32, 33, 255, 256, 257, 300}) {
      Problem<T> p(shape_of(1, 1, 1, 8, 8), {{nq, nk}});
      p.run();
      auto expected = p.expected();
      EXPECT_LE(forward_distance(p, expected), tolerance<T>) << nq << " x " << nk;
    }
  }
}

TYPED_TEST(Attention, AgreesWithNaiveAtEveryWidth) {
  using T = TypeParam;
  for (const Index d : {0, 1, 3, 5, 8, 17, 40, 64, 72}) {
    for (const Index e : {0, 1, 3, 8, 33, 72}) {
      Problem<T> p(shape_of(2, 2, 1, d, e), {{14, 37}});
      p.run();
      auto expected = p.expected();
      EXPECT_LE(forward_distance(p, expected), tolerance<T>) << "D " << d << ", E " << e;
    }
  }
}

TYPED_TEST(Attention, EveryLengthAndAlignment) {
  using T = TypeParam;
  sweep_problems<T>([](Problem<T>& p) {
    p.run();
    auto expected = p.expected();
    EXPECT_LE(forward_distance(p, expected), tolerance<T>);
  });
}

TYPED_TEST(Attention, HeadsReadConsecutiveGroups) {
  using T = TypeParam;
  Problem<T> p(shape_of(2, 4, 2, 5, 3), {{9, 21}});
  p.run();
  auto expected = p.expected();
  EXPECT_LE(forward_distance(p, expected), tolerance<T>);
  // Independent of the twin: the values of group 1 reach heads 2 and 3 only.
  auto moved = p;
  for (Index n = 0; n < 21; ++n) moved.data[0].v.at(0, n, 1)[0] += T(1);
  moved.run();
  for (Index h = 0; h < 4; ++h) {
    EXPECT_EQ(p.data[0].out.at(0, 4, h)[0] != moved.data[0].out.at(0, 4, h)[0], h >= 2) << h;
    EXPECT_EQ(p.data[0].out.at(1, 4, h)[0], moved.data[0].out.at(1, 4, h)[0]);
  }
}

// Keys and values are grouped each for themselves; one query row is a path of its own.
TYPED_TEST(Attention, ValuesHaveGroupsOfTheirOwn) {
  using T = TypeParam;
  for (const auto& [groups, value_groups] : head_groups) {
    for (const Index nq : {1, 2, 50}) {
      Problem<T> p(shape_of(2, 12, groups, value_groups, 5, 9), {{nq, 3}, {0, 21}});
      p.run();
      auto expected = p.expected();
      EXPECT_LE(forward_distance(p, expected), tolerance<T>) << groups << ", " << value_groups;
      Problem<T> threaded(p.shape, {{nq, 3}, {0, 21}});
      threaded.run({}, {}, 4);
      EXPECT_TRUE(same_forward(p, threaded)) << groups << ", " << value_groups;
    }
  }
  // Independent of the twin: the keys of group 1 of 4 reach heads 3 to 5, the values of group 1 of 6 heads 2 and 3.
  const Problem<T> first(shape_of(1, 12, 4, 6, 5, 3), {{9, 21}});
  const auto reached = [&](auto&& change) {
    auto p = first, moved = first;
    change(moved.data[0]);
    p.run();
    moved.run();
    std::vector<Index> heads;
    for (Index h = 0; h < 12; ++h)
      if (p.data[0].out.at(0, 4, h)[0] != moved.data[0].out.at(0, 4, h)[0]) heads.push_back(h);
    return heads;
  };
  EXPECT_EQ(reached([](auto& side) { side.k.at(0, 7, 1)[0] += T(1); }), (std::vector<Index>{3, 4, 5}));
  EXPECT_EQ(reached([](auto& side) { side.v.at(0, 7, 1)[0] += T(1); }), (std::vector<Index>{2, 3}));
}

TYPED_TEST(Attention, NoKeysNoQueriesNoBatch) {
  using T = TypeParam;
  Problem<T> p(shape_of(2, 2, 1, 4, 3), {{5, 0}});
  p.run();
  for (T x : p.data[0].out.values()) EXPECT_EQ(x, T(0));
  for (T x : p.data[0].lse.values()) EXPECT_EQ(x, -std::numeric_limits<T>::infinity());
  for (const auto& shape : {shape_of(0, 2, 1, 4, 3), shape_of(2, 0, 1, 4, 3), shape_of(2, 0, 0, 4, 3)}) {
    Problem<T> none(shape, {{5, 6}});
    none.run();
  }
  Problem<T> no_sides(shape_of(1, 1, 1, 4, 3), {});
  no_sides.run();
}

// One head of width 1 with scale 1: scores are q k.
template <class T>
Problem<T> scalar_problem(const std::vector<double>& q, const std::vector<double>& k, const std::vector<double>& v) {
  AttentionShape shape = shape_of(1, 1, 1, 1, 1);
  shape.scale = 1.0;
  Problem<T> p(shape, {{static_cast<Index>(q.size()), static_cast<Index>(k.size())}});
  auto copy = [](const std::vector<double>& from, auto& to) {
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = static_cast<T>(from[i]);
  };
  copy(q, p.data[0].q.data);
  copy(k, p.data[0].k.data);
  copy(v, p.data[0].v.data);
  return p;
}

TYPED_TEST(Attention, TakesTheMaximumOut) {
  using T = TypeParam;
  const double sigmoid1 = 0.73105857863000488;
  auto p = scalar_problem<T>({1000}, {1, 0.999}, {1, 0});
  p.run();
  EXPECT_NEAR(p.data[0].out.data[0], sigmoid1, 1e-4);
  p = scalar_problem<T>({1}, {151.3, 150.3, -200}, {1, 0, 100});
  p.run();
  EXPECT_NEAR(p.data[0].out.data[0], sigmoid1, 1e-5);
  EXPECT_NEAR(p.data[0].lse.data[0], 151.3 + 0.31326168751822283, 2e-5);
  for (const double huge : {1e30, -1e30}) {
    p = scalar_problem<T>({1}, {huge, huge}, {1, 0});
    p.run();
    EXPECT_EQ(p.data[0].out.data[0], T(0.5)) << huge;
  }
  for (const Index at : {0, 255, 256, 511, 599}) {  // the maximum in any tile: a weight of 1 beside nothing
    std::vector<double> k(600, -3), v(600, 7);
    k[static_cast<std::size_t>(at)] = 200;
    v[static_cast<std::size_t>(at)] = 2;
    p = scalar_problem<T>({1}, k, v);
    p.run();
    EXPECT_NEAR(p.data[0].out.data[0], 2, 1e-6) << at;
  }
}

TYPED_TEST(Attention, LogSumExpOfEqualScores) {
  using T = TypeParam;
  auto p = scalar_problem<T>({0}, std::vector<double>(300, 5.0), std::vector<double>(300, 2.0));
  p.run();
  EXPECT_NEAR(p.data[0].lse.data[0], std::log(300.0), 1e-6);
  EXPECT_NEAR(p.data[0].out.data[0], 2.0, 1e-6);
}

// Several sides are one problem on their keys and queries put one after another.
template <class T>
void expect_joint(const std::vector<Extents>& extents) {
  Problem<T> joint(shape_of(2, 4, 2, 9, 6), extents, Layout::tokens, 7);
  joint.run();
  Problem<T> whole(joint.shape, {{joint.nq(), joint.nk()}}, Layout::heads);
  Index q0 = 0, k0 = 0;
  for (auto& side : joint.data) {
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 4; ++h) {
        for (Index n = 0; n < side.nq; ++n) std::copy_n(side.q.at(b, n, h), 9, whole.data[0].q.at(b, q0 + n, h));
      }
      for (Index g = 0; g < 2; ++g) {
        for (Index n = 0; n < side.nk; ++n) {
          std::copy_n(side.k.at(b, n, g), 9, whole.data[0].k.at(b, k0 + n, g));
          std::copy_n(side.v.at(b, n, g), 6, whole.data[0].v.at(b, k0 + n, g));
        }
      }
    }
    q0 += side.nq;
    k0 += side.nk;
  }
  whole.run();
  q0 = 0;
  for (auto& side : joint.data) {
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 4; ++h) {
        for (Index n = 0; n < side.nq; ++n) {
          ASSERT_EQ(std::memcmp(side.out.at(b, n, h), whole.data[0].out.at(b, q0 + n, h), 6 * sizeof(T)), 0);
          ASSERT_EQ(*side.lse.at(b, n, h), *whole.data[0].lse.at(b, q0 + n, h));
        }
      }
    }
    q0 += side.nq;
  }
}

TYPED_TEST(Attention, JointSidesEqualOneConcatenatedSide) {
  expect_joint<TypeParam>({{20, 20}, {77, 77}});
  expect_joint<TypeParam>({{0, 30}, {50, 0}, {3, 260}});
  expect_joint<TypeParam>({{5, 5}, {0, 0}, {5, 5}});
  expect_joint<TypeParam>({{1, 0}, {0, 1}});
}

TYPED_TEST(Attention, ThreadsDoNotChangeABit) {
  using T = TypeParam;
  for (const auto& extents : {std::vector<Extents>{{130, 300}}, std::vector<Extents>{{70, 70}, {33, 290}}}) {
    Problem<T> one(shape_of(1, 2, 1, 10, 7), extents);
    one.run();
    for (const int threads : aulos_test::more_threads) {
      Problem<T> many(one.shape, extents);
      many.run(NoMask{}, NoScore{}, threads);
      EXPECT_TRUE(same_forward(one, many)) << threads;
    }
  }
}

TYPED_TEST(Attention, ARowDoesNotDependOnItsNeighbours) {
  using T = TypeParam;
  for (const auto& mask : {Causal{0}, Causal{200}, Causal{10000}}) {
    const Index width = mask.offset == 200 ? 85 : 5;
    Problem<T> whole(shape_of(1, 2, 2, width + 7, width), {{110, 600}});
    whole.run(mask);
    for (const Index first : {0, 37, 86, 108, 109}) {  // the last ones read keys and values in place
      const Index count = std::min<Index>(110 - first, 50);
      auto sides = whole.sides();
      Problem<T> part(whole.shape, {{count, 600}});
      auto own = part.sides();
      own[0].q = sides[0].q;
      own[0].q.data += first * own[0].q.token;
      own[0].k = sides[0].k;
      own[0].v = sides[0].v;
      aulos::ThreadTeam team(1);
      attention<T>(team.threads(attention_scratch<T>(part.shape, count, 600)), part.shape, own,
                   Causal{mask.offset + first});
      for (Index n = 0; n < count; ++n) {
        for (Index h = 0; h < 2; ++h) {
          ASSERT_EQ(std::memcmp(part.data[0].out.at(0, n, h), whole.data[0].out.at(0, first + n, h),
                                static_cast<std::size_t>(width) * sizeof(T)),
                    0)
              << first << " + " << n;
        }
      }
    }
  }
}

TYPED_TEST(Attention, AnyStridesAndNothingBesideTheRows) {
  using T = TypeParam;
  Problem<T> plain(shape_of(2, 3, 3, 7, 5), {{13, 40}, {50, 9}}, Layout::tokens, 3);
  plain.run();
  for (const Layout layout : {Layout::heads, Layout::gaps}) {
    Problem<T> other(plain.shape, {{13, 40}, {50, 9}}, layout, 3);
    const Index before = other.data[0].out.sentinels() + other.data[1].out.sentinels();
    other.run();
    EXPECT_TRUE(same_forward(plain, other));
    EXPECT_EQ(other.data[0].out.sentinels() + other.data[1].out.sentinels(), before - 2 * 3 * 63 * 5);
  }
}

TYPED_TEST(Attention, LogSumExpIsOptional) {
  using T = TypeParam;
  Problem<T> p(shape_of(1, 1, 1, 4, 4), {{5, 6}});
  p.run();
  Problem<T> without(p.shape, {{5, 6}});
  auto sides = without.sides();
  sides[0].lse = {};
  aulos::ThreadTeam team(1);
  attention<T>(team.threads(attention_scratch<T>(p.shape, 5, 6)), p.shape, sides);
  EXPECT_TRUE(same_bits(p.data[0].out, without.data[0].out));
}

TYPED_TEST(Attention, NotANumberSpreadsAsFarAsItShould) {
  using T = TypeParam;
  constexpr T nan = std::numeric_limits<T>::quiet_NaN();
  for (const Index at : {0, 5, 20, 255, 256, 299}) {
    Problem<T> p(shape_of(1, 1, 1, 3, 3), {{20, 300}});
    auto clean = p;
    clean.run();
    p.data[0].k.at(0, at, 0)[1] = nan;  // every row sees it
    p.run();
    for (T x : p.data[0].out.values()) EXPECT_TRUE(std::isnan(x)) << at;
    p.run(Causal{at - 10});  // rows 10.. see it
    for (Index i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(*p.data[0].lse.at(0, i, 0)), i >= 10) << at << " " << i;
    p = clean;
    p.data[0].v.at(0, at, 0)[1] = nan;  // column 1 of every row
    p.run();
    for (Index i = 0; i < 20; ++i) {
      EXPECT_FALSE(std::isnan(p.data[0].out.at(0, i, 0)[0]));
      EXPECT_TRUE(std::isnan(p.data[0].out.at(0, i, 0)[1]));
    }
    if (at < 20) {
      p = clean;
      p.data[0].q.at(0, at, 0)[2] = nan;  // its own row
      p.run();
      for (Index i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(p.data[0].out.at(0, i, 0)[0]), i == at);
    }
  }
}

}  // namespace
}  // namespace attention_test
