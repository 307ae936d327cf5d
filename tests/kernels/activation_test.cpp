#include "aulos/kernels/activation.hpp"

#include <gtest/gtest.h>

#include "aulos/kernels/naive/activation.hpp"
#include "sweep.hpp"

namespace {

namespace kernels = aulos::kernels;
namespace simd = aulos::simd;
using namespace aulos_test;

template <class T>
class Activation : public ::testing::Test {
 protected:
  aulos::ThreadTeam team{2};
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Activation, Types);

template <class Visit>
void for_each_activation(Visit visit) {
  visit(simd::Identity{}, 0.0);
  visit(simd::Relu{}, 0.0);
  visit(simd::Sigmoid{}, 0.0);
  visit(simd::Tanh{}, 0.0);
  visit(simd::Silu{}, 0.0);
  visit(simd::Gelu{}, 0.0);
  visit(simd::GeluTanh{}, 0.0);
  visit(simd::Softplus{}, 0.0);
  visit(simd::EluPlusOne{}, 0.0);
  visit(simd::Exp{}, 0.0);
  visit(simd::Log{}, 5.5);  // positive numbers only
  visit(simd::Sqrt{}, 5.5);
  visit(simd::Rsqrt{}, 5.5);
  visit(simd::Square{}, 0.0);
  visit(simd::Abs{}, 0.0);
}

TYPED_TEST(Activation, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  for_each_activation([&](auto f, double offset) {
    sweep<T>([&](Index n, Index misalignment) {
      const Matrix<T> x = Matrix<T>::random(7, 3, n, misalignment, 5, offset), gy = Matrix<T>::random(8, 3, n);
      Matrix<T> y(3, n, misalignment), want(3, n), gx(3, n, misalignment), gx_want(3, n);
      kernels::activate<T>(this->team.threads(), 3, n, x.view(), y.view(), f);
      kernels::naive::activate<T>(3, n, x.view(), want.view(), f);
      expect_close(y, want, 8);
      kernels::activate_backward<T>(this->team.threads(), 3, n, x.view(), gy.view(), gx.view(), f);
      kernels::naive::activate_backward<T>(3, n, x.view(), gy.view(), gx_want.view(), f);
      expect_close(gx, gx_want, 16);
      // In place.
      Matrix<T> inside = x, inside_gradient = gy;
      kernels::activate<T>(this->team.threads(), 3, n, inside.view(), inside.view(), f);
      expect_same_bits(inside, y);
      kernels::activate_backward<T>(this->team.threads(), 3, n, x.view(), inside_gradient.view(),
                                    inside_gradient.view(), f);
      expect_same_bits(inside_gradient, gx);
    });
  });
}

TYPED_TEST(Activation, GatedAgreesWithTheNaiveTwin) {
  using T = TypeParam;
  const auto check = [&](auto f) {
    sweep<T>([&](Index n, Index misalignment) {
      const Matrix<T> a = Matrix<T>::random(1, 2, n, misalignment, 4), b = Matrix<T>::random(2, 2, n, 1, 3),
                      gy = Matrix<T>::random(3, 2, n);
      Matrix<T> y(2, n, misalignment), want(2, n), ga(2, n), gb(2, n, misalignment), ga_want(2, n), gb_want(2, n);
      kernels::gated_activation<T>(this->team.threads(), 2, n, a.view(), b.view(), y.view(), f);
      kernels::naive::gated_activation<T>(2, n, a.view(), b.view(), want.view(), f);
      expect_close(y, want, 8);
      kernels::gated_activation_backward<T>(this->team.threads(), 2, n, a.view(), b.view(), gy.view(), ga.view(),
                                            gb.view(), f);
      kernels::naive::gated_activation_backward<T>(2, n, a.view(), b.view(), gy.view(), ga_want.view(), gb_want.view(),
                                                   f);
      expect_close(ga, ga_want, 16);
      expect_close(gb, gb_want, 16);
      Matrix<T> only_a(2, n), only_b(2, n);
      kernels::gated_activation_backward<T>(this->team.threads(), 2, n, a.view(), b.view(), gy.view(), only_a.view(),
                                            {}, f);
      kernels::gated_activation_backward<T>(this->team.threads(), 2, n, a.view(), b.view(), gy.view(), {},
                                            only_b.view(), f);
      expect_same_bits(only_a, ga);
      expect_same_bits(only_b, gb);
    });
  };
  check(simd::Silu{});
  check(simd::GeluTanh{});
}

TYPED_TEST(Activation, NanStaysWhereItIsAndNowhereElse) {
  using T = TypeParam;
  for_each_activation([&](auto f, double offset) {
    for (Index n = 1; n <= 2 * simd::lanes<T> + 1; ++n) {
      for (Index place = 0; place < n; ++place) {
        Matrix<T> x = Matrix<T>::random(5, 1, n, 0, 2, offset), y(1, n);
        x.at(0, place) = std::numeric_limits<T>::quiet_NaN();
        kernels::activate<T>(this->team.threads(), 1, n, x.view(), y.view(), f);
        for (Index c = 0; c < n; ++c) ASSERT_EQ(std::isnan(y.at(0, c)), c == place) << c << " of " << n;
      }
    }
  });
}

// Dense rows are cut as one long row, rows with gaps are not; threads cut them as they like.
TYPED_TEST(Activation, BitsDependNeitherOnTheLayoutNorOnThreads) {
  using T = TypeParam;
  const Index rows = 37, columns = 1531;
  std::vector<T> x(static_cast<std::size_t>(rows * columns)), y(x.size()), z(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(4 * noise(3, i));
  aulos::ThreadTeam one(1), three(3);
  kernels::activate<T>(one.threads(), rows, columns, {x.data(), columns}, {y.data(), columns}, simd::Gelu{});
  kernels::activate<T>(three.threads(), rows, columns, {x.data(), columns}, {z.data(), columns}, simd::Gelu{});
  EXPECT_EQ(std::memcmp(y.data(), z.data(), y.size() * sizeof(T)), 0);
  Matrix<T> wide(rows, columns);
  kernels::activate<T>(three.threads(), rows, columns, {x.data(), columns}, wide.view(), simd::Gelu{});
  for (Index r = 0; r < rows; ++r) {
    EXPECT_EQ(std::memcmp(wide.row(r), y.data() + r * columns, static_cast<std::size_t>(columns) * sizeof(T)), 0);
  }
}

// Results that are larger than the caches take another way, with the same bits.
TYPED_TEST(Activation, PastTheCaches) {
  using T = TypeParam;
  const Index n = 1600, rows = kernels::detail::past_caches_bytes / static_cast<Index>(sizeof(T)) / n + 3;
  std::vector<T> memory(static_cast<std::size_t>(2 * rows * n) + 32);
  T* y = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64 / sizeof(T);
  T* x = y + rows * n;
  for (Index i = 0; i < rows * n; ++i) x[i] = static_cast<T>((static_cast<double>(i * 37 % 1001) - 500) * 0.01);
  ASSERT_EQ(kernels::detail::past_caches<T>(x, {y, n - 16}, rows, n), simd::has_stream);
  const auto check = [&](const auto& f, Index columns) {
    std::fill_n(y, rows * n, T(-77));
    kernels::activate<T>(this->team.threads(), rows, columns, {x, n}, {y, n}, f);
    for (const Index r : {Index{0}, rows / 2, rows - 1}) {
      std::vector<T> alone(static_cast<std::size_t>(n), T(-77));
      kernels::activate<T>(this->team.threads(), 1, columns, {x + r * n, n}, {alone.data(), n}, f);
      for (Index i = 0; i < n; ++i) ASSERT_EQ(y[r * n + i], alone[static_cast<std::size_t>(i)]) << r << " " << i;
    }
  };
  check(simd::Silu{}, n);
  check(simd::Silu{}, n - 1);  // rows with gaps, and a tail
  check(kernels::activation_row<T, simd::Silu>(), n);
}

}  // namespace
