#include "aulos/kernels/pooling.hpp"

#include "aulos/kernels/naive/pooling.hpp"
#include "kernels/conv_case.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;
using kernels::PoolDivisor;
using kernels::PoolShape;

template <class T>
class PoolKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PoolKernel, Types);

template <class T>
void check_pool(const PoolShape& s, Index misalignment = 0) {
  SCOPED_TRACE(::testing::Message() << s.rows.in << " -> " << s.rows.out << " by " << s.columns.in << " -> "
                                    << s.columns.out << ", kernel " << s.rows.kernel << " by " << s.columns.kernel);
  Numbers<T> x(1, s.planes * s.plane(), misalignment);
  const Numbers<T> gy(2, s.planes * s.positions(), misalignment);
  const double terms = static_cast<double>(s.rows.kernel * s.columns.kernel);
  const auto windows = [](const PoolShape& of, auto&& f) { kernels::naive::for_windows(of, f); };
  for (const PoolDivisor divisor : {PoolDivisor::window, PoolDivisor::inside}) {
    bool some = true;  // a window of padding alone has no mean of its inside
    kernels::naive::for_windows(s, [&](Index, const std::vector<Index>& in, Index) { some = some && !in.empty(); });
    if (!some && divisor == PoolDivisor::inside) continue;
    const std::size_t scratch = kernels::avg_pool_scratch<T>(s);
    expect_twin<T>(scratch, misalignment, kernels::naive::mean_pool(s, divisor, x.first, windows), terms,
                   [&](aulos::Threads threads, T* y) { kernels::avg_pool<T>(threads, s, divisor, x.first, y); });
    expect_twin<T>(
        scratch, misalignment, kernels::naive::mean_pool_backward(s, divisor, gy.first, windows), terms,
        [&](aulos::Threads threads, T* gx) { kernels::avg_pool_backward<T>(threads, s, divisor, gy.first, gx); });
  }
  for (Index i = 0; i < s.planes * s.plane(); i += 3) x.first[i] = T(0.5);  // equals: the first one counts
  const auto want = kernels::naive::max_pool(s, x.first);
  std::vector<std::int64_t> at(want.at.size() + 1, -7);
  const auto same = [&](std::int64_t* places) {
    expect_twin<T>(0, misalignment, want.y, 0,
                   [&](aulos::Threads threads, T* y) { kernels::max_pool<T>(threads, s, x.first, y, places); });
  };
  if (want.y.end() == std::find_if(want.y.begin(), want.y.end(), [](double v) { return std::isinf(v); })) {
    same(nullptr);
    same(at.data());
  } else {
    std::vector<T> y(want.y.size());
    kernels::max_pool<T>(aulos::Threads::serial(), s, x.first, y.data(), at.data());
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(static_cast<double>(y[i]), want.y[i]);
  }
  std::vector<double> gx(static_cast<std::size_t>(s.planes * s.plane()));
  for (std::size_t i = 0; i < want.at.size(); ++i) {
    const Index plane = static_cast<Index>(i) / s.positions() * s.plane();
    ASSERT_EQ(at[i] < 0 ? -1 : plane + at[i], want.at[i]) << i;
    if (want.at[i] >= 0) gx[static_cast<std::size_t>(want.at[i])] += static_cast<double>(gy.first[i]);
  }
  ASSERT_EQ(at.back(), -7);
  expect_twin<T>(0, misalignment, gx, terms, [&](aulos::Threads threads, T* to) {
    kernels::max_pool_backward<T>(threads, s, gy.first, at.data(), to);
  });
}

TYPED_TEST(PoolKernel, EveryLengthAndAlignment) {
  for (Index length = 3; length <= 70; ++length) {
    for (const Index misalignment : {0, 1, 3}) {
      check_pool<TypeParam>({3, {}, axis(length, 3, 1, 1, 1)}, misalignment);
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(PoolKernel, KernelsStridesPaddingsAndDilations) {
  for (const Index kernel : {1, 2, 3, 4})
    for (const Index stride : {1, 2, 3})
      for (Index padding = 0; padding <= kernel / 2; ++padding)
        for (const Index dilation : {1, 2}) {
          check_pool<TypeParam>({2, {}, axis(11, kernel, stride, padding, padding, dilation)});
          check_pool<TypeParam>({3, axis(7, kernel, stride, padding, padding, dilation), axis(10, 2, 2)});
          if (this->HasFatalFailure()) return;
        }
  check_pool<TypeParam>({0, {}, axis(9, 3)});
  check_pool<TypeParam>({2, {}, axis(2, 2, 1, 1, 1, 3)});  // padding alone
  check_pool<TypeParam>({9, axis(70, 3, 2, 1, 1), axis(100, 3, 2, 1, 1)});
}

TYPED_TEST(PoolKernel, NaNIsTheLargest) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  const std::vector<T> x{1, nan, 3, 4, nan, inf, -inf, -inf};
  std::vector<T> y(4);
  std::vector<std::int64_t> at(4);
  kernels::max_pool<T>(aulos::Threads::serial(), {1, {}, axis(8, 2, 2)}, x.data(), y.data(), at.data());
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(y[1], T(4));
  EXPECT_TRUE(std::isnan(y[2]));
  EXPECT_EQ(y[3], -inf);
  EXPECT_EQ(at, (std::vector<std::int64_t>{1, 3, 4, 6}));
}

TYPED_TEST(PoolKernel, Adaptive) {
  using T = TypeParam;
  const auto parts = [](const PoolShape& of, auto&& f) { kernels::naive::for_parts(of, f); };
  const auto check = [&](Index in, Index out, Index misalignment) {
    PoolShape s{5, {}, {}};
    s.columns.in = in;
    s.columns.out = out;
    s.rows.in = 6;
    s.rows.out = 4;
    const Numbers<T> x(1, s.planes * s.plane(), misalignment), gy(2, s.planes * s.positions(), misalignment);
    expect_twin<T>(0, misalignment, kernels::naive::mean_pool(s, PoolDivisor::window, x.first, parts), 4,
                   [&](aulos::Threads threads, T* y) { kernels::adaptive_avg_pool<T>(threads, s, x.first, y); });
    expect_twin<T>(
        0, misalignment, kernels::naive::mean_pool_backward(s, PoolDivisor::window, gy.first, parts), 20,
        [&](aulos::Threads threads, T* gx) { kernels::adaptive_avg_pool_backward<T>(threads, s, gy.first, gx); });
  };
  for (const Index in : {1, 2, 5, 7, 12})
    for (const Index out : {1, 2, 3, 7, 9}) check(in, out, 1);
  sweep<T>([&](Index length, Index misalignment) {
    if (length == 0) return;
    check(length, 3, misalignment);
    check(7, length, misalignment);
  });
}

}  // namespace
