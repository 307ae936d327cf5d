#include "aulos/kernels/modulate.hpp"

#include <gtest/gtest.h>

#include "aulos/kernels/naive/modulate.hpp"
#include "sweep.hpp"

namespace {

namespace kernels = aulos::kernels;
namespace simd = aulos::simd;
using namespace aulos_test;

template <class T>
class Modulate : public ::testing::Test {
 protected:
  aulos::ThreadTeam team{2};
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Modulate, Types);

TYPED_TEST(Modulate, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  const Index rows = 5;
  for (const Index rows_per : {1, 2, 5}) {
    const Index groups = (rows + rows_per - 1) / rows_per;
    sweep<T>([&](Index n, Index misalignment) {
      const Matrix<T> x = Matrix<T>::random(1, rows, n, misalignment), scale = Matrix<T>::random(2, groups, n, 1),
                      shift = Matrix<T>::random(3, groups, n, misalignment);
      for (const int parts : {0, 1, 2, 3}) {
        const auto s = parts & 1 ? scale.shared(rows_per) : kernels::SharedRows<const T>{};
        const auto t = parts & 2 ? shift.shared(rows_per) : kernels::SharedRows<const T>{};
        Matrix<T> y(rows, n, misalignment), want(rows, n), inside = x;
        kernels::modulate<T>(this->team.threads(), rows, n, x.view(), s, t, y.view());
        kernels::naive::modulate<T>(rows, n, x.view(), s, t, want.view());
        expect_close(y, want, 3);
        kernels::modulate<T>(this->team.threads(), rows, n, inside.view(), s, t, inside.view());
        expect_same_bits(inside, y);
      }
    });
  }
}

TYPED_TEST(Modulate, GradientsAgreeWithTheNaiveTwin) {
  using T = TypeParam;
  const Index rows = 7;
  for (const Index rows_per : {1, 3, 7}) {
    const Index groups = (rows + rows_per - 1) / rows_per;
    sweep<T>([&](Index n, Index misalignment) {
      const Matrix<T> x = Matrix<T>::random(1, rows, n, misalignment), scale = Matrix<T>::random(2, groups, n, 1),
                      gy = Matrix<T>::random(3, rows, n, misalignment);
      Matrix<T> gx(rows, n, misalignment), gscale(groups, n, misalignment), gshift(groups, n), want(rows, n);
      kernels::modulate_backward<T>(this->team.threads(), rows, n, x.view(), scale.shared(rows_per), gy.view(),
                                    gx.view(), gscale.shared(rows_per), gshift.shared(rows_per));
      kernels::naive::modulate<T>(rows, n, gy.view(), scale.shared(rows_per), {}, want.view());
      expect_close(gx, want, 3);
      std::vector<double> sum(static_cast<std::size_t>(groups * n));
      const auto of_sum = [&](Index r, Index c) { return sum[static_cast<std::size_t>(r * n + c)]; };
      kernels::naive::group_sums<T>(rows, rows_per, groups, n, gy.view(), x.view(), sum.data());
      expect_close(gscale, of_sum, 8);
      kernels::naive::group_sums<T>(rows, rows_per, groups, n, gy.view(), {}, sum.data());
      expect_close(gshift, of_sum, 8);
    });
  }
}

TYPED_TEST(Modulate, GatedResidualAgreesWithTheNaiveTwin) {
  using T = TypeParam;
  const Index rows = 6;
  for (const Index rows_per : {1, 4, 6}) {
    const Index groups = (rows + rows_per - 1) / rows_per;
    sweep<T>([&](Index n, Index misalignment) {
      const Matrix<T> x = Matrix<T>::random(1, rows, n, misalignment), gate = Matrix<T>::random(2, groups, n, 1),
                      f = Matrix<T>::random(3, rows, n, misalignment), gy = Matrix<T>::random(4, rows, n);
      Matrix<T> y(rows, n, misalignment), want(rows, n), inside = f;
      kernels::gated_residual<T>(this->team.threads(), rows, n, x.view(), gate.shared(rows_per), f.view(), y.view());
      kernels::naive::gated_residual<T>(rows, n, x.view(), gate.shared(rows_per), f.view(), want.view());
      expect_close(y, want, 3);
      kernels::gated_residual<T>(this->team.threads(), rows, n, x.view(), gate.shared(rows_per), inside.view(),
                                 inside.view());
      expect_same_bits(inside, y);

      Matrix<T> gf(rows, n, misalignment), ggate(groups, n);
      kernels::gated_residual_backward<T>(this->team.threads(), rows, n, gate.shared(rows_per), f.view(), gy.view(),
                                          gf.view(), ggate.shared(rows_per));
      expect_close(
          gf, [&](Index r, Index c) { return double(gy.at(r, c)) * double(gate.at(r / rows_per, c)); }, 3);
      std::vector<double> sum(static_cast<std::size_t>(groups * n));
      kernels::naive::group_sums<T>(rows, rows_per, groups, n, gy.view(), f.view(), sum.data());
      expect_close(
          ggate, [&](Index r, Index c) { return sum[static_cast<std::size_t>(r * n + c)]; }, 8);
    });
  }
}

// Results that are larger than the caches take another way, with the same bits.
TYPED_TEST(Modulate, PastTheCaches) {
  using T = TypeParam;
  const Index n = 256, rows = kernels::detail::past_caches_bytes / static_cast<Index>(sizeof(T)) / n + 3;
  std::vector<T> memory(static_cast<std::size_t>((2 * rows + 2) * n) + 32);
  T* y = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64 / sizeof(T);
  T *x = y + rows * n, *scale = x + rows * n, *shift = scale + n;
  for (Index i = 0; i < (rows + 2) * n; ++i) x[i] = static_cast<T>(i * 37 % 101) - T(40);
  kernels::modulate<T>(this->team.threads(), rows, n, {x, n}, {scale, 0, 1}, {shift, 0, 1}, {y, n});
  for (Index i = 0; i < rows * n; ++i) ASSERT_EQ(y[i], x[i] * (1 + scale[i % n]) + shift[i % n]) << i;  // integers
}

TYPED_TEST(Modulate, NanStaysInItsPlace) {
  using T = TypeParam;
  for (Index n = 1; n <= 2 * simd::lanes<T> + 1; ++n) {
    for (Index place = 0; place < n; ++place) {
      Matrix<T> x = Matrix<T>::random(1, 2, n), f = Matrix<T>::random(2, 2, n), row = Matrix<T>::random(3, 1, n),
                y(2, n);
      x.at(1, place) = std::numeric_limits<T>::quiet_NaN();
      const kernels::SharedRows<const T> one{row.row(0), 0, 1};
      kernels::modulate<T>(this->team.threads(), 2, n, x.view(), one, one, y.view());
      for (Index c = 0; c < n; ++c) ASSERT_EQ(std::isnan(y.at(1, c)), c == place);
      kernels::gated_residual<T>(this->team.threads(), 2, n, f.view(), one, x.view(), y.view());
      for (Index c = 0; c < n; ++c) ASSERT_EQ(std::isnan(y.at(1, c)), c == place);
    }
  }
}

}  // namespace
