#include "aulos/kernels/attention_backward.hpp"

#include <gtest/gtest.h>

#include "tests/kernels/attention_problem.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace attention_test {
namespace {

using namespace aulos::kernels;

template <class T>
class AttentionScoreGradient : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionScoreGradient, Types);

template <class T>
inline constexpr double gradient_tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;

// The kernel itself against central differences of the kernel.
TEST(AttentionScoreGradientDifferences, AgreeInDouble) {
  Problem<double> p(shape_of(2, 2, 1, 5, 3), {{7, 4}, {6, 9}}, Layout::tokens, 11);
  p.with_dlse = true;
  const auto mask = Causal{1};
  const auto score = SoftCap{3.0};
  p.run(mask, score);
  p.run_backward(mask, score);
  auto loss = [&](Problem<double>& x) {
    x.run(mask, score);
    double sum = 0;
    for (auto& side : x.data) {
      for (std::size_t e = 0; e < side.out.data.size(); ++e) sum += side.out.data[e] * side.dout.data[e];
      for (std::size_t e = 0; e < side.lse.data.size(); ++e) sum += side.lse.data[e] * side.dlse.data[e];
    }
    return sum;
  };
  auto moved = p;
  for (std::size_t s = 0; s < 2; ++s) {
    auto check = [&](Array<double>& x, const Array<double>& dx) {
      for (std::size_t e = 0; e < x.data.size(); ++e) {
        const double at = x.data[e], step = 1e-6 * std::max(1.0, std::abs(at));
        x.data[e] = at + step;
        const double up = loss(moved);
        x.data[e] = at - step;
        const double down = loss(moved);
        x.data[e] = at;
        EXPECT_NEAR((up - down) / (2 * step), dx.data[e], 1e-8);
      }
    };
    check(moved.data[s].q, p.data[s].dq);
    check(moved.data[s].k, p.data[s].dk);
    check(moved.data[s].v, p.data[s].dv);
  }
}

// d bias of a bias shared over some axes, against the naive sum.
template <class T>
void expect_bias_gradient(Index batch_stride, Index head_stride, Index query_stride, Index size, int threads) {
  Problem<T> p(shape_of(2, 4, 2, 5, 3), {{13, 20}, {9, 15}});
  std::vector<T> bias(static_cast<std::size_t>(size)), dbias(bias.size(), T(0));
  std::mt19937 random(5);
  for (T& x : bias) x = static_cast<T>(std::uniform_real_distribution<double>(-1, 1)(random));
  bias[3] = -std::numeric_limits<T>::infinity();
  const AdditiveBias<T> rule{bias.data(), batch_stride, head_stride, query_stride, dbias.data()};
  p.run(NoMask{}, rule);
  p.run_backward(NoMask{}, rule, threads);
  std::vector<double> expected(bias.size(), 0.0);
  auto at = [&](Index b, Index h, Index i, Index j) {
    return static_cast<std::size_t>(b * batch_stride + h * head_stride + i * query_stride + j);
  };
  auto twin = p.expected_gradients(
      naive::KeepAll{},
      [&](double s, Index b, Index h, Index i, Index j) { return s + static_cast<double>(bias[at(b, h, i, j)]); },
      naive::UnitSlope{}, [&](double ds, Index b, Index h, Index i, Index j) { expected[at(b, h, i, j)] += ds; });
  EXPECT_LE(backward_distance(p, twin), gradient_tolerance<T>);
  for (std::size_t e = 0; e < bias.size(); ++e) {
    ASSERT_NEAR(static_cast<double>(dbias[e]), expected[e], gradient_tolerance<T>) << e;
  }
}

TYPED_TEST(AttentionScoreGradient, BiasGradientIsSummedOverSharedAxes) {
  using T = TypeParam;
  constexpr Index pairs = 22 * 35;
  for (const int threads : aulos_test::thread_counts) {
    expect_bias_gradient<T>(4 * pairs, pairs, 35, 8 * pairs, threads);
    expect_bias_gradient<T>(0, pairs, 35, 4 * pairs, threads);
    expect_bias_gradient<T>(pairs, 0, 35, 2 * pairs, threads);
    expect_bias_gradient<T>(0, 0, 35, pairs, threads);
    expect_bias_gradient<T>(35, 0, 0, 2 * 35, threads);
  }
}

TYPED_TEST(AttentionScoreGradient, ScoreRulesAgreeWithNaive) {
  using T = TypeParam;
  Problem<T> p(shape_of(1, 2, 2, 4, 4), {{30, 60}});
  const T slopes[] = {T(0.5), T(0.0625)};
  const ScoreThen score{Alibi<T>{slopes, 30}, SoftCap{2.0}};
  const Causal mask{30};
  p.run(mask, score);
  p.run_backward(mask, score);
  auto first = [&](double s, Index h, Index i, Index j) {
    return s - static_cast<double>(slopes[h]) * std::abs(static_cast<double>(i + 30 - j));
  };
  auto expected = p.expected_gradients(
      [](Index, Index, Index i, Index j) { return j <= i + 30; },
      [&](double s, Index, Index h, Index i, Index j) { return 2 * std::tanh(first(s, h, i, j) / 2); },
      [&](double s, Index, Index h, Index i, Index j) { return 1 - std::pow(std::tanh(first(s, h, i, j) / 2), 2); });
  EXPECT_LE(backward_distance(p, expected), gradient_tolerance<T>);
}

}  // namespace
}  // namespace attention_test
