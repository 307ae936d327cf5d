#include "aulos/kernels/gemm.hpp"

#include <limits>

#include "aulos/kernels/activation.hpp"
#include "aulos/kernels/naive/gemm.hpp"
#include "tests/kernels/gemm_support.hpp"
#include "tests/kernels/sweep.hpp"
#include "tests/kernels/thread_counts.hpp"

namespace {

using namespace gemm_support;
namespace kernels = aulos::kernels;
namespace detail = aulos::kernels::detail;
namespace simd = aulos::simd;
using aulos::Numeric;
using kernels::GemmShape;
using kernels::WeightView;

template <class T>
class Gemm : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Gemm, Types);

enum class Storage { rows, panels, bf16_panels };

// A weight [n, k] whose values bf16 holds, as rows and packed.
template <class T>
struct Weight {
  Weight(Index out, Index in, Index ld, Index offset = 0)
      : n(out),
        k(in),
        ldw(ld),
        rows(random_bf16<T>(out * ld, 21), offset),
        panels(kernels::packed_bytes<T>(out, in, Numeric::exact)),
        bf16(kernels::packed_bytes<T>(out, in, Numeric::bf16)) {
    kernels::pack_weight(aulos::Threads::serial(), rows.data(), ldw, n, k, Numeric::exact, panels.data());
    kernels::pack_weight(aulos::Threads::serial(), rows.data(), ldw, n, k, Numeric::bf16, bf16.data());
  }

  WeightView<T> view(Storage storage) {
    if (storage == Storage::rows) return {.rows = rows.data(), .ldw = ldw};
    if (storage == Storage::panels) return {.panels = panels.data()};
    return {.panels = bf16.data(), .type = Numeric::bf16};
  }

  Index n, k, ldw;
  Shifted<T> rows;
  Bytes panels, bf16;
};

constexpr Storage storages[] = {Storage::rows, Storage::panels, Storage::bf16_panels};

template <class T, class Epilogue>
void run(aulos::ThreadTeam& team, const T* x, Index ldx, WeightView<T> w, const Epilogue& epilogue, T* y, Index ldy,
         GemmShape shape) {
  const auto scratch = kernels::gemm_scratch(shape, w);
  kernels::gemm(team.threads(scratch), x, ldx, w, epilogue, y, ldy, shape);
}

TYPED_TEST(Gemm, EveryLengthAndStorageSumsInThePromisedOrder) {
  using T = TypeParam;
  constexpr Index cols = detail::gemm_cols<T>, rows = detail::gemm_rows;
  aulos::ThreadTeam team(1);
  std::vector<Index> ms, ns, ks = {0, 1, 2, 3, 4, 5, 8, 17};
  for (Index m = 0; m <= rows + 3; ++m) ms.push_back(m);
  for (Index m : {2 * rows - 1, 2 * rows, 2 * rows + 1, 3 * rows + 5}) ms.push_back(m);
  for (Index n : {Index{0}, Index{1}, cols / 2 - 1, cols / 2, cols / 2 + 1, cols - 1, cols, cols + 1, 2 * cols + 1,
                  5 * cols, 5 * cols + 3}) {
    ns.push_back(n);
  }
  for (const Index k : ks) {
    for (const Index n : ns) {
      Weight<T> w(n, k, k + k % 3);
      for (const Index m : ms) {
        const Index ldx = k + m % 4;
        const auto x = random<T>(m * ldx + 1, 22);
        Guarded<T> naive(m, n, n + 1);
        kernels::naive::gemm(
            x.data(), ldx, w.rows.data(), w.ldw, [](double sum, Index, Index) { return sum; }, naive.data(), naive.ld(),
            m, n, k);
        for (const Storage storage : storages) {
          Guarded<T> y(m, n, n + m % 3, m % 5, T(3));
          run(team, x.data(), ldx, w.view(storage), kernels::NoEpilogue{}, y.data(), y.ld(), {m, n, k});
          for (Index i = 0; i < m; ++i) {
            for (Index j = 0; j < n; ++j) {
              ASSERT_NEAR(y.at(i, j), naive.at(i, j), 20 * std::numeric_limits<T>::epsilon());
              if (j % 7 == 0 || j == n - 1) {
                const T expected = ordered_dot(x.data() + i * ldx, 1, w.rows.data() + j * w.ldw, 1, k);
                ASSERT_TRUE(same_bits(y.at(i, j), expected)) << m << ' ' << n << ' ' << k << ' ' << i << ' ' << j;
              }
            }
          }
          ASSERT_TRUE(y.intact()) << m << ' ' << n << ' ' << k;
        }
      }
    }
  }
}

// Columns, then terms, around the batch; x, W, bias and y begin anywhere.
TYPED_TEST(Gemm, EveryLengthAndAlignment) {
  using T = TypeParam;
  aulos::ThreadTeam team(1);
  const auto check = [&](Index n, Index k, Index offset) {
    Weight<T> w(n, k, k, offset);
    const Shifted<T> bias(random<T>(n, 34), offset);
    for (const Index m : {1, 3, 5, detail::gemm_rows + 1}) {
      const Shifted<T> x(random<T>(m * k, 33), offset);
      Guarded<T> naive(m, n, n);
      const auto add_bias = [&](double sum, Index, Index j) { return sum + static_cast<double>(bias[j]); };
      kernels::naive::gemm(x.data(), k, w.rows.data(), k, add_bias, naive.data(), n, m, n, k);
      for (const Storage storage : storages) {
        Guarded<T> y(m, n, n, offset, T(3));
        run(team, x.data(), k, w.view(storage), kernels::BiasActivation<T>{bias.data()}, y.data(), n, {m, n, k});
        for (Index i = 0; i < m; ++i) {
          for (Index j = 0; j < n; ++j) {
            ASSERT_NEAR(y.at(i, j), naive.at(i, j), 20 * std::numeric_limits<T>::epsilon())
                << m << ' ' << n << ' ' << k << ' ' << i << ' ' << j;
          }
        }
        ASSERT_TRUE(y.intact()) << m << ' ' << n << ' ' << k;
      }
    }
  };
  aulos_test::sweep<T>([&](Index length, Index offset) {
    for (const Index k : {0, 1, 5, 18}) check(length, k, offset);
    for (const Index n : {1, 7, detail::gemm_cols<T> + 3}) check(n, length, offset);
  });
}

// Depths above one chunk and row counts above one packed block, against the double sum.
TYPED_TEST(Gemm, LargeShapesStayWithinTheErrorBound) {
  using T = TypeParam;
  const GemmShape shapes[] = {{300, 70, 700}, {30, 65, 4000}, {30, 60, 2000},
                              {3, 40, 4000},  {1, 33, 9000},  {1500, 3, 64}};
  aulos::ThreadTeam team(1);
  for (const GemmShape s : shapes) {
    Weight<T> w(s.n, s.k, s.k);
    const auto x = random<T>(s.m * s.k, 23);
    Guarded<T> naive(s.m, s.n, s.n);
    kernels::naive::gemm(
        x.data(), s.k, w.rows.data(), s.k, [](double sum, Index, Index) { return sum; }, naive.data(), s.n, s.m, s.n,
        s.k);
    // Partial sums grow as sqrt(k) / 3 and their rounding errors add up as a random walk: 0.07 k epsilon on average.
    const double bound = 0.5 * static_cast<double>(s.k) * static_cast<double>(std::numeric_limits<T>::epsilon());
    for (const Storage storage : storages) {
      Guarded<T> y(s.m, s.n, s.n);
      run(team, x.data(), s.k, w.view(storage), kernels::NoEpilogue{}, y.data(), s.n, s);
      for (Index i = 0; i < s.m; ++i) {
        for (Index j = 0; j < s.n; ++j) ASSERT_NEAR(y.at(i, j), naive.at(i, j), bound);
      }
      EXPECT_TRUE(y.intact());
    }
  }
}

TYPED_TEST(Gemm, Epilogues) {
  using T = TypeParam;
  constexpr Index m = 29, n = 75, k = 33;
  aulos::ThreadTeam team(2);
  Weight<T> w(n, k, k);
  const auto x = random<T>(m * k, 24), bias = random<T>(n, 25), residual = random<T>(m * n, 26),
             gate = random<T>(5 * n, 27);
  auto relu = [](simd::Batch<T> v) { return simd::max(v, simd::Batch<T>(T(0))); };
  auto at = [&](const std::vector<T>& v, Index i) { return static_cast<double>(v[static_cast<std::size_t>(i)]); };
  auto check = [&](const auto& epilogue, const auto& naive_epilogue, T* y) {
    std::vector<T> expected(static_cast<std::size_t>(m * n));
    kernels::naive::gemm(x.data(), k, w.rows.data(), k, naive_epilogue, expected.data(), n, m, n, k);
    run(team, x.data(), k, w.view(Storage::panels), epilogue, y, n, {m, n, k});
    for (Index i = 0; i < m * n; ++i) ASSERT_NEAR(y[i], at(expected, i), 40 * std::numeric_limits<T>::epsilon()) << i;
  };
  std::vector<T> y(static_cast<std::size_t>(m * n));
  check(
      kernels::BiasActivation<T>{bias.data(), kernels::activation_row<T, decltype(relu)>().value},
      [&](double sum, Index, Index j) { return std::max(sum + at(bias, j), 0.0); }, y.data());
  check(
      kernels::GatedResidual<T>{bias.data(), residual.data(), n, gate.data(), n, 7},
      [&](double sum, Index i, Index j) {
        return at(residual, i * n + j) + at(gate, i / 7 * n + j) * (sum + at(bias, j));
      },
      y.data());
  const auto before = random<T>(m * n, 28);
  y = before;
  check(
      kernels::AddTo<T>{y.data(), n}, [&](double sum, Index i, Index j) { return at(before, i * n + j) + sum; },
      y.data());
}

TYPED_TEST(Gemm, NothingToSumGivesTheBias) {
  using T = TypeParam;
  aulos::ThreadTeam team(2);
  const auto bias = random<T>(40, 29);
  for (const Index m : {1, 20}) {
    for (const Storage storage : storages) {
      Weight<T> w(40, 0, 0);
      Guarded<T> y(m, 40, 41, 0, T(5));
      const T none = 0;
      run(team, &none, 0, w.view(storage), kernels::BiasActivation<T>{bias.data()}, y.data(), y.ld(), {m, 40, 0});
      for (Index i = 0; i < m; ++i) {
        for (Index j = 0; j < 40; ++j) EXPECT_EQ(y.at(i, j), bias[static_cast<std::size_t>(j)]);
      }
      EXPECT_TRUE(y.intact());
    }
  }
}

TYPED_TEST(Gemm, BitsDependOnNeitherThreadsNorNeighboursNorStorage) {
  using T = TypeParam;
  // Also deeper than a chunk of the sum, and few panels, whose rows are read where they lie.
  const GemmShape shapes[] = {{70, 200, 300}, {1, 900, 700},   {3, 500, 1600},  {200, 40, 100}, {17, 1000, 64},
                              {256, 70, 96},  {40, 520, 1700}, {300, 70, 1700}, {500, 100, 600}};
  for (const GemmShape s : shapes) {
    Weight<T> w(s.n, s.k, s.k);
    const auto x = random<T>(s.m * s.k, 30), bias = random<T>(s.n, 31);
    const kernels::BiasActivation<T> epilogue{bias.data()};
    std::vector<T> first(static_cast<std::size_t>(s.m * s.n)), y(first);
    const auto bytes = first.size() * sizeof(T);
    aulos::ThreadTeam one(1);
    run(one, x.data(), s.k, w.view(Storage::panels), epilogue, first.data(), s.n, s);
    for (const int threads : aulos_test::thread_counts) {
      aulos::ThreadTeam& team = aulos_test::team_of(threads);
      for (const Storage storage : storages) {
        std::fill(y.begin(), y.end(), T(7));
        run(team, x.data(), s.k, w.view(storage), epilogue, y.data(), s.n, s);
        ASSERT_EQ(std::memcmp(first.data(), y.data(), bytes), 0) << s.m << ' ' << s.k << " threads " << threads;
      }
    }
    for (const Storage storage : storages) {  // rows by 1, 2, 3, ... at a time
      std::fill(y.begin(), y.end(), T(7));
      for (Index row = 0, count = 1; row < s.m; row += count, ++count) {
        count = std::min(count, s.m - row);
        run(one, x.data() + row * s.k, s.k, w.view(storage), epilogue, y.data() + row * s.n, s.n, {count, s.n, s.k});
      }
      ASSERT_EQ(std::memcmp(first.data(), y.data(), bytes), 0) << s.m << ' ' << s.k;
    }
  }
}

TYPED_TEST(Gemm, NaNAndInfinityStayInTheirRowsAndColumns) {
  using T = TypeParam;
  constexpr Index m = 15, n = 37, k = 21;
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  aulos::ThreadTeam team(1);
  for (const Index rows : {Index{3}, m}) {
    for (const Storage storage : storages) {
      auto x = random<T>(m * k, 32);
      x[1 * k + 20] = nan;
      x[2 * k + 3] = inf;
      Weight<T> w(n, k, k);
      w.rows[36 * k + 3] = 0;  // infinity times zero
      w.rows[30 * k + 5] = -inf;
      w = [&] {
        Weight<T> packed = w;
        kernels::pack_weight(aulos::Threads::serial(), w.rows.data(), k, n, k, Numeric::exact, packed.panels.data());
        kernels::pack_weight(aulos::Threads::serial(), w.rows.data(), k, n, k, Numeric::bf16, packed.bf16.data());
        return packed;
      }();
      Guarded<T> y(rows, n, n);
      run(team, x.data(), k, w.view(storage), kernels::NoEpilogue{}, y.data(), n, {rows, n, k});
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < n; ++j) {
          double expected = 0;
          for (Index p = 0; p < k; ++p) {
            expected +=
                static_cast<double>(x[static_cast<std::size_t>(i * k + p)]) * static_cast<double>(w.rows[j * k + p]);
          }
          if (std::isfinite(expected)) {
            ASSERT_NEAR(y.at(i, j), expected, 1e-4);
          } else if (std::isnan(expected)) {
            ASSERT_TRUE(std::isnan(y.at(i, j))) << i << ' ' << j;
          } else {
            ASSERT_EQ(y.at(i, j), static_cast<T>(expected)) << i << ' ' << j;
          }
        }
      }
    }
  }
}

}  // namespace
