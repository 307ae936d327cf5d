#include "aulos/kernels/rope.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/rope.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;
using kernels::HeadRows;
using kernels::RopePairs;
using kernels::Rotation;

template <class T>
class RopeKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(RopeKernel, Types);

// B = 2, N = 3, H = 2 rows of a matrix, tokens or heads first; a table shared by all, by sample, or by head.
enum class Sharing { all, by_sample, by_head, none };

template <class T>
struct Problem {
  kernels::RopeShape shape;
  Matrix<T> x, cos, sin;
  kernels::RopeRows<T> table;

  Problem(Index pairs, Index rest, Index misalignment, RopePairs layout, Sharing sharing = Sharing::all)
      : shape{2, 3, 2, 2 * pairs + rest, pairs, layout},
        x(Matrix<T>::random(1, 12, shape.width, misalignment)),
        cos(12, pairs, misalignment),
        sin(12, pairs) {
    const auto angle = [](Index r, Index c) { return 3 * noise(2, static_cast<std::uint64_t>(r * 100 + c)); };
    cos.fill([&](Index r, Index c) { return std::cos(angle(r, c)); });
    sin.fill([&](Index r, Index c) { return std::sin(angle(r, c)); });
    const auto rows = [&](const Matrix<T>& m) -> HeadRows<const T> {
      const Index ld = m.stride();
      const bool by_sample = sharing == Sharing::by_sample || sharing == Sharing::none;
      const bool by_head = sharing == Sharing::by_head || sharing == Sharing::none;
      return {m.row(0), by_sample ? 6 * ld : 0, 2 * ld, by_head ? ld : 0};
    };
    table = {rows(cos), rows(sin)};
  }

  static HeadRows<T> rows_of(Matrix<T>& m) { return {m.row(0), 6 * m.stride(), 2 * m.stride(), m.stride()}; }
  static HeadRows<const T> rows_of(const Matrix<T>& m) {
    return {m.row(0), 6 * m.stride(), 2 * m.stride(), m.stride()};
  }
};

constexpr RopePairs layouts[] = {RopePairs::interleaved, RopePairs::half_split};

TYPED_TEST(RopeKernel, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  for (const RopePairs layout : layouts) {
    for (const Sharing sharing : {Sharing::all, Sharing::by_sample, Sharing::by_head, Sharing::none}) {
      for (const Rotation rotation : {Rotation::forward, Rotation::backward}) {
        sweep<T>([&](Index pairs, Index misalignment) {
          Problem<T> p(pairs, misalignment, misalignment, layout, sharing);
          Matrix<T> want(12, p.shape.width), y(12, p.shape.width, misalignment);
          kernels::naive::rope<T>(p.shape, rotation, p.rows_of(std::as_const(p.x)), p.table, p.rows_of(want));
          for (const int threads : thread_counts) {
            aulos::ThreadTeam& team = team_of(threads);
            kernels::rope<T>(team.threads(), p.shape, rotation, p.rows_of(std::as_const(p.x)), p.table, p.rows_of(y));
            expect_close(y, want, 2);
          }
          kernels::rope<T>(aulos::Threads::serial(), p.shape, rotation, p.rows_of(std::as_const(p.x)), p.table,
                           p.rows_of(p.x));  // in place
          expect_same_bits(p.x, y);
        });
      }
    }
  }
}

TYPED_TEST(RopeKernel, BothLayoutsAreOneUpToTheOrderOfChannels) {
  using T = TypeParam;
  sweep<T>([&](Index pairs, Index misalignment) {
    Problem<T> split(pairs, 2, misalignment, RopePairs::half_split), pairwise(pairs, 2, 0, RopePairs::interleaved);
    const auto place = [&](Index c) { return c >= 2 * pairs ? c : c % 2 * pairs + c / 2; };
    pairwise.x.fill([&](Index r, Index c) { return split.x.at(r, place(c)); });
    kernels::rope<T>(aulos::Threads::serial(), split.shape, Rotation::forward, split.rows_of(std::as_const(split.x)),
                     split.table, split.rows_of(split.x));
    kernels::rope<T>(aulos::Threads::serial(), pairwise.shape, Rotation::forward,
                     pairwise.rows_of(std::as_const(pairwise.x)), split.table, pairwise.rows_of(pairwise.x));
    Matrix<T> want(12, split.shape.width);
    want.fill([&](Index r, Index c) { return split.x.at(r, place(c)); });
    expect_same_bits(pairwise.x, want);
  });
}

TYPED_TEST(RopeKernel, ManyTokensOnSeveralThreads) {
  using T = TypeParam;
  constexpr Index tokens = 700, width = 72;
  const auto x = Matrix<T>::random(3, tokens, width);
  const auto cos = Matrix<T>::random(4, tokens, width / 2), sin = Matrix<T>::random(5, tokens, width / 2);
  const kernels::RopeRows<T> table{{cos.row(0), 0, cos.stride(), 0}, {sin.row(0), 0, sin.stride(), 0}};
  const kernels::RopeShape shape{1, tokens, 1, width, width / 2, RopePairs::interleaved};
  Matrix<T> one(tokens, width);
  const HeadRows<const T> in{x.row(0), 0, x.stride(), 0};
  kernels::rope<T>(aulos::Threads::serial(), shape, Rotation::forward, in, table, {one.row(0), 0, one.stride(), 0});
  const auto gradients = [&](aulos::Threads threads) {
    Matrix<T> both(2, tokens * width / 2);
    kernels::rope_table_backward<T>(threads, shape, 1, 1, in, {one.row(0), 0, one.stride(), 0}, both.row(0),
                                    both.row(1));
    return both;
  };
  const Matrix<T> of_one = gradients(aulos::Threads::serial());
  for (const int threads : more_threads) {
    aulos::ThreadTeam& team = team_of(threads);
    expect_same_bits(gradients(team.threads()), of_one);
    Matrix<T> y(tokens, width, 1);
    kernels::rope<T>(team.threads(), shape, Rotation::forward, in, table, {y.row(0), 0, y.stride(), 0});
    expect_same_bits(y, one);
  }
}

// On any number of threads, into memory that begins anywhere and keeps what stands around the gradients.
template <class T>
void check_table_gradients(RopePairs layout, Index table_batch, Index table_heads, Index pairs, Index misalignment) {
  constexpr double bound = 20 * double{std::numeric_limits<T>::epsilon()};
  const Problem<T> p(pairs, 1, misalignment, layout);
  const auto gy = Matrix<T>::random(6, 12, p.shape.width, misalignment);
  const Index count = table_batch * 3 * table_heads * pairs;
  std::vector<double> wcos(static_cast<std::size_t>(count), 0), wsin = wcos;
  for (Index row = 0; row < 12; ++row) {
    const Index b = row / 6, n = row / 2 % 3, h = row % 2;
    const Index at = ((table_batch == 1 ? 0 : b) * 3 + n) * table_heads + (table_heads == 1 ? 0 : h);
    for (Index j = 0; j < pairs; ++j) {
      const Index c0 = kernels::naive::channel(p.shape, j, 0), c1 = kernels::naive::channel(p.shape, j, 1);
      const double x0 = static_cast<double>(p.x.at(row, c0)), x1 = static_cast<double>(p.x.at(row, c1));
      const double g0 = static_cast<double>(gy.at(row, c0)), g1 = static_cast<double>(gy.at(row, c1));
      wcos[static_cast<std::size_t>(at * pairs + j)] += g0 * x0 + g1 * x1;
      wsin[static_cast<std::size_t>(at * pairs + j)] += g1 * x0 - g0 * x1;
    }
  }
  Matrix<T> first_cos(1, count), first_sin(1, count);
  for (const int threads : thread_counts) {
    Matrix<T> gcos(1, count, misalignment), gsin(1, count, misalignment);
    kernels::rope_table_backward<T>(team_of(threads).threads(), p.shape, table_batch, table_heads, p.rows_of(p.x),
                                    p.rows_of(gy), gcos.row(0), gsin.row(0));
    for (Index i = 0; i < count; ++i) {
      ASSERT_NEAR(static_cast<double>(gcos.at(0, i)), wcos[static_cast<std::size_t>(i)], bound) << i;
      ASSERT_NEAR(static_cast<double>(gsin.at(0, i)), wsin[static_cast<std::size_t>(i)], bound) << i;
      if (threads == 1) first_cos.at(0, i) = gcos.at(0, i), first_sin.at(0, i) = gsin.at(0, i);
    }
    expect_same_bits(gcos, first_cos);
    expect_same_bits(gsin, first_sin);
  }
}

TYPED_TEST(RopeKernel, TableGradientsAreSums) {
  using T = TypeParam;
  for (const RopePairs layout : layouts) {
    for (const Index table_batch : {1, 2}) {
      for (const Index table_heads : {1, 2}) {
        for (const Index pairs : {64, 65}) check_table_gradients<T>(layout, table_batch, table_heads, pairs, 1);
        sweep<T>([&](Index pairs, Index misalignment) {
          check_table_gradients<T>(layout, table_batch, table_heads, pairs, misalignment);
        });
      }
    }
  }
}

TYPED_TEST(RopeKernel, NaNStaysInItsPair) {
  using T = TypeParam;
  for (const RopePairs layout : layouts) {
    for (Index channel = 0; channel < 36; ++channel) {
      Problem<T> p(17, 2, 0, layout);
      p.x.at(5, channel) = std::numeric_limits<T>::quiet_NaN();
      kernels::rope<T>(aulos::Threads::serial(), p.shape, Rotation::forward, p.rows_of(std::as_const(p.x)), p.table,
                       p.rows_of(p.x));
      Index count = 0;
      for (Index r = 0; r < 12; ++r)
        for (Index c = 0; c < 36; ++c) count += std::isnan(p.x.at(r, c));
      EXPECT_EQ(count, channel < 34 ? 2 : 1);
    }
  }
}

TYPED_TEST(RopeKernel, NothingIsNothing) {
  using T = TypeParam;
  for (const kernels::RopeShape& shape : {kernels::RopeShape{0, 3, 2, 4, 2, RopePairs::interleaved},
                                          {2, 0, 2, 4, 2, RopePairs::half_split},
                                          {2, 3, 0, 4, 2, RopePairs::interleaved},
                                          {2, 3, 2, 0, 0, RopePairs::half_split}}) {
    kernels::rope<T>(aulos::Threads::serial(), shape, Rotation::forward, {}, {}, {});
    kernels::rope_table_backward<T>(aulos::Threads::serial(), shape, 1, 1, {}, {}, nullptr, nullptr);
  }
}

TYPED_TEST(RopeKernel, TablesOfEveryLengthAndAlignment) {
  using T = TypeParam;
  constexpr Index rows = 5, axes = 2;
  sweep<T>([](Index pairs, Index misalignment) {
    const auto n = static_cast<std::size_t>(pairs + misalignment);
    const auto positions = Matrix<T>::random(7, 1, rows * axes, misalignment, 9);
    std::vector<double> frequencies(n);
    std::vector<std::int64_t> axis(n);
    for (std::size_t j = 0; j < n; ++j) {
      frequencies[j] = 1 + 0.5 * noise(8, j);
      axis[j] = static_cast<std::int64_t>(j % axes);
    }
    Matrix<T> first(2, rows * pairs);
    for (const int threads : thread_counts) {
      Matrix<T> table(2, rows * pairs, misalignment);
      kernels::rope_table<T>(team_of(threads).threads(), rows, axes, pairs, positions.row(0),
                             frequencies.data() + misalignment, axis.data() + misalignment,
                             kernels::RopePrecision::float64, table.row(0), table.row(1));
      expect_close(
          table,
          [&](Index r, Index c) {
            const auto j = static_cast<std::size_t>(c % pairs + misalignment);
            const double angle = static_cast<double>(positions.at(0, c / pairs * axes + axis[j])) * frequencies[j];
            return r == 0 ? std::cos(angle) : std::sin(angle);
          },
          1);
      if (threads == 1) first.fill([&](Index r, Index c) { return table.at(r, c); });
      expect_same_bits(table, first);
    }
  });
}

// Tables of angles at large positions: float64 angles to the rounding of T, float32 ones as near as float counts.
TYPED_TEST(RopeKernel, TablesAtLargePositions) {
  using T = TypeParam;
  constexpr Index pairs = 16;
  const T positions[] = {0, 1, 257, 1857, 4096, 65535, T(-4096), T(0.375)};
  const std::vector<std::int64_t> axis(pairs, 0);
  for (const auto precision : {kernels::RopePrecision::float64, kernels::RopePrecision::float32}) {
    double frequencies[pairs];
    kernels::rope_frequencies(10000, 2 * pairs, precision, frequencies);
    EXPECT_EQ(frequencies[0], 1);
    T cos[8 * pairs], sin[8 * pairs];
    aulos::ThreadTeam team(2);
    kernels::rope_table<T>(team.threads(), 8, 1, pairs, positions, frequencies, axis.data(), precision, cos, sin);
    const bool exact = precision == kernels::RopePrecision::float64;
    for (Index i = 0; i < 8; ++i) {
      const double position = static_cast<double>(positions[i]);
      for (Index j = 0; j < pairs; ++j) {
        const double angle = position * std::pow(10000.0, -2.0 * static_cast<double>(j) / (2.0 * pairs));
        const double bound =
            exact ? 0.6 * double{std::numeric_limits<T>::epsilon()} : 1e-6 + 1.2e-7 * std::fabs(position);
        EXPECT_NEAR(static_cast<double>(cos[i * pairs + j]), std::cos(angle), bound) << position << " " << j;
        EXPECT_NEAR(static_cast<double>(sin[i * pairs + j]), std::sin(angle), bound) << position << " " << j;
      }
    }
  }
}

}  // namespace
