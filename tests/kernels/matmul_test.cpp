#include "aulos/kernels/matmul.hpp"

#include <limits>

#include "aulos/kernels/naive/gemm.hpp"
#include "tests/kernels/gemm_support.hpp"
#include "tests/kernels/sweep.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace {

using namespace gemm_support;
namespace kernels = aulos::kernels;
namespace detail = aulos::kernels::detail;
using kernels::GemmShape;
using kernels::MatrixView;
using kernels::Update;

template <class T>
class Matmul : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Matmul, Types);

enum class Order { rows, columns, neither };

// A [rows, cols] matrix stored in the given order with some room between lines.
template <class T>
struct Operand {
  Operand(Index rows, Index cols, Order order, std::uint32_t seed)
      : row_stride(order == Order::rows      ? cols + 2
                   : order == Order::columns ? 1
                                             : 2 * cols + 3),
        col_stride(order == Order::rows      ? 1
                   : order == Order::columns ? rows + 1
                                             : 2),
        data(random<T>(rows * row_stride + cols * col_stride + 1, seed)),
        view{data.data(), rows, cols, row_stride, col_stride} {}

  Index row_stride, col_stride;
  std::vector<T> data;
  MatrixView<const T> view;
};

constexpr Order orders[] = {Order::rows, Order::columns, Order::neither};

TYPED_TEST(Matmul, EveryOrderAndLength) {
  using T = TypeParam;
  constexpr Index cols = detail::gemm_cols<T>, rows = detail::gemm_rows;
  aulos::ThreadTeam team(1);
  for (const Index m : {Index{0}, Index{1}, rows - 1, rows, rows + 1, 2 * rows + 3}) {
    for (const Index n : {Index{0}, Index{1}, cols - 1, cols, cols + 1}) {
      for (const Index k : {0, 1, 5, 16}) {
        for (const Order order_a : orders) {
          for (const Order order_b : orders) {
            const Operand<T> a(m, k, order_a, 41), b(k, n, order_b, 42);
            for (const Update update : {Update::assign, Update::add}) {
              Guarded<T> c(m, n, n + 3, m % 4, T(0.5)), expected(m, n, n + 3);
              const double start = update == Update::add ? 0.5 : 0.0;
              kernels::naive::matmul(
                  a.view.data, a.row_stride, a.col_stride, b.view.data, b.row_stride, b.col_stride,
                  [&](double sum, Index, Index) { return start + sum; }, expected.data(), expected.ld(), m, n, k);
              const auto scratch = kernels::matmul_scratch<T>({m, n, k});
              kernels::matmul<T>(team.threads(scratch), a.view, b.view, c.data(), c.ld(), update);
              for (Index i = 0; i < m; ++i) {
                for (Index j = 0; j < n; ++j) {
                  ASSERT_NEAR(c.at(i, j), expected.at(i, j), 20 * std::numeric_limits<T>::epsilon())
                      << m << ' ' << n << ' ' << k << ' ' << i << ' ' << j;
                }
              }
              ASSERT_TRUE(c.intact());
            }
          }
        }
      }
    }
  }
}

// Columns around the batch in all orders; A, B and C begin anywhere.
TYPED_TEST(Matmul, EveryLengthAndAlignment) {
  using T = TypeParam;
  aulos::ThreadTeam team(1);
  const auto check = [&](GemmShape s, Index offset) {
    const Shifted<T> a(random<T>(s.m * s.k, 51), offset), b(random<T>(s.k * s.n, 52), offset);
    for (const bool turned_a : {false, true}) {
      for (const bool turned_b : {false, true}) {
        const MatrixView<const T> va = turned_a ? MatrixView<const T>{a.data(), s.k, s.m, s.m, 1}.transposed()
                                                : MatrixView<const T>{a.data(), s.m, s.k, s.k, 1};
        const MatrixView<const T> vb = turned_b ? MatrixView<const T>{b.data(), s.n, s.k, s.k, 1}.transposed()
                                                : MatrixView<const T>{b.data(), s.k, s.n, s.n, 1};
        for (const Update update : {Update::assign, Update::add}) {
          Guarded<T> c(s.m, s.n, s.n, offset, T(0.5)), naive(s.m, s.n, s.n);
          const double start = update == Update::add ? 0.5 : 0.0;
          kernels::naive::matmul(
              va.data, va.row_stride, va.col_stride, vb.data, vb.row_stride, vb.col_stride,
              [&](double sum, Index, Index) { return start + sum; }, naive.data(), s.n, s.m, s.n, s.k);
          kernels::matmul<T>(team.threads(kernels::matmul_scratch<T>(s)), va, vb, c.data(), s.n, update);
          for (Index i = 0; i < s.m; ++i) {
            for (Index j = 0; j < s.n; ++j) {
              ASSERT_NEAR(c.at(i, j), naive.at(i, j), 20 * std::numeric_limits<T>::epsilon())
                  << s.m << ' ' << s.n << ' ' << s.k << ' ' << i << ' ' << j;
            }
          }
          ASSERT_TRUE(c.intact()) << s.m << ' ' << s.n << ' ' << s.k;
        }
      }
    }
  };
  aulos_test::sweep<T>([&](Index length, Index offset) {
    for (const Index m : {1, 3, 6, detail::gemm_rows + 1}) {
      for (const Index k : {0, 1, 5}) check({m, length, k}, offset);
      check({m, 7, length}, offset);
    }
  });
}

// The gradient of a weight: a sum over many rows, in the promised order whatever the threads.
TYPED_TEST(Matmul, LongSumsKeepTheirOrderOnAnyThreads) {
  using T = TypeParam;
  constexpr Index m = 50, n = 70, k = 3300;
  const auto gy = random<T>(k * m, 43), x = random<T>(k * n, 44);
  const MatrixView<const T> a = MatrixView<const T>{gy.data(), k, m, m, 1}.transposed();
  const MatrixView<const T> b{x.data(), k, n, n, 1};
  for (const int threads : aulos_test::thread_counts) {
    aulos::ThreadTeam& team = aulos_test::team_of(threads);
    Guarded<T> c(m, n, n);
    kernels::matmul<T>(team.threads(kernels::matmul_scratch<T>({m, n, k})), a, b, c.data(), n, Update::assign);
    for (Index i = 0; i < m; i += 7) {
      for (Index j = 0; j < n; ++j) {
        const T expected = ordered_dot(gy.data() + i, m, x.data() + j, n, k);
        ASSERT_TRUE(same_bits(c.at(i, j), expected)) << threads << ' ' << i << ' ' << j;
      }
    }
    EXPECT_TRUE(c.intact());
  }
}

// More than is packed at a time, of rows, columns and terms, with what is left over of each.
TYPED_TEST(Matmul, BlocksKeepTheOrderOfTheirSums) {
  using T = TypeParam;
  constexpr Index m = 699, n = 298, k = detail::gemm_k_chunk + 70;
  const detail::MatmulBlock<T> block({m, n, k});
  ASSERT_LT(block.strips * detail::gemm_rows, m);
  ASSERT_LT(block.panels * detail::gemm_cols<T>, n / 2);
  for (const Order order : {Order::rows, Order::columns}) {
    const Operand<T> a(m, k, order, 47), b(k, n, order, 48);
    for (const Update update : {Update::assign, Update::add}) {
      const T start = update == Update::add ? T(0.5) : T(0);
      aulos::ThreadTeam team(2);
      Guarded<T> c(m, n, n + 1, 0, T(0.5));
      kernels::matmul<T>(team.threads(kernels::matmul_scratch<T>({m, n, k})), a.view, b.view, c.data(), c.ld(), update);
      for (Index i = 0; i < m; i += 3) {
        for (Index j = i % 7; j < n; j += 7) {
          const T* row = a.view.data + i * a.row_stride;
          const T* column = b.view.data + j * b.col_stride;
          const Index chunk = detail::gemm_k_chunk;
          const T expected = (start + ordered_dot(row, a.col_stride, column, b.row_stride, chunk)) +
                             ordered_dot(row + chunk * a.col_stride, a.col_stride, column + chunk * b.row_stride,
                                         b.row_stride, k - chunk);
          ASSERT_TRUE(same_bits(c.at(i, j), expected)) << i << ' ' << j;
        }
      }
      EXPECT_TRUE(c.intact());
    }
  }
}

// Few rows read B in place.
TYPED_TEST(Matmul, FewRowsHaveTheBitsOfMany) {
  using T = TypeParam;
  constexpr Index many = 30, n = 1100, k = detail::gemm_k_chunk + 13;
  const Operand<T> a(many, k, Order::rows, 49), b(k, n, Order::rows, 50);
  for (const Update update : {Update::assign, Update::add}) {
    aulos::ThreadTeam team(3);
    Guarded<T> expected(many, n, n, 0, T(0.5));
    const auto scratch = kernels::matmul_scratch<T>({many, n, k});
    kernels::matmul<T>(team.threads(scratch), a.view, b.view, expected.data(), n, update);
    for (const Index m : {1, 2, 3, 4, 5}) {
      for (const int threads : aulos_test::thread_counts) {
        MatrixView<const T> rows = a.view;
        rows.rows = m;
        Guarded<T> c(m, n, n + 1, 1, T(0.5));
        aulos::ThreadTeam& own = aulos_test::team_of(threads);
        kernels::matmul<T>(own.threads(kernels::matmul_scratch<T>({m, n, k})), rows, b.view, c.data(), c.ld(), update);
        for (Index i = 0; i < m; ++i) {
          for (Index j = 0; j < n; ++j) {
            ASSERT_TRUE(same_bits(c.at(i, j), expected.at(i, j))) << m << ' ' << threads << ' ' << i << ' ' << j;
          }
        }
        ASSERT_TRUE(c.intact());
      }
    }
  }
}

TYPED_TEST(Matmul, Batches) {
  using T = TypeParam;
  const GemmShape shapes[] = {{5, 7, 9}, {60, 50, 90}, {1, 40, 3}};
  for (const GemmShape s : shapes) {
    for (const Index batch : {0, 1, 2, 7, 40}) {
      const auto a = random<T>(batch * s.m * s.k, 45), b = random<T>(batch * s.n * s.k, 46);
      std::vector<T> first;
      for (const int threads : aulos_test::thread_counts) {
        aulos::ThreadTeam& team = aulos_test::team_of(threads);
        std::vector<T> c(static_cast<std::size_t>(batch * s.m * s.n), T(9));
        kernels::batched_matmul<T>(
            team.threads(kernels::matmul_scratch<T>(s)), batch, s,
            [&](Index i) {
              return kernels::MatmulOperands<T>{{a.data() + i * s.m * s.k, s.m, s.k, s.k, 1},
                                                {b.data() + i * s.n * s.k, s.k, s.n, 1, s.k},
                                                c.data() + i * s.m * s.n,
                                                s.n};
            },
            Update::assign);
        for (Index i = 0; i < static_cast<Index>(c.size()); ++i) {
          const Index item = i / (s.m * s.n), row = i / s.n % s.m, col = i % s.n;
          const T expected =
              ordered_dot(a.data() + (item * s.m + row) * s.k, 1, b.data() + (item * s.n + col) * s.k, 1, s.k);
          ASSERT_TRUE(same_bits(c[static_cast<std::size_t>(i)], expected)) << threads << ' ' << i;
        }
      }
    }
  }
}

}  // namespace
