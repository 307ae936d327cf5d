// Convolutions of many shapes, each against its naive twin, on any number of threads.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "aulos/kernels/conv.hpp"
#include "aulos/kernels/naive/conv.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace aulos_test {

using aulos::kernels::ConvShape;
using aulos::kernels::WindowAxis;

inline WindowAxis axis(Index in, Index kernel, Index stride = 1, Index before = 0, Index after = 0,
                       Index dilation = 1) {
  return {in, WindowAxis::outputs(in, before, after, kernel, stride, dilation), kernel, stride, before, dilation};
}

// `count` numbers of noise, `misalignment` elements behind an aligned address.
template <class T>
struct Numbers {
  Numbers(std::uint64_t seed, Index count, Index misalignment) : data(static_cast<std::size_t>(count + misalignment)) {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<T>(noise(seed, i));
    first = data.data() + misalignment;
  }
  AlignedVector<T> data;
  T* first;
};

// run(threads, out) must give `want` on any number of threads, with the same bits, inside the guards.
template <class T, class Run>
void expect_twin(std::size_t scratch, Index misalignment, const std::vector<double>& want, double terms, Run run) {
  std::vector<T> first;
  for (const int threads : thread_counts) {
    aulos::ThreadTeam& team = team_of(threads);
    const T guard = T(-12345.5);
    std::vector<T> y(want.size() + 16 + static_cast<std::size_t>(misalignment), guard);
    T* out = y.data() + 8 + misalignment;
    run(team.threads(scratch), out);
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(out[i]), want[i],
                  (4 + terms) * static_cast<double>(std::numeric_limits<T>::epsilon()))
          << "at " << i;
    }
    for (std::size_t i = 0; i < y.size(); ++i) {
      const auto at = static_cast<Index>(i) - 8 - misalignment;
      if (at < 0 || at >= static_cast<Index>(want.size())) {
        ASSERT_EQ(y[i], guard) << "element " << at << " outside was written";
      }
    }
    if (threads == 1) first = y;
    ASSERT_EQ(std::memcmp(y.data(), first.data(), y.size() * sizeof(T)), 0) << threads << " threads";
  }
}

template <class T>
void check_conv(const ConvShape& s, Index misalignment = 0) {
  namespace kernels = aulos::kernels;
  SCOPED_TRACE(::testing::Message() << "batch " << s.batch << " groups " << s.groups << " in " << s.in << " out "
                                    << s.out << " rows " << s.rows.in << " -> " << s.rows.out << " columns "
                                    << s.columns.in << " -> " << s.columns.out << " kernel " << s.rows.kernel << " x "
                                    << s.columns.kernel);
  const Numbers<T> x(1, s.batch * s.groups * s.in * s.plane(), misalignment);
  const Numbers<T> w(2, s.groups * s.out * s.depth(), misalignment);
  const Numbers<T> gy(3, s.batch * s.groups * s.out * s.positions(), misalignment);
  const Numbers<T> out_bias(4, s.groups * s.out, misalignment), in_bias(5, s.groups * s.in, misalignment);
  for (const bool with_bias : {false, true}) {
    const T* bias = with_bias ? out_bias.first : nullptr;
    expect_twin<T>(kernels::conv_scratch<T>(s), misalignment, kernels::naive::conv(s, x.first, w.first, bias),
                   static_cast<double>(s.depth()),
                   [&](aulos::Threads threads, T* y) { kernels::conv<T>(threads, s, x.first, w.first, bias, y); });
    if (::testing::Test::HasFatalFailure()) return;
    bias = with_bias ? in_bias.first : nullptr;
    expect_twin<T>(
        kernels::conv_transpose_scratch<T>(s), misalignment, kernels::naive::conv_transpose(s, gy.first, w.first, bias),
        static_cast<double>(s.out * s.taps()),
        [&](aulos::Threads threads, T* gx) { kernels::conv_transpose<T>(threads, s, gy.first, w.first, bias, gx); });
    if (::testing::Test::HasFatalFailure()) return;
  }
  expect_twin<T>(
      kernels::conv_weight_gradient_scratch<T>(s), misalignment,
      kernels::naive::conv_weight_gradient(s, x.first, gy.first), static_cast<double>(s.batch * s.positions()),
      [&](aulos::Threads threads, T* gw) { kernels::conv_weight_gradient<T>(threads, s, x.first, gy.first, gw); });
}

}  // namespace aulos_test
