// compile: -O3 -ffast-math
// Masks and empty rows under a user's -ffast-math; the twin is compared on finite numbers only.
#include <gtest/gtest.h>

#include <bit>

#include "tests/kernels/attention_problem.hpp"

namespace attention_test {
namespace {

using namespace aulos::kernels;

template <class T>
bool is_minus_infinity(T x) {
  if constexpr (sizeof(T) == 4) {
    return std::bit_cast<std::uint32_t>(x) == 0xff800000u;
  } else {
    return std::bit_cast<std::uint64_t>(x) == 0xfff0000000000000u;
  }
}

template <class T>
T minus_infinity() {
  if constexpr (sizeof(T) == 4) {
    return std::bit_cast<float>(0xff800000u);
  } else {
    return std::bit_cast<double>(0xfff0000000000000u);
  }
}

template <class T>
void expect_fast_math() {
  Problem<T> p(shape_of(1, 2, 1, 7, 5), {{20, 300}});
  const double bound = sizeof(T) == 4 ? 1e-5 : 1e-12;
  p.run(Causal{-5});  // rows 0..4 see nothing
  p.run_backward(Causal{-5});
  auto keep = [](Index, Index, Index i, Index j) { return j <= i - 5; };
  auto gradients = p.expected_gradients(keep);
  auto forward = p.expected(keep);
  EXPECT_LE(backward_distance(p, gradients), bound);
  for (Index h = 0; h < 2; ++h) {
    for (Index i = 0; i < 20; ++i) {
      EXPECT_EQ(is_minus_infinity(*p.data[0].lse.at(0, i, h)), i < 5);
      for (Index e = 0; e < 5; ++e) {
        EXPECT_NEAR(static_cast<double>(p.data[0].out.at(0, i, h)[e]), i < 5 ? 0.0 : forward.data[0].out.at(0, i, h)[e],
                    bound);
      }
    }
  }
  std::vector<T> bias(20 * 300, T(0)), dbias(bias);
  for (std::size_t i = 0; i < 20; ++i) {
    for (std::size_t j = 0; j < 300; ++j) {
      if (i < 5 || j > i - 5) bias[i * 300 + j] = minus_infinity<T>();
    }
  }
  auto masked = p;
  const AdditiveBias<T> rule{bias.data(), 0, 0, 300, dbias.data()};
  masked.run(NoMask{}, rule);
  masked.run_backward(NoMask{}, rule);
  EXPECT_LE(distance(masked.data[0].out, forward.data[0].out), bound);
  EXPECT_LE(backward_distance(masked, gradients), bound);
}

TEST(AttentionFastMath, Float) { expect_fast_math<float>(); }
TEST(AttentionFastMath, Double) { expect_fast_math<double>(); }

}  // namespace
}  // namespace attention_test
