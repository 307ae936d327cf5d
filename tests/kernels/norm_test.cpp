#include "aulos/kernels/norm.hpp"

#include <gtest/gtest.h>

#include "aulos/kernels/naive/norm.hpp"
#include "sweep.hpp"
#include "thread_counts.hpp"

namespace {

namespace kernels = aulos::kernels;
namespace simd = aulos::simd;
using namespace aulos_test;
using kernels::naive::Norm;

template <class T>
void forward(aulos::ThreadTeam& team, Norm kind, const kernels::NormShape& shape, const kernels::NormOperands<T>& in,
             kernels::Rows<T> y) {
  if (kind == Norm::layer) {
    kernels::layer_norm<T>(team.threads(), shape, in, y);
  } else {
    kernels::rms_norm<T>(team.threads(), shape, in, y);
  }
}

template <class T>
void backward(aulos::ThreadTeam& team, Norm kind, const kernels::NormShape& shape, const kernels::NormOperands<T>& in,
              const kernels::NormGradients<T>& out) {
  std::vector<kernels::RowMoments> workspace(static_cast<std::size_t>(shape.rows));
  if (kind == Norm::layer) {
    kernels::layer_norm_backward<T>(team.threads(), shape, in, out, workspace.data());
  } else {
    kernels::rms_norm_backward<T>(team.threads(), shape, in, out, workspace.data());
  }
}

template <class T>
class NormKernel : public ::testing::Test {
 protected:
  aulos::ThreadTeam team{2};

  void forward(Norm kind, const kernels::NormShape& shape, const kernels::NormOperands<T>& in, kernels::Rows<T> y) {
    ::forward(team, kind, shape, in, y);
  }
  void backward(Norm kind, const kernels::NormShape& shape, const kernels::NormOperands<T>& in,
                const kernels::NormGradients<T>& out) {
    ::backward(team, kind, shape, in, out);
  }
};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(NormKernel, Types);

struct Parts {
  bool affine, modulated, bias = true;
};
constexpr Parts all_parts[] = {{false, false}, {true, false}, {true, false, false}, {false, true}, {true, true}};

template <class T>
struct Problem {
  Index rows, n, rows_per, groups;
  Matrix<T> x, affine, scale, shift, gy;
  kernels::NormOperands<T> in;

  Problem(Index rows_, Index n_, Index rows_per_, Index misalignment, Parts parts, double offset = 0)
      : rows(rows_),
        n(n_),
        rows_per(rows_per_),
        groups((rows + rows_per - 1) / rows_per),
        x(Matrix<T>::random(1, rows, n, misalignment, 2, offset)),
        affine(Matrix<T>::random(2, 2, n, 1)),
        scale(Matrix<T>::random(3, groups, n, misalignment)),
        shift(Matrix<T>::random(4, groups, n)),
        gy(Matrix<T>::random(5, rows, n, misalignment)) {
    in.x = std::as_const(x).view();
    if (parts.affine) {
      in.weight = affine.row(0);
      if (parts.bias) in.bias = affine.row(1);
    }
    if (parts.modulated) {
      in.scale = std::as_const(scale).shared(rows_per);
      in.shift = std::as_const(shift).shared(rows_per);
    }
  }
  kernels::NormShape shape(double eps = 1e-5) const { return {rows, n, eps}; }
};

TYPED_TEST(NormKernel, AgreesWithTheNaiveTwin) {
  using T = TypeParam;
  for (const Norm kind : {Norm::layer, Norm::rms}) {
    for (const Parts parts : all_parts) {
      sweep<T>([&](Index n, Index misalignment) {
        Problem<T> p(5, n, 2, misalignment, parts);
        Matrix<T> y(5, n, misalignment), want(5, n);
        this->forward(kind, p.shape(), p.in, y.view());
        kernels::naive::norm<T>(kind, p.shape(), p.in, want.view());
        expect_close(y, want, 8);
        this->forward(kind, p.shape(), p.in, p.x.view());  // in place
        expect_same_bits(p.x, y);
      });
    }
  }
}

TYPED_TEST(NormKernel, GradientsAgreeWithTheNaiveTwin) {
  using T = TypeParam;
  for (const Norm kind : {Norm::layer, Norm::rms}) {
    for (const Parts parts : all_parts) {
      sweep<T>([&](Index n, Index misalignment) {
        // eps is large enough for rows of one or two columns to have tame gradients.
        Problem<T> p(7, n, 3, misalignment, parts);
        Matrix<T> gx(7, n, misalignment), gaffine(2, n, misalignment), gscale(p.groups, n, 1), gshift(p.groups, n);
        kernels::NormGradients<T> out{std::as_const(p.gy).view(), gx.view()};
        out.weight = gaffine.row(0);
        out.bias = gaffine.row(1);
        out.scale = gscale.shared(3);
        out.shift = gshift.shared(3);
        this->backward(kind, p.shape(0.1), p.in, out);
        const auto want = kernels::naive::norm_backward<T>(kind, p.shape(0.1), p.in, out.gy, 3, p.groups);
        const auto of = [n](const std::vector<double>& v) {
          return [&v, n](Index r, Index c) { return v[static_cast<std::size_t>(r * n + c)]; };
        };
        expect_close(gx, of(want.x), 16);
        expect_close(gscale, of(want.scale), 16);
        expect_close(gshift, of(want.shift), 16);
        expect_close(
            gaffine, [&](Index r, Index c) { return (r == 0 ? want.weight : want.bias)[static_cast<std::size_t>(c)]; },
            16);
        // Nothing but gx, in place of gy.
        kernels::NormGradients<T> alone{std::as_const(p.gy).view(), p.gy.view()};
        this->backward(kind, p.shape(0.1), p.in, alone);
        expect_same_bits(p.gy, gx);
      });
    }
  }
}

TYPED_TEST(NormKernel, ALargeMeanCostsNothing) {
  using T = TypeParam;
  Matrix<T> x(1, 4), y(1, 4);
  x.fill([](Index, Index c) { return 40000 + c; });
  kernels::layer_norm<T>(this->team.threads(), {1, 4, 1e-5}, {std::as_const(x).view()}, y.view());
  const double want[] = {-1.341635, -0.447212, 0.447212, 1.341635};
  for (Index c = 0; c < 4; ++c) EXPECT_NEAR(y.at(0, c), want[c], 2e-6);
  // In double the mean's own rounding, 1e-12 of a spread of 5e-3, is all that shows.
  const double allowed = sizeof(T) == 4 ? 32 : 1e8;
  for (const Index n : {4, 16, 33, 1024}) {
    Matrix<T> a(1, n), b(1, n), naive(1, n), gy = Matrix<T>::random(9, 1, n), gx(1, n);
    a.fill([](Index, Index c) { return 10000 + 0.001 * static_cast<double>(c % 16); });
    const kernels::NormOperands<T> in{std::as_const(a).view()};
    kernels::layer_norm<T>(this->team.threads(), {1, n, 1e-5}, in, b.view());
    kernels::naive::norm<T>(Norm::layer, {1, n, 1e-5}, in, naive.view());
    expect_close(b, naive, allowed);
    this->backward(Norm::layer, {1, n, 1e-5}, in, {std::as_const(gy).view(), gx.view()});
    const auto want_gx =
        kernels::naive::norm_backward<T>(Norm::layer, {1, n, 1e-5}, in, std::as_const(gy).view(), 1, 1);
    expect_close(
        gx, [&](Index, Index c) { return want_gx.x[static_cast<std::size_t>(c)]; }, allowed);
  }
}

// The pivot of the one pass over a row is then far from its mean.
TYPED_TEST(NormKernel, FirstElementsUnlikeTheRest) {
  using T = TypeParam;
  for (const Index n : {65, 1537, 200001}) {
    if (sizeof(T) == sizeof(double) && n > 10000) continue;  // the twin too sums in double
    Problem<T> p(3, n, 1, 0, {false, false});
    for (Index r = 0; r < 3; ++r) {
      for (Index i = 0; i < 64; ++i) p.x.row(r)[i] += T(1e5) * static_cast<T>(r + 1);
    }
    Matrix<T> y(3, n), want(3, n);
    this->forward(Norm::layer, p.shape(), p.in, y.view());
    kernels::naive::norm(Norm::layer, p.shape(), p.in, want.view());
    expect_close(y, want, 8);
  }
}

// Results that are larger than the caches take another way, with the same bits.
TYPED_TEST(NormKernel, PastTheCaches) {
  using T = TypeParam;
  const Index n = 256, rows = kernels::detail::past_caches_bytes / static_cast<Index>(sizeof(T)) / n + 3;
  std::vector<T> memory(static_cast<std::size_t>(2 * rows * n) + 32);
  T* y = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64 / sizeof(T);
  T* x = y + rows * n;
  for (Index i = 0; i < rows * n; ++i) x[i] = static_cast<T>(i * 37 % 101) - T(40);
  ASSERT_EQ(kernels::detail::past_caches<T>(x, {y, n}, rows, n), simd::has_stream);
  for (const Norm kind : {Norm::layer, Norm::rms}) {
    this->forward(kind, {rows, n, 1e-5}, {.x = {x, n}}, {y, n});
    for (const Index r : {Index{0}, rows / 2, rows - 1}) {
      std::vector<T> alone(static_cast<std::size_t>(n));
      this->forward(kind, {1, n, 1e-5}, {.x = {x + r * n, n}}, {alone.data(), n});
      for (Index i = 0; i < n; ++i) ASSERT_EQ(y[r * n + i], alone[static_cast<std::size_t>(i)]) << r << " " << i;
    }
  }
}

TYPED_TEST(NormKernel, EpsStandsInsideTheRootOfTheMean) {
  using T = TypeParam;
  Matrix<T> x(1, 2), y(1, 2);
  x.fill([](Index, Index c) { return c == 0 ? 3e-5 : 4e-5; });
  kernels::rms_norm<T>(this->team.threads(), {1, 2, 1e-6}, {std::as_const(x).view()}, y.view());
  EXPECT_NEAR(y.at(0, 0), 0.029981, 1e-6);
  EXPECT_NEAR(y.at(0, 1), 0.039975, 1e-6);
  for (const auto& [eps, want] :
       {std::pair{1e-6, 0.7071068}, {1e-5, 0.3015113}, {1e-12, 0.9999995}, {1e-3, 0.031607}}) {
    Matrix<T> z(1, 8), n(1, 8);
    z.fill([](Index, Index c) { return c % 2 == 0 ? 1e-3 : -1e-3; });
    kernels::layer_norm<T>(this->team.threads(), {1, 8, eps}, {std::as_const(z).view()}, n.view());
    EXPECT_NEAR(n.at(0, 0), want, 1e-6) << eps;
    EXPECT_NEAR(n.at(0, 1), -want, 1e-6) << eps;
  }
  Matrix<T> zero(1, 5), out(1, 5), gy = Matrix<T>::random(1, 1, 5), gx(1, 5);
  zero.fill([](Index, Index) { return 0; });
  for (const Norm kind : {Norm::layer, Norm::rms}) {
    this->forward(kind, {1, 5, 1e-6}, {std::as_const(zero).view()}, out.view());
    this->backward(kind, {1, 5, 1e-6}, {std::as_const(zero).view()}, {std::as_const(gy).view(), gx.view()});
    for (Index c = 0; c < 5; ++c) {
      EXPECT_EQ(out.at(0, c), T(0));
      EXPECT_TRUE(std::isfinite(gx.at(0, c)));
    }
  }
}

TYPED_TEST(NormKernel, NanInAnyPlaceMakesTheRowNan) {
  using T = TypeParam;
  for (const Norm kind : {Norm::layer, Norm::rms}) {
    for (Index n = 1; n <= 2 * simd::lanes<T> + 1; ++n) {
      for (Index place = 0; place < n; ++place) {
        Problem<T> p(3, n, 1, 0, {true, true});
        Matrix<T> y(3, n);
        p.x.at(1, place) = std::numeric_limits<T>::quiet_NaN();
        this->forward(kind, p.shape(), p.in, y.view());
        for (Index c = 0; c < n; ++c) {
          ASSERT_TRUE(std::isnan(y.at(1, c))) << place << " of " << n;
          ASSERT_FALSE(std::isnan(y.at(0, c)) || std::isnan(y.at(2, c)));
        }
      }
    }
  }
}

TYPED_TEST(NormKernel, ModulationIsSharedAsAsked) {
  using T = TypeParam;
  const Index rows = 6, n = 19;
  for (const Index rows_per : {1, 2, 6}) {
    Problem<T> p(rows, n, rows_per, 0, {false, true});
    Matrix<T> plain(rows, n), y(rows, n);
    kernels::layer_norm<T>(this->team.threads(), p.shape(), {p.in.x}, plain.view());
    kernels::layer_norm<T>(this->team.threads(), p.shape(), p.in, y.view());
    expect_close(
        y,
        [&](Index r, Index c) {
          return double(plain.at(r, c)) * (1 + double(p.scale.at(r / rows_per, c))) +
                 double(p.shift.at(r / rows_per, c));
        },
        4);
  }
  // One row for all, by a stride of 0; its gradient is the sum over all rows.
  Problem<T> p(rows, n, rows, 0, {false, true});
  Matrix<T> y(rows, n), z(rows, n), gscale(1, n), gshift(1, n), gscale0(1, n), gshift0(1, n);
  this->forward(Norm::layer, p.shape(), p.in, y.view());
  kernels::NormGradients<T> out{std::as_const(p.gy).view()};
  out.scale = gscale.shared(rows);
  out.shift = gshift.shared(rows);
  this->backward(Norm::layer, p.shape(), p.in, out);
  p.in.scale = {p.scale.row(0), 0, 1};
  p.in.shift = {p.shift.row(0), 0, 1};
  out.scale = {gscale0.row(0), 0, 1};
  out.shift = {gshift0.row(0), 0, 1};
  this->forward(Norm::layer, p.shape(), p.in, z.view());
  this->backward(Norm::layer, p.shape(), p.in, out);
  expect_same_bits(y, z);
  expect_same_bits(gscale, gscale0);
  expect_same_bits(gshift, gshift0);
}

TYPED_TEST(NormKernel, BitsDependNeitherOnThreadsNorOnOtherRows) {
  using T = TypeParam;
  const Index rows = 133, n = 70;
  Problem<T> p(rows, n, 19, 0, {true, true});
  for (const Norm kind : {Norm::layer, Norm::rms}) {
    std::vector<Matrix<T>> kept;
    for (const int threads : thread_counts) {
      aulos::ThreadTeam& some = team_of(threads);
      Matrix<T> y(rows, n), gx(rows, n), gaffine(2, n), gscale(p.groups, n), gshift(p.groups, n);
      forward(some, kind, p.shape(), p.in, y.view());
      kernels::NormGradients<T> out{std::as_const(p.gy).view(), gx.view(),        gaffine.row(0), gaffine.row(1),
                                    gscale.shared(19),          gshift.shared(19)};
      backward(some, kind, p.shape(), p.in, out);
      const std::vector<Matrix<T>> results = {y, gx, gaffine, gscale, gshift};
      if (kept.empty()) kept = results;
      for (std::size_t i = 0; i < results.size(); ++i) expect_same_bits(kept[i], results[i]);
    }
    Matrix<T> alone(1, n);
    kernels::NormOperands<T> in = p.in;
    in.x = {p.x.row(57), 0};
    in.scale = {p.scale.row(57 / 19), 0, 1};
    in.shift = {p.shift.row(57 / 19), 0, 1};
    this->forward(kind, {1, n, 1e-5}, in, alone.view());
    EXPECT_EQ(std::memcmp(alone.row(0), kept[0].row(57), static_cast<std::size_t>(n) * sizeof(T)), 0);
  }
}

TYPED_TEST(NormKernel, WithoutRowsTheGradientsOfTheWeightsAreZero) {
  using T = TypeParam;
  Matrix<T> gaffine(2, 20), none(0, 20);
  gaffine.fill([](Index, Index) { return 7; });
  kernels::NormGradients<T> out{std::as_const(none).view(), none.view(), gaffine.row(0), gaffine.row(1)};
  this->backward(Norm::layer, {0, 20, 1e-5}, {std::as_const(none).view()}, out);
  expect_close(
      gaffine, [](Index, Index) { return 0.0; }, 0);
}

}  // namespace
