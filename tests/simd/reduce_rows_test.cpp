#include "aulos/simd/reduce_rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace {

using aulos::Index;
using aulos::simd::Batch;
using aulos::simd::lanes;

template <class T>
class ReduceRows : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ReduceRows, Types);

template <class T>
std::vector<Batch<T>> numbers() {
  std::mt19937 random(1);
  std::vector<Batch<T>> rows;
  for (Index r = 0; r < lanes<T>; ++r) {
    alignas(64) T lane[static_cast<std::size_t>(lanes<T>)];
    for (T& x : lane) x = static_cast<T>(std::uniform_real_distribution<double>(-1, 1)(random));
    rows.push_back(aulos::simd::load(lane));
  }
  return rows;
}

TYPED_TEST(ReduceRows, IsTheSumAndTheMaximumOfEachRow) {
  using T = TypeParam;
  const auto rows = numbers<T>();
  const auto sum = aulos::simd::reduce_rows<T>(rows.data(), [](auto a, auto b) { return a + b; });
  const auto most = aulos::simd::reduce_rows<T>(rows.data(), [](auto a, auto b) { return aulos::simd::raw_max(a, b); });
  for (Index r = 0; r < lanes<T>; ++r) {
    double expected = 0;
    T top = rows[static_cast<std::size_t>(r)].get(0);
    for (Index l = 0; l < lanes<T>; ++l) {
      expected += static_cast<double>(rows[static_cast<std::size_t>(r)].get(l));
      top = std::max(top, rows[static_cast<std::size_t>(r)].get(l));
    }
    EXPECT_NEAR(static_cast<double>(sum.get(r)), expected, sizeof(T) == 4 ? 2e-6 : 1e-14) << r;
    EXPECT_EQ(most.get(r), top) << r;
  }
}

TYPED_TEST(ReduceRows, EveryPlaceHasTheSameTree) {
  using T = TypeParam;
  const auto rows = numbers<T>();
  const auto add = [](auto a, auto b) { return a + b; };
  const auto all = aulos::simd::reduce_rows<T>(rows.data(), add);
  for (Index from = 0; from < lanes<T>; ++from) {
    std::vector<Batch<T>> other(rows.size(), Batch<T>(T(7)));
    const auto to = static_cast<std::size_t>((from + 3) % lanes<T>);
    other[to] = rows[static_cast<std::size_t>(from)];
    EXPECT_EQ(aulos::simd::reduce_rows<T>(other.data(), add).get(static_cast<Index>(to)), all.get(from)) << from;
  }
}

}  // namespace
