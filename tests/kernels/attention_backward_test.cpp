#include "aulos/kernels/attention_backward.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "tests/kernels/attention_problem.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace attention_test {
namespace {

using namespace aulos::kernels;

template <class T>
class AttentionBackward : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionBackward, Types);

template <class T>
inline constexpr double gradient_tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;

TYPED_TEST(AttentionBackward, AgreesWithNaiveAtEverySize) {
  using T = TypeParam;
  for (const Index nq : {0, 1, 12, 47, 48, 49, 100}) {
    for (const Index nk : {0, 1, 7, 16, 17, 32, 33, 255, 256, 257}) {
      Problem<T> p(shape_of(1, 1, 1, 6, 6), {{nq, nk}});
      p.with_dlse = nq % 2 == 1;
      auto expected = p.expected_gradients();
      p.run();
      p.run_backward();
      EXPECT_LE(backward_distance(p, expected), gradient_tolerance<T>) << nq << " x " << nk;
    }
  }
}

TYPED_TEST(AttentionBackward, AgreesWithNaiveAtEveryWidth) {
  using T = TypeParam;
  for (const Index d : {1, 3, 8, 33, 64, 72}) {
    for (const Index e : {1, 5, 17, 64}) {
      Problem<T> p(shape_of(2, 4, 2, d, e), {{14, 37}, {9, 5}});
      p.with_dlse = true;
      auto expected = p.expected_gradients();
      p.run();
      p.run_backward();
      EXPECT_LE(backward_distance(p, expected), gradient_tolerance<T>) << "D " << d << ", E " << e;
    }
  }
}

TYPED_TEST(AttentionBackward, EveryLengthAndAlignment) {
  using T = TypeParam;
  sweep_problems<T>([](Problem<T>& p) {
    p.with_dlse = true;
    auto expected = p.expected_gradients();
    p.run();
    const Index before = p.data[0].dq.sentinels() + p.data[0].dk.sentinels() + p.data[0].dv.sentinels();
    p.run_backward();
    EXPECT_LE(backward_distance(p, expected), gradient_tolerance<T>);
    EXPECT_EQ(p.data[0].dq.sentinels() + p.data[0].dk.sentinels() + p.data[0].dv.sentinels(),
              before - 2 * (2 * p.nq() * p.shape.width + p.nk() * (p.shape.width + p.shape.value_width)));
  });
}

// One pass and two (8 threads for 1 batch element), overwriting and adding.
TYPED_TEST(AttentionBackward, ValuesHaveGroupsOfTheirOwn) {
  using T = TypeParam;
  for (const auto& [groups, value_groups] : head_groups) {
    Problem<T> p(shape_of(1, 12, groups, value_groups, 5, 9), {{49, 3}, {0, 270}});
    p.with_dlse = true;
    auto expected = p.expected_gradients();
    p.run();
    p.run_backward();
    EXPECT_LE(backward_distance(p, expected), gradient_tolerance<T>) << groups << ", " << value_groups;
    for (const int threads : aulos_test::more_threads) {
      auto threaded = p.without_gradients();
      threaded.run_backward({}, {}, threads);
      EXPECT_TRUE(same_backward(p, threaded)) << groups << ", " << value_groups << ", threads " << threads;
    }
    auto twice = p;
    twice.run_backward({}, {}, 1, Store::add);
    for (std::size_t s = 0; s < 2; ++s)
      for (auto* d : {&expected.data[s].dq, &expected.data[s].dk, &expected.data[s].dv})
        d->each([](double& x) { x *= 2; });
    EXPECT_LE(backward_distance(twice, expected), 2 * gradient_tolerance<T>) << groups << ", " << value_groups;
  }
}

TYPED_TEST(AttentionBackward, KeysThatNoHeadReadsHaveNoGradient) {
  using T = TypeParam;
  Problem<T> p(shape_of(2, 0, 1, 2, 4, 3), {{5, 6}});
  p.run_backward();
  for (const T x : p.data[0].dk.values()) EXPECT_EQ(x, T(0));
  for (const T x : p.data[0].dv.values()) EXPECT_EQ(x, T(0));
}

// The naive backward against central differences of the naive forward, so that both stand on their own.
TEST(AttentionBackwardNaive, AgreesWithCentralDifferences) {
  Problem<double> p(shape_of(1, 2, 1, 2, 3, 2), {{3, 2}, {2, 4}});
  p.with_dlse = true;
  auto keep = [](Index, Index, Index i, Index j) { return j <= i + 2; };
  auto score = [](double s, Index, Index h, Index, Index j) {
    return 2.0 * std::tanh(s / 2.0) + 0.1 * static_cast<double>(h + j);
  };
  auto slope = [](double s, Index, Index, Index, Index) { return 1.0 - std::pow(std::tanh(s / 2.0), 2); };
  auto loss = [&](Problem<double>& x) {
    const auto sides = x.sides();
    naive::attention<double>(x.shape, sides, keep, score);
    double sum = 0;
    for (auto& side : x.data) {
      for (std::size_t e = 0; e < side.out.data.size(); ++e) sum += side.out.data[e] * side.dout.data[e];
      for (std::size_t e = 0; e < side.lse.data.size(); ++e) sum += side.lse.data[e] * side.dlse.data[e];
    }
    return sum;
  };
  auto analytic = p.expected_gradients(keep, score, slope);
  for (std::size_t s = 0; s < 2; ++s) {
    auto check = [&](Array<double>& x, Array<double>& dx) {
      for (std::size_t e = 0; e < x.data.size(); ++e) {
        const double at = x.data[e], step = 1e-6 * std::max(1.0, std::abs(at));
        x.data[e] = at + step;
        const double up = loss(p);
        x.data[e] = at - step;
        const double down = loss(p);
        x.data[e] = at;
        EXPECT_NEAR((up - down) / (2 * step), dx.data[e], 1e-8);
      }
    };
    check(p.data[s].q, analytic.data[s].dq);
    check(p.data[s].k, analytic.data[s].dk);
    check(p.data[s].v, analytic.data[s].dv);
  }
}

TYPED_TEST(AttentionBackward, EmptyRowsHaveNoGradients) {
  using T = TypeParam;
  for (const Index nk : {4, 256, 257}) {  // rows 2.. see nothing; keys 2.. are seen by nobody
    auto mask = [](Index, Index, Index i, auto j) { return j.below(i < 2 ? 2 : 0); };
    Problem<T> p(shape_of(1, 1, 1, 8, 8), {{4, nk}});
    p.with_dlse = true;
    p.run(mask);
    p.run_backward(mask);
    auto expected = p.expected_gradients([](Index, Index, Index i, Index j) { return i < 2 && j < 2; });
    EXPECT_LE(backward_distance(p, expected), gradient_tolerance<T>);
    for (Index c = 0; c < 8; ++c) {
      EXPECT_EQ(p.data[0].dq.at(0, 2, 0)[c], T(0));
      EXPECT_EQ(p.data[0].dq.at(0, 3, 0)[c], T(0));
      for (Index j = 2; j < nk; ++j) {
        ASSERT_EQ(p.data[0].dk.at(0, j, 0)[c], T(0));
        ASSERT_EQ(p.data[0].dv.at(0, j, 0)[c], T(0));
      }
    }
  }
}

TYPED_TEST(AttentionBackward, NoKeysOrNoQueries) {
  using T = TypeParam;
  Problem<T> no_keys(shape_of(1, 2, 1, 4, 3), {{5, 0}});
  no_keys.run();
  no_keys.run_backward();
  for (T x : no_keys.data[0].dq.values()) EXPECT_EQ(x, T(0));
  Problem<T> no_queries(shape_of(1, 2, 1, 4, 3), {{0, 5}});
  no_queries.run();
  no_queries.run_backward();
  for (T x : no_queries.data[0].dk.values()) EXPECT_EQ(x, T(0));
  for (T x : no_queries.data[0].dv.values()) EXPECT_EQ(x, T(0));
}

TYPED_TEST(AttentionBackward, ThreadsDoNotChangeABit) {
  using T = TypeParam;
  for (const auto& shape : {shape_of(1, 2, 1, 10, 7), shape_of(3, 2, 2, 4, 4)}) {
    const std::vector<Extents> extents{{70, 260}, {53, 290}};
    Problem<T> one(shape, extents);
    one.run(Causal{400});
    one.run_backward(Causal{400});
    for (const int threads : aulos_test::more_threads) {  // few (batch, group): two passes
      auto many = one.without_gradients();
      many.run_backward(Causal{400}, NoScore{}, threads);
      EXPECT_TRUE(same_backward(one, many)) << threads;
    }
  }
}

// More query tiles than are packed at a time, within a head and over the heads that share keys.
TYPED_TEST(AttentionBackward, ManyQueries) {
  using T = TypeParam;
  for (const auto& [heads, nq] : {std::pair<Index, Index>{1, 1700}, {4, 500}}) {
    Problem<T> p(shape_of(1, heads, 1, 3, 4), {{nq, 270}});
    auto expected = p.expected_gradients();
    p.run();
    p.run_backward();
    EXPECT_LE(backward_distance(p, expected), 10 * gradient_tolerance<T>) << nq;
    auto threaded = p.without_gradients();
    threaded.run_backward({}, {}, 3);
    EXPECT_TRUE(same_backward(p, threaded)) << nq;
    p.run_backward({}, {}, 1, Store::add);
    for (auto* d : {&expected.data[0].dq, &expected.data[0].dk, &expected.data[0].dv}) {
      d->each([](double& x) { x *= 2; });
    }
    EXPECT_LE(backward_distance(p, expected), 20 * gradient_tolerance<T>) << nq;
  }
}

TYPED_TEST(AttentionBackward, StoresAddsAndLeavesOut) {
  using T = TypeParam;
  Problem<T> p(shape_of(1, 2, 2, 6, 5), {{20, 30}}, Layout::gaps);
  p.run();
  p.run_backward();
  for (const int threads : aulos_test::thread_counts) {
    auto added = p;
    added.data[0].dq.fill(T(1));
    added.data[0].dk.fill(T(1));
    added.data[0].dv.fill(T(1));
    added.run_backward(NoMask{}, NoScore{}, threads, Store::add);
    auto shifted = p.twin();
    for (auto* x : {&shifted.data[0].dq, &shifted.data[0].dk, &shifted.data[0].dv}) x->each([](double& v) { v += 1; });
    EXPECT_LE(backward_distance(added, shifted), gradient_tolerance<T>);
  }
  for (int kept = 0; kept < 3; ++kept) {
    Problem<T> only(p.shape, {{20, 30}}, Layout::gaps);
    only.run();
    auto gradients = only.gradients();
    if (kept != 0) gradients[0].dq = {};
    if (kept != 1) gradients[0].dk = {};
    if (kept != 2) gradients[0].dv = {};
    const auto sides = only.sides();
    aulos::ThreadTeam team(1);
    attention_backward<T>(team.threads(attention_backward_scratch<T>(p.shape, 20, 30)), p.shape, sides, gradients);
    EXPECT_EQ(same_bits(only.data[0].dq, p.data[0].dq), kept == 0);
    EXPECT_EQ(same_bits(only.data[0].dk, p.data[0].dk), kept == 1);
    EXPECT_EQ(same_bits(only.data[0].dv, p.data[0].dv), kept == 2);
    EXPECT_EQ(only.data[0].dq.sentinels() + only.data[0].dk.sentinels() + only.data[0].dv.sentinels(),
              p.data[0].dq.sentinels() + p.data[0].dk.sentinels() + p.data[0].dv.sentinels() +
                  2 * (kept == 0   ? 30 * 11
                       : kept == 1 ? 20 * 6 + 30 * 5
                                   : 20 * 6 + 30 * 6));
  }
}

TYPED_TEST(AttentionBackward, JointSidesEqualOneConcatenatedSide) {
  using T = TypeParam;
  Problem<T> whole(shape_of(1, 2, 1, 6, 4), {{90, 300}});
  whole.with_dlse = true;
  whole.run();
  whole.run_backward();
  // The same memory seen as three sides, one of them without keys.
  auto split = whole;
  auto sides = split.sides();
  auto gradients = split.gradients();
  std::vector<AttentionSide<T>> parts;
  std::vector<AttentionSideGradients<T>> part_gradients;
  const Index cut_q[] = {0, 30, 50, 90}, cut_k[] = {0, 270, 270, 300};
  for (int s = 0; s < 3; ++s) {
    AttentionSide<T> part = sides[0];
    AttentionSideGradients<T> grad = gradients[0];
    part.nq = cut_q[s + 1] - cut_q[s];
    part.nk = cut_k[s + 1] - cut_k[s];
    for (auto* x : {&part.q, &grad.dout, &grad.dlse}) x->data += cut_q[s] * x->token;
    for (auto* x : {&part.out, &part.lse, &grad.dq.rows}) x->data += cut_q[s] * x->token;
    for (auto* x : {&part.k, &part.v}) x->data += cut_k[s] * x->token;
    for (auto* x : {&grad.dk.rows, &grad.dv.rows}) x->data += cut_k[s] * x->token;
    parts.push_back(part);
    part_gradients.push_back(grad);
  }
  for (auto* x : {&split.data[0].dq, &split.data[0].dk, &split.data[0].dv}) x->fill(T(0));
  aulos::ThreadTeam team(1);
  attention_backward<T>(team.threads(attention_backward_scratch<T>(whole.shape, 90, 300)), whole.shape, parts,
                        part_gradients);
  EXPECT_TRUE(same_backward(whole, split));
}

TYPED_TEST(AttentionBackward, NotANumberSpreads) {
  using T = TypeParam;
  Problem<T> p(shape_of(1, 1, 1, 3, 3), {{5, 20}});
  p.data[0].k.at(0, 7, 0)[1] = std::numeric_limits<T>::quiet_NaN();
  p.run();
  p.run_backward();
  for (auto* x : {&p.data[0].dq, &p.data[0].dk, &p.data[0].dv}) {
    for (T v : x->values()) EXPECT_TRUE(std::isnan(v));
  }
}

}  // namespace
}  // namespace attention_test
