#include "aulos/kernels/top_k.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/top_k.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;

template <class T>
class TopKKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(TopKKernel, Types);

// Few different values, so that many are equal.
template <class T>
Matrix<T> rows_with_ties(Index rows, Index columns, Index misalignment = 0) {
  Matrix<T> x(rows, columns, misalignment);
  x.fill([](Index r, Index c) { return std::floor(4 * noise(1, static_cast<std::uint64_t>(r * 131 + c))); });
  return x;
}

template <class T>
void check(const Matrix<T>& x, Index k) {
  const auto count = static_cast<std::size_t>(x.rows() * k);
  std::vector<T> want(count);
  std::vector<std::int64_t> want_at(count);
  kernels::naive::top_k<T>(x.row(0), x.stride(), x.rows(), x.columns(), k, want.data(), want_at.data());
  for (const int threads : thread_counts) {
    aulos::ThreadTeam& team = team_of(threads);
    std::vector<T> y(count, T(-7));
    std::vector<std::int64_t> at(count, -7);
    kernels::top_k<T>(team.threads(kernels::top_k_scratch(x.columns())), x.row(0), x.stride(), x.rows(), x.columns(), k,
                      y.data(), at.data());
    ASSERT_EQ(at, want_at);
    for (std::size_t i = 0; i < count; ++i) ASSERT_TRUE(y[i] == want[i] || (std::isnan(y[i]) && std::isnan(want[i])));
  }
}

TYPED_TEST(TopKKernel, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  sweep<T>([](Index n, Index misalignment) {
    for (const Index k : {Index{0}, Index{1}, n / 2, n})
      if (k <= n) check(rows_with_ties<T>(3, n, misalignment), k);
  });
  check(rows_with_ties<T>(50, 700), 13);
  check(Matrix<T>::random(2, 3, 20000), 40);
  check(rows_with_ties<T>(0, 5), 2);
}

TYPED_TEST(TopKKernel, EqualElementsKeepTheirOrderAndNaNIsTheLargest) {
  using T = TypeParam;
  constexpr T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  Matrix<T> x(1, 8);
  const T values[] = {1, inf, nan, 1, -inf, nan, T(-0.0), 0};
  x.fill([&](Index, Index c) { return values[c]; });
  T y[8];
  std::int64_t at[8];
  aulos::ThreadTeam team(1);
  kernels::top_k<T>(team.threads(kernels::top_k_scratch(8)), x.row(0), x.stride(), 1, 8, 8, y, at);
  EXPECT_EQ((std::vector<std::int64_t>(at, at + 8)), (std::vector<std::int64_t>{2, 5, 1, 0, 3, 6, 7, 4}));
  check(x, 5);
}

}  // namespace
