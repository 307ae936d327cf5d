#include "aulos/kernels/attention_row_split.hpp"

#include <gtest/gtest.h>

#include "tests/kernels/attention_problem.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace attention_test {
namespace {

using namespace aulos::kernels;

template <class T>
class AttentionRowSplit : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionRowSplit, Types);

template <class T, class Mask = NoMask, class Score = NoScore>
void run_split(Problem<T>& p, int threads, const Mask& mask = {}, const Score& score = {}) {
  aulos::ThreadTeam team(threads);
  const auto sides = p.sides();
  const std::size_t bytes = attention_scratch<T>(p.shape, p.nq(), p.nk());
  // One element more than asked for, to see that it stays.
  const Index elements = tile::SplitSpace<T>(p.shape, p.nq(), p.nk()).elements();
  std::vector<T> workspace(static_cast<std::size_t>(elements + 1), std::numeric_limits<T>::quiet_NaN());
  workspace.back() = T(5);
  tile::RowSplit<T, Mask, Score>(p.shape, sides, mask, score, workspace.data()).run(team.threads(bytes));
  EXPECT_EQ(workspace.back(), T(5));
}

template <class T, class Mask = NoMask, class Score = NoScore>
void expect_same_bits(const AttentionShape& shape, const std::vector<Extents>& extents, const Mask& mask = {},
                      const Score& score = {}) {
  Problem<T> whole(shape, extents);
  whole.run(mask, score);
  for (const int threads : aulos_test::thread_counts) {
    Problem<T> split(shape, extents);
    run_split(split, threads, mask, score);
    EXPECT_TRUE(same_forward(whole, split)) << threads;
  }
}

TYPED_TEST(AttentionRowSplit, HasTheBitsOfOneThread) {
  using T = TypeParam;
  for (const Index nk : {1, 255, 256, 257, 1500}) {
    expect_same_bits<T>(shape_of(1, 1, 1, 64, 64), {{1, nk}});
    expect_same_bits<T>(shape_of(2, 3, 3, 9, 5), {{1, nk}});
    expect_same_bits<T>(shape_of(1, 4, 2, 16, 40), {{1, nk / 2}, {0, nk - nk / 2}});
    expect_same_bits<T>(shape_of(1, 2, 2, 16, 16), {{1, nk}, {1, 70}});
  }
}

TYPED_TEST(AttentionRowSplit, MasksAndRules) {
  using T = TypeParam;
  expect_same_bits<T>(shape_of(1, 2, 2, 8, 8), {{1, 1500}}, Causal{700});
  expect_same_bits<T>(shape_of(1, 2, 2, 8, 8), {{1, 1500}}, Causal{-1});  // sees none
  expect_same_bits<T>(shape_of(1, 2, 2, 8, 8), {{1, 1500}}, SlidingWindow{.left = 300, .right = 20, .offset = 900});
  const T slopes[] = {T(0.02), T(0.5)};
  expect_same_bits<T>(shape_of(1, 2, 2, 8, 8), {{1, 1500}}, NoMask{}, ScoreThen{Alibi<T>{slopes, 1499}, SoftCap{3.0}});
}

TYPED_TEST(AttentionRowSplit, AgreesWithNaive) {
  using T = TypeParam;
  Problem<T> p(shape_of(2, 2, 2, 24, 40), {{1, 1300}});
  run_split(p, 3);
  auto expected = p.expected();
  EXPECT_LE(forward_distance(p, expected), tolerance<T>);
}

TYPED_TEST(AttentionRowSplit, InfinityAndNotANumber) {
  using T = TypeParam;
  for (const T bad :
       {std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
    for (const Index at : {3, 600, 1299}) {
      Problem<T> whole(shape_of(1, 1, 1, 4, 4), {{1, 1300}});
      whole.data[0].q.at(0, 0, 0)[1] = T(1);
      whole.data[0].k.at(0, at, 0)[1] = bad;
      auto split = whole;
      whole.run();
      run_split(split, 4);
      const auto x = whole.data[0].out.values(), y = split.data[0].out.values();
      for (std::size_t e = 0; e < x.size(); ++e) {
        EXPECT_EQ(std::isnan(x[e]), !(bad < 0)) << at;
        EXPECT_TRUE(x[e] == y[e] || (std::isnan(x[e]) && std::isnan(y[e]))) << at;
      }
    }
  }
}

// Through attention(): with a workspace where it says that it wants one.
TYPED_TEST(AttentionRowSplit, IsTakenWhereRowsAreFew) {
  using T = TypeParam;
  const auto shape = shape_of(1, 2, 2, 16, 16);
  EXPECT_EQ(attention_workspace<T>(1, shape, 1, 5000), 0);
  EXPECT_EQ(attention_workspace<T>(4, shape, 1, 500), 0);
  EXPECT_EQ(attention_workspace<T>(4, shape, 2, 5000) > 0, true);
  EXPECT_EQ(attention_workspace<T>(4, shape, 3, 5000), 0);
  EXPECT_EQ(attention_workspace<T>(4, shape_of(1, 16, 16, 16, 16), 1, 5000), 0);
  const Index elements = attention_workspace<T>(4, shape, 1, 1500);
  ASSERT_GT(elements, 0);
  std::vector<T> workspace(static_cast<std::size_t>(elements), T(-1));
  Problem<T> whole(shape, {{1, 1500}}), split = whole;
  whole.run();
  aulos::ThreadTeam team(4);
  const auto sides = split.sides();
  attention<T>(team.threads(attention_scratch<T>(shape, 1, 1500)), shape, sides, NoMask{}, NoScore{},
               aulos::Numeric::exact, workspace.data());
  EXPECT_TRUE(same_forward(whole, split));
  EXPECT_NE(workspace.front(), T(-1));  // it was split
}

}  // namespace
}  // namespace attention_test
