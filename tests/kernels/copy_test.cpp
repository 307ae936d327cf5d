#include "aulos/kernels/copy.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/sweep.hpp"

namespace {

using namespace aulos_test;
using aulos::Dims;
namespace kernels = aulos::kernels;

// A layout of given extents inside a guarded buffer: its last axis is `step` apart, every other axis leaves a gap.
template <class T>
struct Laid {
  Laid(const std::vector<Index>& extents, Index step, Index gap, Index offset, const std::vector<int>& order = {})
      : first(offset + 5) {
    dims.rank = static_cast<int>(extents.size());
    Index distance = step;
    std::vector<int> walk = order;
    if (walk.empty())
      for (int axis = dims.rank - 1; axis >= 0; --axis) walk.push_back(axis);
    for (const int axis : walk) {  // from the axis that lies innermost outwards
      dims.extent[axis] = extents[static_cast<std::size_t>(axis)];
      dims.stride[axis] = distance;
      distance = distance * std::max<Index>(1, dims.extent[axis]) + gap;
    }
    data.assign(static_cast<std::size_t>(first + distance + 5), guard);
  }
  static constexpr T guard = T(99);

  Index offset(Index flat) const {
    Index at = first;
    for (int axis = dims.rank - 1; axis >= 0; --axis) {
      at += flat % dims.extent[axis] * dims.stride[axis];
      flat /= dims.extent[axis];
    }
    return at;
  }
  T& at(Index flat) { return data[static_cast<std::size_t>(offset(flat))]; }
  T* start() { return data.data() + first; }
  // How many elements differ from the guard.
  Index written() const {
    Index count = 0;
    for (const T& x : data) count += x != guard;
    return count;
  }

  Dims dims;
  Index first;
  std::vector<T> data;
};

template <class T>
class CopyKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double, std::int64_t, std::uint8_t>;
TYPED_TEST_SUITE(CopyKernel, Types);

template <class T>
T number(Index i) {
  return static_cast<T>(i % 90 + 1);  // never the guard
}

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
            Laid<T> from(extents, from_step, gap, offset), to(extents, to_step, 1 - gap, 3 - offset);
            const Index count = from.dims.count();
            for (Index i = 0; i < count; ++i) from.at(i) = number<T>(i);
            kernels::copy(aulos::Threads::serial(), from.start(), from.dims, to.start(), to.dims);
            for (Index i = 0; i < count; ++i) ASSERT_EQ(to.at(i), number<T>(i)) << aulos::to_string(to.dims) << i;
            ASSERT_EQ(to.written(), count) << aulos::to_string(to.dims);
          }
        }
      }
    }
  }
}

TYPED_TEST(CopyKernel, PermutedAndBroadcastSources) {
  using T = TypeParam;
  Laid<T> from({3, 5, 4}, 1, 0, 1, {0, 2, 1}), to({3, 5, 4}, 1, 2, 0);  // the first axis lies innermost
  for (Index i = 0; i < 60; ++i) from.at(i) = number<T>(i);
  kernels::copy(aulos::Threads::serial(), from.start(), from.dims, to.start(), to.dims);
  for (Index i = 0; i < 60; ++i) ASSERT_EQ(to.at(i), number<T>(i));

  Laid<T> row({1, 4, 1}, 1, 0, 0), wide({3, 4, 6}, 1, 0, 0);
  for (Index i = 0; i < 4; ++i) row.at(i) = number<T>(i);
  Dims repeated = row.dims;
  repeated.extent[0] = 3;
  repeated.extent[2] = 6;
  repeated.stride[0] = repeated.stride[2] = 0;
  kernels::copy(aulos::Threads::serial(), row.start(), repeated, wide.start(), wide.dims);
  for (Index i = 0; i < 72; ++i) ASSERT_EQ(wide.at(i), number<T>(i / 6 % 4));
}

// Pieces: many short rows, rows of about a piece, rows that are split.
TYPED_TEST(CopyKernel, LargeOnAnyThreads) {
  using T = TypeParam;
  for (const auto& extents : std::vector<std::vector<Index>>{{700, 61}, {3, 20000}, {2, 40001}, {100003}}) {
    for (const Index gap : {0, 1}) {
      Laid<T> from(extents, 1, gap, 1);
      for (Index i = 0; i < from.dims.count(); ++i) from.at(i) = number<T>(i);
      for (const int threads : {1, 2, 3}) {
        aulos::ThreadTeam team(threads);
        Laid<T> to(extents, 1, 2, 0);
        kernels::copy(team.threads(), from.start(), from.dims, to.start(), to.dims);
        for (Index i = 0; i < from.dims.count(); ++i) ASSERT_EQ(to.at(i), number<T>(i)) << threads << ' ' << i;
        ASSERT_EQ(to.written(), from.dims.count());
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
          Laid<T> from(extents, from_step, gap, gap), to(extents, to_step, 1 - gap, 3);
          const Index count = from.dims.count();
          for (Index i = 0; i < count; ++i) {
            from.at(i) = static_cast<T>(i + 1);
            to.at(i) = static_cast<T>(1000 * i);
          }
          kernels::add_to(aulos::Threads::serial(), from.start(), from.dims, to.start(), to.dims);
          for (Index i = 0; i < count; ++i) ASSERT_EQ(to.at(i), static_cast<T>(1001 * i + 1));
        }
      }
    }
  }
}

// Every choice of axes that the destination repeats: its elements get the sum over them.
TYPED_TEST(AddToKernel, StrideZeroSums) {
  using T = TypeParam;
  const Index extents[4] = {2, 3, 2, 5};
  for (unsigned kept = 0; kept < 16; ++kept) {
    Laid<T> from({2, 3, 2, 5}, 1, 1, 0);
    Dims to = aulos::dense_dims(extents, 4);
    Index step = 1;
    for (int axis = 3; axis >= 0; --axis) {
      const bool keep = (kept >> axis & 1) != 0;
      to.stride[axis] = keep ? step : 0;
      if (keep) step *= to.extent[axis];
    }
    std::vector<T> got(static_cast<std::size_t>(step), T(0.5)), want = got;
    for (Index i = 0; i < 60; ++i) {
      from.at(i) = static_cast<T>(i * i);  // sums are exact
      Index flat = i, at = 0;
      for (int axis = 3; axis >= 0; --axis) {
        at += flat % extents[axis] * to.stride[axis];
        flat /= extents[axis];
      }
      want[static_cast<std::size_t>(at)] += static_cast<T>(i * i);
    }
    kernels::add_to(aulos::Threads::serial(), from.start(), from.dims, got.data(), to);
    EXPECT_EQ(got, want) << kept;
  }
}

// A sum over an axis is one thread's work: 1, 2 and 3 threads agree to the bit, also where it rounds.
TYPED_TEST(AddToKernel, SumsKeepTheirOrderOnAnyThreads) {
  using T = TypeParam;
  constexpr Index rows = 900, columns = 61;
  std::vector<T> from(rows * columns);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<T>(noise(5, i));
  for (const bool over_rows : {true, false}) {
    Dims to = aulos::dense_dims({rows, columns});
    to.stride[over_rows ? 0 : 1] = 0;
    if (!over_rows) to.stride[0] = 1;
    std::vector<T> first;
    for (const int threads : {1, 2, 3}) {
      aulos::ThreadTeam team(threads);
      std::vector<T> sum(over_rows ? columns : rows, T(0));
      kernels::add_to(team.threads(), from.data(), aulos::dense_dims({rows, columns}), sum.data(), to);
      if (threads == 1) {
        first = sum;
        double want = 0;
        for (Index r = 0; r < rows; ++r) want += static_cast<double>(from[static_cast<std::size_t>(r * columns)]);
        if (over_rows) {
          EXPECT_NEAR(static_cast<double>(sum[0]), want, rows * std::numeric_limits<T>::epsilon());
        }
      }
      ASSERT_EQ(std::memcmp(sum.data(), first.data(), sum.size() * sizeof(T)), 0) << threads;
    }
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
