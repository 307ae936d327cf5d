#include "aulos/path/dual_path_block.hpp"

#include <gtest/gtest.h>

#include "aulos/nn/recurrent.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/channel_affine.hpp"
#include "aulos/path/segmentation.hpp"
#include "aulos/stream/encoder_block.hpp"
#include "support/naive_tokens.hpp"

namespace {

using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
namespace path = aulos::path;
namespace nn = aulos::nn;

// c times the token before it.
struct Delay {
  double factor = 1;
  Tensor<double, 3> operator()(const Tensor<double, 3>& x) const {
    const auto zero = aulos::scale(x.slice(1, 0, 1), 0.0);
    return aulos::scale(aulos::concat(std::array{zero, x.slice(1, 0, x.extent(1) - 1)}, 1), factor);
  }
};

Tensor<double, 4> grid(Context& context) {
  const auto x = context.empty<double>(Shape<4>{2, 3, 4, 2});
  for (Index i = 0; i < x.count(); ++i) x.mutable_data()[i] = static_cast<double>(i * i % 37);
  return x;
}

TEST(DualPathBlock, PathsInTurnAndInParallel) {
  Context context;
  const auto x = grid(context);
  for (const path::Fusion fusion : {path::Fusion::in_turn, path::Fusion::parallel}) {
    for (const path::Skip inner : {path::Skip::no, path::Skip::yes}) {
      for (const path::Skip outer : {path::Skip::no, path::Skip::yes}) {
        path::DualPathBlock<double, Delay> block{{10}, {100}, {}, {}, inner, outer, fusion};
        const auto y = block(x);
        for (Index m = 0; m < 3; ++m) {
          for (Index n = 0; n < 4; ++n) {
            const auto at = [&](Index i, Index j) { return i < 0 || j < 0 ? 0.0 : x(1, i, j, 1); };
            const auto u = [&](Index i) {
              return i < 0 ? 0.0 : 10 * at(i, n - 1) + (inner == path::Skip::yes ? at(i, n) : 0);
            };
            const bool in_turn = fusion == path::Fusion::in_turn;
            const double want =
                in_turn ? 100 * u(m - 1) + (outer == path::Skip::yes ? u(m) : 0) : 100 * at(m - 1, n) + u(m);
            EXPECT_EQ(y(1, m, n, 1), want);
          }
        }
      }
    }
  }
}

// A transformer inside chunks, an LSTM across them, a norm of the whole grid, over a sequence.
struct Norm {
  Tensor<double, 4> operator()(const Tensor<double, 4>& x) const { return global_layer_norm(x, {}, {}, 1e-3); }
  void visit(auto&&) {}
};
struct BothDirections {
  nn::Lstm<double> rnn;
  nn::Linear<double> linear;
  Tensor<double, 3> operator()(const Tensor<double, 3>& x) const { return linear(rnn(x)); }
  void visit(auto&& v) {
    v("rnn", rnn);
    v("linear", linear);
  }
};

TEST(DualPathBlock, GradientsWithATransformerAndALstm) {
  Context context({.threads = 1});
  using Encoder = aulos::stream::EncoderBlock<double>;
  path::DualPathBlock<double, Encoder, BothDirections, Norm> block;
  block.inner = Encoder({.channels = 4, .heads = 2, .hidden = 6});
  block.outer = {nn::Lstm<double>(4, 3, {.directions = nn::Directions::both}), nn::Linear<double>(6, 4)};
  naive::randomise(block, 3);
  const auto f = [&](const Tensor<double, 3>& x) {
    return path::segmented(x, path::half_overlapping(x.extent(1), 4), block);
  };
  const auto result = gradcheck(context, f, std::tuple(naive::random<double, 3>(context, Shape<3>{2, 5, 4}, 2)),
                                naive::parameters_of(block));
  EXPECT_TRUE(result) << to_string(result);
}

// Identities without norms: the grid doubles twice, the overlap doubles again.
TEST(DualPathBlock, SegmentedAddsTheOverlap) {
  Context context;
  const auto identity = [](const Tensor<double, 3>& x) { return x; };
  const path::DualPathBlock<double, decltype(identity)> block{identity, identity, {}, {}};
  const auto x = naive::random<double, 3>(context, Shape<3>{2, 7, 3}, 2);
  const auto y = path::segmented(x, path::half_overlapping(7, 4), block);
  for (Index i = 0; i < x.count(); ++i) EXPECT_EQ(y.data()[i], 8 * x.data()[i]);
}

}  // namespace
