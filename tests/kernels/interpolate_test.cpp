#include "aulos/kernels/interpolate.hpp"

#include "aulos/kernels/naive/interpolate.hpp"
#include "kernels/conv_case.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;
using kernels::Corners;
using kernels::Interpolation;
using kernels::ResampleShape;

template <class T>
class InterpolateKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(InterpolateKernel, Types);

template <class T>
void check(const ResampleShape& s, Interpolation mode, Corners corners, Index misalignment = 0) {
  SCOPED_TRACE(::testing::Message() << s.rows.in << " -> " << s.rows.out << " by " << s.columns.in << " -> "
                                    << s.columns.out << ", mode " << static_cast<int>(mode) << ", corners "
                                    << static_cast<int>(corners));
  const Numbers<T> x(1, s.planes * s.plane(), misalignment), gy(2, s.planes * s.positions(), misalignment);
  const std::size_t scratch = kernels::interpolate_scratch<T>(s, mode);
  // A place is known to the rounding of its number: some eps of the extent, times the slope.
  const double terms = 40 + 8 * static_cast<double>(std::max(s.columns.in, s.rows.in));
  expect_twin<T>(scratch, misalignment, kernels::naive::interpolate(s, mode, corners, x.first), terms,
                 [&](aulos::Threads threads, T* y) { kernels::interpolate<T>(threads, s, mode, corners, x.first, y); });
  const double shared =
      terms * (1 + static_cast<double>(s.positions()) / static_cast<double>(std::max<Index>(s.plane(), 1)));
  expect_twin<T>(scratch, misalignment, kernels::naive::interpolate_backward(s, mode, corners, gy.first), 10 * shared,
                 [&](aulos::Threads threads, T* gx) {
                   kernels::interpolate_backward<T>(threads, s, mode, corners, gy.first, gx);
                 });
}

template <class T>
void check_all(const ResampleShape& s, Index misalignment = 0) {
  for (const Interpolation mode : {Interpolation::nearest, Interpolation::linear, Interpolation::cubic}) {
    for (const Corners corners : {Corners::half_pixel, Corners::aligned}) check<T>(s, mode, corners, misalignment);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TYPED_TEST(InterpolateKernel, EveryLengthAndAlignment) {
  for (Index in = 1; in <= 2 * aulos::simd::lanes<TypeParam> + 3; ++in) {
    for (const Index misalignment : {0, 1, 3}) {
      check_all<TypeParam>({3, {3, 4}, {in, 9}}, misalignment);
      check_all<TypeParam>({2, {}, {7, in}}, misalignment);
      if (this->HasFatalFailure()) return;
    }
  }
}

TYPED_TEST(InterpolateKernel, SizesAndFactors) {
  for (const Index in : {1, 2, 5, 8})
    for (const Index out : {1, 2, 3, 8, 16}) check_all<TypeParam>({2, {in, out}, {out, in}});
  check_all<TypeParam>({2, {5, 7, 1 / 1.5}, {4, 9, 1 / 2.3}});
  check_all<TypeParam>({2, {}, {10, 3, 1 / 0.35}});
  check_all<TypeParam>({0, {2, 3}, {4, 5}});
  check_all<TypeParam>({5, {40, 60}, {50, 90}});  // several pieces
}

// The numbers of the reference for pixels at 0 and 1, and for a cubic step.
TYPED_TEST(InterpolateKernel, EndsOfAnAxis) {
  using T = TypeParam;
  const auto run = [](Interpolation mode, Corners corners, std::vector<T> x, Index out) {
    const ResampleShape s{1, {}, {static_cast<Index>(x.size()), out}};
    std::vector<T> y(static_cast<std::size_t>(out));
    aulos::ThreadTeam team(1);
    kernels::interpolate<T>(team.threads(kernels::interpolate_scratch<T>(s, mode)), s, mode, corners, x.data(),
                            y.data());
    return y;
  };
  const auto near = [](const std::vector<T>& y, const std::vector<double>& want) {
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(static_cast<double>(y[i]), want[i], 1e-6) << i;
  };
  near(run(Interpolation::linear, Corners::half_pixel, {0, 1}, 4), {0, 0.25, 0.75, 1});
  near(run(Interpolation::linear, Corners::aligned, {0, 1}, 4), {0, 1.0 / 3, 2.0 / 3, 1});
  near(run(Interpolation::cubic, Corners::half_pixel, {0, 0, 1, 0}, 8),
       {0, -0.03515625, -0.10546875, 0.26171875, 0.87890625, 0.87890625, 0.26171875, -0.10546875});
  near(run(Interpolation::cubic, Corners::aligned, {0, 0, 1, 0}, 8),
       {0, -0.0787172, -0.0787172, 0.3075802, 0.8454811, 0.9577259, 0.4985423, 0});
}

TYPED_TEST(InterpolateKernel, AConstantStaysConstant) {
  using T = TypeParam;
  const ResampleShape s{1, {5, 13}, {7, 3}};
  const std::vector<T> x(35, T(2.5));
  for (const Interpolation mode : {Interpolation::nearest, Interpolation::linear, Interpolation::cubic}) {
    for (const Corners corners : {Corners::half_pixel, Corners::aligned}) {
      std::vector<T> y(39);
      aulos::ThreadTeam team(1);
      kernels::interpolate<T>(team.threads(kernels::interpolate_scratch<T>(s, mode)), s, mode, corners, x.data(),
                              y.data());
      for (const T v : y) EXPECT_NEAR(static_cast<double>(v), 2.5, 5e-6);
    }
  }
}

}  // namespace
