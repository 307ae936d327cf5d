#include "aulos/kernels/gemm_epilogue.hpp"

#include <cmath>
#include <limits>

#include "aulos/kernels/activation.hpp"
#include "tests/kernels/gemm_support.hpp"
#include "tests/kernels/sweep.hpp"

namespace {

using namespace gemm_support;
namespace kernels = aulos::kernels;
namespace simd = aulos::simd;

template <class T>
class GemmEpilogue : public ::testing::Test {
 protected:
  static constexpr Index rows = 3, tile_stride = 70, row = 5;

  // Applies `epilogue` to every width from three columns on, and to tiles that begin as far behind a multiple of 64
  // bytes, and checks each element against expected(sum, i, j), i and j counted in y.
  template <class Epilogue, class Expected>
  void check(const Epilogue& epilogue, const Expected& expected, T* in_place = nullptr, Index ldy = 80) {
    aulos_test::sweep<T>([&](Index cols, Index misalignment) {
      const Index column = 16 + misalignment;
      const Shifted<T> tile(random<T>(rows * tile_stride, 8), misalignment);
      Guarded<T> y(row + rows, column + cols, ldy);
      T* out = in_place ? in_place : y.data();
      std::vector<T> want(static_cast<std::size_t>(rows * cols));
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < cols; ++j) {
          want[static_cast<std::size_t>(i * cols + j)] = expected(tile[i * tile_stride + j], row + i, column + j);
        }
      }
      kernels::detail::apply_epilogue(epilogue, tile.data(), tile_stride, row, rows, column, cols, out, ldy);
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < cols; ++j) {
          const T got = out[(row + i) * ldy + column + j];
          const T w = want[static_cast<std::size_t>(i * cols + j)];
          ASSERT_NEAR(got, w, std::numeric_limits<T>::epsilon() * (4 + std::abs(w))) << cols << ' ' << i << ' ' << j;
        }
      }
      EXPECT_TRUE(y.intact());
    });
  }
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(GemmEpilogue, Types);

TYPED_TEST(GemmEpilogue, None) {
  this->check(kernels::NoEpilogue{}, [](TypeParam sum, Index, Index) { return sum; });
}

TYPED_TEST(GemmEpilogue, BiasAndActivation) {
  using T = TypeParam;
  const auto bias = random<T>(80, 9);
  this->check(kernels::BiasActivation<T>{}, [](T sum, Index, Index) { return sum; });
  this->check(kernels::BiasActivation<T>{bias.data()},
              [&](T sum, Index, Index j) { return sum + bias[static_cast<std::size_t>(j)]; });
  auto square = [](simd::Batch<T> x) { return x * x; };
  const kernels::BiasActivation<T> squared{bias.data(), kernels::activation_row<T, decltype(square)>().value};
  this->check(squared, [&](T sum, Index, Index j) {
    const T x = sum + bias[static_cast<std::size_t>(j)];
    return x * x;
  });
}

TYPED_TEST(GemmEpilogue, GatedResidual) {
  using T = TypeParam;
  constexpr Index ld = 77;
  const auto bias = random<T>(80, 9), residual = random<T>(8 * ld, 10), gate = random<T>(8 * ld, 11);
  for (const Index rows_per_gate : {1, 2, 6, 8}) {
    for (const bool has_bias : {false, true}) {
      for (const bool has_gate : {false, true}) {
        const kernels::GatedResidual<T> epilogue{.bias = has_bias ? bias.data() : nullptr,
                                                 .residual = residual.data(),
                                                 .ldr = ld,
                                                 .gate = has_gate ? gate.data() : nullptr,
                                                 .ldg = ld,
                                                 .rows_per_gate = rows_per_gate};
        this->check(epilogue, [&](T sum, Index i, Index j) {
          const T value = sum + (has_bias ? bias[static_cast<std::size_t>(j)] : T(0));
          const T factor = has_gate ? gate[static_cast<std::size_t>(i / rows_per_gate * ld + j)] : T(1);
          return residual[static_cast<std::size_t>(i * ld + j)] + factor * value;
        });
      }
    }
  }
}

TYPED_TEST(GemmEpilogue, InPlace) {
  using T = TypeParam;
  constexpr Index ld = 80;
  auto y = random<T>(8 * ld, 12);
  const auto gate = random<T>(ld, 13);
  this->check(
      kernels::AddTo<T>{y.data(), ld},
      [&](T sum, Index i, Index j) { return y[static_cast<std::size_t>(i * ld + j)] + sum; }, y.data(), ld);
  this->check(
      kernels::GatedResidual<T>{.residual = y.data(), .ldr = ld, .gate = gate.data(), .ldg = ld, .rows_per_gate = 8},
      [&](T sum, Index i, Index j) {
        return y[static_cast<std::size_t>(i * ld + j)] + gate[static_cast<std::size_t>(j)] * sum;
      },
      y.data(), ld);
}

}  // namespace
