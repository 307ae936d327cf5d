// Rows [B, N, H, width] with gaps, and comparison with numbers in double, for the tests of recurrent kernels.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "aulos/kernels/attention_sides.hpp"
#include "sweep.hpp"

namespace aulos_test {

namespace kernels = aulos::kernels;

template <class T>
std::vector<T> noise_vector(std::uint64_t seed, Index count, double scale = 1, double offset = 0) {
  std::vector<T> v(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<T>(offset + scale * noise(seed, i));
  return v;
}

// Gaps that differ from axis to axis, an odd start, and one element more at the end.
template <class T>
struct HeadArray {
  Index batch, tokens, heads, width;
  std::vector<T> data;

  HeadArray(Index b, Index n, Index h, Index w, std::uint64_t seed, double scale = 1, double offset = 0)
      : batch(b),
        tokens(n),
        heads(h),
        width(w),
        data(noise_vector<T>(seed, 2 + b * n * (h * (w + 1) + 2), scale, offset)) {}

  kernels::HeadRows<T> view() {
    const Index token = heads * (width + 1) + 2;
    return {data.data() + 1, tokens * token, token, width + 1};
  }
  kernels::HeadRows<const T> view() const {
    const Index token = heads * (width + 1) + 2;
    return {data.data() + 1, tokens * token, token, width + 1};
  }
  std::vector<T> values() const {
    std::vector<T> all;
    for (Index b = 0; b < batch; ++b) {
      for (Index n = 0; n < tokens; ++n) {
        for (Index h = 0; h < heads; ++h) {
          for (Index c = 0; c < width; ++c) all.push_back(view().at(b, n, h)[c]);
        }
      }
    }
    return all;
  }
  HeadArray<double> widened() const {
    HeadArray<double> wide(batch, tokens, heads, width, 0);
    wide.data.assign(data.begin(), data.end());
    return wide;
  }
};

// |got - want| <= tolerance eps max(1, largest |want|).
template <class T>
void expect_close(const std::vector<T>& got, const std::vector<double>& want, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 1;
  for (const double w : want) largest = std::fmax(largest, std::fabs(w));
  const double bound = tolerance * largest * static_cast<double>(std::numeric_limits<T>::epsilon());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_LE(std::fabs(static_cast<double>(got[i]) - want[i]), bound)
        << what << " at " << i << ": " << got[i] << " instead of " << want[i];
  }
}

template <class T>
std::vector<double> widen(const std::vector<T>& x) {
  return {x.begin(), x.end()};
}

}  // namespace aulos_test
