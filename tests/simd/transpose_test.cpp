#include "aulos/simd/transpose.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

using aulos::Index;
namespace simd = aulos::simd;

template <class T>
void check() {
  constexpr Index lanes = simd::lanes<T>;
  for (const Index ld : {lanes, lanes + 1, Index{37}}) {
    for (Index rows = 0; rows <= lanes; ++rows) {
      for (Index cols = 0; cols <= lanes; ++cols) {
        // Exactly what may be read.
        std::vector<T> x(static_cast<std::size_t>(rows > 0 ? (rows - 1) * ld + cols : 0));
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i + 1);
        simd::Batch<T> column[static_cast<std::size_t>(lanes)];
        simd::load_transposed(x.data(), ld, rows, cols, column);
        for (Index c = 0; c < lanes; ++c) {
          for (Index r = 0; r < lanes; ++r) {
            const T expected = r < rows && c < cols ? static_cast<T>(r * ld + c + 1) : T(0);
            ASSERT_EQ(column[c].get(r), expected) << rows << " x " << cols << ", row " << r << " column " << c;
          }
        }
      }
    }
  }
}

TEST(Transpose, EveryPartOfASquareOfFloat) { check<float>(); }
TEST(Transpose, EveryPartOfASquareOfDouble) { check<double>(); }

}  // namespace
