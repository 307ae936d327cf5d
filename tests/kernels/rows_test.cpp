#include "aulos/kernels/rows.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "sweep.hpp"
#include "thread_counts.hpp"

namespace {

namespace kernels = aulos::kernels;
namespace simd = aulos::simd;
using namespace aulos_test;

TEST(Rows, SharedRowsServeTheRowsOfTheirGroup) {
  const double data[] = {10, 11, 20, 21, 30, 31};
  const kernels::SharedRows<const double> per_sample{data, 2, 4}, per_row{data, 2, 1}, one{data, 0, 1};
  EXPECT_EQ(per_sample[3][1], 11);
  EXPECT_EQ(per_sample[4][0], 20);
  EXPECT_EQ(per_sample[11][1], 31);
  EXPECT_EQ(per_row[2][1], 31);
  EXPECT_EQ(one[2][1], 11);
  EXPECT_FALSE(kernels::SharedRows<const double>{});
  EXPECT_TRUE(per_row);
}

TEST(Rows, LargeAlignedResultsGoPastTheCaches) {
  alignas(64) static float y[64], x[1];
  constexpr Index enough = kernels::detail::past_caches_bytes / static_cast<Index>(sizeof(float)) / 64;
  const auto past = [&](float* to, Index stride, Index rows) {
    return kernels::detail::past_caches<float>(x, {to, stride}, rows, 64);
  };
  EXPECT_EQ(past(y, 64, enough), simd::has_stream);
  EXPECT_FALSE(past(y, 64, enough - 1));
  EXPECT_FALSE(past(y + 1, 64, enough)) << "a row that starts within a batch";
  EXPECT_FALSE(past(y, 65, enough)) << "rows that start within a batch";
  EXPECT_FALSE(kernels::detail::past_caches<float>(y, {y, 64}, enough, 64)) << "in place";
}

TEST(Rows, EveryElementLiesInOneStretch) {
  aulos::ThreadTeam team(2);
  for (const Index columns : {0, 1, 7, 16383, 16384, 16385, 50000}) {
    for (const Index rows : {0, 1, 3}) {
      for (const bool dense : {false, true}) {
        std::vector<int> seen(static_cast<std::size_t>(rows * columns));
        kernels::detail::for_stretches(team.threads(), rows, columns, dense,
                                       [&](Index row, Index column, Index length) {
                                         for (Index i = 0; i < length; ++i)
                                           ++seen[static_cast<std::size_t>(row * columns + column + i)];
                                       });
        EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), rows * columns) << rows << " x " << columns;
      }
    }
  }
}

template <class T>
class ColumnSums : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ColumnSums, Types);

TYPED_TEST(ColumnSums, SumEachGroupInOrder) {
  using T = TypeParam;
  for (const Index columns : {1, 15, 16, 17, 33, 128, 130, 300}) {
    for (const Index rows : {0, 1, 5, 6, 64, 131}) {
      for (const Index rows_per : {0, 1, 3, 64}) {
        const Matrix<T> x = Matrix<T>::random(1, rows, columns, 1, 100);
        const Index groups = rows_per == 0 ? 1 : (rows + rows_per - 1) / rows_per;
        Matrix<T> one(groups, columns), more(groups, columns);
        for (const int threads : thread_counts) {
          aulos::ThreadTeam& team = team_of(threads);
          Matrix<T>& y = threads == 1 ? one : more;
          kernels::detail::column_sums<T, 2>(
              team.threads(), rows, rows_per, columns, {y.view(), {}}, [&](Index row, Index i, auto part) {
                return std::array<simd::Batch<T>, 2>{part.load(x.view()[row] + i), simd::Batch<T>(T(1))};
              });
          if (threads != 1) expect_same_bits(one, more);
        }
        expect_close(
            one,
            [&](Index group, Index c) {
              double sum = 0;
              const Index size = rows_per == 0 ? rows : rows_per;
              for (Index r = group * size; r < std::min(rows, (group + 1) * size); ++r) sum += double(x.at(r, c));
              return static_cast<T>(sum);
            },
            0);
      }
    }
  }
}

}  // namespace
