#include "aulos/kernels/where.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "aulos/kernels/naive/where.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
using aulos::Dims;
namespace kernels = aulos::kernels;

template <class T>
class WhereKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(WhereKernel, Types);

// The strides with which an operand is repeated along some of the axes of [3, 2, n].
Dims repeated(Index n, int axes) {
  Dims dims = aulos::dense_dims({(axes & 1) != 0 ? 1 : 3, (axes & 2) != 0 ? 1 : 2, (axes & 4) != 0 ? 1 : n});
  const Index full[] = {3, 2, n};
  for (int axis = 0; axis < 3; ++axis) {
    if ((axes >> axis & 1) != 0) dims.stride[axis] = 0;
    dims.extent[axis] = full[axis];
  }
  return dims;
}

TYPED_TEST(WhereKernel, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  sweep<T>([](Index n, Index misalignment) {
    const auto count = static_cast<std::size_t>(6 * n + misalignment);
    std::vector<std::uint8_t> mask(count);
    std::vector<T> a(count), b(count);
    for (std::size_t i = 0; i < count; ++i) {
      mask[i] = noise(1, i) > 0 ? static_cast<std::uint8_t>(1 + i % 255) : 0;
      a[i] = static_cast<T>(noise(2, i));
      b[i] = static_cast<T>(noise(3, i));
    }
    for (int m = 0; m < 8; ++m) {
      for (const int axes : {0, 4, 7}) {
        const Dims dm = repeated(n, m), da = repeated(n, axes), db = repeated(n, 7 - axes), dy = repeated(n, 0);
        std::vector<T> want(static_cast<std::size_t>(6 * n));
        kernels::naive::where<T>(mask.data() + misalignment, dm, a.data() + misalignment, da, b.data() + misalignment,
                                 db, want.data(), dy);
        for (const int threads : thread_counts) {
          aulos::ThreadTeam& team = team_of(threads);
          std::vector<T> y(static_cast<std::size_t>(6 * n));
          kernels::where<T>(team.threads(), mask.data() + misalignment, dm, a.data() + misalignment, da,
                            b.data() + misalignment, db, y.data(), dy);
          ASSERT_EQ(y, want);
        }
      }
    }
  });
}

TYPED_TEST(WhereKernel, WhatIsNotChosenHasNoInfluence) {
  using T = TypeParam;
  const Index n = 33;
  const Dims dims = aulos::dense_dims({n}), one = [] {
    Dims d = aulos::dense_dims({1});
    d.stride[0] = 0;
    return d;
  }();
  Dims fill = one;
  fill.extent[0] = n;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(n), 0);
  std::vector<T> x(static_cast<std::size_t>(n), T(2));
  kernels::where<T>(aulos::Threads::serial(), mask.data(), dims, &nan, fill, x.data(), dims, x.data(), dims);
  EXPECT_EQ(x, std::vector<T>(static_cast<std::size_t>(n), T(2)));
}

}  // namespace
