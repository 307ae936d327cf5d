#include "aulos/kernels/gemv.hpp"

#include "aulos/kernels/naive/gemm.hpp"
#include "tests/kernels/gemm_support.hpp"
#include "tests/kernels/sweep.hpp"

namespace {

using namespace gemm_support;
namespace detail = aulos::kernels::detail;

template <class T>
class Gemv : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Gemv, Types);

TYPED_TEST(Gemv, SumsInThePromisedOrder) {
  using T = TypeParam;
  constexpr Index cols = detail::gemm_cols<T>;
  for (const Index k : {0, 1, 2, 3, 4, 5, 9, 63, 1534, 1536, 1539, 3077}) {
    for (Index rows = 1; rows <= detail::gemm_few_rows; ++rows) {
      for (const Index lanes : {Index{1}, cols / 2, cols - 1, cols}) {
        const Index ldx = k + 1, ldw = rows == 2 ? 4096 : k + 2;  // 4096: rows that share cache sets
        const auto x = random<T>((rows - 1) * ldx + k, 14), w = random<T>((lanes - 1) * ldw + k, 15);
        std::vector<T> tile(static_cast<std::size_t>(rows * cols), T(99));
        detail::multiply_few_rows(rows, k, x.data(), ldx, w.data(), ldw, lanes, tile.data());
        for (Index i = 0; i < rows; ++i) {
          for (Index j = 0; j < lanes; j += 3) {
            const T expected = ordered_dot(x.data() + i * ldx, 1, w.data() + j * ldw, 1, k);
            ASSERT_TRUE(same_bits(tile[static_cast<std::size_t>(i * cols + j)], expected)) << k << ' ' << i << ' ' << j;
          }
        }
      }
    }
  }
}

// Terms around the batch; x and W begin anywhere, between NaNs.
TYPED_TEST(Gemv, EveryLengthAndAlignment) {
  using T = TypeParam;
  constexpr Index cols = detail::gemm_cols<T>;
  aulos_test::sweep<T>([](Index k, Index offset) {
    for (Index rows = 1; rows <= detail::gemm_few_rows; ++rows) {
      for (Index lanes = 1; lanes <= cols; ++lanes) {
        const Shifted<T> x(random<T>(rows * k, 16), offset), w(random<T>(lanes * k, 17), offset);
        std::vector<T> tile(static_cast<std::size_t>(rows * cols), T(99)), naive(tile);
        detail::multiply_few_rows(rows, k, x.data(), k, w.data(), k, lanes, tile.data());
        const auto same = [](double sum, Index, Index) { return sum; };
        aulos::kernels::naive::gemm(x.data(), k, w.data(), k, same, naive.data(), cols, rows, lanes, k);
        for (Index i = 0; i < rows; ++i) {
          for (Index j = 0; j < lanes; ++j) {
            const auto at = static_cast<std::size_t>(i * cols + j);
            ASSERT_NEAR(tile[at], naive[at], 20 * std::numeric_limits<T>::epsilon()) << lanes << ' ' << i << ' ' << j;
          }
        }
      }
    }
  });
}

}  // namespace
