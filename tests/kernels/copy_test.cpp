#include "aulos/kernels/copy.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "aulos/kernels/naive/copy.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
using aulos::Dims;
namespace kernels = aulos::kernels;

// A layout of given extents inside a buffer of different numbers: its last axis is `step` apart, every other axis
// leaves a gap. Buffers are compared whole, with what lies between and around the elements.
template <class T>
struct Laid {
  Laid(const std::vector<Index>& extents, Index step, Index gap, Index offset, Index seed) : first(offset + 5) {
    dims.rank = static_cast<int>(extents.size());
    Index distance = step;
    for (int axis = dims.rank - 1; axis >= 0; --axis) {
      dims.extent[axis] = extents[static_cast<std::size_t>(axis)];
      dims.stride[axis] = distance;
      distance = distance * std::max<Index>(1, dims.extent[axis]) + gap;
    }
    for (Index i = 0; i < first + distance + 5; ++i) data.push_back(static_cast<T>((i + seed) % 97));
  }
  T* start() { return data.data() + first; }

  Dims dims;
  Index first;
  std::vector<T> data;
};

template <class T>
class CopyKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double, std::int64_t, std::uint8_t>;
TYPED_TEST_SUITE(CopyKernel, Types);

// Extents of every rank up to eight, with zeros and ones between.
const std::vector<std::vector<Index>> shapes = {{1},
                                                {0},
                                                {7},
                                                {67},
                                                {3, 5},
                                                {1, 9},
                                                {9, 1},
                                                {4, 0, 3},
                                                {2, 3, 4},
                                                {2, 1, 33},
                                                {1, 1, 1},
                                                {2, 3, 1, 5},
                                                {3, 2, 2, 3, 2},
                                                {2, 2, 1, 3, 2, 2},
                                                {2, 1, 2, 2, 1, 3, 2},
                                                {2, 2, 2, 1, 2, 2, 2, 3},
                                                {1, 1, 1, 1, 1, 1, 1, 1}};

TYPED_TEST(CopyKernel, EveryRankStrideAndOffset) {
  using T = TypeParam;
  for (const auto& extents : shapes) {
    for (const Index from_step : {1, 2}) {
      for (const Index to_step : {1, 3}) {
        for (const Index gap : {0, 1}) {
          for (const Index offset : {0, 1, 3}) {
            Laid<T> from(extents, from_step, gap, offset, 0), to(extents, to_step, 1 - gap, 3 - offset, 50), want = to;
            kernels::copy(aulos::Threads::serial(), from.start(), from.dims, to.start(), to.dims);
            kernels::naive::copy(from.start(), from.dims, want.start(), want.dims);
            ASSERT_EQ(to.data, want.data) << aulos::to_string(to.dims);
          }
        }
      }
    }
  }
}

// By hand, so that kernel and twin don't share a misunderstanding.
TYPED_TEST(CopyKernel, PermutedAndBroadcastSources) {
  using T = TypeParam;
  std::vector<T> from(60), to(96, T(99)), wide(72);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<T>(i);
  const Dims first_innermost{3, {3, 5, 4}, {1, 12, 3}}, gaps{3, {3, 5, 4}, {32, 6, 1}};
  kernels::copy(aulos::Threads::serial(), from.data(), first_innermost, to.data(), gaps);
  for (std::size_t i = 0; i < to.size(); ++i) {
    const std::size_t a = i / 32, b = i % 32 / 6, c = i % 32 % 6;
    ASSERT_EQ(to[i], b < 5 && c < 4 ? static_cast<T>(a + 12 * b + 3 * c) : T(99)) << i;
  }

  const Dims repeated{3, {3, 4, 6}, {0, 1, 0}};
  kernels::copy(aulos::Threads::serial(), from.data(), repeated, wide.data(), aulos::dense_dims({3, 4, 6}));
  for (std::size_t i = 0; i < wide.size(); ++i) ASSERT_EQ(wide[i], static_cast<T>(i / 6 % 4));
}

// Neighbours of the one layout lie apart in the other: every number of rows and columns about whole batches and
// squares, between gaps, with an axis before, between or behind the two.
template <class T, class Move>
void expect_transposed(const Move& move) {
  constexpr Index w = aulos::simd::lanes<double>;
  std::vector<Index> lengths = {3, 4, 5, w - 1, w, w + 1, 2 * w, 2 * w + 1, 4 * w - 1, 63, 64, 65, 131};
  for (const Index rows : lengths) {
    for (const Index columns : lengths) {
      for (const int place : {0, 1, 2}) {
        for (const Index gap : {0, 3}) {
          // to [.., columns, rows], from [.., rows, columns], two of each
          const Index from_step = columns + gap, to_step = rows + 2 * gap;
          Dims from{3, {columns, rows, 2}, {1, from_step, rows * from_step}};
          Dims to{3, {columns, rows, 2}, {to_step, 1, columns * to_step}};
          for (Dims* const dims : {&from, &to}) {
            for (int axis = 2; axis > place; --axis) {
              std::swap(dims->extent[axis - 1], dims->extent[axis]);
              std::swap(dims->stride[axis - 1], dims->stride[axis]);
            }
          }
          std::vector<T> source(static_cast<std::size_t>(2 * rows * from_step + 1));
          std::vector<T> got(static_cast<std::size_t>(2 * columns * to_step + 2), T(7));
          for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<T>(i % 101);
          std::vector<T> want = got;
          move(source.data() + 1, from, got.data() + gap / 2, to, want.data() + gap / 2);
          ASSERT_EQ(got, want) << rows << " x " << columns << ", place " << place << ", gap " << gap;
        }
      }
    }
  }
}

TYPED_TEST(CopyKernel, TransposesEveryNumberOfRowsAndColumns) {
  using T = TypeParam;
  for (const int threads : {1, 3}) {
    expect_transposed<T>([&](const T* from, const Dims& from_dims, T* to, const Dims& to_dims, T* want) {
      kernels::copy(team_of(threads).threads(), from, from_dims, to, to_dims);
      kernels::naive::copy(from, from_dims, want, to_dims);
    });
  }
}

// Pieces: many short rows, rows of about a piece, rows that are split.
TYPED_TEST(CopyKernel, LargeOnAnyThreads) {
  using T = TypeParam;
  for (const auto& extents : std::vector<std::vector<Index>>{{700, 61}, {3, 20000}, {2, 40001}, {100003}}) {
    for (const Index gap : {0, 1}) {
      Laid<T> from(extents, 1, gap, 1, 0), want(extents, 1, 2, 0, 50);
      const Laid<T> before = want;
      kernels::naive::copy(from.start(), from.dims, want.start(), want.dims);
      for (const int threads : thread_counts) {
        aulos::ThreadTeam& team = team_of(threads);
        Laid<T> to = before;
        kernels::copy(team.threads(), from.start(), from.dims, to.start(), to.dims);
        ASSERT_EQ(to.data, want.data) << threads;
      }
    }
  }
}

template <class T>
class AddToKernel : public ::testing::Test {};
using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AddToKernel, Reals);

TYPED_TEST(AddToKernel, EveryRankStrideAndOffset) {
  using T = TypeParam;
  for (const auto& extents : shapes) {
    for (const Index from_step : {1, 2}) {
      for (const Index to_step : {1, 3}) {
        for (const Index gap : {0, 1}) {
          Laid<T> from(extents, from_step, gap, gap, 0), to(extents, to_step, 1 - gap, 3, 50), want = to;
          kernels::add_to(aulos::Threads::serial(), from.start(), from.dims, to.start(), to.dims);
          kernels::naive::add_to(from.start(), from.dims, want.start(), want.dims);
          ASSERT_EQ(to.data, want.data) << aulos::to_string(to.dims);
        }
      }
    }
  }
}

TYPED_TEST(AddToKernel, TransposesEveryNumberOfRowsAndColumns) {
  using T = TypeParam;
  for (const int threads : {1, 3}) {
    expect_transposed<T>([&](const T* from, const Dims& from_dims, T* to, const Dims& to_dims, T* want) {
      kernels::add_to(team_of(threads).threads(), from, from_dims, to, to_dims);
      kernels::naive::add_to(from, from_dims, want, to_dims);
    });
  }
}

// Every choice of axes that the destination repeats: its elements get the sum over them.
TYPED_TEST(AddToKernel, StrideZeroSums) {
  using T = TypeParam;
  for (unsigned kept = 0; kept < 16; ++kept) {
    Laid<T> from({2, 3, 2, 5}, 1, 1, 0, 0);
    Dims to = aulos::dense_dims({2, 3, 2, 5});
    Index step = 1;
    for (int axis = 3; axis >= 0; --axis) {
      const bool keep = (kept >> axis & 1) != 0;
      to.stride[axis] = keep ? step : 0;
      if (keep) step *= to.extent[axis];
    }
    std::vector<T> got(static_cast<std::size_t>(step), T(0.5)), want = got;
    kernels::add_to(aulos::Threads::serial(), from.start(), from.dims, got.data(), to);
    kernels::naive::add_to(from.start(), from.dims, want.data(), to);
    EXPECT_EQ(got, want) << kept;
  }
}

// Threads that begin with the last piece.
struct Backwards {
  Index concurrency() const { return 2; }
  void run(Index pieces, aulos::FunctionRef<void(Index)> body) const {
    while (pieces > 0) body(--pieces);
  }
};

// A sum over an axis is one thread's work and keeps its order, also where it rounds: to the bit on any threads.
TYPED_TEST(AddToKernel, SumsKeepTheirOrderOnAnyThreads) {
  using T = TypeParam;
  constexpr Index rows = 900, columns = 61;
  const Dims all = aulos::dense_dims({rows, columns});
  std::vector<T> from(rows * columns);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<T>(noise(5, i));
  for (const Dims& to : {Dims{2, {rows, columns}, {0, 1}}, Dims{2, {rows, columns}, {1, 0}}}) {
    std::vector<T> want(rows, T(0));
    kernels::naive::add_to(from.data(), all, want.data(), to);
    const auto check = [&](aulos::Threads threads) {
      std::vector<T> sum(rows, T(0));
      kernels::add_to(threads, from.data(), all, sum.data(), to);
      ASSERT_EQ(std::memcmp(sum.data(), want.data(), sum.size() * sizeof(T)), 0);
    };
    Backwards executor;
    check(aulos::ThreadTeam(executor).threads());
    for (const int threads : thread_counts) check(team_of(threads).threads());
  }
}

TYPED_TEST(AddToKernel, NaNAndInfinityStayInTheirPlaces) {
  using T = TypeParam;
  std::vector<T> from(37, T(1)), to(37, T(2));
  from[3] = std::numeric_limits<T>::quiet_NaN();
  from[35] = std::numeric_limits<T>::infinity();
  kernels::add_to(aulos::Threads::serial(), from.data(), aulos::dense_dims({37}), to.data(), aulos::dense_dims({37}));
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (i == 3) {
      EXPECT_TRUE(std::isnan(to[i]));
    } else {
      EXPECT_EQ(to[i], i == 35 ? std::numeric_limits<T>::infinity() : T(3)) << i;
    }
  }
}

}  // namespace
