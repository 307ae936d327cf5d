#include "aulos/kernels/conv.hpp"

#include "kernels/conv_case.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;

template <class T>
class ConvKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ConvKernel, Types);

TYPED_TEST(ConvKernel, EveryLengthAndAlignment) {
  for (Index length = 1; length <= 2 * aulos::simd::lanes<TypeParam> + 3; ++length) {
    for (const Index misalignment : {0, 1, 3}) {
      check_conv<TypeParam>({2, 1, 3, 5, {}, axis(length, 3, 1, 1, 1)}, misalignment);
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(ConvKernel, StridesPaddingsDilationsAndGroups) {
  for (const Index kernel : {1, 2, 3, 5})
    for (const Index stride : {1, 2, 3})
      for (const Index padding : {0, 1, 4})
        for (const Index dilation : {1, 2}) {
          check_conv<TypeParam>({1, 2, 2, 3, {}, axis(13, kernel, stride, padding, 0, dilation)});
          check_conv<TypeParam>(
              {2, 1, 2, 6, axis(6, kernel, stride, padding, 1, dilation), axis(9, (kernel + 1) / 2, 2, 1, padding, 1)});
          if (this->HasFatalFailure()) return;
        }
}

// More weights, positions and channels than a tile has, and planes of more than one region.
TYPED_TEST(ConvKernel, ManyTiles) {
  check_conv<TypeParam>({1, 1, 70, 7, axis(9, 3, 1, 1, 1), axis(11, 3, 1, 1, 1)});    // depth 630
  check_conv<TypeParam>({1, 1, 2, 5, axis(40, 3, 1, 1, 1), axis(41, 3, 1, 1, 1)});    // 1640 positions
  check_conv<TypeParam>({1, 2, 2, 300, {}, axis(20, 3, 2, 0, 0)});                    // 300 channels
  check_conv<TypeParam>({1, 1, 1, 6, {}, axis(20000, 16, 8)});                        // a waveform's encoder
  check_conv<TypeParam>({1, 1, 2, 3, axis(200, 3, 2, 1, 1), axis(100, 3, 2, 1, 1)});  // three regions
  check_conv<TypeParam>({1, 1, 1, 6, axis(3, 300), axis(5, 1)});                      // no window fits
  check_conv<TypeParam>({1, 1, 2, 5, axis(320, 300, 1, 2, 2), axis(3, 1)});           // more taps than a tile
}

TYPED_TEST(ConvKernel, PointwiseIsAProduct) {
  check_conv<TypeParam>({2, 1, 33, 17, axis(5, 1), axis(7, 1)});
  check_conv<TypeParam>({1, 3, 4, 6, {}, axis(700, 1)}, 1);
}

TYPED_TEST(ConvKernel, NothingToDo) {
  check_conv<TypeParam>({0, 1, 3, 6, {}, axis(9, 3)});
  check_conv<TypeParam>({2, 1, 3, 6, {}, axis(0, 1)});
  check_conv<TypeParam>({2, 1, 3, 6, {}, axis(0, 1, 1, 1, 1)});  // padding alone
  check_conv<TypeParam>({2, 1, 0, 6, {}, axis(9, 3)});
}

TYPED_TEST(ConvKernel, NaNReachesItsWindowsAlone) {
  using T = TypeParam;
  const ConvShape s{1, 1, 2, 5, {}, axis(40, 3, 1, 1, 1)};
  std::vector<T> x(80, T(1)), w(30, T(1)), y(200);
  x[40 + 20] = std::numeric_limits<T>::quiet_NaN();
  aulos::ThreadTeam team(1);
  kernels::conv<T>(team.threads(kernels::conv_scratch<T>(s)), s, x.data(), w.data(), nullptr, y.data());
  for (Index i = 0; i < 200; ++i) {
    const bool meets = i % 40 >= 19 && i % 40 <= 21;
    EXPECT_EQ(std::isnan(y[static_cast<std::size_t>(i)]), meets) << i;
  }
}

TYPED_TEST(ConvKernel, ChannelSum) {
  using T = TypeParam;
  for (const Index plane : {0, 1, 7, 70, 5000}) {
    const Numbers<T> x(1, 2 * 3 * plane, 1);
    long double sums[3] = {};  // exact beside what is tested: ten thousand terms one after another in double are not
    for (Index i = 0; i < 6 * plane; ++i) sums[i / plane % 3] += static_cast<long double>(x.first[i]);
    const std::vector<double> want(std::begin(sums), std::end(sums));
    expect_twin<T>(0, 1, want, 1000,
                   [&](aulos::Threads threads, T* y) { kernels::channel_sum<T>(threads, 2, 3, plane, x.first, y); });
  }
}

}  // namespace
