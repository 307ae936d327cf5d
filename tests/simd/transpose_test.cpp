#include "aulos/simd/transpose.hpp"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace {

using aulos::Index;
namespace simd = aulos::simd;

template <class T, int rows>
void check_rows() {
  constexpr Index width = simd::transpose_width<T>, lanes = simd::lanes<T>;
  for (const Index ld : {width, width + 1, Index{37}}) {
    std::vector<T> x(static_cast<std::size_t>((rows - 1) * ld + width));  // exactly what may be read
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i + 1);
    simd::Batch<T> column[static_cast<std::size_t>(width)];
    simd::load_transposed<rows>(x.data(), ld, column);
    for (Index e = 0; e < width; ++e) {
      for (Index r = 0; r < lanes; ++r) {
        const T expected = r < rows ? static_cast<T>(r * ld + e + 1) : T(0);
        EXPECT_EQ(column[e].get(r), expected) << "rows " << rows << " column " << e << " lane " << r;
      }
    }
  }
}

template <class T, int... rows>
void check_all(std::integer_sequence<int, rows...>) {
  (check_rows<T, rows + 1>(), ...);
}

TEST(Transpose, EveryRowCountOfFloat) {
  check_all<float>(std::make_integer_sequence<int, static_cast<int>(simd::lanes<float>)>{});
}

TEST(Transpose, EveryRowCountOfDouble) {
  check_all<double>(std::make_integer_sequence<int, static_cast<int>(simd::lanes<double>)>{});
}

}  // namespace
