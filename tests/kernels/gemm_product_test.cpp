// Products in bf16 and int8 modes, against sums written out here in the promised order, bit for bit.
#include "aulos/kernels/gemm_product.hpp"

#include <algorithm>
#include <limits>
#include <random>
#include <string>

#include "aulos/kernels/activation.hpp"
#include "aulos/kernels/gemm.hpp"
#include "aulos/kernels/naive/gemm.hpp"
#include "tests/kernels/gemm_support.hpp"
#include "tests/kernels/sweep.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace {

using namespace gemm_support;
namespace kernels = aulos::kernels;
namespace detail = aulos::kernels::detail;
using aulos::Numeric;
using kernels::GemmShape;
using kernels::WeightView;

constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();

float to_bf16(float x) {
  if (std::isnan(x)) return x;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rest = bits & 0xffffu;
  bits &= 0xffff0000u;
  if (rest > 0x8000u || (rest == 0x8000u && (bits & 0x10000u) != 0)) bits += 0x10000u;
  return std::bit_cast<float>(bits);
}

float multiply_add(float a, float b, float c) {
  return aulos::simd::has_fma ? std::fma(a, b, c) : static_cast<float>(a * b) + c;
}

// Chunks of 1536 as everywhere; within one, pairs in order, the upper product of a pair first.
float bf16_dot(const float* x, const float* w, Index k) {
  float sum = 0;
  for (Index begin = 0; begin < k; begin += 1536) {
    const Index end = std::min<Index>(k, begin + 1536);
    float acc = 0;
    for (Index p = begin; p < end; p += 2) {
      if (p + 1 < end) acc = multiply_add(to_bf16(x[p + 1]), to_bf16(w[p + 1]), acc);
      acc = multiply_add(to_bf16(x[p]), to_bf16(w[p]), acc);
    }
    sum = begin == 0 ? acc : sum + acc;
  }
  return sum;
}

// The line's largest magnitude becomes 127; a NaN step where a number isn't finite.
struct Line {
  float step = 0;
  std::vector<int> q;

  Line(const float* x, Index k) : q(static_cast<std::size_t>(k)) {
    float largest = 0x1p-119f;
    bool finite = true;
    for (Index p = 0; p < k; ++p) {
      finite = finite && std::isfinite(x[p]);
      largest = std::max(largest, std::abs(x[p]));
    }
    step = finite ? largest / 127.0f : nan;
    for (Index p = 0; finite && p < k; ++p) {
      q[static_cast<std::size_t>(p)] = static_cast<int>(std::nearbyint(x[p] * (127.0f / largest)));
    }
  }
};

float int8_dot(const Line& x, const Line& w) {
  std::int64_t sum = 0;
  for (std::size_t p = 0; p < x.q.size(); ++p) sum += std::int64_t{x.q[p]} * w.q[p];
  return static_cast<float>(sum) * (x.step * w.step);
}

struct Weight {
  Weight(std::vector<float> values, Index out, Index in, Numeric numeric)
      : rows(std::move(values)), n(out), k(in), type(numeric), panels(kernels::packed_bytes<float>(out, in, numeric)) {
    kernels::pack_weight(aulos::Threads::serial(), rows.data(), k, n, k, type, panels.data());
  }
  WeightView<float> view() { return {.panels = panels.data(), .type = type}; }

  std::vector<float> rows;
  Index n, k;
  Numeric type;
  Bytes panels;
};

template <class T>
void run(aulos::ThreadTeam& team, const T* x, Index ldx, WeightView<T> w, T* y, Index ldy, GemmShape shape,
         Numeric mode) {
  kernels::gemm(team.threads(kernels::gemm_scratch(shape, w, mode)), x, ldx, w, kernels::NoEpilogue{}, y, ldy, shape,
                mode);
}

// Tiles sum bf16 products in an order of their own.
bool close(float y, float expected, Numeric mode, Index k) {
  if (!aulos::simd::has_tiles || mode != Numeric::bf16) return same_bits(y, expected);
  return std::abs(y - expected) <= 2e-7f * static_cast<float>(k + 4);
}

class GemmMode : public ::testing::TestWithParam<Numeric> {};
INSTANTIATE_TEST_SUITE_P(Modes, GemmMode, ::testing::Values(Numeric::bf16, Numeric::int8),
                         [](const auto& mode) { return std::string(aulos::name_of(mode.param)); });

TEST_P(GemmMode, EveryLengthSumsInThePromisedOrder) {
  constexpr Index cols = detail::gemm_cols<float>, height = detail::gemm_rows;
  const Numeric mode = GetParam();
  aulos::ThreadTeam team(1);
  std::vector<Index> ms;
  for (Index m = 0; m <= height + 3; ++m) ms.push_back(m);
  for (const Index m : {2 * height - 1, 2 * height, 3 * height + 5}) ms.push_back(m);
  for (const Index k : {0, 1, 2, 3, 4, 5, 7, 8, 17, 33, 61}) {
    for (const Index n : {Index{1}, cols / 2, cols / 2 + 1, cols - 1, cols, cols + 1, 5 * cols + 3}) {
      Weight w(random<float>(n * k, 41), n, k, mode);
      for (const Index m : ms) {
        const Index ldx = k + m % 4, offset = m % 3;
        const auto values = random<float>(m * ldx + 3, 42);
        const float* x = values.data() + offset;
        Guarded<float> y(m, n, n + m % 3, m % 5, 3.0f);
        run(team, x, ldx, w.view(), y.data(), y.ld(), {m, n, k}, mode);
        for (Index i = 0; i < m; ++i) {
          for (Index j = 0; j < n; j += 1 + j % 3) {
            const float* row = w.rows.data() + j * k;
            const float expected =
                mode == Numeric::bf16 ? bf16_dot(x + i * ldx, row, k) : int8_dot(Line(x + i * ldx, k), Line(row, k));
            ASSERT_TRUE(close(y.at(i, j), expected, mode, k)) << m << ' ' << n << ' ' << k << ' ' << i << ' ' << j;
          }
        }
        ASSERT_TRUE(y.intact()) << m << ' ' << n << ' ' << k;
      }
    }
  }
}

// Columns, then terms, around the batch, against the naive product of what the mode makes of the numbers; x, W, bias
// and y begin anywhere. A weight that isn't packed is multiplied exactly.
TEST_P(GemmMode, EveryLengthAndAlignment) {
  const Numeric mode = GetParam();
  aulos::ThreadTeam team(1);
  const auto rounded = [&](const float* x, Index rows, Index k) {
    std::vector<float> all;
    for (Index i = 0; i < rows; ++i) {
      if (mode == Numeric::int8) {
        const Line line(x + i * k, k);
        for (const int q : line.q) all.push_back(static_cast<float>(q) * line.step);
      } else {
        for (Index p = 0; p < k; ++p) all.push_back(to_bf16(x[i * k + p]));
      }
    }
    return all;
  };
  const auto check = [&](Index n, Index k, Index offset) {
    const Shifted<float> rows(random<float>(n * k, 61), offset), bias(random<float>(n, 62), offset);
    Bytes panels(kernels::packed_bytes<float>(n, k, mode));
    kernels::pack_weight(aulos::Threads::serial(), rows.data(), k, n, k, mode, panels.data());
    const auto add_bias = [&](double sum, Index, Index j) { return sum + static_cast<double>(bias[j]); };
    for (const Index m : {1, 3, 5, detail::gemm_rows + 1}) {
      const Shifted<float> x(random<float>(m * k, 63), offset);
      for (const bool packed : {false, true}) {
        const auto w = packed ? WeightView<float>{.panels = panels.data(), .type = mode}
                              : WeightView<float>{.rows = rows.data(), .ldw = k};
        Guarded<float> y(m, n, n, offset, 3.0f), naive(m, n, n);
        if (packed) {
          const auto a = rounded(x.data(), m, k), b = rounded(rows.data(), n, k);
          kernels::naive::gemm(a.data(), k, b.data(), k, add_bias, naive.data(), n, m, n, k);
        } else {
          kernels::naive::gemm(x.data(), k, rows.data(), k, add_bias, naive.data(), n, m, n, k);
        }
        kernels::gemm(team.threads(kernels::gemm_scratch({m, n, k}, w, mode)), x.data(), k, w,
                      kernels::BiasActivation<float>{bias.data()}, y.data(), n, {m, n, k}, mode);
        for (Index i = 0; i < m; ++i) {
          for (Index j = 0; j < n; ++j) {
            ASSERT_NEAR(y.at(i, j), naive.at(i, j), 20 * std::numeric_limits<float>::epsilon())
                << packed << ' ' << m << ' ' << n << ' ' << k << ' ' << i << ' ' << j;
          }
        }
        ASSERT_TRUE(y.intact()) << m << ' ' << n << ' ' << k;
      }
    }
  };
  aulos_test::sweep<float>([&](Index length, Index offset) {
    for (const Index k : {0, 1, 5, 18}) check(length, k, offset);
    for (const Index n : {1, 7, detail::gemm_cols<float> + 3}) check(n, length, offset);
  });
}

// Deeper than a chunk, more rows than a block.
TEST_P(GemmMode, LargeShapesSumInThePromisedOrder) {
  const Numeric mode = GetParam();
  aulos::ThreadTeam team(2);
  const GemmShape shapes[] = {{1, 70, 9001}, {3, 40, 3077}, {30, 65, 3073}, {150, 33, 6200}, {1500, 3, 64}};
  for (const GemmShape s : shapes) {
    Weight w(random<float>(s.n * s.k, 43), s.n, s.k, mode);
    const auto x = random<float>(s.m * s.k, 44);
    Guarded<float> y(s.m, s.n, s.n);
    run(team, x.data(), s.k, w.view(), y.data(), s.n, s, mode);
    for (Index i = 0; i < s.m; i += 7) {
      const Line line(x.data() + i * s.k, s.k);
      for (Index j = 0; j < s.n; j += 5) {
        const float* row = w.rows.data() + j * s.k;
        const float expected =
            mode == Numeric::bf16 ? bf16_dot(x.data() + i * s.k, row, s.k) : int8_dot(line, Line(row, s.k));
        ASSERT_TRUE(close(y.at(i, j), expected, mode, s.k)) << s.m << ' ' << s.k << ' ' << i << ' ' << j;
      }
    }
    EXPECT_TRUE(y.intact());
  }
}

TEST_P(GemmMode, BitsDependOnNeitherThreadsNorNeighbours) {
  const Numeric mode = GetParam();
  const GemmShape shapes[] = {{70, 200, 301},  {1, 900, 700}, {3, 500, 1600}, {200, 40, 100}, {17, 1000, 64},
                              {31, 130, 1700}, {256, 70, 96}, {77, 130, 200}, {40, 520, 1700}};
  for (const GemmShape s : shapes) {
    Weight w(random<float>(s.n * s.k, 45), s.n, s.k, mode);
    const auto x = random<float>(s.m * s.k, 46);
    std::vector<float> first(static_cast<std::size_t>(s.m * s.n)), y(first);
    const auto bytes = first.size() * sizeof(float);
    aulos::ThreadTeam one(1);
    run(one, x.data(), s.k, w.view(), first.data(), s.n, s, mode);
    for (const int threads : aulos_test::thread_counts) {
      aulos::ThreadTeam& team = aulos_test::team_of(threads);
      std::fill(y.begin(), y.end(), 7.0f);
      run(team, x.data(), s.k, w.view(), y.data(), s.n, s, mode);
      ASSERT_EQ(std::memcmp(first.data(), y.data(), bytes), 0) << s.m << " threads " << threads;
    }
    std::fill(y.begin(), y.end(), 7.0f);
    for (Index row = 0, count = 1; row < s.m; row += count, ++count) {  // rows by 1, 2, 3, ... at a time
      count = std::min(count, s.m - row);
      run(one, x.data() + row * s.k, s.k, w.view(), y.data() + row * s.n, s.n, {count, s.n, s.k}, mode);
    }
    ASSERT_EQ(std::memcmp(first.data(), y.data(), bytes), 0) << s.m;
  }
}

// With a bias that is added where the sums are: the last rows of a strip, few rows and the last columns as all others.
TEST_P(GemmMode, BitsOfABiasDependOnNoNeighbours) {
  const Numeric mode = GetParam();
  constexpr Index most = 3 * detail::gemm_rows, cols = detail::gemm_cols<float>;
  aulos::ThreadTeam team(1);
  for (const Index k : {0, 1, 70, 1600}) {
    for (const Index n : {2 * cols, 4 * cols - 5, 5 * cols + 3}) {
      Weight w(random<float>(n * k, 56), n, k, mode);
      const auto x = random<float>(most * k, 57), bias = random<float>(n, 58);
      const auto product = [&](Index m, float* y) {
        const auto scratch = kernels::gemm_scratch({m, n, k}, w.view(), mode);
        kernels::gemm(team.threads(scratch), x.data(), k, w.view(), kernels::BiasActivation<float>{bias.data()}, y, n,
                      {m, n, k}, mode);
      };
      std::vector<float> all(static_cast<std::size_t>(most * n));
      product(most, all.data());
      if (k == 0) {
        for (Index j = 0; j < n; ++j) ASSERT_EQ(all[static_cast<std::size_t>(j)], bias[static_cast<std::size_t>(j)]);
      }
      for (Index m = 1; m < most; ++m) {
        std::vector<float> y(static_cast<std::size_t>(m * n));
        product(m, y.data());
        ASSERT_TRUE(std::equal(y.begin(), y.end(), all.begin())) << m << ' ' << n << ' ' << k;
      }
    }
  }
}

// Rows of y whole pages apart are multiplied in other tiles, as long as panels are small.
TEST_P(GemmMode, BitsDependNotOnTheStrideOfTheResult) {
  const Numeric mode = GetParam();
  constexpr Index cols = detail::gemm_cols<float>, page = 1024, height = detail::gemm_rows;
  const auto relu = kernels::activation_row<float, aulos::simd::Relu>();
  for (const int threads : aulos_test::thread_counts) {
    aulos::ThreadTeam& team = aulos_test::team_of(threads);
    for (const Index k : {0, 1, 70, 256, 300, 1100}) {
      for (const Index n : {cols, 2 * cols, 3 * cols - 1, 5 * cols, 5 * cols + 7}) {
        Weight w(random<float>(n * k, 53), n, k, mode);
        const auto bias = random<float>(n, 54);
        const kernels::BiasActivation<float> epilogue{bias.data(), relu.value};
        for (const Index m : {height, 2 * height + 5, 70 * height + 2}) {
          if (m > 70 && k != 300) continue;
          const auto x = random<float>(m * k, 55);
          const auto residual = random<float>(m * n, 56), gate = random<float>(m * n, 57);
          const GemmShape shape{m, n, k};
          const auto expect_equal = [&](const auto& after) {
            const auto product = [&](Guarded<float>& y) {
              const auto scratch = kernels::gemm_scratch(shape, w.view(), mode);
              kernels::gemm(team.threads(scratch), x.data(), k, w.view(), after, y.data(), y.ld(), shape, mode);
            };
            Guarded<float> paged(m, n, page), other(m, n, page + 16);
            product(paged);
            product(other);
            for (Index i = 0; i < m; ++i) {
              for (Index j = 0; j < n; ++j) ASSERT_TRUE(same_bits(paged.at(i, j), other.at(i, j))) << m << ' ' << n;
            }
            ASSERT_TRUE(paged.intact()) << m << ' ' << n << ' ' << k;
          };
          expect_equal(epilogue);
          expect_equal(kernels::GatedResidual<float>{
              .bias = bias.data(), .residual = residual.data(), .ldr = n, .gate = gate.data(), .ldg = n});
        }
      }
    }
  }
}

// N(0, 1), against sums in double of what was there before any rounding.
TEST_P(GemmMode, ErrorIsThatOfTheRounding) {
  const auto normal = [](Index count, unsigned seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> distribution;
    std::vector<float> x(static_cast<std::size_t>(count));
    for (float& v : x) v = distribution(engine);
    return x;
  };
  constexpr Index m = 14, n = 40;
  aulos::ThreadTeam team(1);
  for (const Index k : {64, 1536, 8192}) {
    const auto x = normal(m * k, 47), w = normal(n * k, 48);
    std::vector<double> exact(static_cast<std::size_t>(m * n));
    double power = 0;
    for (Index i = 0; i < m; ++i) {
      for (Index j = 0; j < n; ++j) {
        double sum = 0;
        for (Index p = 0; p < k; ++p) {
          sum += static_cast<double>(x[static_cast<std::size_t>(i * k + p)]) *
                 static_cast<double>(w[static_cast<std::size_t>(j * k + p)]);
        }
        exact[static_cast<std::size_t>(i * n + j)] = sum;
        power += sum * sum;
      }
    }
    for (const Numeric mode : {Numeric::exact, GetParam()}) {
      Weight weight(w, n, k, mode);
      std::vector<float> y(exact.size());
      run(team, x.data(), k, weight.view(), y.data(), n, {m, n, k}, mode);
      double error = 0;
      for (std::size_t i = 0; i < y.size(); ++i) error += (y[i] - exact[i]) * (y[i] - exact[i]);
      const double bound = mode == Numeric::exact ? 1e-6 : mode == Numeric::bf16 ? 3e-3 : 1.5e-2;
      EXPECT_LE(std::sqrt(error / power), bound) << aulos::name_of(mode) << ' ' << k;
      if (mode != Numeric::exact) {
        EXPECT_GE(std::sqrt(error / power), bound / 10);
      }
    }
  }
}

TEST_P(GemmMode, NaNAndInfinityStayInTheirRowsAndColumns) {
  const Numeric mode = GetParam();
  constexpr Index m = 15, n = 37, k = 21;
  aulos::ThreadTeam team(1);
  for (const Index rows : {Index{3}, m}) {
    auto x = random<float>(m * k, 49);
    auto values = random<float>(n * k, 50);
    x[1 * k + 20] = nan;
    x[2 * k + 3] = inf;
    values[30 * k + 20] = -inf;  // the last of an odd number
    values[31 * k + 5] = nan;
    Weight w(values, n, k, mode);
    Guarded<float> y(rows, n, n);
    run(team, x.data(), k, w.view(), y.data(), n, {rows, n, k}, mode);
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < n; ++j) {
        const float expected = mode == Numeric::bf16
                                   ? bf16_dot(x.data() + i * k, values.data() + j * k, k)
                                   : int8_dot(Line(x.data() + i * k, k), Line(values.data() + j * k, k));
        if (std::isnan(expected)) {
          ASSERT_TRUE(std::isnan(y.at(i, j))) << i << ' ' << j;
        } else if (std::isinf(expected)) {
          ASSERT_EQ(y.at(i, j), expected) << i << ' ' << j;
        } else {
          ASSERT_TRUE(close(y.at(i, j), expected, mode, k)) << i << ' ' << j;
        }
      }
    }
  }
}

// A storage that is coarser than the mode is widened; a mode that is coarser than the storage changes nothing.
TEST(GemmProduct, StorageAndModeOfDifferentKinds) {
  constexpr Index n = 43, k = 75;
  aulos::ThreadTeam team(2);
  const auto values = random<float>(n * k, 51);
  for (const Index m : {1, 3, 30}) {
    const auto x = random<float>(m * k, 52);
    const auto product = [&](Numeric storage, Numeric mode) {
      Weight w(values, n, k, storage);
      std::vector<float> y(static_cast<std::size_t>(m * n));
      run(team, x.data(), k, w.view(), y.data(), n, {m, n, k}, mode);
      return y;
    };
    for (const Numeric storage : {Numeric::bf16, Numeric::int8}) {  // exact products of what the panels hold
      Weight w(values, n, k, storage);
      std::vector<float> rows(values.size()), expected(static_cast<std::size_t>(m * n));
      kernels::unpack_weight(aulos::Threads::serial(), w.panels.data(), storage, n, k, rows.data(), k);
      run<float>(team, x.data(), k, {.rows = rows.data(), .ldw = k}, expected.data(), n, {m, n, k}, Numeric::exact);
      EXPECT_EQ(product(storage, Numeric::exact), expected);
      if (storage == Numeric::int8) {
        EXPECT_EQ(product(storage, Numeric::bf16), expected);
      }
    }
    EXPECT_EQ(product(Numeric::exact, Numeric::bf16), product(Numeric::exact, Numeric::exact));
    EXPECT_EQ(product(Numeric::exact, Numeric::int8), product(Numeric::exact, Numeric::exact));
    EXPECT_EQ(product(Numeric::bf16, Numeric::int8), product(Numeric::bf16, Numeric::bf16));
    EXPECT_NE(product(Numeric::bf16, Numeric::bf16), product(Numeric::bf16, Numeric::exact));
    EXPECT_NE(product(Numeric::int8, Numeric::int8), product(Numeric::int8, Numeric::exact));
  }
}

TEST(GemmProduct, DoublesAreExactInEveryMode) {
  constexpr Index m = 9, n = 35, k = 31;
  aulos::ThreadTeam team(1);
  const auto values = random<double>(n * k, 53), x = random<double>(m * k, 54);
  for (const Numeric storage : {Numeric::exact, Numeric::bf16, Numeric::int8}) {
    Bytes panels(kernels::packed_bytes<double>(n, k, storage));
    kernels::pack_weight(team.threads(), values.data(), k, n, k, storage, panels.data());
    std::vector<double> rows(values.size()), expected(static_cast<std::size_t>(m * n)), y(expected);
    kernels::unpack_weight(team.threads(), panels.data(), storage, n, k, rows.data(), k);
    run<double>(team, x.data(), k, {.rows = rows.data(), .ldw = k}, expected.data(), n, {m, n, k}, Numeric::exact);
    for (const Numeric mode : {Numeric::exact, Numeric::bf16, Numeric::int8}) {
      run<double>(team, x.data(), k, {.panels = panels.data(), .type = storage}, y.data(), n, {m, n, k}, mode);
      EXPECT_EQ(y, expected);
    }
  }
}

// The largest sums that int8 products have: all numbers at their largest magnitude, at the depth up to which they are
// exact integers, and just above, where the weight is widened.
TEST(GemmProduct, DeepInt8SumsDoNotOverflow) {
  aulos::ThreadTeam team(1);
  for (const Index k : {detail::int8_most_depth - 3, detail::int8_most_depth, detail::int8_most_depth + 1}) {
    for (const float sign : {1.0f, -1.0f}) {
      Weight w(std::vector<float>(static_cast<std::size_t>(2 * k), sign), 2, k, Numeric::int8);
      const std::vector<float> x(static_cast<std::size_t>(k), 1.0f);
      float y[2];
      run<float>(team, x.data(), k, w.view(), y, 2, {1, 2, k}, Numeric::int8);
      EXPECT_NEAR(y[0], sign * static_cast<float>(k), 2e-6f * static_cast<float>(k));
      EXPECT_EQ(y[0], y[1]);
    }
  }
}

// Extreme scales: zero rows, denormal numbers, the largest finite number.
TEST(GemmProduct, Int8ScalesOfAnySize) {
  aulos::ThreadTeam team(1);
  constexpr Index k = 8;
  for (const float size : {0.0f, 1e-44f, 1e-38f, 1e-30f, 1.0f, 1e30f, 1e38f}) {
    std::vector<float> x(k, size);
    x[3] = -size;
    Weight w(std::vector<float>(k, 0.5f), 1, k, Numeric::int8);
    float y = 5;
    run<float>(team, x.data(), k, w.view(), &y, 1, {1, 1, k}, Numeric::int8);
    const double expected = 3.0 * static_cast<double>(size);
    EXPECT_NEAR(y, expected, 1e-6 * expected + 1e-37) << size;
  }
}

}  // namespace
