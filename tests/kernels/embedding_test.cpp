#include "aulos/kernels/embedding.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/embedding.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;

template <class T>
class EmbeddingKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(EmbeddingKernel, Types);

constexpr Index table_rows = 11;

std::vector<std::int64_t> ids_of(Index count) {
  std::vector<std::int64_t> ids;
  for (Index i = 0; i < count; ++i) ids.push_back(i == 0 ? table_rows - 1 : i * i % table_rows);
  return ids;
}

TYPED_TEST(EmbeddingKernel, GathersRows) {
  using T = TypeParam;
  const auto check = [](Index count, Index width, Index misalignment) {
    const auto table = Matrix<T>::random(1, table_rows, width, misalignment);
    const auto ids = ids_of(count);
    std::vector<T> want(static_cast<std::size_t>(count * width) + 1, T(-7));
    const std::vector<T> before = want;
    kernels::naive::gather_rows<T>(table.row(0), table.stride(), ids.data(), count, width, want.data());
    for (const int threads : thread_counts) {
      aulos::ThreadTeam& team = team_of(threads);
      std::vector<T> y = before;
      kernels::gather_rows<T>(team.threads(), table.row(0), table.stride(), ids.data(), count, width, y.data());
      ASSERT_EQ(y, want);
    }
  };
  sweep<T>([&](Index width, Index misalignment) { check(7, width, misalignment); });
  check(0, 5, 0);
  check(1, 1, 0);
  check(900, 61, 0);
  check(3, 20000, 0);
}

TYPED_TEST(EmbeddingKernel, AddsRowsBackInOrder) {
  using T = TypeParam;
  const auto check = [](Index count, Index width, std::int64_t skip, Index misalignment = 0) {
    const auto ids = ids_of(count);
    AlignedVector<T> numbers(static_cast<std::size_t>(count * width + misalignment));
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<T>(noise(2, i));
    const T* gy = numbers.data() + misalignment;
    const auto before = Matrix<T>::random(3, table_rows, width, misalignment);
    Matrix<T> want = before;
    kernels::naive::scatter_add_rows<T>(gy, ids.data(), count, width, skip, want.row(0), want.stride());
    for (const int threads : thread_counts) {
      aulos::ThreadTeam& team = team_of(threads);
      Matrix<T> table = before;
      kernels::scatter_add_rows<T>(team.threads(), gy, ids.data(), count, width, skip, table.row(0), table.stride());
      expect_same_bits(table, want);  // in the promised order
    }
  };
  for (const std::int64_t skip : {-1, 4}) {
    sweep<T>([&](Index width, Index misalignment) { check(12, width, skip, misalignment); });
    for (const Index width : {0, 1, 3, 63, 64, 65, 200}) check(40, width, skip);
    check(0, 5, skip);
    check(1, 5, skip);
    check(500, 130, skip);
  }
}

TYPED_TEST(EmbeddingKernel, NaNStaysInItsRow) {
  using T = TypeParam;
  std::vector<T> gy(4 * 3, T(1));
  gy[4] = std::numeric_limits<T>::quiet_NaN();
  const std::int64_t ids[] = {0, 1, 2, 0};
  std::vector<T> table(9, T(0));
  kernels::scatter_add_rows<T>(aulos::Threads::serial(), gy.data(), ids, 4, 3, -1, table.data(), 3);
  for (std::size_t i = 0; i < 9; ++i) EXPECT_EQ(std::isnan(table[i]), i == 4) << i;
  EXPECT_EQ(table[0], T(2));
}

}  // namespace
