#include "aulos/simd/stream.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

namespace simd = aulos::simd;
using aulos::Index;

template <class T>
class Stream : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Stream, Types);

TYPED_TEST(Stream, StoresABatch) {
  using T = TypeParam;
  constexpr Index width = simd::lanes<T>;
  alignas(64) T y[static_cast<std::size_t>(3 * width)] = {};
  simd::stream(y + width, simd::iota<T>(T(5)));
  simd::stream_fence();
  for (Index i = 0; i < 3 * width; ++i) {
    EXPECT_EQ(y[i], i < width || i >= 2 * width ? T(0) : static_cast<T>(5 + i - width)) << i;
  }
}

// Each element once and nothing behind them, as the loop through the caches.
template <class T, simd::Path path>
void doubled(Index length, const std::vector<T>& x, T* y) {
  simd::for_lanes_on<T, path>(
      length, [&](Index i, auto part) { part.store(y + i, part.load(x.data() + i) + part.load(x.data() + i)); });
}

TYPED_TEST(Stream, LoopsOnEitherPathGiveTheSame) {
  using T = TypeParam;
  constexpr Index most = 3 * simd::lanes<T> + 1;
  for (Index length = 0; length <= most; ++length) {
    std::vector<T> x(static_cast<std::size_t>(length));
    for (Index i = 0; i < length; ++i) x[static_cast<std::size_t>(i)] = static_cast<T>(i + 1);
    alignas(64) T cached[static_cast<std::size_t>(most + 1)] = {}, past[static_cast<std::size_t>(most + 1)] = {};
    doubled<T, simd::Path::cached>(length, x, cached);
    doubled<T, simd::Path::past_caches>(length, x, past);
    for (Index i = 0; i <= most; ++i) {
      EXPECT_EQ(cached[i], i < length ? static_cast<T>(2 * i + 2) : T(0)) << length << " " << i;
      EXPECT_EQ(past[i], cached[i]) << length << " " << i;
    }
  }
}

}  // namespace
