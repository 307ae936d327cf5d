#include "aulos/kernels/softmax.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "aulos/kernels/naive/softmax.hpp"
#include "sweep.hpp"
#include "thread_counts.hpp"

namespace {

namespace kernels = aulos::kernels;
namespace simd = aulos::simd;
using namespace aulos_test;

template <class T>
class Softmax : public ::testing::Test {
 protected:
  static constexpr T inf = std::numeric_limits<T>::infinity();
  static constexpr T nan = std::numeric_limits<T>::quiet_NaN();
  aulos::ThreadTeam team{2};

  struct Results {
    Matrix<T> p, log_p, lse;
  };
  Results run(const Matrix<T>& x) {
    const Index rows = x.rows(), n = x.columns();
    Results r{Matrix<T>(rows, n, 1), Matrix<T>(rows, n, 1), Matrix<T>(1, rows)};
    kernels::softmax<T>(team.threads(), rows, n, x.view(), r.p.view());
    kernels::log_softmax<T>(team.threads(), rows, n, x.view(), r.log_p.view());
    kernels::logsumexp<T>(team.threads(), rows, n, x.view(), r.lse.row(0));
    return r;
  }
  Results run_naive(const Matrix<T>& x) {
    const Index rows = x.rows(), n = x.columns();
    Results r{Matrix<T>(rows, n), Matrix<T>(rows, n), Matrix<T>(1, rows)};
    kernels::naive::softmax<T>(rows, n, x.view(), r.p.view());
    kernels::naive::log_softmax<T>(rows, n, x.view(), r.log_p.view());
    kernels::naive::logsumexp<T>(rows, n, x.view(), r.lse.row(0));
    return r;
  }
  void compare(const Matrix<T>& x) {
    const Results got = run(x), want = run_naive(x);
    // The twin's exp(x - lse) has an error of its own, |x| eps in double.
    expect_close(got.p, want.p, 16);
    expect_close(got.log_p, want.log_p, 4);
    expect_close(got.lse, want.lse, 4);
  }
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Softmax, Types);

TYPED_TEST(Softmax, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  sweep<T>([&](Index n, Index misalignment) {
    Matrix<T> x = Matrix<T>::random(1, 3, n, misalignment, 10);
    this->compare(x);
    if (n > 0) {
      x.at(1, n / 2) = -this->inf;  // a masked entry
      this->compare(x);
    }
    Matrix<T> inside = x;
    kernels::softmax<T>(this->team.threads(), 3, n, inside.view(), inside.view());
    expect_same_bits(inside, this->run(x).p);
  });
}

TYPED_TEST(Softmax, GradientsAgreeWithTheNaiveTwin) {
  using T = TypeParam;
  sweep<T>([&](Index n, Index misalignment) {
    Matrix<T> x = Matrix<T>::random(1, 3, n, misalignment, 4);
    if (n > 0) x.at(1, n / 2) = -this->inf;
    for (Index c = 0; c < n; ++c) x.at(2, c) = -this->inf;
    const Matrix<T> gy = Matrix<T>::random(2, 3, n, misalignment), glse = Matrix<T>::random(3, 1, 3);
    const auto y = this->run(x);
    Matrix<T> gx(3, n, misalignment), want(3, n);
    kernels::softmax_backward<T>(this->team.threads(), 3, n, y.p.view(), gy.view(), gx.view());
    kernels::naive::softmax_backward<T>(3, n, y.p.view(), gy.view(), want.view());
    expect_close(gx, want, 8);
    kernels::log_softmax_backward<T>(this->team.threads(), 3, n, y.log_p.view(), gy.view(), gx.view());
    kernels::naive::log_softmax_backward<T>(3, n, y.log_p.view(), gy.view(), want.view());
    expect_close(gx, want, 16);
    kernels::logsumexp_backward<T>(this->team.threads(), 3, n, x.view(), y.lse.row(0), glse.row(0), gx.view());
    kernels::naive::logsumexp_backward<T>(3, n, x.view(), y.lse.row(0), glse.row(0), want.view());
    expect_close(gx, want, 16);
    for (Index c = 0; c < n; ++c) EXPECT_EQ(gx.at(2, c), T(0));
  });
}

// The maximum is taken out: closed forms of the numerics report.
TYPED_TEST(Softmax, LargeLogitsDoNotOverflow) {
  using T = TypeParam;
  const auto row = [&](std::vector<double> values) {
    Matrix<T> x(1, static_cast<Index>(values.size()));
    x.fill([&](Index, Index c) { return values[static_cast<std::size_t>(c)]; });
    return this->run(x).p;
  };
  const Matrix<T> a = row({151.25, 150.25, -200});
  EXPECT_NEAR(a.at(0, 0), 0.7310586, 1e-7);
  EXPECT_NEAR(a.at(0, 1), 0.2689414, 1e-7);
  EXPECT_NEAR(a.at(0, 2), 0, 1e-30);
  for (const double big : {1e30, -1e30}) {
    const Matrix<T> b = row({big, big});
    EXPECT_EQ(b.at(0, 0), T(0.5));
    EXPECT_EQ(b.at(0, 1), T(0.5));
  }
}

TYPED_TEST(Softmax, ARowOfMinusInfinityGivesZero) {
  using T = TypeParam;
  for (Index n = 0; n <= 2 * simd::lanes<T> + 1; ++n) {
    Matrix<T> x = Matrix<T>::random(1, 3, n);
    for (Index c = 0; c < n; ++c) x.at(1, c) = -this->inf;
    const auto y = this->run(x);
    for (Index c = 0; c < n; ++c) {
      EXPECT_EQ(y.p.at(1, c), T(0));
      EXPECT_EQ(y.log_p.at(1, c), -this->inf);
      EXPECT_TRUE(std::isfinite(y.p.at(0, c)) && std::isfinite(y.p.at(2, c)));
    }
    EXPECT_EQ(y.lse.at(0, 1), -this->inf);
  }
}

TYPED_TEST(Softmax, NanInAnyPlaceMakesTheRowNan) {
  using T = TypeParam;
  for (Index n = 1; n <= 2 * simd::lanes<T> + 1; ++n) {
    for (Index place = 0; place < n; ++place) {
      Matrix<T> x = Matrix<T>::random(1, 2, n);
      x.at(1, place) = this->nan;
      const auto y = this->run(x);
      for (Index c = 0; c < n; ++c) {
        ASSERT_TRUE(std::isnan(y.p.at(1, c)) && std::isnan(y.log_p.at(1, c))) << place << " of " << n;
        ASSERT_FALSE(std::isnan(y.p.at(0, c)));
      }
      ASSERT_TRUE(std::isnan(y.lse.at(0, 1)));
      ASSERT_FALSE(std::isnan(y.lse.at(0, 0)));
    }
  }
}

// torch.logsumexp of a row that holds +inf is +inf, and its softmax is NaN there.
TYPED_TEST(Softmax, PlusInfinityIsAsInPyTorch) {
  using T = TypeParam;
  Matrix<T> x = Matrix<T>::random(1, 1, 20);
  x.at(0, 3) = this->inf;
  const auto y = this->run(x);
  EXPECT_EQ(y.lse.at(0, 0), this->inf);
  EXPECT_TRUE(std::isnan(y.p.at(0, 3)));
}

TYPED_TEST(Softmax, BitsDoNotDependOnThreads) {
  using T = TypeParam;
  const Matrix<T> x = Matrix<T>::random(1, 400, 77, 0, 10);
  const Matrix<T> gy = Matrix<T>::random(2, 400, 77), glse = Matrix<T>::random(3, 1, 400);
  std::vector<Matrix<T>> first;
  for (const int count : thread_counts) {
    aulos::ThreadTeam& some = team_of(count);
    const auto threads = some.threads();
    Matrix<T> p(400, 77), log_p(400, 77), lse(1, 400), gp(400, 77), glog_p(400, 77), gx(400, 77);
    kernels::softmax<T>(threads, 400, 77, x.view(), p.view());
    kernels::log_softmax<T>(threads, 400, 77, x.view(), log_p.view());
    kernels::logsumexp<T>(threads, 400, 77, x.view(), lse.row(0));
    kernels::softmax_backward<T>(threads, 400, 77, std::as_const(p).view(), gy.view(), gp.view());
    kernels::log_softmax_backward<T>(threads, 400, 77, std::as_const(log_p).view(), gy.view(), glog_p.view());
    kernels::logsumexp_backward<T>(threads, 400, 77, x.view(), lse.row(0), glse.row(0), gx.view());
    const std::vector<Matrix<T>> results{p, log_p, lse, gp, glog_p, gx};
    if (first.empty()) first = results;
    for (std::size_t i = 0; i < results.size(); ++i) expect_same_bits(results[i], first[i]);
  }
}

// Results that are larger than the caches take another way, with the same bits.
TYPED_TEST(Softmax, PastTheCaches) {
  using T = TypeParam;
  const Index n = 2208, rows = kernels::detail::past_caches_bytes / static_cast<Index>(sizeof(T)) / n + 3;
  std::vector<T> memory(static_cast<std::size_t>(2 * rows * n) + 32);
  T* y = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64 / sizeof(T);
  T* x = y + rows * n;
  for (Index i = 0; i < rows * n; ++i) x[i] = static_cast<T>((static_cast<double>(i * 37 % 1001) - 500) * 0.01);
  for (Index i = 0; i < n; ++i) x[n + i] = -this->inf;
  ASSERT_EQ(kernels::detail::softmax_goes_past_caches<T>(x, {y, n}, rows, n - 1), simd::has_stream);
  std::vector<T> alone(static_cast<std::size_t>(n));
  for (const Index columns : {n, n - 1}) {  // n - 1: rows with gaps, and a tail
    for (const int threads : thread_counts) {
      std::fill_n(y, rows * n, T(-77));
      aulos::ThreadTeam& workers = team_of(threads);
      kernels::softmax<T>(workers.threads(), rows, columns, {x, n}, {y, n});
      for (Index r = 0; r < rows; ++r) {
        std::fill(alone.begin(), alone.end(), T(-77));
        kernels::softmax<T>(workers.threads(), 1, columns, {x + r * n, n}, {alone.data(), n});
        ASSERT_EQ(std::memcmp(y + r * n, alone.data(), static_cast<std::size_t>(n) * sizeof(T)), 0) << r;
      }
    }
  }
}

}  // namespace
