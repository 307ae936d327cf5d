#include "aulos/kernels/elementwise.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/elementwise.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
using aulos::Dims;
namespace kernels = aulos::kernels;

template <class T>
class ElementwiseKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ElementwiseKernel, Types);

template <class T>
std::vector<T> numbers(std::size_t count, std::uint64_t seed) {
  std::vector<T> x(count);
  for (std::size_t i = 0; i < count; ++i) x[i] = static_cast<T>(2 * noise(seed, i) + (noise(seed, i) < 0 ? -0.5 : 0.5));
  return x;
}

// y = f(a, b) to the bit, where `formula` is the same operation in double.
template <class T, class F, class Formula>
void check(const std::vector<T>& a, const Dims& da, const std::vector<T>& b, const Dims& db, const Dims& dy, F f,
           Formula formula, int threads = 1) {
  aulos::ThreadTeam team(threads);
  std::vector<T> y(static_cast<std::size_t>(dy.count()) + 8, T(-7)), want = y;  // 4 before and 4 behind stay
  kernels::binary<T>(team.threads(), a.data(), da, b.data(), db, y.data() + 4, dy, f);
  kernels::naive::binary<T>(a.data(), da, b.data(), db, want.data() + 4, dy, formula);
  ASSERT_EQ(y, want) << aulos::to_string(dy);
}

template <class Body>
void for_operations(Body body) {
  body(kernels::Add{}, std::plus<double>{});
  body(kernels::Subtract{}, std::minus<double>{});
  body(kernels::Multiply{}, std::multiplies<double>{});
  body(kernels::Divide{}, std::divides<double>{});
}

TYPED_TEST(ElementwiseKernel, EveryLengthAndAlignment) {
  using T = TypeParam;
  const std::vector<T> a = numbers<T>(64, 1), b = numbers<T>(64, 2);
  sweep<T>([&](Index length, Index misalignment) {
    const Dims dims = aulos::dense_dims({length});
    const auto behind = [&](const std::vector<T>& x, Index first) {
      return std::vector<T>(x.begin() + first, x.end());
    };
    for_operations([&](auto f, auto formula) {
      std::vector<T> y(static_cast<std::size_t>(length + misalignment + 4), T(-7)), want = y;
      kernels::binary<T>(aulos::Threads::serial(), a.data() + misalignment, dims, b.data() + 2 * misalignment, dims,
                         y.data() + misalignment, dims, f);
      const std::vector<T> from_a = behind(a, misalignment), from_b = behind(b, 2 * misalignment);
      kernels::naive::binary<T>(from_a.data(), dims, from_b.data(), dims, want.data() + misalignment, dims, formula);
      ASSERT_EQ(y, want);
    });
  });
}

// Every choice of axes that either operand repeats, of ranks 1 to 4 with the fourth axis at both ends of a batch.
TYPED_TEST(ElementwiseKernel, EveryBroadcast) {
  using T = TypeParam;
  const std::vector<T> a = numbers<T>(2000, 3), b = numbers<T>(2000, 4);
  for (const Index last : {1, 5, 19}) {
    const Dims y = aulos::dense_dims({2, 3, 1, last});
    const auto keep = [&](unsigned kept) {
      Dims dims = y;
      Index step = 1;
      for (int axis = 3; axis >= 0; --axis) {
        const bool whole = (kept >> axis & 1) != 0;
        dims.stride[axis] = whole ? step : 0;
        if (whole) step *= y.extent[axis];
      }
      return dims;
    };
    for (unsigned of_a = 0; of_a < 16; ++of_a)
      for (unsigned of_b = 0; of_b < 16; ++of_b)
        check(a, keep(of_a), b, keep(of_b), y, kernels::Subtract{}, std::minus<double>{});
  }
}

TYPED_TEST(ElementwiseKernel, ViewsOfEveryRank) {
  using T = TypeParam;
  const std::vector<T> a = numbers<T>(4000, 5), b = numbers<T>(4000, 6);
  for (int rank = 1; rank <= aulos::max_rank; ++rank) {
    Dims y, da;
    y.rank = da.rank = rank;
    Index step = 1;
    for (int axis = rank - 1; axis >= 0; --axis) {
      y.extent[axis] = da.extent[axis] = axis == rank - 1 ? 5 : 1 + axis % 3;
      da.stride[axis] = step;
      step = step * y.extent[axis] + 2;  // a gap behind every axis
    }
    y.make_dense();
    for_operations([&](auto f, auto formula) { check(a, da, b, y, y, f, formula); });
    for_operations([&](auto f, auto formula) { check(a, y, b, da, y, f, formula); });
  }
}

TYPED_TEST(ElementwiseKernel, LargeOnAnyThreads) {
  using T = TypeParam;
  const std::vector<T> a = numbers<T>(50003, 7), b = numbers<T>(50003, 8);
  for (const int threads : thread_counts) {
    const Dims line = aulos::dense_dims({50003}), matrix = aulos::dense_dims({700, 61}), column{2, {700, 61}, {1, 0}};
    check(a, line, b, line, line, kernels::Divide{}, std::divides<double>{}, threads);
    check(a, matrix, b, column, matrix, kernels::Multiply{}, std::multiplies<double>{}, threads);
  }
}

TYPED_TEST(ElementwiseKernel, InPlace) {
  using T = TypeParam;
  std::vector<T> a = numbers<T>(37, 9);
  const std::vector<T> before = a, b = numbers<T>(37, 10);
  const Dims dims = aulos::dense_dims({37});
  kernels::binary<T>(aulos::Threads::serial(), a.data(), dims, b.data(), dims, a.data(), dims, kernels::Subtract{});
  for (std::size_t i = 0; i < 37; ++i) EXPECT_EQ(a[i], before[i] - b[i]);
}

TYPED_TEST(ElementwiseKernel, NonFiniteNumbers) {
  using T = TypeParam;
  constexpr T inf = std::numeric_limits<T>::infinity();
  for (const Index length : {1, 3, 40}) {
    const std::size_t n = static_cast<std::size_t>(length);
    const std::vector<T> zero(n, T(0)), infinite(n, inf), one(n, T(1));
    std::vector<T> y(n);
    const Dims d = aulos::dense_dims({length});
    const auto run = [&](const std::vector<T>& a, const std::vector<T>& b, auto f) {
      kernels::binary<T>(aulos::Threads::serial(), a.data(), d, b.data(), d, y.data(), d, f);
      return y[n - 1];
    };
    EXPECT_TRUE(std::isnan(run(infinite, infinite, kernels::Subtract{})));
    EXPECT_TRUE(std::isnan(run(zero, infinite, kernels::Multiply{})));
    EXPECT_TRUE(std::isnan(run(zero, zero, kernels::Divide{})));
    EXPECT_EQ(run(one, zero, kernels::Divide{}), inf);
    EXPECT_EQ(run(one, infinite, kernels::Add{}), inf);
  }
}

// One to four terms over every length and across pieces; y may be a term.
TYPED_TEST(ElementwiseKernel, LinearCombinations) {
  using T = TypeParam;
  using Term = kernels::Term<T>;
  constexpr T eps = std::numeric_limits<T>::epsilon();
  const auto check = [](Index count, Index misalignment) {
    const std::size_t n = static_cast<std::size_t>(count), at = static_cast<std::size_t>(misalignment);
    std::vector<AlignedVector<T>> x;
    for (std::uint64_t t = 0; t < 4; ++t) {
      const auto values = numbers<T>(n + 2 * at, 20 + t);
      x.emplace_back(values.begin(), values.end());
    }
    const T factor[4] = {T(0.3), T(-1.7), T(2), T(0)};
    for (std::size_t terms = 0; terms <= 4; ++terms) {
      std::vector<Term> list;
      for (std::size_t t = 0; t < terms; ++t) list.push_back({factor[t], x[t].data() + (t % 2 + 1) * at});
      AlignedVector<T> first, want(n + at + 1, T(-7));
      kernels::naive::linear_combination<T, Term>(list, T(0.25), want.data() + at, count);
      for (const int threads : thread_counts) {
        aulos::ThreadTeam& team = team_of(threads);
        AlignedVector<T> y(n + at + 1, T(-7));
        kernels::linear_combination<T>(team.threads(), list, T(0.25), y.data() + at, count);
        for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], want[i], 16 * eps) << terms << " terms at " << i;
        for (std::size_t i = 0; i < at; ++i) ASSERT_EQ(y[i], T(-7));
        ASSERT_EQ(y[n + at], T(-7));
        if (threads == 1) first = y;
        ASSERT_EQ(std::memcmp(y.data(), first.data(), y.size() * sizeof(T)), 0);
      }
    }
    AlignedVector<T> y = x[0], want(n);
    const std::array<Term, 2> apart = {Term{T(1), x[0].data() + at}, Term{T(2), x[1].data()}};
    const std::array<Term, 2> in_place = {Term{T(1), y.data() + at}, Term{T(2), x[1].data()}};
    kernels::naive::linear_combination<T, Term>(apart, T(0), want.data(), count);
    kernels::linear_combination<T>(aulos::Threads::serial(), in_place, T(0), y.data() + at, count);
    for (std::size_t i = 0; i < n; ++i) ASSERT_NEAR(y[at + i], want[i], 16 * eps);
  };
  sweep<T>(check);
  for (const Index count : {16384, 16387, 40000}) check(count, 1);
}

TYPED_TEST(ElementwiseKernel, ATermOfFactorOneIsExact) {
  using T = TypeParam;
  const std::vector<T> u = numbers<T>(37, 30), c = numbers<T>(37, 31);
  const std::array<kernels::Term<T>, 2> terms = {kernels::Term<T>{T(0), u.data()}, kernels::Term<T>{T(1), c.data()}};
  std::vector<T> y(37);
  kernels::linear_combination<T>(aulos::Threads::serial(), terms, T(0), y.data(), 37);
  EXPECT_EQ(y, c);
}

}  // namespace
