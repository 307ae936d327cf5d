#include "aulos/kernels/chunk.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "head_array.hpp"

namespace {

using namespace aulos_test;
namespace chunk = aulos::kernels::chunk;
using aulos::kernels::Update;

template <class T>
class Chunk : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Chunk, Types);

TYPED_TEST(Chunk, ProductsOfAnyLayout) {
  using T = TypeParam;
  for (const Index m : {0, 1, 5, 13, 64}) {
    for (const Index n : {0, 1, 17, 33}) {
      for (const Index k : {0, 1, 7, 64}) {
        SCOPED_TRACE(::testing::Message() << m << " " << n << " " << k);
        const auto a = noise_vector<T>(1, k * m), b = noise_vector<T>(2, k * n);  // a transposed
        auto c = noise_vector<T>(3, m * (n + 2));
        std::vector<double> want = widen(c);
        for (Index i = 0; i < m; ++i) {
          for (Index j = 0; j < n; ++j) {
            for (Index p = 0; p < k; ++p) {
              want[static_cast<std::size_t>(i * (n + 2) + j)] +=
                  static_cast<double>(a[static_cast<std::size_t>(p * m + i)]) *
                  static_cast<double>(b[static_cast<std::size_t>(p * n + j)]);
            }
          }
        }
        aulos::ThreadTeam team(1);
        team.threads(chunk::product_scratch<T>({{1, 1, 1}, {m, n, k}})).run(1, [&](Index, aulos::Scratch& scratch) {
          chunk::product(chunk::matrix<T>(a.data(), k, m, m).transposed(), chunk::matrix<T>(b.data(), k, n, n),
                         c.data(), n + 2, Update::add, scratch);
        });
        expect_close(c, want, 64, "c");
      }
    }
  }
}

TYPED_TEST(Chunk, RowsAreScaledAddedAndMultiplied) {
  using T = TypeParam;
  sweep<T>([](Index n, Index misalignment) {
    const Matrix<T> x = Matrix<T>::random(1, 3, n, misalignment);
    Matrix<T> y(3, n), z = Matrix<T>::random(2, 1, n, misalignment);
    const Matrix<T> old = z;
    const T weight[] = {T(2), T(-1), T(0.5)};
    chunk::copy_rows(y.row(0), y.stride(), x.row(0), x.stride(), 3, n, T(4), weight);
    expect_close(
        y, [&](Index r, Index c) { return 4.0 * static_cast<double>(weight[r]) * static_cast<double>(x.at(r, c)); }, 2);
    chunk::copy_rows(y.row(0), y.stride(), y.row(0), y.stride(), 3, n, T(0.5));  // in place
    expect_close(
        y, [&](Index r, Index c) { return 2.0 * static_cast<double>(weight[r]) * static_cast<double>(x.at(r, c)); }, 2);
    chunk::add_row(z.row(0), x.row(1), n, T(3));
    expect_close(
        z, [&](Index, Index c) { return static_cast<double>(old.at(0, c)) + 3 * static_cast<double>(x.at(1, c)); }, 4);
    double dot = 0;
    for (Index c = 0; c < n; ++c) dot += static_cast<double>(x.at(0, c)) * static_cast<double>(x.at(1, c));
    EXPECT_NEAR(chunk::dot(x.row(0), x.row(1), n), dot, 1e-5);
  });
}

TYPED_TEST(Chunk, Transposes) {
  using T = TypeParam;
  const T x[] = {1, 2, 3, 4, 5, 6};
  T y[6];
  chunk::transpose(y, x, 2, 3);
  EXPECT_EQ(std::vector<T>(y, y + 6), (std::vector<T>{1, 4, 2, 5, 3, 6}));
  chunk::transpose<T>(y, nullptr, 2, 3);
  EXPECT_EQ(std::vector<T>(y, y + 6), std::vector<T>(6, T(0)));
}

// The same bits as the product with zeros outside of the triangle, and as if what is outside were not there.
TYPED_TEST(Chunk, ProductsOfTriangles) {
  using T = TypeParam;
  using chunk::Triangle;
  const auto counts = [](Triangle triangle, Index i, Index k) {
    return triangle == Triangle::lower            ? k <= i
           : triangle == Triangle::strictly_lower ? k < i
           : triangle == Triangle::upper          ? k >= i
                                                  : k > i;
  };
  aulos::ThreadTeam team(1);
  for (const Triangle triangle :
       {Triangle::lower, Triangle::strictly_lower, Triangle::upper, Triangle::strictly_upper}) {
    for (const Index m : {0, 1, 2, 4, 5, 19, 64}) {
      for (const Index n : {0, 1, 7, 16, 33, 48, 70}) {
        for (const bool transposed : {false, true}) {
          for (const Update update : {Update::assign, Update::add}) {
            SCOPED_TRACE(::testing::Message() << static_cast<int>(triangle) << " " << m << " " << n << transposed);
            const Index stride = m + 3;
            auto a = noise_vector<T>(1, m * stride), b = noise_vector<T>(2, m * n);
            auto c = noise_vector<T>(3, m * (n + 2)), want = c;
            std::vector<T> zeroed = a;
            const auto view = [&](std::vector<T>& of) {
              const auto rows = chunk::matrix<T>(of.data(), m, m, stride);
              return transposed ? rows.transposed() : rows;
            };
            for (Index i = 0; i < m; ++i) {
              for (Index k = 0; k < m; ++k) {
                if (counts(triangle, i, k)) continue;
                const auto at = static_cast<std::size_t>(transposed ? k * stride + i : i * stride + k);
                zeroed[at] = T(0);
                a[at] = std::numeric_limits<T>::quiet_NaN();
              }
            }
            team.threads(chunk::product_scratch<T>({{1, 1, 1}, {m, n, m}})).run(1, [&](Index, aulos::Scratch& scratch) {
              chunk::product(view(zeroed), chunk::matrix<T>(b.data(), m, n, n), want.data(), n + 2, update, scratch);
            });
            chunk::triangle_product(triangle, view(a), b.data(), n, n, c.data(), n + 2, update);
            ASSERT_EQ(c, want);
          }
        }
      }
    }
  }
}

// Columns of b that are contiguous, as in q k^T; all of it, or what a causal form reads.
TYPED_TEST(Chunk, ProductsWithATranspose) {
  using T = TypeParam;
  aulos::ThreadTeam team(1);
  for (const Index m : {1, 5, 16, 37, 64}) {
    for (const Index k : {1, 7, 16, 33}) {
      SCOPED_TRACE(::testing::Message() << m << " " << k);
      const auto a = noise_vector<T>(1, m * k), b = noise_vector<T>(2, m * (k + 3));
      std::vector<T> all(static_cast<std::size_t>(m * m)), lower = all;
      chunk::RowsAhead<T> ahead;
      ahead.add(a.data(), k, m, k);
      team.threads(chunk::product_scratch<T>({{m, m, k}})).run(1, [&](Index, aulos::Scratch& scratch) {
        const auto rows = chunk::matrix<T>(a.data(), m, k, k), columns = chunk::matrix<T>(b.data(), m, k, k + 3);
        chunk::product(rows, columns.transposed(), all.data(), m, Update::assign, scratch);
        chunk::product(rows, columns.transposed(), lower.data(), m, Update::assign, scratch, chunk::Cover::lower,
                       &ahead);
      });
      std::vector<double> want(all.size());
      for (Index i = 0; i < m; ++i) {
        for (Index j = 0; j < m; ++j) {
          for (Index p = 0; p < k; ++p) {
            want[static_cast<std::size_t>(i * m + j)] +=
                static_cast<double>(a[static_cast<std::size_t>(i * k + p)]) *
                static_cast<double>(b[static_cast<std::size_t>(j * (k + 3) + p)]);
          }
          if (j <= i) {
            EXPECT_EQ(lower[static_cast<std::size_t>(i * m + j)], all[static_cast<std::size_t>(i * m + j)]);
          }
        }
      }
      expect_close(all, want, 64, "all");
    }
  }
}

}  // namespace
