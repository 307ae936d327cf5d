#include "aulos/kernels/pad.hpp"

#include "aulos/kernels/naive/pad.hpp"
#include "kernels/conv_case.hpp"

namespace {

using namespace aulos_test;
namespace kernels = aulos::kernels;
using kernels::PadAxis;
using kernels::PadMode;
using kernels::PadShape;

template <class T>
class PadKernel : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PadKernel, Types);

constexpr PadMode modes[] = {PadMode::constant, PadMode::reflect, PadMode::replicate, PadMode::circular};

PadAxis padded(Index in, Index before, Index after, PadMode mode) {
  return {in, in + before + after, before, mode, false};
}
PadAxis same(Index extent) { return {extent, extent, 0, PadMode::constant, false}; }

template <class T>
void check(const PadShape& s, Index misalignment = 0) {
  const Numbers<T> x(1, s.in(), misalignment), gy(2, s.out(), misalignment);
  std::vector<double> y(static_cast<std::size_t>(s.out()), 0.25), gx(static_cast<std::size_t>(s.in()));
  kernels::naive::for_pad_places(s, [&](Index o, Index i) {
    if (i < 0) return;
    y[static_cast<std::size_t>(o)] = static_cast<double>(x.first[i]);
    gx[static_cast<std::size_t>(i)] += static_cast<double>(gy.first[o]);
  });
  expect_twin<T>(0, misalignment, y, 0,
                 [&](aulos::Threads threads, T* to) { kernels::pad<T>(threads, s, T(0.25), x.first, to); });
  expect_twin<T>(0, misalignment, gx, 60,
                 [&](aulos::Threads threads, T* to) { kernels::pad_backward<T>(threads, s, gy.first, to); });
}

TYPED_TEST(PadKernel, EveryLengthAlignmentAndMode) {
  for (Index length = 1; length <= 40; ++length) {
    for (const Index misalignment : {0, 1, 3}) {
      for (const PadMode mode : modes) {
        SCOPED_TRACE(::testing::Message() << "length " << length << " mode " << static_cast<int>(mode));
        check<TypeParam>({2, {same(3), padded(length, 5, 9, mode)}}, misalignment);  // more than one length, too
        if (this->HasFatalFailure()) return;
      }
      check<TypeParam>({2, {same(3), {length, length, 0, PadMode::constant, true}}}, misalignment);
      check<TypeParam>({2, {same(3), {length, length, length / 3, PadMode::circular, false}}}, misalignment);
    }
  }
}

TYPED_TEST(PadKernel, SeveralAxes) {
  for (const PadMode mode : modes) {
    check<TypeParam>({4, {same(2), same(3), padded(4, 2, 1, mode), padded(5, 0, 3, mode)}});
    check<TypeParam>({3, {padded(4, 1, 2, mode), same(3), padded(5, 2, 0, PadMode::constant)}});
    check<TypeParam>({3, {same(6), padded(90, 20, 30, mode), same(70)}});
  }
  check<TypeParam>({3, {{4, 4, 0, PadMode::constant, true}, same(3), {5, 5, 2, PadMode::circular, false}}});
}

TYPED_TEST(PadKernel, CutsAndNothing) {
  check<TypeParam>({2, {padded(6, -2, -1, PadMode::constant), padded(7, -3, 2, PadMode::constant)}});
  check<TypeParam>({2, {padded(6, -9, 5, PadMode::constant), same(4)}});  // padding alone
  check<TypeParam>({1, {padded(3, -2, -1, PadMode::constant)}});
  check<TypeParam>({2, {same(0), same(4)}});
  check<TypeParam>({2, {padded(0, 1, 1, PadMode::constant), same(4)}});
}

}  // namespace
