#include "aulos/kernels/conv_depthwise.hpp"

#include "kernels/conv_case.hpp"

namespace {

using namespace aulos_test;

template <class T>
class ConvDepthwiseKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ConvDepthwiseKernel, Types);

TYPED_TEST(ConvDepthwiseKernel, EveryLengthAndAlignment) {
  for (Index length = 1; length <= 5 * aulos::simd::lanes<TypeParam> + 3; ++length) {
    for (const Index misalignment : {0, 1, 3}) {
      check_conv<TypeParam>({2, 3, 1, 1, {}, axis(length, 4, 1, 3, 0)}, misalignment);  // causal
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(ConvDepthwiseKernel, StridesPaddingsDilationsAndMultipliers) {
  for (const Index kernel : {1, 2, 3, 5})
    for (const Index stride : {1, 2, 3, 6})
      for (const Index padding : {0, 1, 4})
        for (const Index dilation : {1, 3}) {
          check_conv<TypeParam>({1, 3, 1, 2, {}, axis(37, kernel, stride, padding, 2, dilation)});
          check_conv<TypeParam>({2, 2, 1, 1, axis(7, kernel, stride, padding, 1, dilation),
                                 axis(19, (kernel + 1) / 2, 2, 1, padding, 1)});
          if (this->HasFatalFailure()) return;
        }
}

TYPED_TEST(ConvDepthwiseKernel, ManyBlocks) {
  check_conv<TypeParam>({1, 1, 1, 1, {}, axis(5000, 31, 1, 15, 15)});
  check_conv<TypeParam>({1, 1, 1, 2, {}, axis(9000, 5, 2, 300, 0, 128)});
  check_conv<TypeParam>({1, 2, 1, 1, axis(150, 7, 1, 3, 3), axis(330, 7, 1, 3, 3)});
  check_conv<TypeParam>({1, 1, 1, 1, axis(190, 3, 3, 0, 0), axis(300, 2, 4, 0, 0)});  // inputs that no window meets
}

TYPED_TEST(ConvDepthwiseKernel, NothingToDo) {
  check_conv<TypeParam>({0, 3, 1, 1, {}, axis(9, 3)});
  check_conv<TypeParam>({2, 3, 1, 1, {}, axis(0, 1, 1, 1, 1)});
  check_conv<TypeParam>({2, 3, 1, 1, {}, axis(2, 3)});
}

}  // namespace
