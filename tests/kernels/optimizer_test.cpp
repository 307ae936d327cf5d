#include "aulos/kernels/optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "aulos/kernels/naive/optimizer.hpp"
#include "kernels/sweep.hpp"
#include "kernels/thread_counts.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;
using aulos::Threads;
using kernels::AdamWCoefficients;
using kernels::SgdCoefficients;

template <class T>
class OptimizerKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(OptimizerKernel, Types);

template <class T>
std::vector<T> numbers(Index count, std::uint64_t seed, double scale = 1) {
  std::vector<T> x(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(scale * noise(seed, i));
  return x;
}

// Twelve steps with changing gradients, learning rate and beta2.
TYPED_TEST(OptimizerKernel, AdamWAgreesWithTheNaiveTwin) {
  using T = TypeParam;
  constexpr double eps = std::numeric_limits<T>::epsilon();
  for (const Index count : {1, 7, 33}) {
    for (const double decay : {0.0, 0.1}) {
      std::vector<T> w = numbers<T>(count, 1), m(w.size(), T(0)), v(w.size(), T(0));
      std::vector<double> dw(w.begin(), w.end()), dm(w.size(), 0), dv(w.size(), 0);
      for (Index t = 1; t <= 12; ++t) {
        const std::vector<T> g = numbers<T>(count, static_cast<std::uint64_t>(10 + t));
        const AdamWCoefficients c{1e-2 / static_cast<double>(t), 0.9, t < 6 ? 0.95 : 0.99, 1e-8, decay, t};
        kernels::adamw<T>(Threads::serial(), c, g.data(), m.data(), v.data(), w.data(), count);
        kernels::naive::adamw<T>(c, g.data(), dm.data(), dv.data(), dw.data(), count);
        for (std::size_t i = 0; i < w.size(); ++i) {
          ASSERT_NEAR(static_cast<double>(w[i]), dw[i], 16 * eps) << t << ' ' << i;
          ASSERT_NEAR(static_cast<double>(m[i]), dm[i], 8 * eps);
          ASSERT_NEAR(static_cast<double>(v[i]), dv[i], 8 * eps);
        }
      }
    }
  }
}

// One step of each kernel on parameters that begin anywhere.
TYPED_TEST(OptimizerKernel, EveryLengthAndAlignment) {
  using T = TypeParam;
  constexpr double eps = std::numeric_limits<T>::epsilon();
  sweep<T>([&](Index count, Index misalignment) {
    const auto at = static_cast<std::size_t>(misalignment), all = static_cast<std::size_t>(count) + at + 2;
    const auto with_room = [&](std::uint64_t seed) { return numbers<T>(static_cast<Index>(all), seed); };
    const std::vector<T> g = with_room(1), before = with_room(2), m0 = with_room(3), v0(all, T(0.5));
    std::vector<T> w = before, m = m0, v = v0;
    std::vector<double> dw(w.begin(), w.end()), dm(m.begin(), m.end()), dv(v.begin(), v.end());
    const AdamWCoefficients c{1e-2, 0.9, 0.95, 1e-8, 0.1, 3};
    kernels::adamw<T>(Threads::serial(), c, g.data() + at, m.data() + at, v.data() + at, w.data() + at, count);
    kernels::naive::adamw<T>(c, g.data() + at, dm.data() + at, dv.data() + at, dw.data() + at, count);
    const SgdCoefficients momentum{0.05, 0.9, 0.3, 0.1, true, false};
    std::vector<T> stepped = before, buffer = m0;
    std::vector<double> dstepped(before.begin(), before.end()), dbuffer(m0.begin(), m0.end());
    kernels::sgd<T>(Threads::serial(), momentum, g.data() + at, buffer.data() + at, stepped.data() + at, count);
    kernels::naive::sgd<T>(momentum, g.data() + at, dbuffer.data() + at, dstepped.data() + at, count);
    std::vector<T> average = m0, scaled = before;
    kernels::ema<T>(Threads::serial(), 0.75, before.data() + at, average.data() + at, count);
    kernels::scale_in_place<T>(Threads::serial(), T(0.5), scaled.data() + at, count);
    for (std::size_t i = 0; i < all; ++i) {
      ASSERT_NEAR(static_cast<double>(w[i]), dw[i], 16 * eps) << i;  // around them, too: nothing is written there
      ASSERT_NEAR(static_cast<double>(m[i]), dm[i], 8 * eps) << i;
      ASSERT_NEAR(static_cast<double>(v[i]), dv[i], 8 * eps) << i;
      ASSERT_NEAR(static_cast<double>(stepped[i]), dstepped[i], 16 * eps) << i;
      ASSERT_NEAR(static_cast<double>(buffer[i]), dbuffer[i], 32 * eps) << i;
      const bool inside = i >= at && i < at + static_cast<std::size_t>(count);
      const double mean = 0.75 * static_cast<double>(m0[i]) + 0.25 * static_cast<double>(before[i]);
      ASSERT_NEAR(static_cast<double>(average[i]), inside ? mean : static_cast<double>(m0[i]), 2 * eps) << i;
      ASSERT_EQ(scaled[i], inside ? before[i] / 2 : before[i]) << i;
    }
  });
}

// A gradient as small as eps: eps stands outside of the corrected root. Folded into the learning rate the first step
// would be 3.065e-5.
TYPED_TEST(OptimizerKernel, AdamWTinyGradient) {
  using T = TypeParam;
  const T g = T(1e-8);
  T w = 1, m = 0, v = 0;
  kernels::adamw<T>(Threads::serial(), {.lr = 1e-3, .weight_decay = 0, .step = 1}, &g, &m, &v, &w, 1);
  EXPECT_NEAR(1 - static_cast<double>(w), 5.000e-4, 1e-7);
  for (Index t = 2; t <= 3; ++t) {  // a constant gradient: every step is alike
    const T before = w;
    kernels::adamw<T>(Threads::serial(), {.lr = 1e-3, .weight_decay = 0, .step = t}, &g, &m, &v, &w, 1);
    EXPECT_NEAR(static_cast<double>(before - w), 5.000e-4, 1e-7);
  }
  w = 1;
  m = v = 0;
  kernels::adamw<T>(Threads::serial(), {.lr = 1e-3, .weight_decay = 0.1, .step = 1}, &g, &m, &v, &w, 1);
  EXPECT_NEAR(static_cast<double>(w), 1 * (1 - 1e-4) - 5e-4, 1e-7);
}

TYPED_TEST(OptimizerKernel, AdamWZeroGradientOnlyDecays) {
  using T = TypeParam;
  std::vector<T> w = numbers<T>(19, 3), g(19, T(0)), m(19, T(0)), v(19, T(0));
  const std::vector<T> before = w;
  kernels::adamw<T>(Threads::serial(), {.lr = 0.5, .weight_decay = 0.5}, g.data(), m.data(), v.data(), w.data(), 19);
  for (std::size_t i = 0; i < w.size(); ++i) EXPECT_EQ(w[i], before[i] * T(0.75));
  EXPECT_EQ(m, g);
  EXPECT_EQ(v, g);
}

TYPED_TEST(OptimizerKernel, SgdAgreesWithTheNaiveTwin) {
  using T = TypeParam;
  constexpr double eps = std::numeric_limits<T>::epsilon();
  for (const double momentum : {0.0, 0.9}) {
    for (const double dampening : {0.0, 0.3}) {
      for (const double decay : {0.0, 0.1}) {
        for (const bool nesterov : {false, true}) {
          constexpr Index count = 21;
          std::vector<T> w = numbers<T>(count, 4), buffer(count, T(77));  // the first step does not read it
          std::vector<double> dw(w.begin(), w.end()), db(count, 77);
          for (int t = 0; t < 8; ++t) {
            const std::vector<T> g = numbers<T>(count, static_cast<std::uint64_t>(30 + t));
            const SgdCoefficients c{0.05, momentum, dampening, decay, nesterov, t == 0};
            kernels::sgd<T>(Threads::serial(), c, g.data(), momentum == 0 ? nullptr : buffer.data(), w.data(), count);
            kernels::naive::sgd<T>(c, g.data(), db.data(), dw.data(), count);
            for (std::size_t i = 0; i < count; ++i) {
              ASSERT_NEAR(static_cast<double>(w[i]), dw[i], 16 * eps) << t << ' ' << i;
              ASSERT_NEAR(static_cast<double>(buffer[i]), db[i], 32 * eps);
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(OptimizerKernel, ExponentialMovingAverage) {
  using T = TypeParam;
  constexpr double eps = std::numeric_limits<T>::epsilon();
  for (const double decay : {0.0, 0.1, 0.5, 0.9, 0.9999, 1.0}) {
    std::vector<T> average = numbers<T>(37, 5);
    std::vector<double> want(average.begin(), average.end());
    for (std::uint64_t t = 0; t < 10; ++t) {
      const std::vector<T> w = numbers<T>(37, 50 + t);
      kernels::ema<T>(Threads::serial(), decay, w.data(), average.data(), 37);
      kernels::naive::ema<T>(decay, w.data(), want.data(), 37);
      for (std::size_t i = 0; i < w.size(); ++i) {
        ASSERT_NEAR(static_cast<double>(average[i]), want[i], 8 * eps) << decay << ' ' << t;
      }
      if (decay == 0) {
        EXPECT_EQ(average, w);
      }
    }
  }
}

// A weight that stands still is its own average: 0.9999 and 1 - 0.9999, each rounded to float, do not add up to 1, and
// the sum of products would drift by 1.7e-4.
TYPED_TEST(OptimizerKernel, AverageOfAConstantStays) {
  using T = TypeParam;
  const std::vector<T> w = numbers<T>(37, 6);
  for (const double decay : {0.1, 0.9, 0.999, 0.9999}) {
    std::vector<T> average = w;
    for (int t = 0; t < 3000; ++t) kernels::ema<T>(Threads::serial(), decay, w.data(), average.data(), 37);
    EXPECT_EQ(average, w) << decay;
  }
}

TYPED_TEST(OptimizerKernel, Scale) {
  using T = TypeParam;
  for (const Index count : {0, 1, 5, 33, 9000}) {
    std::vector<T> x = numbers<T>(count + 2, 7), want = x;
    kernels::scale_in_place<T>(Threads::serial(), T(0.3), x.data() + 1, count);
    kernels::naive::scale_in_place<T>(T(0.3), want.data() + 1, count);
    ASSERT_EQ(x, want);
  }
}

// Nothing is touched but `count` elements; pieces and threads leave no trace in the bits.
TYPED_TEST(OptimizerKernel, ThreadsAndBorders) {
  using T = TypeParam;
  for (const Index count : {0, 1, 8191, 8192, 8193, 40001}) {
    std::vector<T> first[4];
    for (const int threads : thread_counts) {
      aulos::ThreadTeam& team = team_of(threads);
      const std::vector<T> g = numbers<T>(count + 2, 8, 0.1);
      std::vector<T> w = numbers<T>(count + 2, 9), m = numbers<T>(count + 2, 10), v(w.size(), T(0.5)), e = w, s = w;
      const std::vector<T> edges = w;
      kernels::adamw<T>(team.threads(), {.step = 3}, g.data() + 1, m.data() + 1, v.data() + 1, w.data() + 1, count);
      kernels::ema<T>(team.threads(), 0.9, g.data() + 1, e.data() + 1, count);
      kernels::sgd<T>(team.threads(), {.momentum = 0.9, .first = false}, g.data() + 1, m.data() + 1, s.data() + 1,
                      count);
      for (const std::vector<T>* x : {&w, &e, &s}) {
        ASSERT_EQ(x->front(), edges.front());
        ASSERT_EQ(x->back(), edges.back());
      }
      const std::vector<T> now[4] = {w, m, e, s};
      for (int i = 0; i < 4; ++i) {
        if (threads == 1) first[i] = now[i];
        ASSERT_EQ(std::memcmp(now[i].data(), first[i].data(), now[i].size() * sizeof(T)), 0) << i << ' ' << threads;
      }
    }
  }
}

TYPED_TEST(OptimizerKernel, NaNStaysInItsElement) {
  using T = TypeParam;
  std::vector<T> g(20, T(1)), w(20, T(1)), m(20, T(0)), v(20, T(0)), s = w, e = w;
  g[17] = std::numeric_limits<T>::quiet_NaN();
  kernels::adamw<T>(Threads::serial(), {}, g.data(), m.data(), v.data(), w.data(), 20);
  kernels::sgd<T>(Threads::serial(), {}, g.data(), nullptr, s.data(), 20);
  kernels::ema<T>(Threads::serial(), 0.5, g.data(), e.data(), 20);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(std::isnan(w[i]), i == 17);
    EXPECT_EQ(std::isnan(s[i]), i == 17);
    EXPECT_EQ(std::isnan(e[i]), i == 17);
  }
}

}  // namespace
