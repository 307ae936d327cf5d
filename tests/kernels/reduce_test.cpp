#include "aulos/kernels/reduce.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/reduce.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;

template <class T>
class ReduceKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ReduceKernel, Types);

TYPED_TEST(ReduceKernel, RowSums) {
  using T = TypeParam;
  const auto check = [](Index rows, Index columns, Index misalignment) {
    const auto x = Matrix<T>::random(1, rows, columns, misalignment), z = Matrix<T>::random(2, rows, columns);
    for (const bool product : {false, true}) {
      std::vector<T> first, want(static_cast<std::size_t>(rows));
      const T* other = product ? z.row(0) : nullptr;
      kernels::naive::row_sum<T>(x.row(0), x.stride(), other, z.stride(), rows, columns, -0.5, want.data());
      for (const int threads : thread_counts) {
        aulos::ThreadTeam& team = team_of(threads);
        std::vector<T> y(static_cast<std::size_t>(rows) + 1, T(-7));
        kernels::row_sum<T>(team.threads(), x.row(0), x.stride(), other, z.stride(), rows, columns, -0.5, y.data());
        for (std::size_t r = 0; r < want.size(); ++r) {  // the order of a sum of terms below 4, and the last rounding
          ASSERT_NEAR(y[r], want[r],
                      8e-16 * static_cast<double>(columns) + std::fabs(want[r]) * std::numeric_limits<T>::epsilon());
        }
        ASSERT_EQ(y.back(), T(-7));
        if (threads == 1) first = y;
        ASSERT_EQ(std::memcmp(y.data(), first.data(), y.size() * sizeof(T)), 0);
      }
    }
  };
  sweep<T>([&](Index columns, Index misalignment) { check(3, columns, misalignment); });
  check(0, 5, 0);
  check(700, 61, 1);
  check(3, 20000, 0);
}

// 1 + 2^-40 repeated: a sum in float would lose what a sum in double keeps.
TYPED_TEST(ReduceKernel, SumsAreInDouble) {
  using T = TypeParam;
  std::vector<T> x(4096, T(1));
  x[0] = T(16777216);  // 2^24: adding 1 to it is lost in float
  T sum = 0;
  kernels::row_sum<T>(aulos::Threads::serial(), x.data(), 4096, nullptr, 0, 1, 4096, 1.0, &sum);
  EXPECT_EQ(static_cast<double>(sum), static_cast<double>(static_cast<T>(16777216.0 + 4095)));
  EXPECT_EQ(kernels::total_sum<T>(x.data(), nullptr, 4096), 16777216.0 + 4095);
  const std::vector<T> large(100, T(1e20f));
  EXPECT_NEAR(std::sqrt(kernels::total_sum<T>(large.data(), large.data(), 100)) / 1e21, 1, 1e-6);
}

TYPED_TEST(ReduceKernel, ColumnSums) {
  using T = TypeParam;
  const auto check = [](Index rows, Index columns, Index misalignment) {
    const auto x = Matrix<T>::random(3, rows, columns, misalignment), z = Matrix<T>::random(4, rows, columns);
    for (const bool product : {false, true}) {
      std::vector<T> first, want(static_cast<std::size_t>(columns), T(0.5));
      const T* other = product ? z.row(0) : nullptr;
      kernels::naive::column_sum_add<T>(x.row(0), x.stride(), other, z.stride(), rows, columns, want.data());
      for (const int threads : thread_counts) {
        aulos::ThreadTeam& team = team_of(threads);
        std::vector<T> y(static_cast<std::size_t>(columns) + 1, T(0.5));
        kernels::column_sum_add<T>(team.threads(), x.row(0), x.stride(), other, z.stride(), rows, columns, y.data());
        for (std::size_t c = 0; c < want.size(); ++c) {
          ASSERT_NEAR(y[c], want[c], 2 * std::numeric_limits<T>::epsilon() * (1 + std::fabs(want[c])) + 1e-13);
        }
        ASSERT_EQ(y.back(), T(0.5));
        if (threads == 1) first = y;
        ASSERT_EQ(std::memcmp(y.data(), first.data(), y.size() * sizeof(T)), 0);
      }
    }
  };
  sweep<T>([&](Index columns, Index misalignment) { check(5, columns, misalignment); });
  for (const Index rows : {0, 1, 63, 64, 65, 200})
    for (const Index columns : {1, 127, 128, 129, 300}) check(rows, columns, 0);
}

TYPED_TEST(ReduceKernel, TotalSum) {
  using T = TypeParam;
  const auto check = [](Index count, Index misalignment) {
    AlignedVector<T> x(static_cast<std::size_t>(count + misalignment)), z(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<T>(noise(5, i));
      z[i] = static_cast<T>(noise(6, i));
    }
    const T *a = x.data() + misalignment, *b = z.data() + misalignment;
    EXPECT_NEAR(kernels::total_sum<T>(a, nullptr, count), kernels::naive::total_sum<T>(a, nullptr, count), 1e-11);
    EXPECT_NEAR(kernels::total_sum<T>(a, b, count), kernels::naive::total_sum<T>(a, b, count), 1e-11) << count;
  };
  sweep<T>(check);
  for (const Index count : {4095, 4096, 4097, 20001}) check(count, 1);
}

TYPED_TEST(ReduceKernel, RowMaxima) {
  using T = TypeParam;
  const auto check = [](Index rows, Index columns, Index misalignment) {
    auto x = Matrix<T>::random(7, rows, columns, misalignment);
    if (rows > 0 && columns > 3) x.at(0, 1) = x.at(0, 3) = T(50);  // the first of equals
    std::vector<T> want(static_cast<std::size_t>(rows) + 1, T(-7));
    std::vector<std::int64_t> want_at(want.size(), -7);
    const std::vector<T> before = want;
    const std::vector<std::int64_t> before_at = want_at;
    kernels::naive::row_max<T>(x.row(0), x.stride(), rows, columns, want.data(), want_at.data());
    for (const int threads : thread_counts) {
      aulos::ThreadTeam& team = team_of(threads);
      std::vector<T> value = before;
      std::vector<std::int64_t> at = before_at;
      kernels::row_max<T>(team.threads(), x.row(0), x.stride(), rows, columns, value.data(), at.data());
      ASSERT_EQ(value, want);
      ASSERT_EQ(at, want_at);
    }
  };
  for (Index columns = 1; columns < 40; ++columns)
    for (const Index misalignment : {0, 1, 3}) check(3, columns, misalignment);
  check(0, 5, 0);
  check(900, 61, 0);
  check(2, 20000, 0);
}

TYPED_TEST(ReduceKernel, NonFiniteNumbers) {
  using T = TypeParam;
  constexpr T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  const T x[4][5] = {{1, nan, 3, nan, 2}, {-inf, -inf, -inf, -inf, -inf}, {1, inf, 2, inf, 0}, {5, 4, 3, 2, nan}};
  T value[4];
  std::int64_t at[4];
  kernels::row_max<T>(aulos::Threads::serial(), x[0], 5, 4, 5, value, at);
  EXPECT_TRUE(std::isnan(value[0]) && std::isnan(value[3]));
  EXPECT_EQ(value[1], -inf);
  EXPECT_EQ(value[2], inf);
  EXPECT_EQ((std::vector<std::int64_t>(at, at + 4)), (std::vector<std::int64_t>{1, 0, 1, 4}));
  T sum[4];
  kernels::row_sum<T>(aulos::Threads::serial(), x[0], 5, nullptr, 0, 4, 5, 1.0, sum);
  EXPECT_TRUE(std::isnan(sum[0]) && std::isnan(sum[3]));
  EXPECT_EQ(sum[1], -inf);
  EXPECT_EQ(sum[2], inf);
  T columns[5] = {};
  kernels::column_sum_add<T>(aulos::Threads::serial(), x[0], 5, nullptr, 0, 4, 5, columns);
  EXPECT_TRUE(std::isnan(columns[1]) && std::isnan(columns[3]) && std::isnan(columns[4]));
  EXPECT_EQ(columns[0], -inf);
  EXPECT_TRUE(std::isnan(kernels::total_sum<T>(x[0], nullptr, 5)));
}

}  // namespace
