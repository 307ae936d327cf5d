#include "aulos/kernels/segment.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "aulos/kernels/naive/segment.hpp"
#include "aulos/simd/batch.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;
using kernels::ChunkTable;

template <class T>
class SegmentKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SegmentKernel, Types);

struct Sizes {
  Index batch, channels;
  ChunkTable table;
};

// Both kernels against their twins, with gaps between rows or without, with a window or without.
template <class T>
void compare(const Sizes& s, Index gap, bool windowed) {
  const ChunkTable& table = s.table;
  const Index row = s.channels + gap;
  const auto filled = [](std::uint64_t seed, Index count) {
    std::vector<T> x(static_cast<std::size_t>(count) + 1);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(noise(seed, i));
    return x;
  };
  const auto sequences = filled(1, s.batch * table.length * row);
  const auto chunks = filled(2, s.batch * table.chunks * table.chunk * row);
  const auto weights = filled(3, table.chunk);
  const T* window = windowed ? weights.data() : nullptr;
  const auto sequence = [&](auto& x) {
    return kernels::SequenceView<std::remove_reference_t<decltype(x[0])>>{x.data() + 1, table.length * row, row};
  };
  const auto chunked = [&](auto& z) {
    return kernels::ChunksView<std::remove_reference_t<decltype(z[0])>>{z.data() + 1, table.chunks * table.chunk * row,
                                                                        table.chunk * row, row};
  };
  auto want_z = chunks;
  kernels::naive::segment<T>(s.batch, s.channels, table, sequence(sequences), window, chunked(want_z));
  auto want_y = sequences;
  kernels::naive::overlap_add<T>(s.batch, s.channels, table, chunked(chunks), window, sequence(want_y));
  for (const int threads : thread_counts) {
    aulos::ThreadTeam& team = team_of(threads);
    auto z = chunks;
    kernels::segment<T>(team.threads(), s.batch, s.channels, table, sequence(sequences), window, chunked(z));
    ASSERT_EQ(z, want_z);
    auto y = sequences;
    kernels::overlap_add<T>(team.threads(), s.batch, s.channels, table, chunked(chunks), window, sequence(y));
    if (aulos::simd::has_fma || !windowed) {
      ASSERT_EQ(y, want_y);
    } else {  // the kernel rounds window * value there, the twin doesn't
      for (std::size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y[i], want_y[i], 8 * static_cast<double>(std::numeric_limits<T>::epsilon()));
      }
    }
  }
}

TYPED_TEST(SegmentKernel, AgreesWithItsTwin) {
  const std::vector<ChunkTable> tables{
      {23, 6, 10, -3, 3, 3},  // SepFormer
      {24, 7, 10, -3, 3, 4},  // with an odd chunk
      {20, 4, 3, 0, 5, 5},    // gaps between chunks
      {20, 8, 7, 0, 2, 2},    // four chunks on a token
      {5, 9, 4, -20, 9, 9},   // mostly outside
      {6, 6, 5, 0, 0, 0},     // all the same
      {0, 3, 4, -3, 1, 2},    // no tokens
      {7, 3, 0, 0, 1, 1},     // no chunks
  };
  for (const ChunkTable& table : tables) {
    SCOPED_TRACE(::testing::Message() << "L " << table.length << " K " << table.chunk << " S " << table.chunks);
    for (const Index channels : {0, 1, 3, 17}) {
      for (const Index gap : {0, 2}) {
        for (const bool windowed : {false, true}) compare<TypeParam>({2, channels, table}, gap, windowed);
      }
    }
    compare<TypeParam>({0, 4, table}, 0, false);
  }
  for (Index length = 1; length < 70; ++length)
    compare<TypeParam>({1, 1, {length, 9, length / 4 + 1, -2, 4, 4}}, 0, length % 2 == 0);
}

TYPED_TEST(SegmentKernel, ManyPieces) {
  compare<TypeParam>({2, 40, {3000, 250, 26, -125, 125, 125}}, 0, false);
  compare<TypeParam>({1, 1, {70000, 400, 435, 0, 160, 160}}, 0, true);
}

TYPED_TEST(SegmentKernel, NaNStaysWhereItIs) {
  using T = TypeParam;
  const ChunkTable table{6, 4, 4, -2, 2, 2};
  std::vector<T> x(6, T(1));
  x[1] = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> z(16);
  kernels::segment<T>(aulos::Threads::serial(), 1, 1, table, {x.data(), 6, 1}, nullptr, {z.data(), 16, 4, 1});
  for (Index i = 0; i < 16; ++i) EXPECT_EQ(std::isnan(z[static_cast<std::size_t>(i)]), i == 3 || i == 5) << i;
  std::vector<T> y(6);
  kernels::overlap_add<T>(aulos::Threads::serial(), 1, 1, table, {z.data(), 16, 4, 1}, nullptr, {y.data(), 6, 1});
  for (Index i = 0; i < 6; ++i) EXPECT_EQ(std::isnan(y[static_cast<std::size_t>(i)]), i == 1) << i;
}

}  // namespace
